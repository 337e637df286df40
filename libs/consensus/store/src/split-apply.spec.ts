/**
 * Goal: a crash leaves a range whole, or cut, and nothing in between. Method: stores on virtual time whose
 * follower is killed at any moment of a split that takes several blocks of the log.
 */
import { describe, expect, it } from '@jest/globals';
import { rangeId, replicaId, storeId, type RangeDescriptor } from '@cairn/base';

import { encodeCheckpointState } from './checkpoint-state.js';
import { countKeys, KEYED_STORE, put } from './key-machine.testing.js';
import { partsOf } from './store.js';
import { RIG_RANGE, StoresRig } from './stores.testing.js';

const CHILD = rangeId(50);
const IDS = [{ rangeId: CHILD, replicaIds: [501, 502, 503].map((one) => replicaId(one)) }];
/** Each record that names it is longer than a block of the log. */
const LONG_KEY = Buffer.concat([Buffer.from('m'), Buffer.alloc(20_000, 1)]);
const SMALL_LOGS = {
  checkpointBytes: 64 * 1024,
  checkpointIntervalMs: 200,
  logRetentionBytes: 1024,
  logForceTruncateBytes: 64 * 1024,
  snapshotFreeBytesMin: 1,
};
const FROM_MS = 36;
const UNTIL_MS = 64;

/** What the store of a follower has of a split that its process saw so much of. */
async function afterCrash(afterMs: number): Promise<'whole' | 'cut' | 'torn'> {
  const rig = await StoresRig.running(3, { store: KEYED_STORE });
  const { id } = rig.follower;
  await put(rig, RIG_RANGE, 'z', 500);
  rig.at(id).disk.setExtraMs([1, 4]);
  rig.leader.store.splitRange(RIG_RANGE, 1, [LONG_KEY], IDS).catch(() => undefined);
  await rig.run(afterMs);
  rig.at(id).disk.setExtraMs(undefined);
  rig.cut.add(id);
  await rig.restart(id);
  const { store, engine } = rig.at(id);
  const isCut = Buffer.compare(store.replica(RIG_RANGE)?.descriptor.endKey ?? LONG_KEY, LONG_KEY) === 0;
  const hasChild = store.replica(CHILD)?.isInitialised === true;
  rig.cut.clear();
  await rig.run(2_000);
  expect(rig.at(id).fatal).toEqual([]);
  expect(store.replica(CHILD)?.isInitialised).toBe(true);
  expect(await countKeys(engine, 'kz', 'l')).toBe(1);
  if (isCut !== hasChild) return 'torn';
  return isCut ? 'cut' : 'whole';
}

describe('a split', () => {
  it('is there with its parent and its children or not at all, whenever the process is killed', async () => {
    const seen = new Map<number, string>();
    for (let ms = FROM_MS; ms < UNTIL_MS; ms += 1) seen.set(ms, await afterCrash(ms));
    expect([...seen].filter(([, what]) => what === 'torn')).toEqual([]);
    expect(new Set(seen.values())).toEqual(new Set(['whole', 'cut']));
  });
});

/** A follower whose parent has not heard of the split, although the child is there: which must not be. */
async function withTornSplit(): Promise<{ rig: StoresRig; id: number; descriptor: RangeDescriptor }> {
  const rig = await StoresRig.running(3, { config: SMALL_LOGS, store: KEYED_STORE });
  const { id } = rig.follower;
  for (let at = 10; at < 30; at += 1) await put(rig, RIG_RANGE, `z${at}`, 500);
  const whole = rig.replicaAt(id).descriptor;
  await rig.scheduler.settle(rig.leader.store.splitRange(RIG_RANGE, 1, [Buffer.from('m')], IDS), 5_000);
  await rig.run(1_000);
  const { log, raft, replicaId: self } = rig.replicaAt(id);
  const descriptor = rig.replicaAt(id).descriptor;
  const state = { replicaId: self, descriptor: whole, config: raft.configState, confVersionSeen: 0 };
  log.setCheckpoint({
    index: rig.replicaAt(id).appliedIndex,
    term: rig.replicaAt(id).appliedTerm,
    state: encodeCheckpointState({ ...state, installing: undefined }),
  });
  await rig.scheduler.settle(partsOf(rig.at(id).store).log.sync());
  rig.cut.add(storeId(id));
  await rig.restart(id);
  expect(rig.replicaAt(id).descriptor.endKey).toHaveLength(0);
  expect(rig.replicaAt(id, CHILD).isInitialised).toBe(true);
  return { rig, id, descriptor };
}

describe('the rows of a child', () => {
  it('stay when its parent, which still covers them, is removed', async () => {
    const { rig, id, descriptor } = await withTornSplit();
    await put(rig, RIG_RANGE, 'a', 500);
    rig.at(id).store.learnDescriptor({
      ...descriptor,
      epoch: { ...descriptor.epoch, confVersion: 5 },
      replicas: descriptor.replicas.filter(({ storeId: home }) => home !== id),
    });
    await rig.run(5_000);
    expect(rig.at(id).fatal).toEqual([]);
    expect(rig.at(id).store.replica(RIG_RANGE)).toBeUndefined();
    expect(await countKeys(rig.at(id).engine, 'kz', 'l')).toBe(20);
    expect(await countKeys(rig.at(id).engine, 'k', 'kz')).toBe(0);
  });

  it.each([false, true])(
    'stay when a snapshot replaces those of its parent, which still covers them; cut short: %s',
    async (isCutShort) => {
      const { rig, id } = await withTornSplit();
      for (let at = 10; at < 30; at += 1) await put(rig, RIG_RANGE, `a${at}`, 100_000);
      await rig.run(2_000);
      const { engine } = rig.at(id);
      const write = engine.write.bind(engine);
      if (isCutShort)
        engine.write = (batch) => (batch.bytes > 500_000 ? new Promise(() => undefined) : write(batch));
      rig.cut.clear();
      if (isCutShort) {
        const isInstalling = (): boolean => rig.replicaAt(id).installation !== undefined;
        await rig.scheduler.runUntilTrue(isInstalling, 30_000);
        await rig.run(6_000);
        await rig.restart(id);
      }
      await rig.run(20_000);
      expect(rig.at(id).fatal).toEqual([]);
      expect(rig.replicaAt(id).descriptor.endKey).toEqual(Buffer.from('m'));
      expect(await countKeys(rig.at(id).engine, 'kz', 'l')).toBe(20);
      expect(await countKeys(rig.at(id).engine, 'k', 'kz')).toBe(20);
    },
  );
});
