import { afterEach, describe, expect, it } from '@jest/globals';
import { logIndex, rangeId, replicaId, term } from '@cairn/base';
import { noopLogger, noopMetrics } from '@cairn/ports';
import { openRaftLog, type RaftLog } from '@cairn/raft-log';
import { SimDisk, SimRng, SimScheduler } from '@cairn/runtime-sim';

import { recoveredReplicas } from './recovered-replicas.js';
import { Tombstones } from './tombstones.js';

const RANGE = rangeId(7);
const SPANS = [{ start: Buffer.from('a'), end: Buffer.from('b') }];

const disk = new SimDisk(new SimRng('tombstones'));
let log: RaftLog | undefined;

async function open(): Promise<{ log: RaftLog; tombstones: Tombstones }> {
  await log?.close();
  const attached = disk.attach();
  await attached.makeDirectory('/log');
  const clock = new SimScheduler().clockFor('store');
  log = await openRaftLog({
    ...{
      disk: attached,
      directory: '/log',
      clock,
      rng: new SimRng('log'),
      logger: noopLogger,
      metrics: noopMetrics,
    },
    options: { segmentBytes: 64 * 1024 },
  });
  return { log, tombstones: new Tombstones(log) };
}

afterEach(async () => {
  await log?.close();
  log = undefined;
});

describe('a tombstone', () => {
  it('keeps old replicas away for ever and lets newer ones come', async () => {
    const first = await open();
    first.log
      .range(RANGE)
      .setCheckpoint({ index: logIndex(5), term: term(2), state: Buffer.from('replica') });
    expect(first.tombstones.isGone(RANGE, replicaId(3))).toBe(false);
    first.tombstones.begin(RANGE, replicaId(3), SPANS);
    await first.log.sync();

    // A crash before the rows were gone.
    const second = await open();
    expect(second.tombstones.recover()).toEqual([{ rangeId: RANGE, spans: SPANS }]);
    second.log.removeRange(RANGE);
    second.tombstones.finish(RANGE);
    await second.log.sync();

    const third = await open();
    expect(third.tombstones.recover()).toEqual([]);
    expect(third.tombstones.isGone(RANGE, replicaId(3))).toBe(true);
    expect(third.tombstones.isGone(RANGE, replicaId(4))).toBe(false);
    expect(third.tombstones.isGone(rangeId(8), replicaId(3))).toBe(false);
    expect(recoveredReplicas(third.log.rangeIds(), (id) => third.log.range(id))).toEqual([]);
  });

  it('names the file and the place of one that cannot be read', async () => {
    const opened = await open();
    opened.log.range(rangeId(RANGE + 2 ** 47)).setCheckpoint({
      index: logIndex(0),
      term: term(0),
      state: Buffer.of(1, 0),
    });
    await opened.log.sync();
    const again = await open();
    let failure: unknown;
    try {
      again.tombstones.recover();
    } catch (error) {
      failure = error;
    }
    expect(failure).toMatchObject({
      code: 'CORRUPTION',
      details: { path: '/log/segment-0000000001.log', offset: expect.any(Number) as unknown },
    });
  });
});
