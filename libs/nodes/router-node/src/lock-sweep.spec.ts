import { describe, expect, it } from '@jest/globals';
import { CairnError, storeId, timestamp, type Timestamp } from '@cairn/base';
import { noopLogger } from '@cairn/ports';
import type { StoreAddress } from '@cairn/routing';
import type { LockInfo, RpcClient } from '@cairn/wire';

import { LockSweep } from './lock-sweep.js';

/* Goal: stores with old locks are asked in turns, one at a time, and what lives hides nothing. */

const STORES: readonly StoreAddress[] = [1, 2].map((id) => ({
  ...{ storeId: storeId(id), address: `store-${id}`, live: true, lost: false },
}));
const lockOf = (start: number): LockInfo => ({
  ...{ key: Buffer.from('k'), primary: Buffer.from('p'), start: timestamp(start), deadline: timestamp(1) },
  owner: timestamp(0),
});

interface Rig {
  readonly sweep: LockSweep;
  readonly asked: { readonly address: string; readonly ignoredStarts: readonly number[] }[];
  readonly swept: number[];
}

function rigOf(
  answer: (ignored: readonly number[]) => Promise<LockInfo[]>,
  living: readonly Timestamp[],
): Rig {
  const asked: Rig['asked'] = [];
  const swept: number[] = [];
  const client = (address: string): RpcClient =>
    ({
      call: async (_: unknown, { ignoredStarts }: { ignoredStarts: number[] }) => {
        asked.push({ address, ignoredStarts });
        return { locks: await answer(ignoredStarts) };
      },
    }) as unknown as RpcClient;
  const sweep = new LockSweep({
    shards: { client },
    coordinator: {
      sweep: (locks) => {
        swept.push(...locks.map(({ start }) => start));
        return Promise.resolve(living);
      },
    },
    logger: noopLogger,
  });
  return { sweep, asked, swept };
}

describe('a sweep of old locks', () => {
  it('asks one store at a time, in turns, and ends what it tells of', async () => {
    const gate = Promise.withResolvers<LockInfo[]>();
    const { sweep, asked, swept } = rigOf(() => gate.promise, []);
    await sweep.look([]);
    const first = sweep.look(STORES);
    await sweep.look(STORES);
    expect(asked).toHaveLength(1);
    gate.resolve([lockOf(5)]);
    await first;
    await sweep.look(STORES);
    expect(new Set(asked.map(({ address }) => address)).size).toBe(2);
    expect(swept).toEqual([5, 5]);
  });

  it('goes on when a store does not answer', async () => {
    let isDown = true;
    const { sweep, swept } = rigOf(
      () => (isDown ? Promise.reject(new CairnError('UNAVAILABLE', 'gone')) : Promise.resolve([lockOf(7)])),
      [],
    );
    await sweep.look(STORES);
    isDown = false;
    await sweep.look(STORES);
    expect(swept).toEqual([7]);
  });

  it('leaves out those that live while they may hide others', async () => {
    const many = Array.from({ length: 64 }, (_, at) => lockOf(at + 1));
    const { sweep, asked } = rigOf(
      (ignored) => Promise.resolve(ignored.length === 0 ? many : [lockOf(99)]),
      [timestamp(3)],
    );
    const [store] = STORES;
    for (let turn = 0; turn < 3; turn += 1) await sweep.look(store === undefined ? [] : [store]);
    expect(asked.map(({ ignoredStarts }) => ignoredStarts)).toEqual([[], [3], []]);
  });
});
