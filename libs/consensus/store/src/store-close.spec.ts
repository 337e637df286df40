import { describe, expect, it } from '@jest/globals';
import { CairnError } from '@cairn/base';

import { partsOf } from './store.js';
import { StoresRig, type RigStore } from './stores.testing.js';

const FAILURE = new CairnError('INTERNAL', 'EIO');

/** The next batch of the engine is under way until what is returned is called, which fails it. */
async function batchUnderWay(rig: StoresRig): Promise<() => void> {
  const { engine, store } = rig.at(1);
  const { promise, reject } = Promise.withResolvers<void>();
  engine.write = () => promise;
  rig.propose(10);
  await rig.scheduler.runUntilTrue(() => partsOf(store).backlog.isBatchUnderWay, 1_000);
  return () => {
    reject(FAILURE);
  };
}

function closing({ store }: RigStore): { isOver: boolean; error: unknown } {
  const outcome = { isOver: false, error: undefined as unknown };
  store
    .close()
    .catch((error: unknown) => (outcome.error = error))
    .finally(() => (outcome.isOver = true));
  return outcome;
}

/** Closing waits for the batch that is under way, and ends once it has failed. */
async function expectEndWith(rig: StoresRig, fail: () => void): Promise<void> {
  const outcome = closing(rig.at(1));
  await rig.run(1_000);
  expect(outcome.isOver).toBe(false);
  fail();
  await rig.run(1_000);
  expect(outcome).toEqual({ isOver: true, error: undefined });
}

async function expectLogClosed({ store }: RigStore): Promise<void> {
  const { log } = partsOf(store);
  await expect(Promise.resolve().then(() => log.sync())).rejects.toThrow('the raft log is closed');
}

describe('a store that is closed', () => {
  it('ends when the engine fails while the checkpoint waits for it', async () => {
    const rig = await StoresRig.running(1);
    const fail = await batchUnderWay(rig);
    await expectEndWith(rig, fail);
    expect(rig.at(1).fatal).toEqual([FAILURE]);
  });

  it('ends when the engine fails with what the checkpoint did not wait for', async () => {
    const rig = await StoresRig.running(1);
    const { checkpointer } = partsOf(rig.at(1).store);
    const fail = await batchUnderWay(rig);
    checkpointer.run = () => Promise.resolve();
    await expectEndWith(rig, fail);
  });

  it('tells what the last checkpoint failed for, and lets go of the log', async () => {
    const rig = await StoresRig.running(1);
    const { engine } = rig.at(1);
    rig.propose(10);
    await rig.run(100);
    engine.flush = () => Promise.reject(FAILURE);
    const outcome = closing(rig.at(1));
    await rig.run(1_000);
    expect(outcome).toEqual({ isOver: true, error: FAILURE });
    await expectLogClosed(rig.at(1));
  });

  it('lets go of the log also after it has failed, and is closed once', async () => {
    const rig = await StoresRig.running(1);
    const { store } = rig.at(1);
    partsOf(store).life.fatal(FAILURE);
    await rig.scheduler.settle(Promise.all([store.close(), store.close()]));
    await expectLogClosed(rig.at(1));
  });
});
