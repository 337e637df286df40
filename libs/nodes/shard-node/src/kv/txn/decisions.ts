import type { Timestamp } from '@cairn/base';
import { rowCacheKey } from '@cairn/mvcc';

/** Decisions of this leader that it remembers beside the engine. */
const REMEMBERED_MAX = 16_384;

/** What became of a transaction at a key: a row of what transactions came to. */
export interface Decision {
  readonly userKey: Uint8Array;
  readonly start: Timestamp;
  /** 0 = it was rolled back. */
  readonly commit: Timestamp;
}

/**
 * What is known here without the engine. `under-way`: it is in the log and may come to nothing. `unknown`:
 * only the engine can tell.
 */
export type KnownDecision =
  | { readonly type: 'under-way' }
  | { readonly type: 'none' }
  | { readonly type: 'unknown' }
  | { readonly type: 'decided'; readonly commit: Timestamp };

const UNDER_WAY: KnownDecision = { type: 'under-way' };
const NONE: KnownDecision = { type: 'none' };
const UNKNOWN: KnownDecision = { type: 'unknown' };

/** Names a row of what became of a transaction. */
export function decisionName(userKey: Uint8Array, start: Timestamp): string {
  return `${start}/${rowCacheKey(userKey)}`;
}

/**
 * The decisions that this leader has made of late. Nobody decides about a transaction before it has begun,
 * so of one that began after this leadership everything was decided here: while nothing of that is
 * forgotten, the engine need not be asked.
 *
 * Bounded: the newest 16,384.
 */
export class Decisions {
  readonly #underWay = new Set<string>();
  readonly #visible = new Map<string, Decision>();
  #forgottenUpTo = 0;
  #published = 0;

  /** Decisions that became visible so far: what was looked up is true unless it is among those since. */
  get published(): number {
    return this.#published;
  }

  /** Whether so many decisions after a look all of them are still remembered. */
  remembersSince(published: number): boolean {
    return this.#published - published < REMEMBERED_MAX;
  }

  /** `since`: an oracle timestamp of when the leadership began. */
  find(userKey: Uint8Array, start: Timestamp, since: Timestamp): KnownDecision {
    const isComplete = start > since && start > this.#forgottenUpTo;
    if (isComplete && this.#underWay.size === 0 && this.#visible.size === 0) return NONE;
    const name = decisionName(userKey, start);
    if (this.#underWay.has(name)) return UNDER_WAY;
    const decision = this.#visible.get(name);
    if (decision !== undefined) return { type: 'decided', commit: decision.commit };
    return isComplete ? NONE : UNKNOWN;
  }

  proposed(decisions: readonly Decision[]): void {
    for (const { userKey, start } of decisions) this.#underWay.add(decisionName(userKey, start));
  }

  withdrawn(decisions: readonly Decision[]): void {
    for (const { userKey, start } of decisions) this.#underWay.delete(decisionName(userKey, start));
  }

  visible(decisions: readonly Decision[]): void {
    for (const decision of decisions) {
      const name = decisionName(decision.userKey, decision.start);
      this.#underWay.delete(name);
      this.#published += 1;
      this.#visible.set(name, decision);
    }
    for (const [name, { start }] of this.#visible) {
      if (this.#visible.size <= REMEMBERED_MAX) return;
      this.#visible.delete(name);
      this.#forgottenUpTo = Math.max(this.#forgottenUpTo, start);
    }
  }

  /**
   * A snapshot took the place of everything. That happens to followers: who leads next begins after what was
   * decided before.
   */
  clear(): void {
    this.#underWay.clear();
    this.#visible.clear();
  }
}
