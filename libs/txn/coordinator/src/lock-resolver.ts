import { NOTHING, timestamp, type Timestamp } from '@cairn/base';
import type { Clock } from '@cairn/ports';
import type { SpanTimes } from '@cairn/routing';

import type { TransactionCalls } from './calls.js';
import { inGroups, keyRules, WRITE_GROUP, type GroupRules, type RangeFinder } from './groups.js';
import { mapKey } from './keys.js';
import type { TransactionMetrics } from './metrics.js';

export interface LockResolverParts {
  readonly cache: RangeFinder;
  readonly clock: Clock;
  readonly calls: TransactionCalls;
  readonly metrics: TransactionMetrics;
}

/** The keys of a transaction whose outcome is known. */
export interface Resolution {
  readonly start: Timestamp;
  /** 0 = it was rolled back. */
  readonly commit: Timestamp;
  readonly keys: readonly Uint8Array[];
}

/** A transaction that is not to happen. */
export interface Rollback {
  readonly start: Timestamp;
  readonly primary: Uint8Array;
  readonly keys: readonly Uint8Array[];
}

/**
 * Carries out at keys what was decided of their transaction. Whoever wants the same lock gone meanwhile waits
 * for the same command; as many are remembered as are under way.
 */
export class LockResolver {
  readonly #parts: LockResolverParts;
  readonly #rules: GroupRules<Uint8Array>;
  readonly #underWay = new Map<string, Promise<void>>();

  constructor(parts: LockResolverParts) {
    this.#parts = parts;
    this.#rules = keyRules(parts, WRITE_GROUP);
  }

  /** As `resolve`, for locks that several may meet at a time. */
  async resolveShared({ start, commit, keys }: Resolution, times: SpanTimes): Promise<void> {
    const shared: Promise<void>[] = [];
    const own: Uint8Array[] = [];
    for (const key of keys) {
      const underWay = this.#underWay.get(nameOf(start, key));
      if (underWay === undefined) own.push(key);
      else shared.push(underWay);
    }
    if (own.length > 0) shared.push(this.#share({ start, commit, keys: own }, times));
    await Promise.all(shared);
  }

  /** `released` hears of keys whose locks are gone. Rejects as a failed call does. */
  resolve(
    { start, commit, keys }: Resolution,
    times: SpanTimes,
    released?: (keys: readonly Uint8Array[]) => void,
  ): Promise<void> {
    const { calls, metrics } = this.#parts;
    return inGroups(keys, this.#rules, async (group) => {
      const [first] = group;
      if (first === undefined) return NOTHING;
      const reply = await calls.send({ type: 'resolve', start, commit, keys: group }, first, times);
      if (reply.type === 'regroup') return group;
      metrics.resolved(commit > 0 ? 'committed' : 'rolled-back', group.length);
      released?.(group);
      return NOTHING;
    });
  }

  /**
   * Rolls back, at the primary first: a transaction that was committed there, by whoever, is left as it is.
   */
  async rollBack(
    { start, primary, keys }: Rollback,
    times: SpanTimes,
    released: (keys: readonly Uint8Array[]) => void,
  ): Promise<void> {
    const commit = timestamp(0);
    let isCommitted = false;
    await inGroups([primary], this.#rules, async (group) => {
      const reply = await this.#parts.calls.send(
        { type: 'resolve', start, commit, keys: group },
        primary,
        times,
      );
      if (reply.type === 'regroup') return group;
      isCommitted = reply.type === 'committed';
      return NOTHING;
    });
    if (isCommitted) return;
    this.#parts.metrics.resolved('rolled-back', 1);
    released([primary]);
    const name = mapKey(primary);
    const others = keys.filter((key) => mapKey(key) !== name);
    await this.resolve({ start, commit, keys: others }, times, released);
  }

  async #share(resolution: Resolution, times: SpanTimes): Promise<void> {
    const names = resolution.keys.map((key) => nameOf(resolution.start, key));
    const running = this.resolve(resolution, times);
    for (const name of names) this.#underWay.set(name, running);
    try {
      await running;
    } finally {
      for (const name of names) this.#underWay.delete(name);
    }
  }
}

function nameOf(start: Timestamp, key: Uint8Array): string {
  return `${start}/${mapKey(key)}`;
}
