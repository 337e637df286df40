import { NOTHING, type Timestamp } from '@cairn/base';
import { compareKeys, type RangeCache, type SpanTimes } from '@cairn/routing';
import { RESERVE_KEYS_MAX, type LockStrength, type ReservedRow } from '@cairn/wire';

import type { GroupLimits } from './groups.js';
import { distinctKeys } from './keys.js';
import type { ReserveRequest } from './types.js';

/** What one command may have. */
export const RESERVE_COMMAND: GroupLimits = { itemsMax: RESERVE_KEYS_MAX, bytesMax: 256 * 1024 };
/** A question that is sent when the time to wait is nearly over has so long to be answered. */
const ANSWER_MS = 500;

interface KeptKey {
  readonly key: Uint8Array;
  strength: LockStrength;
}

/** One owner of reservations, as long as this router keeps them. */
export interface Owner {
  readonly id: Timestamp;
  readonly caller: string;
  readonly beganMs: number;
  readonly keys: Map<string, KeptKey>;
  /** Calls that reserve for it. */
  calls: number;
  isReleased: boolean;
  isRenewing: boolean;
  readonly waiters: Set<() => void>;
}

/** One call that reserves: what it has got so far, and what is left. */
export class Taking {
  readonly owner: Owner;
  readonly request: ReserveRequest;
  readonly rows = new Map<string, ReservedRow>();
  /** Keys that the owner did not have before. */
  readonly taken: Uint8Array[] = [];
  /** Ascending. */
  rest: readonly Uint8Array[];
  readonly #untilMs: number;
  readonly #times: SpanTimes;

  constructor(owner: Owner, request: ReserveRequest, untilMs: number, times: SpanTimes) {
    this.owner = owner;
    this.request = request;
    this.rest = [...distinctKeys(request.keys)].sort(compareKeys);
    this.#untilMs = Math.min(untilMs, times.deadlineMs);
    this.#times = times;
  }

  get isLeft(): boolean {
    return this.rest.length > 0;
  }

  get leftMs(): number {
    return this.#untilMs - this.#times.nowMs();
  }

  get isLate(): boolean {
    return this.leftMs <= 0;
  }

  done(count: number): void {
    this.rest = this.rest.slice(count);
  }

  /** The store may hold the question so long. */
  timesOf(heldMs: number): SpanTimes {
    const { caller, deadlineMs, signal } = this.#times;
    // A question that is sent is given the time to be answered, also when the wait is over at once.
    const answeredMs = Math.max(this.#untilMs, this.#times.nowMs()) + ANSWER_MS;
    return {
      ...{ caller, signal, heldMs, deadlineMs: Math.min(deadlineMs, answeredMs) },
      nowMs: () => this.#times.nowMs(),
    };
  }
}

/** The first keys, as many as one command may have, of one range as far as is known. */
export function groupOf(keys: readonly Uint8Array[], cache: Pick<RangeCache, 'find'>): readonly Uint8Array[] {
  const [first] = keys;
  if (first === undefined) return NOTHING;
  const entry = cache.find(first);
  if (entry === undefined) return [first];
  let bytes = 0;
  let count = 0;
  for (const key of keys) {
    bytes += key.length;
    if (count > 0 && (bytes > RESERVE_COMMAND.bytesMax || cache.find(key) !== entry)) break;
    count += 1;
    if (count === RESERVE_COMMAND.itemsMax) break;
  }
  return keys.slice(0, count);
}
