/**
 * One empty list for all that mostly have none: it costs nobody memory, and is always in the processor's
 * cache. Nothing is ever added to it.
 */
export const NOTHING: readonly never[] = [];

/** No bytes at all: an empty key, value or token. One for all, never written to. */
export const NO_BYTES: Buffer = Buffer.alloc(0);

/**
 * The list with one item more. A list becomes its holder's own with the first item, and is then added to in
 * place: whoever was handed it must be the only one to keep it.
 */
export function withItem<T>(list: readonly T[], item: T): readonly T[] {
  if (list.length === 0) return [item];
  (list as T[]).push(item);
  return list;
}
