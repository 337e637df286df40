import { afterEach, describe, expect, it } from '@jest/globals';
import { logIndex, rangeId, replicaId, storeId, term, type RangeDescriptor } from '@cairn/base';
import { MemoryEngine } from '@cairn/engine';
import { noopLogger, noopMetrics } from '@cairn/ports';
import { openRaftLog, type RaftLog } from '@cairn/raft-log';
import { SimDisk, SimRng, SimScheduler } from '@cairn/runtime-sim';

import { decodeCheckpointState, encodeCheckpointState } from './checkpoint-state.js';
import { Checkpointer } from './checkpointer.js';
import { configStateOf } from './membership.js';
import type { Replica } from './replica.js';
import { DEFAULT_STORE_CONFIG, type StoreConfig } from './store-config.js';
import { StoreMetrics } from './store-metrics.js';

const DESCRIPTOR: RangeDescriptor = {
  rangeId: rangeId(1),
  startKey: Buffer.alloc(0),
  endKey: Buffer.alloc(0),
  epoch: { version: 1, confVersion: 1 },
  replicas: [{ replicaId: replicaId(4), storeId: storeId(1), role: 'voter' }],
};

let log: RaftLog | undefined;

afterEach(async () => {
  await log?.close();
  log = undefined;
});

/**
 * One replica that has applied up to 20, with a checkpoint at 10, and a flush that ends when the test says
 * so.
 */
async function setUp(
  config: Partial<StoreConfig> = {},
  matches: readonly number[] = [],
): Promise<{ checkpointer: Checkpointer; replica: Replica; endFlush: () => void }> {
  const clock = new SimScheduler().clockFor('store');
  const disk = new SimDisk(new SimRng('checkpointer')).attach();
  await disk.makeDirectory('/log');
  log = await openRaftLog({
    ...{ disk, directory: '/log', clock, logger: noopLogger, metrics: noopMetrics },
    rng: new SimRng('log'),
    options: { segmentBytes: 64 * 1024 },
  });
  const range = log.range(rangeId(1));
  range.reset(logIndex(20), term(5));
  range.setCheckpoint({ index: logIndex(10), term: term(5), state: stateOf(undefined) });
  await log.sync();
  let endFlush = (): void => undefined;
  const engine = new MemoryEngine({
    delay: () =>
      new Promise((resolve) => {
        endFlush = resolve;
      }),
  });
  const replica = {
    rangeId: rangeId(1),
    replicaId: replicaId(4),
    log: range,
    descriptorOrUndefined: DESCRIPTOR,
    appliedIndex: logIndex(20),
    appliedTerm: term(5),
    appliedBytesSinceCheckpoint: 100,
    isApplyBlocked: false,
    isClosed: false,
    snapshotHolds: new Set(),
    raft: {
      status: () => ({
        peers: matches.map((match) => ({ match, recentlyActive: true, state: 'replicate' })),
      }),
      configState: configStateOf(DESCRIPTOR),
    },
  } as unknown as Replica;
  const backlog = {
    appliedBytes: 100,
    whenBetweenBatches: (callback: () => void) => {
      callback();
    },
  };
  const checkpointer = new Checkpointer({
    engine,
    log,
    backlog,
    clock,
    config: { ...DEFAULT_STORE_CONFIG, ...config },
    logger: noopLogger,
    metrics: new StoreMetrics(noopMetrics),
    replicas: [replica],
  });
  return {
    checkpointer,
    replica,
    endFlush: () => {
      endFlush();
    },
  };
}

function stateOf(installing: string | undefined): Buffer {
  return encodeCheckpointState({
    replicaId: replicaId(4),
    descriptor: DESCRIPTOR,
    config: configStateOf(DESCRIPTOR),
    confVersionSeen: 0,
    installing,
  });
}

async function turns(): Promise<void> {
  for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
}

describe('a checkpoint', () => {
  it('marks what was applied before the flush began', async () => {
    const { checkpointer, replica, endFlush } = await setUp();
    const running = checkpointer.run();
    await turns();
    replica.appliedIndex = logIndex(25);
    endFlush();
    await running;
    expect(replica.log.checkpoint?.index).toBe(20);
  });

  it('leaves the mark of a snapshot that began to replace the rows during the flush', async () => {
    const { checkpointer, replica, endFlush } = await setUp();
    const running = checkpointer.run();
    await turns();
    replica.isApplyBlocked = true;
    replica.log.setCheckpoint({ index: logIndex(10), term: term(5), state: stateOf('/snapshots/1.spool') });
    endFlush();
    await running;
    const mark = replica.log.checkpoint;
    expect(mark?.index).toBe(10);
    expect(mark === undefined ? undefined : decodeCheckpointState(mark.state).installing).toBe(
      '/snapshots/1.spool',
    );
  });

  it.each([
    ['a follower that needs less than the limit keeps what it needs', 33, 34],
    ['one that needs more keeps the log at its limit', 21, 31],
  ])('cuts a log that is over its limit to the limit: %s', async (_, match, first) => {
    const config = { logForceTruncateBytes: 10_000, logRetentionBytes: 1_000 };
    const { checkpointer, replica, endFlush } = await setUp(config, [match]);
    // Twenty entries of 1,000 bytes behind 20; all are applied.
    for (let index = 21; index <= 40; index += 1) {
      replica.log.append([
        { index: logIndex(index), term: term(5), kind: 1, payload: Buffer.alloc(1_000), record: undefined },
      ]);
    }
    replica.appliedIndex = logIndex(40);
    const running = checkpointer.run();
    await turns();
    endFlush();
    await running;
    expect(replica.log.firstIndex()).toBe(first);
  });
});
