/**
 * What a key holds, as its row says. On disk and on the wire: append only. 6 is reserved for byte strings in
 * several pieces.
 */
export const RowKind = { bytes: 0, hash: 1, set: 2, list: 3, sortedSet: 4, stream: 5 } as const;

/** A `RowKind`, or that of a later release: 0 to 255. */
export type RowKind = number;

/** Every kind takes one byte. */
export const ROW_KIND_MAX = 0xff;

const NAMES = ['bytes', 'hash', 'set', 'list', 'sorted set', 'stream'] as const;

/** As in sentences for people. */
export function rowKindName(kind: RowKind): string {
  return NAMES[kind] ?? `row of kind ${kind}`;
}
