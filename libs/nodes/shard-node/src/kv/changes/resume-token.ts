import { CairnError, timestamp, type Timestamp } from '@cairn/base';
import { ByteReader, ByteWriter } from '@cairn/codec';

/*
 * Where an answer that was not whole goes on, as the router brings it back: a tag u8, then
 *   key (1)      the user key from which on the engine is to be read
 *   versions (2) timestamp u64 | sequence u32 | user key: versions of that key above this one are to be read
 *   entry (3)    rows u32: so many rows of the entry behind the index of the question were told
 */
const Tag = { key: 1, versions: 2, entry: 3 } as const;

export type ResumeToken =
  | { readonly type: 'key'; readonly key: Uint8Array }
  | {
      readonly type: 'versions';
      readonly key: Uint8Array;
      readonly timestamp: Timestamp;
      readonly sequence: number;
    }
  | { readonly type: 'entry'; readonly rows: number };

export function encodeResumeToken(token: ResumeToken): Buffer {
  const writer = new ByteWriter(16);
  writer.u8(Tag[token.type]);
  switch (token.type) {
    case 'key':
      writer.raw(token.key);
      break;
    case 'versions':
      writer.u64(token.timestamp);
      writer.u32(token.sequence);
      writer.raw(token.key);
      break;
    case 'entry':
      writer.u32(token.rows);
  }
  return writer.take();
}

/** Keys are views. Throws CORRUPTION for what was never a token. */
export function decodeResumeToken(bytes: Uint8Array): ResumeToken {
  const reader = new ByteReader(bytes);
  const tag = reader.u8();
  switch (tag) {
    case Tag.key:
      return { type: 'key', key: reader.raw(reader.remaining) };
    case Tag.versions: {
      const at = timestamp(reader.u64());
      const sequence = reader.u32();
      return { type: 'versions', timestamp: at, sequence, key: reader.raw(reader.remaining) };
    }
    case Tag.entry: {
      const rows = reader.u32();
      reader.expectEnd();
      return { type: 'entry', rows };
    }
    default:
      throw new CairnError('CORRUPTION', `changes: a place of tag ${tag}`);
  }
}
