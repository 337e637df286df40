import { CairnError, NOTHING, type Timestamp } from '@cairn/base';
import type { SpanTimes } from '@cairn/routing';
import type { ReadRow } from '@cairn/wire';

import { inGroups, keyRules, READ_GROUP } from './groups.js';
import { distinctKeys, mapKey } from './keys.js';
import { tooLarge } from './limits.js';
import type { CoordinatorParts } from './parts.js';

export interface ReadBounds {
  readonly times: SpanTimes;
  /** Values that are held at a time; TRANSACTION_TOO_LARGE beyond. */
  readonly bytesMax: number;
}

/**
 * The rows of keys as of a timestamp, by key. Rejects with FAILED_PRECONDITION when the snapshot is older
 * than what is remembered, with INVALID_ARGUMENT when it lies in the future.
 */
export async function readRowsAt(
  keys: readonly Uint8Array[],
  at: Timestamp,
  { calls, clock, router }: Pick<CoordinatorParts, 'calls' | 'clock' | 'router'>,
  { times, bytesMax }: ReadBounds,
): Promise<ReadonlyMap<string, ReadRow>> {
  const rules = keyRules({ cache: router.cache, clock }, READ_GROUP);
  const rows = new Map<string, ReadRow>();
  let bytes = 0;
  await inGroups(distinctKeys(keys), rules, async (group) => {
    const [first] = group;
    if (first === undefined) return NOTHING;
    const reply = await calls.send({ type: 'batchGet', at, keys: group }, first, times);
    switch (reply.type) {
      case 'regroup':
        return group;
      case 'tooOld':
        throw new CairnError(
          'FAILED_PRECONDITION',
          `versions as of ${at} are no longer kept: reads go back to ${reply.readableSince}`,
          { details: { readableSince: reply.readableSince } },
        );
      case 'rows':
        break;
    }
    if (reply.rows.length === 0 || reply.rows.length > group.length) {
      throw new CairnError(
        'INTERNAL',
        `a shard node answered ${reply.rows.length} rows for ${group.length} keys`,
      );
    }
    for (const [index, row] of reply.rows.entries()) {
      rows.set(mapKey(group[index] as Uint8Array), row);
      bytes += row.value.length;
    }
    if (bytes > bytesMax) throw tooLarge('bytes of values that it reads at once', bytesMax);
    // A store answers as many as fit into one message; the rest is asked for again.
    return group.slice(reply.rows.length);
  });
  return rows;
}

/** The rows in the order of the keys, which are among those that were read. */
export function inOrder(keys: readonly Uint8Array[], rows: ReadonlyMap<string, ReadRow>): readonly ReadRow[] {
  return keys.map((key) => rows.get(mapKey(key)) as ReadRow);
}
