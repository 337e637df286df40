import { describe, expect, it } from '@jest/globals';
import { storeId, timestampToUnixMs } from '@cairn/base';
import { noopLogger, noopMetrics, type Clock } from '@cairn/ports';
import { acceptSession, THIS_BUILD, type Hello } from '@cairn/wire';

import { FakeRaft, type FakeMember } from '../test/fake-raft.js';
import { FakeTransport } from '../test/fake-transport.js';
import { START_UNIX_MS } from '../test/metadata-cluster.js';
import { VirtualClock } from '../test/virtual-clock.js';
import { ClockAsks } from './clock-asks.js';
import { MemberClocks } from './member-clocks.js';
import { createMetadataMetrics } from './metadata-metrics.js';
import { Proposer } from './proposer.js';
import { TimestampOracle } from './timestamp-oracle.js';

const NAMES = ['meta-1', 'meta-2', 'meta-3'];
const HOUR_MS = 3_600_000;

/** A leader, meta-1, that asks the others for the time over a network; wall clocks are moved by a test. */
async function rig() {
  const clock = new VirtualClock(START_UNIX_MS);
  const transport = new FakeTransport(clock);
  const shiftsMs = [0, 0, 0];
  const shown = (index: number): number => clock.unixMs() + (shiftsMs[index] as number);
  const own: Clock = {
    nowMs: () => clock.nowMs(),
    unixMs: () => shown(0),
    setTimer: (delayMs, callback) => clock.setTimer(delayMs, callback),
    defer: (callback) => {
      clock.defer(callback);
    },
  };
  const hello = (index: number): Hello => ({
    ...{ ...THIS_BUILD, purpose: 'rpc', clusterId: '', kind: 'metadata', name: NAMES[index] as string },
    storeId: storeId(0),
    life: { ...{ group: '', incarnation: '', process: '', start: undefined }, unixMs: shown(index) },
  });
  const listeners = await Promise.all(
    [1, 2].map((index) =>
      transport.listen(`${NAMES[index] as string}:7100`, (connection) => {
        acceptSession(connection, {
          ...{ hello: () => hello(index), clock, logger: noopLogger },
          onSession: () => ({ onFrame: () => undefined, onClose: () => undefined }),
        });
      }),
    ),
  );
  const clocks = new MemberClocks(own, 'meta-1', NAMES);
  const asks = new ClockAsks({
    ...{ transport, clock: own, clocks, logger: noopLogger },
    others: NAMES.slice(1).map((name, at) => ({ name, storeId: storeId(at + 2), address: `${name}:7100` })),
    hello: () => hello(0),
  });
  const raft = new FakeRaft(3);
  const group = raft.members[0] as FakeMember;
  const { machine } = group;
  const metrics = createMetadataMetrics(noopMetrics);
  const proposer = new Proposer({ machine, group, metrics });
  const oracle = new TimestampOracle({
    ...{ clock: own, logger: noopLogger, metrics, proposer, isAlone: false },
    wallTime: () => clocks.read(),
    agreedUnixMs: () => asks.agreedUnixMs(),
  });
  machine.setLeadershipListener({
    leadershipGained: (term) => void oracle.open(term).catch(() => undefined),
    leadershipLost: () => {
      oracle.close();
    },
  });
  asks.start();
  await clock.advance(1_000);
  await raft.elect(0);
  await clock.advance(10);
  /** How far the time of a timestamp that is taken now is ahead of what it is. */
  const aheadMs = async (): Promise<number> => {
    const taking = oracle.take(1);
    await clock.advance(10);
    return timestampToUnixMs(await taking) - clock.unixMs();
  };
  return { clock, asks, oracle, shiftsMs, listeners, aheadMs };
}

describe('timestamps of a leader that asks the others for the time', () => {
  it.each([500, 1_000, 2_500, 5_000, 10_000])(
    'do not leap while one clock after the other is wrong, for %i ms each',
    async (wrongMs) => {
      const { clock, asks, shiftsMs, aheadMs } = await rig();
      for (let turn = 0; turn < 12; turn += 1) {
        shiftsMs.fill(0);
        shiftsMs[turn % 3] = HOUR_MS;
        for (let passedMs = 0; passedMs < wrongMs; passedMs += 100) {
          await clock.advance(90);
          expect(Math.abs(await aheadMs())).toBeLessThan(5_100);
        }
      }
      asks.stop();
    },
  );

  it('leap once two clocks show an hour more at one time', async () => {
    const { clock, asks, shiftsMs, aheadMs } = await rig();
    shiftsMs.fill(HOUR_MS, 1);
    await clock.advance(11_000);
    expect(Math.abs((await aheadMs()) - HOUR_MS)).toBeLessThan(100);
    asks.stop();
  });

  it('do not leap on the word of a member that does not answer any more, and go on', async () => {
    const { clock, asks, shiftsMs, listeners, aheadMs } = await rig();
    shiftsMs[1] = HOUR_MS;
    await clock.advance(11_000);
    await listeners[0]?.close();
    shiftsMs[0] = HOUR_MS;
    for (let second = 0; second < 40; second += 1) {
      await clock.advance(990);
      expect(Math.abs(await aheadMs())).toBeLessThan(100);
    }
    asks.stop();
  });

  it('are not handed out by a leader that lost its office while it asked', async () => {
    const { clock, asks, oracle, shiftsMs } = await rig();
    shiftsMs.fill(HOUR_MS, 1);
    await clock.advance(11_000);
    const taking = oracle.take(1);
    const outcome = expect(taking).rejects.toMatchObject({ code: 'NOT_LEADER' });
    oracle.close();
    await clock.advance(10);
    await outcome;
    asks.stop();
  });
});

describe('MemberClocks asked what a majority shows at one moment', () => {
  const clocks = new MemberClocks(new VirtualClock(START_UNIX_MS), 'meta-1', NAMES);
  const agreed = (before: [number, number], own: number, after: [number, number]): number | undefined => {
    const named = (offsets: [number, number]): Map<string, number> =>
      new Map(offsets.map((offsetMs, at) => [`meta-${at + 2}`, offsetMs]));
    return clocks.agreedUnixMs(named(before), own, named(after));
  };

  it('hear no clock that was set between the two answers', () => {
    expect(agreed([HOUR_MS, 0], HOUR_MS, [0, HOUR_MS])).toBeUndefined();
    expect(agreed([0, 0], HOUR_MS, [HOUR_MS, 0])).toBeUndefined();
    expect(agreed([HOUR_MS, 0], HOUR_MS, [HOUR_MS, 0])).toBe(HOUR_MS);
  });

  it('hear clocks within two seconds of each other as one, and none that cannot be expressed', () => {
    expect(agreed([HOUR_MS, HOUR_MS], 0, [HOUR_MS + 2_000, HOUR_MS])).toBe(HOUR_MS);
    expect(agreed([HOUR_MS, 0], HOUR_MS + 2_001, [HOUR_MS, HOUR_MS])).toBeUndefined();
    expect(agreed([2 ** 50, 2 ** 50], 0, [2 ** 50, 2 ** 50])).toBeUndefined();
  });
});
