import { NOTHING, type Timestamp } from '@cairn/base';
import { compareKeys, type SpanTimes } from '@cairn/routing';
import type { ReadSpan } from '@cairn/wire';

import { aborted } from './aborts.js';
import { inGroups, READ_GROUP, type GroupRules } from './groups.js';
import type { CoordinatorParts } from './parts.js';

/** Something that was read: a key, or a span of keys. */
type ReadPart =
  { readonly type: 'key'; readonly key: Uint8Array } | { readonly type: 'span'; readonly span: ReadSpan };

/** The first key there can be: the empty one is none, so a span from the beginning begins here. */
const FIRST_KEY = Buffer.of(0);

export interface ReadSet {
  readonly keys: readonly Uint8Array[];
  readonly spans: readonly ReadSpan[];
}

/**
 * Rejects with TRANSACTION_ABORTED unless all that was read as of `start` is as it was, as of `commit` (T10).
 * Transactions that are undecided and may commit at or below it are pushed behind it on the way.
 */
export async function validateReads(
  { keys, spans }: ReadSet,
  { start, commit }: { readonly start: Timestamp; readonly commit: Timestamp },
  parts: Pick<CoordinatorParts, 'calls' | 'clock' | 'router'>,
  times: SpanTimes,
): Promise<void> {
  const reads: readonly ReadPart[] = [
    ...keys.map((key) => ({ type: 'key', key }) as const),
    ...spans.filter(isSome).map((span) => ({ type: 'span', span: withoutEmptyStart(span) }) as const),
  ];
  const { calls, clock, router } = parts;
  const rules: GroupRules<ReadPart> = {
    cache: router.cache,
    clock,
    limits: READ_GROUP,
    keyOf,
    bytesOf: (read) =>
      read.type === 'key' ? read.key.length : read.span.start.length + read.span.end.length,
    cut: (read, rangeEnd) => (read.type === 'key' ? [read, undefined] : cutSpan(read.span, rangeEnd)),
  };
  await inGroups(reads, rules, async (group) => {
    const [first] = group;
    if (first === undefined) return NOTHING;
    const reply = await calls.send(
      { type: 'validate', start, commit, ...partsOf(group) },
      keyOf(first),
      times,
    );
    switch (reply.type) {
      case 'valid':
        return NOTHING;
      case 'regroup':
        return group;
      case 'conflict':
        throw aborted('conflict', reply.key);
      case 'tooOld':
        throw aborted('too-old', keyOf(first));
    }
  });
}

function keyOf(read: ReadPart): Uint8Array {
  return read.type === 'key' ? read.key : read.span.start;
}

function isSome({ start, end }: ReadSpan): boolean {
  return end.length === 0 || compareKeys(start, end) < 0;
}

function withoutEmptyStart(span: ReadSpan): ReadSpan {
  return span.start.length > 0 ? span : { start: FIRST_KEY, end: span.end };
}

/** The part of the span below where its range ends (empty = nowhere), and what is behind. */
function cutSpan({ start, end }: ReadSpan, rangeEnd: Uint8Array): readonly [ReadPart, ReadPart | undefined] {
  const isWithin = rangeEnd.length === 0 || (end.length > 0 && compareKeys(end, rangeEnd) <= 0);
  if (isWithin) return [{ type: 'span', span: { start, end } }, undefined];
  return [
    { type: 'span', span: { start, end: rangeEnd } },
    { type: 'span', span: { start: rangeEnd, end } },
  ];
}

function partsOf(group: readonly ReadPart[]): { keys: Uint8Array[]; spans: ReadSpan[] } {
  const keys: Uint8Array[] = [];
  const spans: ReadSpan[] = [];
  for (const read of group) {
    if (read.type === 'key') keys.push(read.key);
    else spans.push(read.span);
  }
  return { keys, spans };
}
