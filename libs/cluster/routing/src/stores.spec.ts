import { describe, expect, it } from '@jest/globals';
import { storeId, type StoreId } from '@cairn/base';
import { noopLogger } from '@cairn/ports';

import { Stores } from './stores.js';

describe('the stores of a router', () => {
  it('that were declared lost are dialled no more', () => {
    const dialled: StoreId[] = [];
    const closed: StoreId[] = [];
    const timers = new Set<() => void>();
    const stores = new Stores({
      clock: {
        nowMs: () => 0,
        unixMs: () => 0,
        defer: (callback) => timers.add(callback),
        setTimer: (_, callback) => {
          timers.add(callback);
          return { cancel: () => timers.delete(callback) };
        },
      },
      rng: { next: () => 0, integer: () => 0, bytes: (length) => new Uint8Array(length) },
      logger: noopLogger,
      connector: {
        connect: (id) => {
          dialled.push(id);
          return {
            send: () => undefined,
            cancel: () => undefined,
            ...{ queuedBytes: 0, largeBytes: 0 },
            close: () => closed.push(id),
          };
        },
      },
      events: {
        onLost: () => undefined,
        onAnswer: () => undefined,
        onTimestamp: () => undefined,
        onNonsense: () => undefined,
        onGivenUp: () => undefined,
      },
      breaker: { failuresMax: 3, pauseMs: 250, pauseMsMax: 4_000 },
      ...{ pendingMax: 16, scansMax: 4 },
    });
    const [one, two, three] = [storeId(1), storeId(2), storeId(3)];
    const address = '127.0.0.1:1';
    const named = { address, live: true, lost: false };
    stores.update([
      { ...named, storeId: one },
      { ...named, storeId: two, address: '127.0.0.1:2' },
    ]);
    // Another store has its address now.
    const later = [
      { ...named, storeId: one, live: false, lost: true },
      { ...named, storeId: three },
    ];
    stores.update(later);
    stores.update(later);
    expect({ dialled, closed }).toEqual({ dialled: [one, two, three], closed: [one] });
    expect(stores.get(one)).toBe(undefined);
    for (const callback of timers) callback();
    expect(dialled).toHaveLength(3);
  });
});
