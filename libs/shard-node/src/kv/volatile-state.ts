import { CairnError, timestamp, type Timestamp } from '@cairn/base';
import { ByteReader, ByteWriter } from '@cairn/codec';
import { RequestWindow } from '@cairn/mvcc';

/*
 * What a snapshot of a key range carries besides its rows, big endian:
 *   format u8 = 1 | readableSince u64 | the request window's own encoding; empty = unknown
 */
const FORMAT = 1;
const HEADER_BYTES = 9;

export interface VolatileState {
  /** undefined = nobody knows what was remembered. */
  readonly window: RequestWindow | undefined;
  /** Snapshots below this are gone. */
  readonly readableSince: Timestamp;
}

export function encodeVolatileState(state: VolatileState): Buffer {
  const writer = new ByteWriter(HEADER_BYTES);
  writer.u8(FORMAT);
  writer.u64(state.readableSince);
  return Buffer.concat(state.window === undefined ? [writer.take()] : [writer.take(), state.window.encode()]);
}

/** No bytes at all stand for a range about which nothing is known. Throws CORRUPTION, FORMAT_TOO_NEW. */
export function decodeVolatileState(bytes: Uint8Array): VolatileState {
  if (bytes.length === 0) return { window: undefined, readableSince: timestamp(0) };
  const reader = new ByteReader(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  const format = reader.u8();
  if (format !== FORMAT) throw new CairnError('FORMAT_TOO_NEW', `state of a key range in format ${format}`);
  const readableSince = timestamp(reader.u64());
  const window = reader.remaining === 0 ? undefined : RequestWindow.decode(bytes.subarray(HEADER_BYTES));
  return { window, readableSince };
}
