import { CairnError, rethrowInvariant } from '@cairn/base';
import { heldError } from './errors.js';
import { believedUntilMs, callTimeoutMs, Lease, type CoordinationParts } from './lease.js';
import type { HolderRecord, LeaseKeys } from './record.js';
import type { Holding } from './store.js';

export interface AcquireRequest {
  /** For errors: `the lock "x"`. */
  readonly what: string;
  readonly keys: LeaseKeys;
  readonly value: string;
  readonly ttlMs: number;
  /** 0 = one try, Infinity = until it is had. */
  readonly waitMs: number;
  readonly signal: AbortSignal | undefined;
}

type Tried =
  | { readonly kind: 'acquired'; readonly lease: Lease }
  /** Somebody else has it. */
  | { readonly kind: 'held'; readonly seen: Holding }
  /** It may come to nothing, or an answer was lost. */
  | { readonly kind: 'failed'; readonly error: CairnError };

/**
 * Asks until it is had. A wait that is over is noticed between two tries: it may take half a time to live
 * longer.
 *
 * @throws CairnError `LOCKED` when somebody else had it all the time, `CANCELLED` after the signal, and what
 *   the store rejects with. After an error whose outcome is not known, or that came while a try was under
 *   way, the name may be held by nobody who knows, for a time to live.
 */
export async function acquire(parts: CoordinationParts, request: AcquireRequest): Promise<Lease> {
  const { clock, waiter } = parts;
  const { keys, signal } = request;
  const session = Buffer.from(parts.rng.bytes(16)).toString('hex');
  const deadlineMs = clock.nowMs() + request.waitMs;
  let seen: Holding | undefined;
  let round = 0;
  for (let attempt = 1; ; attempt += 1) {
    if (signal?.aborted === true) throw cancelled(request, signal);
    const tried = await tryOnce(parts, request, { session, attempt, value: request.value });
    if (tried.kind === 'acquired') return tried.lease;
    const remainingMs = deadlineMs - clock.nowMs();
    if (remainingMs <= 0) {
      throw tried.kind === 'held' ? heldError(request.what, tried.seen.holder?.value ?? '') : tried.error;
    }
    if (tried.kind === 'held') {
      round = tried.seen.token === seen?.token ? round + 1 : 0;
      seen = tried.seen;
    } else {
      round += 1;
    }
    await waiter.changed(keys, seen, { round, atMostMs: remainingMs, signal }).catch((error: unknown) => {
      rethrowInvariant(error);
      throw signal?.aborted === true ? cancelled(request, signal) : error;
    });
  }
}

async function tryOnce(
  parts: CoordinationParts,
  request: AcquireRequest,
  record: HolderRecord,
): Promise<Tried> {
  const { keys, ttlMs, signal } = request;
  const options = { timeoutMs: callTimeoutMs(ttlMs), ...(signal === undefined ? {} : { signal }) };
  const sentAtMs = parts.clock.nowMs();
  try {
    const outcome = await parts.store.acquire(keys, record, ttlMs, options);
    if (outcome.acquired) {
      return await confirmed(parts, request, { record, token: outcome.token, sentAtMs });
    }
    // Of an earlier try, whose answer was lost.
    const own = outcome.holder?.session === record.session ? outcome.holder : undefined;
    if (own === undefined) return { kind: 'held', seen: outcome };
    return await confirmed(parts, request, { record: own, token: outcome.token, sentAtMs: -Infinity });
  } catch (error) {
    rethrowInvariant(error);
    if (!CairnError.is(error) || !mayTryAgain(error)) throw error;
    return { kind: 'failed', error };
  }
}

/** A lease that is believed in: at once, or after a further sign of life if too much time has passed. */
async function confirmed(
  parts: CoordinationParts,
  request: AcquireRequest,
  got: { readonly record: HolderRecord; readonly token: bigint; readonly sentAtMs: number },
): Promise<Tried> {
  const { clock, store } = parts;
  const { what, keys, ttlMs, signal } = request;
  const { record, token } = got;
  if (signal?.aborted === true) {
    await store.remove(keys, record, { timeoutMs: callTimeoutMs(ttlMs) });
    throw cancelled(request, signal);
  }
  let untilMs = believedUntilMs(got.sentAtMs, ttlMs);
  if (clock.nowMs() >= untilMs) {
    const sentAtMs = clock.nowMs();
    const change = { expected: record, record, ttlMs };
    const { replaced } = await store.replace(keys, change, { timeoutMs: callTimeoutMs(ttlMs) });
    untilMs = believedUntilMs(sentAtMs, ttlMs);
    // The row of one try is written once: if it is there it has the token that came with it.
    if (!replaced || clock.nowMs() >= untilMs) {
      const error = new CairnError('UNAVAILABLE', `${what} was had for less time than it took to hear of it`);
      return { kind: 'failed', error };
    }
  }
  return { kind: 'acquired', lease: new Lease(parts, { what, keys, token, record, ttlMs, untilMs }) };
}

/** Nothing happened, or the next try finds out what did. */
function mayTryAgain({ code, retryClass }: CairnError): boolean {
  return (
    code === 'DEADLINE_EXCEEDED' ||
    retryClass === 'undetermined' ||
    retryClass === 'back-off' ||
    retryClass === 'restart'
  );
}

function cancelled({ what }: AcquireRequest, signal: AbortSignal): CairnError {
  return new CairnError('CANCELLED', `nobody waits for ${what} any more`, { cause: signal.reason });
}
