import { CairnError } from '@cairn/base';
import type { VersionedKeys } from '@cairn/engine';
import type { Clock, Disk, Logger, Metrics, Rng } from '@cairn/ports';

import { Compression, type CompressionName } from './compression.js';
import type { JobRunner } from './jobs.js';
import { LEVEL_MAX } from './merge-policy.js';

const MIB = 1024 * 1024;

/** Sizes that were measured to be good; see the README for what each trades. */
export const LSM_DEFAULTS = {
  memtableBytes: 24 * MIB,
  blockCacheBytes: 12 * MIB,
  metaCacheBytes: 128 * MIB,
  blockBytes: 4096,
  tableBytes: 32 * MIB,
  compression: 'deflate' as CompressionName,
  compressedFromLevel: 2,
} as const;

export interface LsmOptions {
  /** Directory; created when missing. The caller sees to it that no other process has it. */
  readonly path: string;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics?: Metrics;
  /** Makes the id of a new directory, once. */
  readonly rng: Rng;
  /** Where tables are written and merged. */
  readonly runner: JobRunner;
  readonly versioned?: VersionedKeys;
  /** Rows are gathered in memory up to this; up to three such pieces exist at a time. 4 KiB and more. */
  readonly memtableBytes?: number;
  /** Blocks of tables kept in memory; 0 = none. */
  readonly blockCacheBytes?: number;
  /** Filters and indexes of tables kept in memory: about a hundredth of the tables' size serves all reads. */
  readonly metaCacheBytes?: number;
  /** Of one block, 256 bytes to 64 KiB. */
  readonly blockBytes?: number;
  /** About the size of a table that merging makes, as it is without compression. */
  readonly tableBytes?: number;
  /**
   * What merges do with blocks of the levels below; what a table holds already is read whatever this says.
   */
  readonly compression?: CompressionName;
  /**
   * The first level whose blocks are compressed, 1 to 16. Level 0 never is: it is written while writers may
   * wait, and merged soon. The deeper, the less is compressed, and the larger is the share of rows that
   * lies there.
   */
  readonly compressedFromLevel?: number;
}

export type ResolvedLsmOptions = LsmOptions & Required<Pick<LsmOptions, keyof typeof LSM_DEFAULTS>>;

/** Throws INVALID_ARGUMENT for what cannot work. */
export function resolveOptions(options: LsmOptions): ResolvedLsmOptions {
  const resolved = { ...LSM_DEFAULTS, ...options };
  checkRange('memtableBytes', resolved.memtableBytes, 4 * 1024, 1024 * MIB);
  checkRange('blockCacheBytes', resolved.blockCacheBytes, 0, Number.MAX_SAFE_INTEGER);
  checkRange('metaCacheBytes', resolved.metaCacheBytes, 0, Number.MAX_SAFE_INTEGER);
  checkRange('blockBytes', resolved.blockBytes, 256, 64 * 1024);
  checkRange('tableBytes', resolved.tableBytes, resolved.blockBytes, 1024 * MIB);
  checkRange('compressedFromLevel', resolved.compressedFromLevel, 1, LEVEL_MAX);
  if (!Object.hasOwn(Compression, resolved.compression)) {
    throw new CairnError('INVALID_ARGUMENT', `engine: compression ${resolved.compression} is not known`);
  }
  return resolved;
}

/** Whether a merge compresses the blocks that it makes for a level. */
export function isCompressedAt(options: ResolvedLsmOptions, level: number): boolean {
  return options.compression !== 'none' && level >= options.compressedFromLevel;
}

function checkRange(name: string, value: number, low: number, high: number): void {
  if (Number.isInteger(value) && value >= low && value <= high) return;
  throw new CairnError('INVALID_ARGUMENT', `engine: ${name} is ${value}, must be from ${low} to ${high}`);
}
