import { bytesField, requiredTextField } from './fields.js';

const MIB = 2 ** 20;
const GIB = 2 ** 30;

/** Fields of processes that keep data: shard nodes and metadata members. */
export const storageFields = {
  dataDirectory: requiredTextField({
    description:
      'Directory that holds everything this node must not lose. Created when absent; used by one process.',
  }),
  raftLogSegmentBytes: bytesField({
    description: 'Size of one file of the Raft log. Files are allocated whole and used again.',
    default: 64 * MIB,
    min: 1 * MIB,
    max: 1 * GIB,
  }),
  raftLogCacheBytes: bytesField({
    description: 'Recent log entries kept in memory for followers that are a little behind.',
    default: 16 * MIB,
    min: 1 * MIB,
    max: 16 * GIB,
  }),
  blockCacheBytes: bytesField({
    description: 'Cache of the storage engine for blocks of its files.',
    default: 12 * MIB,
    min: 1 * MIB,
    max: 256 * GIB,
  }),
  indexCacheBytes: bytesField({
    description:
      'Filters and indexes of the files of the engine "lsm" kept in memory: about a hundredth of the data serves ' +
      'all reads; with less, reads that miss the row cache fetch them again and again.',
    default: 128 * MIB,
    min: 0,
    max: 256 * GIB,
  }),
  writeBufferBytes: bytesField({
    description: 'Size of the in-memory table of the storage engine; up to three of them exist at a time.',
    default: 24 * MIB,
    min: 1 * MIB,
    max: 1 * GIB,
  }),
} as const;
