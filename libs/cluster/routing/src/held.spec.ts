/**
 * Goal: operations that a store keeps on purpose, while there is nothing to answer, are no sign that it
 * hangs, and take no places of others. Method: a cluster in one object on virtual time.
 */
import { describe, expect, it } from '@jest/globals';
import { KvOp, newKvRequest } from '@cairn/wire';

import { descriptorOf, FakeCluster, RouterRig } from './fake-cluster.testing.js';
import type { RoutedOperation } from './operation.js';

async function rigOf(outstandingOpsPerStoreMax = 100): Promise<RouterRig> {
  const rig = new RouterRig(new FakeCluster([descriptorOf(1, ['', ''])]), { outstandingOpsPerStoreMax });
  await rig.ready();
  rig.cluster.intercept = (_store, { op }) => (op === KvOp.changes ? 'silent' : undefined);
  return rig;
}

function ask(rig: RouterRig, heldMs: number): RoutedOperation {
  const request = newKvRequest();
  request.op = KvOp.changes;
  request.key = Buffer.from('a');
  return rig.router.execute(request, rig, { tag: 0, timeoutMs: 20_000, heldMs });
}

describe('an operation that a store may hold', () => {
  it('is waited for so long, and is moved like others behind that', async () => {
    const rig = await rigOf();
    const operation = ask(rig, 5_000);
    await rig.run(5_500);
    const asked = (): number[] =>
      [1, 2, 3].map((id) => rig.cluster.store(id).received.filter(({ op }) => op === KvOp.changes).length);
    expect([operation.state, asked()]).toEqual(['sent', [1, 0, 0]]);
    await rig.run(1_000);
    expect(asked()[1]).toBeGreaterThan(0);
    rig.router.cancel(operation);
  });

  it('is given up by its caller without a word about the store', async () => {
    const rig = await rigOf();
    for (let at = 0; at < 20; at += 1) {
      const operation = ask(rig, 5_000);
      await rig.run(900);
      rig.router.cancel(operation);
    }
    expect(rig.router.givenUpStores).toEqual([]);
  });

  it('takes no place of others', async () => {
    const rig = await rigOf(4);
    const held = Array.from({ length: 10 }, () => ask(rig, 10_000));
    await rig.run(10);
    expect(held.map(({ state }) => state)).toEqual(held.map(() => 'sent'));
    const put = rig.put('b');
    await rig.run(10);
    expect(rig.outcomeOf(put).error).toBeUndefined();
    for (const operation of held) rig.router.cancel(operation);
    const later = Array.from({ length: 6 }, () => rig.put('c'));
    await rig.run(50);
    for (const each of later) expect(rig.outcomeOf(each).error).toBeUndefined();
  });
});
