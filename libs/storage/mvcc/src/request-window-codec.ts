import { CairnError } from '@cairn/base';
import { UINT48_MAX, type ByteReader, type ByteWriter } from '@cairn/codec';
import { OutcomeKind, checkedOutcomeKind } from './command-outcome.js';
import { OUTCOME_FLAGS, RequestChunk } from './request-chunk.js';

/*
 * Column by column over all chunks, so that the bytes depend on the entries alone and not on how they are
 * chunked:
 *   clients, requestSequences, timestamps: f64 each | sequences u32 | kinds u8 | flags u8
 *   numbers: one f64 per increment without detail, in order
 *   details: varint length and bytes per entry with detail, in order
 * Numbers are little endian.
 */

const CHUNK_CAPACITY = 1024;
/** Fixed bytes of one entry. */
export const ENTRY_BYTES = 30;

/** Whether the result of an increment is in the chunk's numbers. */
function hasNumber(chunk: RequestChunk, slot: number): boolean {
  return chunk.kindAt(slot) === OutcomeKind.increment && !chunk.hasDetail(slot);
}

/** Writes the entries of the chunks, of the first from slot `firstSlot` on. */
export function writeEntries(writer: ByteWriter, chunks: readonly RequestChunk[], firstSlot: number): void {
  const column = (write: (chunk: RequestChunk, slot: number) => void): void => {
    chunks.forEach((chunk, at) => {
      for (let slot = at === 0 ? firstSlot : 0; slot < chunk.length; slot += 1) write(chunk, slot);
    });
  };
  column((chunk, slot) => {
    writer.f64(chunk.clientAt(slot));
  });
  column((chunk, slot) => {
    writer.f64(chunk.requestSequenceAt(slot));
  });
  column((chunk, slot) => {
    writer.f64(chunk.timestampAt(slot));
  });
  column((chunk, slot) => {
    writer.u32(chunk.sequenceAt(slot));
  });
  column((chunk, slot) => {
    writer.u8(chunk.kindAt(slot));
  });
  column((chunk, slot) => {
    writer.u8(chunk.flagsAt(slot));
  });
  column((chunk, slot) => {
    if (hasNumber(chunk, slot)) writer.f64(chunk.numbers?.[slot] ?? 0);
  });
  column((chunk, slot) => {
    const detail = chunk.details?.get(slot);
    if (chunk.hasDetail(slot) && detail !== undefined) writer.bytes(detail);
  });
}

/** Reads `count` entries into new chunks; copies everything. Throws CORRUPTION. */
export function readEntries(reader: ByteReader, count: number): RequestChunk[] {
  if (count * ENTRY_BYTES > reader.remaining) {
    throw new CairnError('CORRUPTION', `${count} remembered commands in ${reader.remaining} bytes`);
  }
  const columns = {
    clients: readColumn(count, () => reader.f64()),
    requestSequences: readColumn(count, () => reader.f64()),
    timestamps: readColumn(count, () => reader.f64()),
    sequences: readColumn(count, () => reader.u32()),
    kinds: readColumn(count, () => reader.u8()),
    flags: readColumn(count, () => reader.u8()),
  };
  const chunks: RequestChunk[] = [];
  for (let first = 0; first < count; first += CHUNK_CAPACITY) {
    const chunk = new RequestChunk(Math.min(count - first, CHUNK_CAPACITY));
    chunk.length = chunk.capacity;
    for (let slot = 0; slot < chunk.length; slot += 1) {
      chunk.setEntry(slot, {
        client: columns.clients[first + slot] ?? 0,
        requestSequence: columns.requestSequences[first + slot] ?? 0,
        timestamp: columns.timestamps[first + slot] ?? 0,
        sequence: columns.sequences[first + slot] ?? 0,
        kind: columns.kinds[first + slot] ?? 0,
        flags: columns.flags[first + slot] ?? 0,
      });
    }
    chunks.push(chunk);
  }
  for (const chunk of chunks) readNumbers(reader, chunk);
  for (const chunk of chunks) readDetails(reader, chunk);
  return chunks;
}

function readColumn(count: number, read: () => number): number[] {
  return Array.from({ length: count }, read);
}

function readNumbers(reader: ByteReader, chunk: RequestChunk): void {
  for (let slot = 0; slot < chunk.length; slot += 1) {
    checkEntry(chunk, slot);
    if (!hasNumber(chunk, slot)) continue;
    const number = reader.f64();
    if (!Number.isSafeInteger(number))
      throw new CairnError('CORRUPTION', 'remembered increment without integer');
    chunk.setNumber(slot, number);
  }
}

function readDetails(reader: ByteReader, chunk: RequestChunk): void {
  for (let slot = 0; slot < chunk.length; slot += 1) {
    if (!chunk.hasDetail(slot)) continue;
    chunk.setDetail(slot, Buffer.from(reader.bytes()));
  }
}

function checkEntry(chunk: RequestChunk, slot: number): void {
  checkedOutcomeKind(chunk.kindAt(slot), chunk.flagsAt(slot) & OUTCOME_FLAGS);
  const client = chunk.clientAt(slot);
  const requestSequence = chunk.requestSequenceAt(slot);
  const ts = chunk.timestampAt(slot);
  const isSound = Number.isInteger(client) && client >= 1 && client <= UINT48_MAX;
  const isSequenceSound =
    Number.isInteger(requestSequence) && requestSequence >= 0 && requestSequence <= UINT48_MAX;
  if (!isSound || !isSequenceSound || !Number.isSafeInteger(ts) || ts < 0) {
    throw new CairnError('CORRUPTION', 'remembered command with an impossible identity');
  }
}
