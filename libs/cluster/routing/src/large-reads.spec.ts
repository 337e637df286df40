import type { CairnError } from '@cairn/base';
import { describe, expect, it } from '@jest/globals';
import { newKvRequest } from '@cairn/wire';

import { AnswersUnderWay } from './answers-under-way.js';
import { descriptorOf, FakeCluster, key, RouterRig } from './fake-cluster.testing.js';
import type { RoutedOperation } from './operation.js';

const MIB = 1024 * 1024;

async function rigOf(): Promise<RouterRig> {
  const rig = new RouterRig(new FakeCluster([descriptorOf(1, ['', ''])]));
  await rig.ready();
  return rig;
}

describe('gets with large answers', () => {
  it('are with a store few at a time, and none is refused for waiting', async () => {
    const rig = await rigOf();
    const store = rig.cluster.store(1);
    store.line = { answerBytes: MIB, bytesPerMs: 100_000 };
    for (let at = 0; at < 20; at += 1) rig.get(`a${at}`);
    await rig.run(1_000);
    for (let at = 0; at < 500; at += 1) rig.get(`b${at}`, 60_000);
    let most = 0;
    while (rig.told.length < 520) {
      await rig.run(10);
      most = Math.max(most, store.received.length - rig.told.length);
    }
    expect(most).toBeGreaterThan(40);
    expect(most).toBeLessThanOrEqual(70);
    expect(rig.codes()).toEqual(Array(520).fill('OK'));
    expect(store.received).toHaveLength(520);
  });

  it('are as many as ever once answers are small again, and writes never wait for them', async () => {
    const rig = await rigOf();
    const store = rig.cluster.store(1);
    store.line = { answerBytes: MIB, bytesPerMs: 100_000 };
    for (let at = 0; at < 20; at += 1) rig.get(`a${at}`);
    await rig.run(1_000);
    store.line = undefined;
    for (let at = 0; at < 500; at += 1) rig.get(`b${at}`, 60_000);
    for (let at = 0; at < 500; at += 1) rig.put(`c${at}`, 60_000);
    await rig.run(3);
    expect(store.received.filter(({ value }) => value !== undefined)).toHaveLength(500);
    await rig.run(1_000);
    const before = store.received.length;
    for (let at = 0; at < 500; at += 1) rig.get(`d${at}`);
    await rig.run(2);
    expect(store.received.length - before).toBe(500);
    await rig.run(100);
    expect(rig.codes()).toEqual(Array(1_520).fill('OK'));
  });

  it('are asked for only as far as their callers take what they get', async () => {
    const answers = new AnswersUnderWay();
    const held = new Map<string, number>();
    const limit = 40 * MIB;
    const all = (): number => [...held.values()].reduce((sum, bytes) => sum + bytes, 0);
    answers.takenBy({
      heldBy: (caller) => held.get(caller) ?? 0,
      allowsAnswer: (own, bytes, underWay) => own + bytes <= limit - all() - underWay,
    });
    const rig = new RouterRig(new FakeCluster([descriptorOf(1, ['', ''])]), {}, 'rig', { answers });
    await rig.ready();
    const store = rig.cluster.store(1);
    store.line = { answerBytes: MIB, bytesPerMs: 100_000 };
    for (let at = 0; at < 20; at += 1) rig.get(`a${at}`);
    await rig.run(1_000);
    const asked = store.received.length;
    let most = 0;
    const sink = {
      complete: ({ caller }: RoutedOperation): void => {
        held.set(caller, (held.get(caller) ?? 0) + MIB);
        most = Math.max(most, all());
      },
      fail: (_: RoutedOperation, error: CairnError): void => {
        throw error;
      },
    };
    const get = (caller: string, at: number): void => {
      const request = newKvRequest();
      request.key = key(`b${at}`);
      rig.router.execute(request, sink, { tag: 0, timeoutMs: 60_000, caller });
    };
    for (let at = 0; at < 200; at += 1) get('deaf', at);
    await rig.run(1_000);
    expect(store.received.length - asked).toBeLessThanOrEqual(24);
    // Whoever comes next finds room, and the deaf one goes on when it takes something.
    get('other', 1_000);
    await rig.run(100);
    expect(held.get('other')).toBe(MIB);
    for (let round = 0; round < 100; round += 1) {
      held.clear();
      await rig.run(20);
    }
    expect(store.received.length - asked).toBe(201);
    expect(most).toBeLessThanOrEqual(limit);
    expect(answers.bytes).toBe(0);
  });

  it('go on elsewhere when the connection is lost while they wait', async () => {
    const rig = await rigOf();
    const store = rig.cluster.store(1);
    store.line = { answerBytes: MIB, bytesPerMs: 10_000 };
    for (let at = 0; at < 20; at += 1) rig.get(`a${at}`);
    await rig.run(3_000);
    for (let at = 0; at < 200; at += 1) rig.get(`b${at}`, 60_000);
    await rig.run(200);
    store.kill();
    rig.cluster.lead(1, 2);
    await rig.run(10_000);
    expect(rig.codes()).toEqual(Array(220).fill('OK'));
  });
});
