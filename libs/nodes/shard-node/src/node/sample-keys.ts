import type { RangeDescriptor } from '@cairn/base';
import type { KvEngine } from '@cairn/engine';
import { encodeKeyPrefix, userKeyOfVersionKey, versionSpanOf, type KeySpan } from '@cairn/mvcc';
import type { KeySample } from '@cairn/placement';

import { rowBytesOf } from '../kv/row-bytes.js';

/** Parts of about equal size that a range is seen in. */
const SAMPLES = 16;
/** Looks at the engine for one sample at most; 48 halve the distance of any two keys that differ early. */
const PROBES_MAX = 64;
/** Rows, deleted ones mostly, that one of them passes over. */
const LOOKS_PER_PROBE_MAX = 1_024;
/** A key is good enough when it is within this part of the range's bytes from the place that was wanted. */
const TOLERANCE = 1 / 64;
/** Bytes that one halving looks at: as many as a double holds exactly. */
const WINDOW_BYTES = 6;

/** A key that exists, and the bytes of the range before it. */
interface Place {
  readonly key: Buffer;
  readonly before: number;
}

/**
 * Keys that lie about a sixteenth of the range's bytes apart, found by halving the space between keys and
 * asking the engine how much lies before: some hundred short looks, where reading the rows would take seconds
 * of CPU from whoever writes meanwhile. A key counts with all rows of its namespaces. Sees what is in tables,
 * so the caller flushes before. The samples share out `bytes`, the size of the range as it is known
 * otherwise.
 */
export async function sampleKeys(
  engine: KvEngine,
  descriptor: RangeDescriptor,
  bytes: number,
): Promise<KeySample[]> {
  const span = versionSpanOf(descriptor.startKey, descriptor.endKey);
  const first = await edgeKey(engine, span, false);
  const last = await edgeKey(engine, span, true);
  if (first === undefined || last === undefined) return [];
  const { startKey } = descriptor;
  const total = await rowBytesOf(engine, startKey, descriptor.endKey);
  const places: Place[] = [{ key: first, before: 0 }];
  if (total > 0) {
    for (let part = 1; part < SAMPLES; part += 1) {
      const from = places.at(-1) as Place;
      const found = await findPlace({ engine, span, startKey, last, total }, from, (total * part) / SAMPLES);
      if (Buffer.compare(found.key, from.key) > 0 && found.before > from.before) places.push(found);
    }
  }
  return places.map(({ key, before }, at) => {
    // Tables are merged meanwhile: the last place may lie behind what all had when it was asked.
    const behind = Math.max(before, places[at + 1]?.before ?? total);
    const share = total > 0 ? (behind - before) / total : 1;
    return { key, bytes: share * bytes };
  });
}

interface Searched {
  readonly engine: KvEngine;
  /** Of the versions: every key has one. */
  readonly span: KeySpan;
  readonly startKey: Uint8Array;
  readonly last: Buffer;
  readonly total: number;
}

/** The key nearest to the place with `wanted` bytes before it, at or behind `from`. */
async function findPlace(searched: Searched, from: Place, wanted: number): Promise<Place> {
  const { engine, span, startKey, last, total } = searched;
  let low = from;
  let above: Place | undefined;
  let bound = last;
  for (let probe = 0; probe < PROBES_MAX; probe += 1) {
    const middle = between(low.key, bound);
    if (middle === undefined) break;
    const key = await edgeKey(engine, { start: encodeKeyPrefix(middle), end: span.end }, false);
    if (key === undefined || (Buffer.compare(key, bound) >= 0 && above !== undefined)) {
      bound = middle;
      continue;
    }
    const before = await rowBytesOf(engine, startKey, key);
    const place = { key, before };
    if (Math.abs(before - wanted) <= total * TOLERANCE) return place;
    if (before < wanted && Buffer.compare(key, low.key) > 0 && Buffer.compare(key, bound) < 0) {
      low = place;
    } else {
      if (before >= wanted) above = place;
      bound = middle;
    }
  }
  if (above === undefined) return low;
  return wanted - low.before < above.before - wanted ? low : above;
}

/**
 * About the first or the last user key of a span: behind very many deleted rows, one of these. It need not
 * exist to be a place where a range is cut.
 */
async function edgeKey(engine: KvEngine, span: KeySpan, isLast: boolean): Promise<Buffer | undefined> {
  const iterator = engine.iterate({ ...span, reverse: isLast });
  try {
    const [row] = await iterator.next(1, LOOKS_PER_PROBE_MAX);
    const key = row?.[0] ?? iterator.cutAt;
    return key === undefined ? undefined : Buffer.from(userKeyOfVersionKey(key));
  } finally {
    await iterator.close();
  }
}

/**
 * A byte string about half way from `low` up to `high`, greater than `low` and smaller than `high`; undefined
 * when they are too close.
 */
export function between(low: Uint8Array, high: Uint8Array): Buffer | undefined {
  let shared = 0;
  while (shared < low.length && low[shared] === high[shared]) shared += 1;
  const from = windowAt(low, shared);
  const to = windowAt(high, shared);
  if (to - from > 1) return withWindow(low, shared, Math.floor((from + to) / 2));
  if (to === from) return undefined;
  // Neighbours in this window: half way from the rest of `low` to the end of what begins like it.
  const rest = shared + WINDOW_BYTES;
  const next = windowAt(low, rest);
  const half = Math.floor((next + 2 ** (8 * WINDOW_BYTES)) / 2);
  return half > next ? withWindow(low, rest, half) : undefined;
}

function windowAt(bytes: Uint8Array, at: number): number {
  let value = 0;
  for (let index = 0; index < WINDOW_BYTES; index += 1) value = value * 256 + (bytes[at + index] ?? 0);
  return value;
}

/** The bytes of `head` before `at`, then the window. */
function withWindow(head: Uint8Array, at: number, window: number): Buffer {
  const bytes = Buffer.alloc(at + WINDOW_BYTES);
  bytes.set(head.subarray(0, at));
  bytes.writeUIntBE(window, at, WINDOW_BYTES);
  return bytes;
}
