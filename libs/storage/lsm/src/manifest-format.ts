import { CairnError, formatTooNew, messageOf, rethrowInvariant } from '@cairn/base';
import { ByteReader, ByteWriter, crc32, isEndSealed, sealEnd, UINT48_MAX } from '@cairn/codec';

import { damaged } from './engine-error.js';
import { LEVEL_MAX } from './merge-policy.js';
import { FOOTER_BYTES, TABLE_BYTES_MAX } from './table-format.js';
import { readSummary, TABLE_NUMBER_MAX, writeSummary, type TableSummary } from './table-summary.js';

/*
 * A copy of the manifest, little endian:
 *   magic u32 | version u32 | sequence u64 | body bytes u32 | body crc u32 | header crc u32 | body
 *   body   directory's id u48 | next number | runs, newest first
 *   run    id | level | slices in key order
 *   slice  table | from | to
 * Numbers without a size are varints; numbers of things precede them. What stands behind the body is of an
 * earlier, longer one.
 *
 * A checksum that is right says that somebody wrote these bytes, and not that an engine did: what a body says
 * is compared with what holds of every engine before anything is made of it.
 */

const MAGIC = 0x6c73_6d6d;
/** 2: the directory has an id. */
const VERSION = 2;
const HEADER_BYTES = 28;
/** A slice has nine numbers and keys, of which only where it ends cannot be empty. */
const SLICE_BYTES_MIN = 10;
/** A run has three numbers, and a slice. */
const RUN_BYTES_MIN = 3 + SLICE_BYTES_MIN;

/** A part of a table: its rows with keys in [from, to). */
export interface SliceRecord {
  readonly table: TableSummary;
  readonly from: Uint8Array;
  readonly to: Uint8Array;
}

/** Slices in key order that do not overlap; at least one. */
export interface RunRecord {
  readonly id: number;
  readonly level: number;
  readonly slices: readonly SliceRecord[];
}

export interface ManifestState {
  /** For the next table or run; numbers are never used twice. */
  readonly nextNumber: number;
  /** Newest first. A table has all its slices in one run. */
  readonly runs: readonly RunRecord[];
}

/** What one copy of the manifest holds. */
export interface ManifestContent {
  /** Counts the states that were written. */
  readonly sequence: number;
  readonly directoryId: number;
  readonly state: ManifestState;
}

export function encodeManifest({ sequence, directoryId, state }: ManifestContent): Buffer {
  const body = new ByteWriter(4096);
  body.u48(directoryId);
  body.varint(state.nextNumber);
  body.varint(state.runs.length);
  for (const run of state.runs) {
    body.varint(run.id);
    body.varint(run.level);
    body.varint(run.slices.length);
    for (const slice of run.slices) {
      writeSummary(body, slice.table);
      body.bytes(slice.from);
      body.bytes(slice.to);
    }
  }
  const bodyBytes = body.take();
  const header = new ByteWriter(HEADER_BYTES);
  header.u32(MAGIC);
  header.u32(VERSION);
  header.u64(sequence);
  header.u32(bodyBytes.length);
  header.u32(crc32(bodyBytes));
  header.u32(0);
  return Buffer.concat([sealEnd(header.take()), bodyBytes]);
}

/**
 * Undefined when the bytes are no whole manifest. Throws CORRUPTION for a whole one that says what is true of
 * no engine, and FORMAT_TOO_NEW.
 */
