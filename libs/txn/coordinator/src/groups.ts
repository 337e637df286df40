import { CairnError, rethrowInvariant } from '@cairn/base';
import { sleep, type Clock } from '@cairn/ports';
import type { RangeCache } from '@cairn/routing';

/** Commands of one step that are under way at a time. */
const PARALLEL_MAX = 32;
/**
 * Commands of one round for keys whose range is not known: each is alone, and its answer says where it lies.
 */
const UNKNOWN_PER_ROUND_MAX = 16;
/**
 * Rounds one after the other in which nothing was done: the ranges change faster than anybody learns of it.
 */
const FRUITLESS_MAX = 10;
const FRUITLESS_PAUSE_MS = 10;

/** What a command may have. */
export interface GroupLimits {
  readonly itemsMax: number;
  /** An item alone may have more. */
  readonly bytesMax: number;
}

export const READ_GROUP: GroupLimits = { itemsMax: 512, bytesMax: 256 * 1024 };
export const WRITE_GROUP: GroupLimits = { itemsMax: 4_096, bytesMax: 2 * 1024 * 1024 };

export type RangeFinder = Pick<RangeCache, 'find'>;

export interface GroupRules<Item> {
  readonly cache: RangeFinder;
  readonly clock: Clock;
  readonly limits: GroupLimits;
  keyOf(item: Item): Uint8Array;
  bytesOf(item: Item): number;
  /** The part of an item that lies in the range of its key, and the rest of it. Default: all of it does. */
  cut?(item: Item, rangeEnd: Uint8Array): readonly [Item, Item | undefined];
}

interface Round<Item> {
  /** Commands, each of one range as far as is known. */
  readonly groups: readonly (readonly Item[])[];
  /** For the next round, when more ranges are known. */
  readonly later: readonly Item[];
}

/**
 * Carries out something for all items in commands of one range each, by what the router knows of ranges; at
 * most 32 commands at a time. `send` answers the items that were not done: all of them where the range has
 * changed. Those are grouped anew. Rejects with the first error, when no command is under way any more;
 * whoever wants them to end sooner cancels them.
 */
export async function inGroups<Item>(
  items: readonly Item[],
  rules: GroupRules<Item>,
  send: (group: readonly Item[]) => Promise<readonly Item[]>,
): Promise<void> {
  let pending = items;
  let fruitless = 0;
  while (pending.length > 0) {
    const { groups, later } = groupsOf(pending, rules);
    const left = await sendAll(groups, send);
    const isDone = left.length === 0;
    if (isDone && later.length === 0) return;
    fruitless =
      isDone || left.length < groups.reduce((sum, { length }) => sum + length, 0) ? 0 : fruitless + 1;
    if (fruitless > FRUITLESS_MAX) {
      throw rangesChange();
    }
    // The first time the router knows better already: the store that refused has told it.
    if (fruitless > 1) await sleep(rules.clock, FRUITLESS_PAUSE_MS);
    pending = [...left, ...later];
  }
}

/** What is cut into commands are keys. */
export function keyRules(
  { cache, clock }: Pick<GroupRules<Uint8Array>, 'cache' | 'clock'>,
  limits: GroupLimits,
): GroupRules<Uint8Array> {
  return { cache, clock, limits, keyOf: (key) => key, bytesOf: ({ length }) => length };
}

/** UNAVAILABLE: what was tried again and again met other ranges each time. */
export function rangesChange(): CairnError {
  return new CairnError('UNAVAILABLE', 'ranges change faster than the router learns of it', {
    retryAfterMs: 50,
  });
}

/** Items by range, cut into commands. */
export function groupsOf<Item>(items: readonly Item[], rules: GroupRules<Item>): Round<Item> {
  const { cache, limits } = rules;
  const byRange = new Map<number, Item[]>();
  const groups: Item[][] = [];
  const bytes = new Map<Item[], number>();
  const later: Item[] = [];
  const queue = [...items].reverse();
  let unknown = 0;
  for (let item = queue.pop(); item !== undefined; item = queue.pop()) {
    const entry = cache.find(rules.keyOf(item));
    if (entry === undefined) {
      unknown += 1;
      if (unknown <= UNKNOWN_PER_ROUND_MAX) groups.push([item]);
      else later.push(item);
      continue;
    }
    const [part, rest] = rules.cut?.(item, entry.endKey) ?? [item, undefined];
    if (rest !== undefined) queue.push(rest);
    let group = byRange.get(entry.rangeId);
    const size = rules.bytesOf(part);
    const has = group === undefined ? 0 : (bytes.get(group) as number);
    if (group === undefined || group.length >= limits.itemsMax || has + size > limits.bytesMax) {
      group = [];
      byRange.set(entry.rangeId, group);
      groups.push(group);
      bytes.set(group, size);
    } else {
      bytes.set(group, has + size);
    }
    group.push(part);
  }
  return { groups, later };
}

/** Whether all keys lie in one range, as far as is known; one key does. */
export function isOneRange(keys: readonly Uint8Array[], cache: RangeFinder): boolean {
  const [first] = keys;
  if (first === undefined || keys.length === 1) return true;
  const entry = cache.find(first);
  return entry !== undefined && keys.every((key) => cache.find(key) === entry);
}

async function sendAll<Item>(
  groups: readonly (readonly Item[])[],
  send: (group: readonly Item[]) => Promise<readonly Item[]>,
): Promise<readonly Item[]> {
  const [only] = groups;
  if (only === undefined) return [];
  if (groups.length === 1) return send(only);
  const left: Item[] = [];
  const errors: unknown[] = [];
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < groups.length && errors.length === 0) {
      const group = groups[next] as readonly Item[];
      next += 1;
      try {
        left.push(...(await send(group)));
      } catch (error) {
        rethrowInvariant(error);
        errors.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(PARALLEL_MAX, groups.length) }, work));
  if (errors.length > 0) throw errors[0];
  return left;
}
