import type { SpanTimes } from '@cairn/routing';
import { toServiceError } from '@cairn/wire';

import type { DoorCall, UnaryDoor } from '../calls.js';
import type { DoorContext } from './door-context.js';
import { OpenCall } from './open-call.js';
import type { CallWeight } from './transaction-calls.js';

/** Time the caller leaves, milliseconds; `unnamedMs` when it names none. */
export function timeoutOf(
  context: DoorContext,
  call: DoorCall,
  unnamedMs = context.requestTimeoutMs,
): number {
  const deadline = call.getDeadline();
  if (deadline === Infinity) return unnamedMs;
  const unixMs = typeof deadline === 'number' ? deadline : deadline.getTime();
  return Math.max(1, unixMs - context.clock.unixMs());
}

/** Calls that take several operations. */
export function severalDoors(context: DoorContext) {
  return <Request, Response>(
      weightOf: (request: Request) => CallWeight,
      work: (request: Request, times: SpanTimes, open: OpenCall) => Promise<Response>,
    ): UnaryDoor<Request, Response> =>
    (call, callback) => {
      const run = async (): Promise<Response> => {
        const open = new OpenCall(context, call, weightOf(call.request));
        const response = await work(call.request, timesOf(context, call), open);
        open.answered();
        return response;
      };
      run().then(
        (response) => {
          callback(null, response);
        },
        (error: unknown) => {
          callback(toServiceError(error));
        },
      );
    };
}

/** Deadline and end of a call, for the operations that it takes. */
export function timesOf(context: DoorContext, call: DoorCall, unnamedMs?: number): SpanTimes {
  const abort = new AbortController();
  call.on('cancelled', () => {
    abort.abort();
  });
  return {
    deadlineMs: context.clock.nowMs() + timeoutOf(context, call, unnamedMs),
    signal: abort.signal,
    caller: call.getPeer(),
    nowMs: () => context.clock.nowMs(),
  };
}