export function decodeManifest(bytes: Buffer, path: string): ManifestContent | undefined {
  if (bytes.length < HEADER_BYTES) return undefined;
  const reader = new ByteReader(bytes);
  const magic = reader.u32();
  const version = reader.u32();
  if (magic !== MAGIC || !isEndSealed(bytes.subarray(0, HEADER_BYTES))) return undefined;
  if (version > VERSION) {
    throw formatTooNew(`engine: manifest ${path} of format ${version}`, { path });
  }
  try {
    check(version === VERSION, `it has format ${version}, which no release has written`);
    const sequence = reader.u64();
    check(sequence <= UINT48_MAX, `nobody writes ${sequence} states`);
    const bodyBytes = reader.u32();
    const bodyCrc = reader.u32();
    const body = bytes.subarray(HEADER_BYTES, HEADER_BYTES + bodyBytes);
    if (body.length !== bodyBytes || crc32(body) !== bodyCrc) return undefined;
    return { sequence, ...readBody(new ByteReader(body)) };
  } catch (error) {
    rethrowInvariant(error);
    throw damaged(`manifest ${path}: ${messageOf(error)}`, path);
  }
}

/** Throws what is wrong, without the path. */
function check(isRight: boolean, what: string): void {
  if (!isRight) throw new CairnError('CORRUPTION', what);
}

function readBody(reader: ByteReader): Omit<ManifestContent, 'sequence'> {
  const directoryId = reader.u48();
  const nextNumber = reader.varint();
  check(nextNumber > 0 && nextNumber <= TABLE_NUMBER_MAX, `its next number is ${nextNumber}`);
  const runs: RunRecord[] = [];
  const runOfTable = new Map<number, number>();
  for (let left = countOf(reader, RUN_BYTES_MIN, 'runs'); left > 0; left -= 1) {
    const run = readRun(reader, nextNumber);
    const newer = runs.at(-1)?.level ?? 0;
    check(newer <= run.level && run.level <= LEVEL_MAX, `level ${run.level} comes behind level ${newer}`);
    for (const { table } of run.slices) {
      const owner = runOfTable.get(table.number) ?? run.id;
      check(owner === run.id, `table ${table.number} is in the runs ${owner} and ${run.id}`);
      runOfTable.set(table.number, run.id);
    }
    runs.push(run);
  }
  reader.expectEnd();
  check(new Set(runs.map(({ id }) => id)).size === runs.length, 'two runs have the same id');
  return { directoryId, state: { nextNumber, runs } };
}

function readRun(reader: ByteReader, nextNumber: number): RunRecord {
  const id = reader.varint();
  check(id > 0 && id < nextNumber, `run ${id} has a number that was not taken yet`);
  const level = reader.varint();
  const slices: SliceRecord[] = [];
  for (let left = countOf(reader, SLICE_BYTES_MIN, 'slices'); left > 0; left -= 1) {
    const table = readSummary(reader);
    checkSummary(table, nextNumber);
    const slice = { table, from: new Uint8Array(reader.bytes()), to: new Uint8Array(reader.bytes()) };
    const last = slices.at(-1);
    const isBehind = last === undefined || Buffer.compare(last.to, slice.from) <= 0;
    const isInOrder = isBehind && Buffer.compare(slice.from, slice.to) < 0;
    check(isInOrder, `a slice of table ${table.number} is not in its place of run ${id}`);
    slices.push(slice);
  }
  check(slices.length > 0, `run ${id} has no slice`);
  return { id, level, slices };
}

/** A number of things, each of so many bytes at least, that follow: no more than there is room for. */
function countOf(reader: ByteReader, bytesMin: number, what: string): number {
  const count = reader.varint();
  check(count * bytesMin <= reader.remaining, `${count} ${what} do not fit into ${reader.remaining} bytes`);
  return count;
}

function checkSummary({ number, ...table }: TableSummary, nextNumber: number): void {
  check(number > 0 && number < nextNumber, `table ${number} has a number that was not taken yet`);
  const isSize = table.bytes >= FOOTER_BYTES && table.bytes <= TABLE_BYTES_MAX;
  check(isSize, `table ${number} cannot have ${table.bytes} bytes`);
  const isCount = table.rows > 0 && table.deletedRows <= table.rows;
  check(isCount, `table ${number} cannot have ${table.rows} rows, ${table.deletedRows} of them deleted`);
  const isInOrder = Buffer.compare(table.smallestKey, table.largestKey) <= 0;
  check(isInOrder, `the keys of table ${number} do not rise`);
}
