import { CairnError, rethrowInvariant, type Timestamp } from '@cairn/base';
import type { Clock } from '@cairn/ports';
import { compareKeys, perform, type RequestRouter } from '@cairn/routing';
import {
  decodeChangesReply,
  encodeChangesRequest,
  KvOp,
  newKvRequest,
  type ChangesReply,
  type ChangesRequest,
} from '@cairn/wire';

import { isBelow } from './spans.js';
import type { Asking, ChangesSource, KeySpan } from './types.js';

/** Beyond the time that a leader may hold a question. */
const ASK_TIMEOUT_MS = 5_000;

export interface RouterSourceParts {
  readonly router: RequestRouter;
  readonly timestamps: { timestamp(): Promise<Timestamp> };
  readonly clock: Clock;
}

/** The ranges of a cluster, through the router. */
export class RouterSource implements ChangesSource {
  readonly #parts: RouterSourceParts;

  constructor(parts: RouterSourceParts) {
    this.#parts = parts;
  }

  timestamp(): Promise<Timestamp> {
    return this.#parts.timestamps.timestamp();
  }

  ranges({ start, end }: KeySpan): KeySpan[] {
    const { cache } = this.#parts.router;
    const found: KeySpan[] = [];
    let at = start;
    while (isBelow(at, end)) {
      const entry = cache.find(at) ?? this.#unknown(at, end);
      found.push({ start: entry.startKey, end: entry.endKey });
      if (entry.endKey.length === 0) break;
      at = entry.endKey;
    }
    return found;
  }

  /** From the key up to the next range that is known, or to the end of the span. */
  #unknown(
    startKey: Uint8Array,
    end: Uint8Array,
  ): { readonly startKey: Uint8Array; readonly endKey: Uint8Array } {
    for (const entry of this.#parts.router.cache.entries()) {
      if (compareKeys(entry.startKey, startKey) <= 0) continue;
      const endKey = isBelow(entry.startKey, end) ? entry.startKey : end;
      return { startKey, endKey };
    }
    return { startKey, endKey: end };
  }

  async ask(question: ChangesRequest, { readTimestamp, signal }: Asking): Promise<ChangesReply> {
    const { clock, router } = this.#parts;
    const request = newKvRequest();
    request.op = KvOp.changes;
    request.key = question.start;
    request.value = encodeChangesRequest(question);
    request.readTimestamp = readTimestamp;
    const { waitMs } = question;
    const response = await perform(router, request, {
      deadlineMs: clock.nowMs() + waitMs + ASK_TIMEOUT_MS,
      ...{ signal, heldMs: waitMs },
      nowMs: () => clock.nowMs(),
    });
    try {
      if (response.value !== undefined) return decodeChangesReply(response.value);
    } catch (error) {
      rethrowInvariant(error);
      throw new CairnError('INTERNAL', 'a shard node told of changes what cannot be read', { cause: error });
    }
    throw new CairnError('INTERNAL', 'a shard node told nothing of changes');
  }
}
