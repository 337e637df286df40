import { CairnError } from '@cairn/base';
import { UINT48_MAX, type ByteReader, type ByteWriter } from '@cairn/codec';
import { OutcomeKind, checkedOutcomeKind } from './command-outcome.js';
import { FLAG_HAS_DETAIL, OUTCOME_FLAGS, RequestChunk } from './request-chunk.js';

/*
 * Column by column over all chunks, so that the bytes depend on the entries alone and not on how they are
 * chunked:
 *   clients, requestSequences, timestamps: f64 each | sequences u32 | kinds u8 | flags u8
 *   numbers: one f64 per increment without detail, in order
 *   details: varint length and bytes per entry with detail, in order
 * Columns are copied as memory, hence little endian like every platform that Node supports here.
 */

const CHUNK_CAPACITY = 1024;
/** Fixed bytes of one entry. */
export const ENTRY_BYTES = 30;

type Column = Float64Array | Uint32Array | Uint8Array;
type ColumnName = 'clients' | 'requestSequences' | 'timestamps' | 'sequences' | 'kinds' | 'flags';
const COLUMNS: readonly ColumnName[] = [
  'clients',
  'requestSequences',
  'timestamps',
  'sequences',
  'kinds',
  'flags',
];

/** Whether the result of an increment is in the chunk's numbers. */
function hasNumber(chunk: RequestChunk, slot: number): boolean {
  return (
    chunk.kinds[slot] === OutcomeKind.increment && ((chunk.flags[slot] as number) & FLAG_HAS_DETAIL) === 0
  );
}

/** Writes the entries of the chunks, of the first from slot `firstSlot` on. */
export function writeEntries(writer: ByteWriter, chunks: readonly RequestChunk[], firstSlot: number): void {
  for (const name of COLUMNS) {
    chunks.forEach((chunk, at) => {
      const column: Column = chunk[name].subarray(at === 0 ? firstSlot : 0, chunk.length);
      writer.raw(new Uint8Array(column.buffer, column.byteOffset, column.byteLength));
    });
  }
  chunks.forEach((chunk, at) => {
    for (let slot = at === 0 ? firstSlot : 0; slot < chunk.length; slot += 1) {
      if (hasNumber(chunk, slot)) writer.f64(chunk.numbers?.[slot] ?? 0);
    }
  });
  chunks.forEach((chunk, at) => {
    for (let slot = at === 0 ? firstSlot : 0; slot < chunk.length; slot += 1) {
      const detail = chunk.details?.get(slot);
      if (((chunk.flags[slot] as number) & FLAG_HAS_DETAIL) !== 0 && detail !== undefined)
        writer.bytes(detail);
    }
  });
}

/** Reads `count` entries into new chunks; copies everything. Throws CORRUPTION. */
export function readEntries(reader: ByteReader, count: number): RequestChunk[] {
  if (count * ENTRY_BYTES > reader.remaining) {
    throw new CairnError('CORRUPTION', `${count} remembered commands in ${reader.remaining} bytes`);
  }
  const chunks: RequestChunk[] = [];
  for (let left = count; left > 0; left -= CHUNK_CAPACITY) {
    const chunk = new RequestChunk(Math.min(left, CHUNK_CAPACITY));
    chunk.length = chunk.capacity;
    chunks.push(chunk);
  }
  for (const name of COLUMNS) {
    for (const chunk of chunks) {
      const column: Column = chunk[name];
      const bytes = new Uint8Array(column.buffer, column.byteOffset, column.byteLength);
      bytes.set(reader.raw(bytes.length));
    }
  }
  for (const chunk of chunks) readNumbers(reader, chunk);
  for (const chunk of chunks) readDetails(reader, chunk);
  return chunks;
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
    if (((chunk.flags[slot] as number) & FLAG_HAS_DETAIL) === 0) continue;
    chunk.setDetail(slot, Buffer.from(reader.bytes()));
  }
}

function checkEntry(chunk: RequestChunk, slot: number): void {
  checkedOutcomeKind(chunk.kinds[slot] as number, (chunk.flags[slot] as number) & OUTCOME_FLAGS);
  const client = chunk.clients[slot] as number;
  const requestSequence = chunk.requestSequences[slot] as number;
  const ts = chunk.timestamps[slot] as number;
  const isSound = Number.isInteger(client) && client >= 1 && client <= UINT48_MAX;
  const isSequenceSound =
    Number.isInteger(requestSequence) && requestSequence >= 0 && requestSequence <= UINT48_MAX;
  if (!isSound || !isSequenceSound || !Number.isSafeInteger(ts) || ts < 0) {
    throw new CairnError('CORRUPTION', 'remembered command with an impossible identity');
  }
}
