import { checkFormat, formatTooNew, timestamp, type Timestamp } from '@cairn/base';
import { ByteReader, ByteWriter } from '@cairn/codec';
import { RequestWindow } from '@cairn/mvcc';

/*
 * What a snapshot of a key range carries besides its rows, little endian:
 *   format u8 = 2 | sections, each a tag u8 | bytes u32 | content
 *     readableSince (1)  u64
 *     window (2)         the request window's own encoding; missing = nobody knows what was remembered
 * Tags are never used twice. A section that is not known here was written by a later release, and what it
 * says would be lost: it is refused.
 */
const FORMAT = 2;
const Section = { readableSince: 1, window: 2 } as const;

export interface VolatileState {
  /** undefined = nobody knows what was remembered. */
  readonly window: RequestWindow | undefined;
  /** Snapshots below this are gone. */
  readonly readableSince: Timestamp;
}

export function encodeVolatileState({ window, readableSince }: VolatileState): Buffer {
  const writer = new ByteWriter(16);
  writer.u8(FORMAT);
  writer.u8(Section.readableSince);
  writer.u32(8);
  writer.u64(readableSince);
  if (window === undefined) return writer.take();
  const encoded = window.encode();
  writer.u8(Section.window);
  writer.u32(encoded.length);
  return Buffer.concat([writer.take(), encoded]);
}

/** No bytes at all stand for a range about which nothing is known. Throws CORRUPTION, FORMAT_TOO_NEW. */
export function decodeVolatileState(bytes: Uint8Array): VolatileState {
  let window: RequestWindow | undefined;
  let readableSince = timestamp(0);
  if (bytes.length === 0) return { window, readableSince };
  const reader = new ByteReader(bytes);
  const format = reader.u8();
  checkFormat('the state of a key range', format, { min: FORMAT, max: FORMAT });
  while (reader.remaining > 0) {
    const tag = reader.u8();
    const content = reader.raw(reader.u32());
    if (tag === Section.readableSince) readableSince = timestamp(new ByteReader(content).u64());
    else if (tag === Section.window) window = RequestWindow.decode(content);
    else throw formatTooNew(`the state of a key range with a section ${tag}`);
  }
  return { window, readableSince };
}
