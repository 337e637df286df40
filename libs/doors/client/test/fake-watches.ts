import type { ServerWritableStream } from '@grpc/grpc-js';
import { prefixEnd } from '../src/bytes.js';
import {
  WatchResetReason,
  type WatchChange,
  type WatchRequest,
  type WatchResponse,
} from '../src/wire-binding.js';

type WatchCall = ServerWritableStream<WatchRequest, WatchResponse>;

/** Between signs of life. */
const PROGRESS_MS = 50;

/**
 * What a cluster promises of `cairn.v1.Watch`, over the writes of a `FakeStore`: a token is the number of a
 * change. Several fake routers may share one.
 */
export class FakeWatches {
  readonly log: WatchChange[] = [];
  readonly requests: WatchRequest[] = [];
  /** Each watch ends with UNAVAILABLE after so many changes; 0 = never. */
  breakAfter = 0;
  /** What is older than this change is forgotten. */
  oldest = 0;
  readonly #wakes = new Set<() => void>();

  append(change: Omit<WatchChange, 'token' | 'previous' | 'transaction' | 'kind'>): void {
    const before = this.log.filter(({ key }) => key.equals(change.key)).at(-1);
    const previous =
      before === undefined || before.deleted
        ? undefined
        : { value: before.value, timestamp: before.timestamp, expiresUnixMs: before.expiresUnixMs };
    const token = Buffer.from(String(this.log.length + 1).padStart(4, '0'));
    this.log.push({ ...change, previous, transaction: 0, kind: 0, token });
    for (const wake of this.#wakes) wake();
  }

  /** Serves one call until its client gives up. */
  serve(call: WatchCall, isAlive: () => boolean): void {
    const { request } = call;
    this.requests.push(request);
    let at = this.#startOf(request);
    const token = (): Buffer => Buffer.from(String(at).padStart(4, '0'));
    const say = (event: NonNullable<WatchResponse['event']>): void => {
      call.write({ event });
    };
    say({ $case: 'started', value: { timestamp: this.log[at - 1]?.timestamp ?? 1, token: token() } });
    if (at < this.oldest) {
      say({ $case: 'reset', value: { reason: WatchResetReason.HISTORY, oldest: 7 } });
      call.end();
      return;
    }
    let told = 0;
    const wake = (): void => {
      while (at < this.log.length && isAlive()) {
        const change = this.log[at] as WatchChange;
        at += 1;
        if (!isAsked(request, change.key)) continue;
        const shown = request.withPrevious ? change : { ...change, previous: undefined };
        say({ $case: 'changes', value: { changes: [shown] } });
        told += 1;
        if (told !== this.breakAfter) continue;
        end();
        call.emit('error', { code: 14, details: 'broken on purpose' });
        return;
      }
    };
    const timer = setInterval(() => {
      const timestamp = this.log[at - 1]?.timestamp ?? 1;
      if (isAlive()) say({ $case: 'progress', value: { timestamp, token: token() } });
    }, PROGRESS_MS);
    const end = (): void => {
      clearInterval(timer);
      this.#wakes.delete(wake);
    };
    this.#wakes.add(wake);
    call.on('cancelled', end);
    call.on('close', end);
    wake();
  }

  #startOf({ from }: WatchRequest): number {
    switch (from?.$case) {
      case 'token':
        return Number(from.value.toString());
      case 'timestamp':
        return this.log.filter(({ timestamp }) => timestamp <= from.value).length;
      case undefined:
        return this.log.length;
    }
  }
}

function isAsked({ key, prefix, start, end }: WatchRequest, asked: Buffer): boolean {
  if (key.length > 0) return asked.equals(key);
  const first = prefix.length > 0 ? prefix : start;
  const last = prefix.length > 0 ? prefixEnd(prefix) : end;
  return Buffer.compare(asked, first) >= 0 && (last.length === 0 || Buffer.compare(asked, last) < 0);
}
