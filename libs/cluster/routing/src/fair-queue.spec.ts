import { describe, expect, it } from '@jest/globals';
import { newKvRequest } from '@cairn/wire';
import fc from 'fast-check';

import { descriptorOf, FakeCluster, key, RouterRig } from './fake-cluster.testing.js';
import { FairQueue } from './fair-queue.js';
import { RoutedOperation } from './operation.js';

const sink = { complete: () => undefined, fail: () => undefined };

function operationOf(caller: string, tag: number): RoutedOperation {
  return new RoutedOperation(newKvRequest(), sink, { tag, timeoutMs: 1_000, caller }, 0);
}

const isLive = (operation: RoutedOperation): boolean => operation.state !== 'done';

describe('the queue for a store', () => {
  it('lets callers take turns, each in its order', () => {
    const queue = new FairQueue();
    for (const [caller, tag] of [
      ['a', 1],
      ['a', 2],
      ['a', 3],
      ['b', 4],
      ['c', 5],
      ['b', 6],
    ] as const)
      queue.push(operationOf(caller, tag));
    const tags: number[] = [];
    for (let next = queue.next(isLive); next !== undefined; next = queue.next(isLive)) tags.push(next.tag);
    expect(tags).toEqual([1, 4, 5, 2, 6, 3]);
    expect(queue.length).toBe(0);
  });

  it('loses nobody, serves nobody twice, and never lets one caller go twice while another waits', () => {
    const step = fc.oneof(fc.constantFrom('a', 'b', 'c'), fc.constantFrom('next', 'end', 'sweep'));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const queue = new FairQueue();
        const waiting: RoutedOperation[] = [];
        let last: string | undefined;
        /** Who waited when the last one was served, and has waited since: they go before it. */
        let others = new Set<string>();
        const callersOf = (): Set<string> => new Set(waiting.map(({ caller }) => caller));
        let tag = 0;
        for (const kind of steps) {
          if (kind === 'next') {
            const taken = queue.next(isLive);
            expect(taken === undefined).toBe(waiting.length === 0);
            if (taken === undefined) continue;
            const first = waiting.findIndex(({ caller }) => caller === taken.caller);
            expect(waiting.splice(first, 1)).toEqual([taken]);
            if (others.size > 0) expect(taken.caller).not.toBe(last);
            last = taken.caller;
            others = callersOf();
            others.delete(taken.caller);
          } else if (kind === 'end') {
            const ended = waiting.pop();
            if (ended !== undefined) ended.state = 'done';
            others = new Set([...others].filter((caller) => callersOf().has(caller)));
          } else if (kind === 'sweep') {
            queue.sweep(isLive);
            expect(queue.length).toBe(waiting.length);
          } else {
            tag += 1;
            const operation = operationOf(kind, tag);
            queue.push(operation);
            waiting.push(operation);
            // A caller who comes anew is behind those who wait.
            if (last === kind) last = undefined;
          }
        }
      }),
    );
  });
});

describe('the queue for a store that never gets empty', () => {
  it('keeps nothing of what passed through it', () => {
    const queue = new FairQueue();
    const waiting = 200;
    for (let tag = 0; tag < waiting; tag += 1) queue.push(operationOf('a', tag));
    let placesMax = 0;
    for (let tag = 0; tag < 5_000; tag += 1) {
      expect(queue.next(isLive)?.tag).toBe(tag);
      queue.push(operationOf('a', tag + waiting));
      placesMax = Math.max(placesMax, queue.places);
    }
    expect(queue.length).toBe(waiting);
    expect(placesMax).toBeLessThanOrEqual(2 * waiting + 64);
  });
});

describe('callers at a store that has its fill', () => {
  it('wait for their own operations only', async () => {
    const rig = new RouterRig(new FakeCluster([descriptorOf(1, ['', ''])]), { outstandingOpsPerStoreMax: 4 });
    await rig.ready();
    const send = (caller: string): RoutedOperation => {
      const request = newKvRequest();
      request.key = key('a');
      return rig.router.execute(request, rig, { tag: 0, timeoutMs: 1_000, caller });
    };
    const many = Array.from({ length: 200 }, () => send('greedy'));
    await rig.run(3);
    const few = [send('modest'), send('modest')];
    await rig.run(6);
    expect(few.map((each) => rig.outcomeOf(each).error)).toEqual([undefined, undefined]);
    expect(many.filter(({ state }) => state === 'queued').length).toBeGreaterThan(150);
  });
});
