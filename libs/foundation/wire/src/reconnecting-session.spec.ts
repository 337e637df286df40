import { describe, expect, it } from '@jest/globals';
import { storeId } from '@cairn/base';
import { noopLogger, type Clock, type ConnectionHandlers, type Timer, type Transport } from '@cairn/ports';

import { ReconnectingSession } from './reconnecting-session.js';

/** Attempts that fail when the test says so, and timers that fire when it says so. */
class Bench {
  readonly attempts: ConnectionHandlers[] = [];
  readonly timers: { readonly delayMs: number; readonly callback: () => void; isCancelled: boolean }[] = [];

  readonly clock: Clock = {
    nowMs: () => 0,
    unixMs: () => 0,
    defer: (callback) => {
      callback();
    },
    setTimer: (delayMs, callback): Timer => {
      const timer = { delayMs, callback, isCancelled: false };
      this.timers.push(timer);
      return {
        cancel: () => {
          timer.isCancelled = true;
        },
      };
    },
  };

  readonly transport: Transport = {
    listen: () => Promise.reject(new Error('nobody listens here')),
    connect: (address) => ({
      remoteAddress: address,
      setHandlers: (handlers) => {
        this.attempts.push(handlers);
      },
      send: () => true,
      queuedBytes: 0,
      receivedBytes: 0,
      isOpen: true,
      close: () => undefined,
      pause: () => undefined,
      resume: () => undefined,
      limitFrames: () => undefined,
    }),
  };

  readonly session = new ReconnectingSession({
    transport: this.transport,
    clock: this.clock,
    logger: noopLogger,
    rng: { next: () => 1, bytes: (length: number) => new Uint8Array(length), integer: () => 0 },
    address: () => 'elsewhere:1',
    hello: () => ({
      protocols: { min: 1, max: 1 },
      clusterVersions: { min: 1, max: 1 },
      build: 'test',
      purpose: 'raft',
      clusterId: 'c1',
      kind: 'shard',
      name: 's',
      storeId: storeId(1),
    }),
    onFrame: () => undefined,
  });

  /** Lets the attempt under way fail; answers how long the session rests then. */
  failAttempt(): number {
    this.attempts.at(-1)?.onClose(new Error('refused'));
    return this.timers.at(-1)?.delayMs ?? Number.NaN;
  }

  fireTimer(): void {
    const timer = this.timers.at(-1);
    if (timer?.isCancelled === false) timer.callback();
  }
}

describe('a session whose other side is away', () => {
  it('rests longer and longer, at most 2 s', () => {
    const bench = new Bench();
    const rests: number[] = [];
    for (let at = 0; at < 9; at += 1) {
      rests.push(bench.failAttempt());
      bench.fireTimer();
    }
    expect(rests).toEqual([0, 50, 100, 200, 400, 800, 1_600, 2_000, 2_000]);
  });

  it('dials at once when told that the other side is back, and only then', () => {
    const bench = new Bench();
    bench.session.retryNow();
    expect(bench.attempts).toHaveLength(1);
    bench.failAttempt();
    const rest = bench.timers.at(-1);
    bench.session.retryNow();
    expect(bench.attempts).toHaveLength(2);
    // The rest that was cut short does not lead to another attempt.
    expect(rest?.isCancelled).toBe(true);
    bench.session.retryNow();
    expect(bench.attempts).toHaveLength(2);
  });

  it('is not woken once it is closed', () => {
    const bench = new Bench();
    bench.failAttempt();
    bench.session.close();
    bench.session.retryNow();
    expect(bench.attempts).toHaveLength(1);
  });
});
