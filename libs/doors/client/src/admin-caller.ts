import { CairnError } from '@cairn/base';
import { sleep, type Clock, type Rng } from '@cairn/ports';
import { backoffMs, REFUSAL_BACKOFF } from './backoff.js';
import type { KeepAlive } from './dispatcher.js';
import { isRetriable } from './errors.js';
import type { CallOptions } from './options.js';
import type { RouterLink, UnaryMethod } from './router-link.js';
import type { RouterPool } from './router-pool.js';

export interface AdminContext {
  readonly pool: RouterPool;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly keepAlive: KeepAlive;
  readonly timeoutMs: number;
}

/**
 * One administrative call, sent again until its deadline while routers are lost or refuse for the moment.
 * Only for methods that may be repeated; all of cairn.v1.Cluster may.
 */
export async function callAdmin<Request, Response>(
  context: AdminContext,
  method: UnaryMethod<Request, Response>,
  request: Request,
  options: CallOptions,
): Promise<Response> {
  const { pool, clock, rng, keepAlive } = context;
  const deadlineMs = clock.nowMs() + context.timeoutMs;
  keepAlive.hold();
  try {
    for (let attempt = 0; ; attempt += 1) {
      if (options.signal?.aborted === true) throw cancelled(options.signal);
      const timeoutMs = Math.max(1, deadlineMs - clock.nowMs());
      const link = await pool.link({ timeoutMs, failFast: false, signal: options.signal });
      try {
        return await callOnce(clock, link, { method, request, deadlineMs, signal: options.signal });
      } catch (error) {
        if (!CairnError.is(error) || !isRetriable(error)) throw error;
        const waitMs = Math.max(error.retryAfterMs, backoffMs(REFUSAL_BACKOFF, attempt, rng));
        if (clock.nowMs() + waitMs >= deadlineMs) throw error;
        await sleep(clock, waitMs, options.signal).catch(() => {
          throw cancelled(options.signal);
        });
      }
    }
  } finally {
    keepAlive.release();
  }
}

interface OneCall<Request, Response> {
  readonly method: UnaryMethod<Request, Response>;
  readonly request: Request;
  readonly deadlineMs: number;
  readonly signal: AbortSignal | undefined;
}

async function callOnce<Request, Response>(
  clock: Clock,
  link: RouterLink,
  call: OneCall<Request, Response>,
): Promise<Response> {
  const timeoutMs = Math.max(1, call.deadlineMs - clock.nowMs());
  const abort = new AbortController();
  const onAbort = (): void => abort.abort(cancelled(call.signal));
  call.signal?.addEventListener('abort', onAbort, { once: true });
  const timer = clock.setTimer(timeoutMs, () => {
    abort.abort(new CairnError('DEADLINE_EXCEEDED', `no answer within ${Math.ceil(timeoutMs)} ms`));
  });
  try {
    return await link.unary(call.method, call.request, { timeoutMs, signal: abort.signal });
  } catch (error) {
    // A call that we gave up fails with whatever cancelling looks like; say why we did.
    throw abort.signal.aborted ? abort.signal.reason : error;
  } finally {
    timer.cancel();
    call.signal?.removeEventListener('abort', onAbort);
  }
}

function cancelled(signal: AbortSignal | undefined): CairnError {
  // The client was closed.
  if (CairnError.is(signal?.reason) && signal.reason.code === 'CANCELLED') return signal.reason;
  return new CairnError('CANCELLED', 'cancelled by the caller', { cause: signal?.reason });
}
