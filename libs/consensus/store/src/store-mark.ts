import { assert, CairnError, checkFormat, type LogIndex, type RangeId, type Term } from '@cairn/base';
import { isEndSealed, sealEnd } from '@cairn/codec';
import type { KvEngine } from '@cairn/engine';
import { Namespace } from '@cairn/mvcc';
import type { RaftLog } from '@cairn/raft-log';

import { TOMBSTONE_PLACES } from './tombstones.js';

/** What a store knows of the directory that it is opened in. */
export interface StoreMark {
  /** Of the directory, 16 bytes; see `NodeIdentity`. */
  readonly incarnation: Buffer;
  /** Both were marked before; false: they may be new. */
  readonly isMade: boolean;
  /** Both are marked now, durably. From here on `isMade` must be true. */
  made(): Promise<void>;
}

/** The place of the mark in the log: below those of tombstones, and above any range. */
const LOG_PLACE = (TOMBSTONE_PLACES - 1) as RangeId;
const ENGINE_KEY = Buffer.concat([Buffer.of(Namespace.storeLocal), Buffer.from('store.mark', 'latin1')]);
/** Read from `min` on, written as `max`. Format u8 | incarnation | CRC-32 of what is before it. */
const FORMATS = { min: 1, max: 1 };
const INCARNATION_BYTES = 16;
const MARK_BYTES = 1 + INCARNATION_BYTES + 4;

/** Whether a place in the log is that of the mark. */
export function isMarkPlace(rangeId: RangeId): boolean {
  return rangeId === LOG_PLACE;
}

/**
 * Log and engine of a store each carry the incarnation of the directory, so that a start notices when one of
 * them is gone, or is another's: an empty engine has no row of what was acknowledged, and an empty log none
 * of the votes and entries. Marks both when they are new. Throws CORRUPTION before anything is recovered.
 */
export async function markStore(
  directory: string,
  { log, engine }: { readonly log: RaftLog; readonly engine: KvEngine },
  mark: StoreMark,
): Promise<void> {
  const inLog = log.range(LOG_PLACE).checkpoint?.state;
  const inEngine = engine.get(ENGINE_KEY);
  const isMarked = [checkPart(directory, 'log', inLog, mark), checkPart(directory, 'engine', inEngine, mark)];
  if (mark.isMade) return;
  if (isMarked.includes(false)) await writeMarks({ log, engine }, encodeMark(mark.incarnation));
  await mark.made();
}

/** Whether the part is marked. */
function checkPart(
  directory: string,
  part: 'log' | 'engine',
  bytes: Uint8Array | undefined,
  mark: StoreMark,
): boolean {
  if (bytes === undefined) {
    if (!mark.isMade) return false;
    throw lost(directory, `the ${part} of the store is gone`);
  }
  if (decodeMark(bytes, part).equals(mark.incarnation)) return true;
  throw lost(directory, `the ${part} in it belongs to another directory`);
}

function lost(directory: string, what: string): CairnError {
  return new CairnError(
    'CORRUPTION',
    `data directory ${directory}: ${what}. Put back what belongs there, or bring the node back as one that has lost ` +
      'its directory',
    { details: { directory } },
  );
}

async function writeMarks(
  { log, engine }: { readonly log: RaftLog; readonly engine: KvEngine },
  bytes: Buffer,
): Promise<void> {
  const batch = engine.newBatch();
  batch.put(ENGINE_KEY, bytes);
  await engine.write(batch);
  await engine.flush();
  log.range(LOG_PLACE).setCheckpoint({ index: 0 as LogIndex, term: 0 as Term, state: bytes });
  await log.sync();
}

/** The mark as log and engine hold it. */
export function encodeMark(incarnation: Buffer): Buffer {
  assert(incarnation.length === INCARNATION_BYTES, 'an incarnation has 16 bytes');
  const bytes = Buffer.alloc(MARK_BYTES);
  bytes[0] = FORMATS.max;
  bytes.set(incarnation, 1);
  return sealEnd(bytes);
}

/** The incarnation. Throws FORMAT_TOO_NEW for what a later release wrote, CORRUPTION. */
export function decodeMark(bytes: Uint8Array, part: string): Buffer {
  if (!isEndSealed(bytes)) {
    throw new CairnError('CORRUPTION', `the mark of the ${part} of a store does not match its checksum`);
  }
  checkFormat(`the mark of the ${part} of a store`, bytes[0] ?? 0, FORMATS);
  if (bytes.length === MARK_BYTES) return Buffer.from(bytes.subarray(1, 1 + INCARNATION_BYTES));
  throw new CairnError('CORRUPTION', `the mark of the ${part} of a store has ${bytes.length} bytes`);
}
