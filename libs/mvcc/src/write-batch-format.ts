/*
 * Payload of the raft command that changes rows of a key range. Evaluated at the leader, so it is
 * physical: exact engine keys and values, applied again without harm. All integers big endian.
 *
 *   header   kind u8 = 1 | format u8 = 1 | count u32 | maxTimestamp u64
 *   items, `count` of them, each a tag u8 and then
 *     write (1)     outcomeKind u8 | flags u8 | client u48 | requestSequence u48
 *                   | keyBytes u16 | recordBytes u32 | key | record
 *                   one engine write that is all a command does. Timestamp and sequence of its outcome are
 *                   those of the key and the record; the detail of an increment is the record's value.
 *     outcome (2)   outcomeKind u8 | flags u8 | client u48 | requestSequence u48
 *                   | timestamp u64 | sequence u32 | detailBytes u32 | detail
 *                   a command that wrote nothing, or whose writes came before as parts.
 *     part (3)      keyBytes u16 | recordBytes u32 | key | record
 *                   an engine write of a command whose outcome follows.
 *     purge (4)     count u32 | count times: keyBytes u16 | key
 *                   engine keys to delete: garbage collection, no client.
 *     collected (5) safePoint u64 | bytes u64
 *                   reads below the safe point are over; the purges of this batch free that many bytes.
 *
 * Frozen once released; a change takes a new format number.
 */

/** First byte of every command payload of a key range. Append only. */
export const CommandKind = { writeBatch: 1 } as const;
export type CommandKind = (typeof CommandKind)[keyof typeof CommandKind];

export const WRITE_BATCH_FORMAT = 1;
export const HEADER_BYTES = 14;
export const HEADER_COUNT_AT = 2;
export const HEADER_MAX_TIMESTAMP_AT = 6;

export const ItemTag = { write: 1, outcome: 2, part: 3, purge: 4, collected: 5 } as const;

/** After the tag: kind, flags, client, request sequence. */
export const IDENTITY_BYTES = 14;
export const WRITE_FIXED_BYTES = 1 + IDENTITY_BYTES + 6;
export const OUTCOME_FIXED_BYTES = 1 + IDENTITY_BYTES + 16;
export const PART_FIXED_BYTES = 1 + 6;
export const PURGE_FIXED_BYTES = 1 + 4;
export const COLLECTED_BYTES = 1 + 8 + 8;

/** Longest engine key: its length travels in two bytes. */
export const ENGINE_KEY_BYTES_MAX = 65_535;
