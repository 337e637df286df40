import { VERSION_KEY_EXTRA_BYTES } from './version-key.js';

/*
 * Payload of the raft command that changes rows of a key range. Evaluated at the leader, so it is
 * physical: exact engine keys and values, applied again without harm. All integers big endian.
 *
 *   header   kind u8 = 1 | format u8 = 3 | count u32 | maxTimestamp u64
 *   items, `count` of them, each a tag u8 and then
 *     write (1)     outcomeKind u8 | flags u8 | client u48 | requestSequence u48
 *                   | keyBytes u32 | recordBytes u32 | key | record
 *                   one engine write that is all a command does. Timestamp and sequence of its outcome are
 *                   those of the key and the record; the detail of an increment is the record's value.
 *     outcome (2)   outcomeKind u8 | flags u8 | client u48 | requestSequence u48
 *                   | timestamp u64 | sequence u32 | detailBytes u32 | detail
 *                   a command that wrote nothing, or whose writes came before as parts.
 *     part (3)      keyBytes u32 | recordBytes u32 | key | record
 *                   an engine write of a command whose outcome follows.
 *     purge (4)     count u32 | count times: keyBytes u32 | key
 *                   engine keys to delete: garbage collection, no client.
 *     collected (5) safePoint u64 | bytes u64
 *                   reads below the safe point are over; the purges of this batch free that many bytes.
 *     put (6)       keyBytes u32 | recordBytes u32 | key | record
 *                   an engine write in any row namespace; nobody waits for its outcome. Also the versions of
 *                   transactions over several ranges: their timestamps are not in the order of the log.
 *     remove (7)    keyBytes u32 | recordBytes u32 | key
 *                   the engine key is gone; likewise. Its record had about so many bytes.
 *     8             reserved: how far transactions are resolved.
 *
 * `maxTimestamp` is the largest of those items that tell an outcome, and of parts.
 *
 * Frozen once released; a change takes a new format number.
 */

/** First byte of every command payload of a key range. Append only. */
export const CommandKind = { writeBatch: 1 } as const;
export type CommandKind = (typeof CommandKind)[keyof typeof CommandKind];

export const WRITE_BATCH_FORMAT = 3;
export const HEADER_BYTES = 14;
export const HEADER_COUNT_AT = 2;
export const HEADER_MAX_TIMESTAMP_AT = 6;

export const ItemTag = {
  write: 1,
  outcome: 2,
  part: 3,
  purge: 4,
  collected: 5,
  put: 6,
  remove: 7,
} as const;

/** After the tag: kind, flags, client, request sequence. */
export const IDENTITY_BYTES = 14;
/** Before each key and record: the bytes of both. */
export const ROW_SIZES_BYTES = 4 + 4;
/** Before each key of a purge. */
export const PURGE_KEY_BYTES = 4;
export const WRITE_FIXED_BYTES = 1 + IDENTITY_BYTES + ROW_SIZES_BYTES;
export const OUTCOME_FIXED_BYTES = 1 + IDENTITY_BYTES + 16;
export const PART_FIXED_BYTES = 1 + ROW_SIZES_BYTES;
export const PURGE_FIXED_BYTES = 1 + 4;
export const REMOVE_FIXED_BYTES = 1 + ROW_SIZES_BYTES;
export const COLLECTED_BYTES = 1 + 8 + 8;

/** Longest engine key: what every engine takes. */
export const ENGINE_KEY_BYTES_MAX = 0x1ffff;
/**
 * Longest user key that can be written: with every byte zero, which costs two, its version keys are as long
 * as engine keys can be. The cluster setting `key.max_bytes` stays below.
 */
export const USER_KEY_BYTES_MAX = (ENGINE_KEY_BYTES_MAX - VERSION_KEY_EXTRA_BYTES) >> 1;
