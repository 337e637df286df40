import { describe, expect, it } from '@jest/globals';
import { term, timestampToUnixMs, TIMESTAMP_LOGICAL_STEPS } from '@cairn/base';
import { noopMetrics } from '@cairn/ports';
import fc from 'fast-check';

import { FakeRaft, type FakeMember } from '../test/fake-raft.js';
import { recordingLogger, START_UNIX_MS, type LogLine } from '../test/metadata-cluster.js';
import { settle, VirtualClock } from '../test/virtual-clock.js';
import { createMetadataMetrics } from './metadata-metrics.js';
import { MemberClocks } from './member-clocks.js';
import { Proposer } from './proposer.js';
import { TimestampOracle } from './timestamp-oracle.js';

const DAY_MS = 24 * 3_600_000;
const MINUTE_MS = 60_000;

interface Seat {
  readonly member: FakeMember;
  readonly oracle: TimestampOracle;
  readonly proposer: Proposer;
}

/** Three members, each with an oracle that follows its machine's leadership, and a wall clock of its own. */
class Bench {
  readonly raft = new FakeRaft(3);
  readonly lines: LogLine[] = [];
  readonly clocks = this.raft.members.map(() => new VirtualClock(START_UNIX_MS));
  /** Each member hears of the clocks of the others when it is looked at. */
  areClocksHeard = true;
  readonly seats: Seat[] = this.raft.members.map((member, index) => {
    const metrics = createMetadataMetrics(noopMetrics);
    const proposer = new Proposer({ machine: member.machine, group: member, metrics });
    const clock = this.clocks[index] as VirtualClock;
    const oracle = new TimestampOracle({
      clock,
      logger: recordingLogger(this.lines),
      metrics,
      proposer,
      wallTime: () => this.wallTime(index),
      agreedUnixMs: () => {
        const { unixMs, isAgreed } = this.wallTime(index);
        return Promise.resolve(isAgreed ? unixMs : undefined);
      },
      isAlone: false,
    });
    member.machine.setLeadershipListener({
      leadershipGained: (term) => void oracle.open(term).catch(() => undefined),
      leadershipLost: () => {
        oracle.close();
      },
    });
    return { member, oracle, proposer };
  });

  async elect(index: number, options?: Parameters<FakeRaft['elect']>[1]): Promise<Seat> {
    await this.raft.elect(index, options);
    await settle();
    return this.seats[index] as Seat;
  }

  /** Of the member, with what it hears of the others. */
  wallTime(index: number): ReturnType<MemberClocks['read']> {
    const clocks = new MemberClocks(this.clock(index), 'meta-1', ['meta-1', 'meta-2', 'meta-3']);
    const others = this.areClocksHeard ? this.clocks.filter((_, at) => at !== index) : [];
    others.forEach((other, at) => {
      clocks.heard(`meta-${at + 2}`, other.unixMs());
    });
    return clocks.read();
  }

  /** Time passes on all machines. */
  async advance(ms: number): Promise<void> {
    await Promise.all(this.clocks.map((clock) => clock.advance(ms)));
  }

  clock(index: number): VirtualClock {
    return this.clocks[index] as VirtualClock;
  }
}

describe('TimestampOracle', () => {
  it('resembles the wall clock and hands out runs', async () => {
    const bench = new Bench();
    const { oracle } = await bench.elect(0);
    const first = await oracle.take(10);
    expect(timestampToUnixMs(first)).toBe(START_UNIX_MS);
    expect(await oracle.take(1)).toBe(first + 10);
    await bench.advance(5);
    expect(timestampToUnixMs(await oracle.take(1))).toBe(START_UNIX_MS + 5);
  });

  it('refuses while it does not lead, and counts that are out of range', async () => {
    const bench = new Bench();
    await expect(bench.seats[0]?.oracle.take(1)).rejects.toMatchObject({ code: 'NOT_LEADER' });
    const { oracle } = await bench.elect(0);
    await expect(oracle.take(0)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    await expect(oracle.take(65_537)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  it('serves nothing before its bound is committed, nothing above it', async () => {
    const bench = new Bench();
    const { oracle, member } = await bench.elect(0);
    const before = await oracle.take(1);
    bench.raft.isHeld = true;
    await bench.advance(60_000);
    let isServed = false;
    const taking = oracle.take(1).finally(() => (isServed = true));
    await settle();
    expect(isServed).toBe(false);
    expect(member.machine.state.timestampBound).toBeGreaterThan(before);

    bench.raft.isHeld = false;
    await bench.raft.pump();
    const first = await taking;
    expect(timestampToUnixMs(first)).toBe(START_UNIX_MS + 60_000);
    expect(first).toBeLessThan(member.machine.state.timestampBound);
  });

  it('moves the bound ahead before the window is used up', async () => {
    const bench = new Bench();
    const { oracle, member } = await bench.elect(0);
    for (let second = 0; second < 60; second += 1) {
      const commands = bench.raft.log.length;
      const first = await oracle.take(1);
      // Handed out at once: nothing was committed in between.
      expect(bench.raft.log.length - commands).toBeLessThanOrEqual(1);
      await settle();
      expect(member.machine.state.timestampBound - first).toBeGreaterThanOrEqual(
        1_500 * TIMESTAMP_LOGICAL_STEPS,
      );
      await bench.clock(0).advance(1_000);
    }
    expect(bench.raft.log.length).toBeLessThan(45);
  });

  it('borrows from the milliseconds to come when more is asked than a millisecond has', async () => {
    const bench = new Bench();
    const { oracle, member } = await bench.elect(0);
    const first = await oracle.take(1);
    let last = first as number;
    for (let i = 0; i < 400; i += 1) {
      const next = await oracle.take(65_536);
      expect(next).toBeGreaterThan(last);
      last = next + 65_535;
      expect(last).toBeLessThan(member.machine.state.timestampBound);
    }
    expect(last - first).toBe(400 * 65_536);
    expect((last - first) / TIMESTAMP_LOGICAL_STEPS).toBeGreaterThan(3_000);
  });

  it('follows no leader whose clock is ten minutes ahead or behind of the others', async () => {
    const bench = new Bench();
    await (await bench.elect(0)).oracle.take(1);
    for (const offMs of [10 * MINUTE_MS, -10 * MINUTE_MS]) {
      bench.clock(1).wallOffsetMs = START_UNIX_MS + offMs;
      await bench.elect(0);
      await bench.advance(10_000);
      const { oracle } = await bench.elect(1);
      const at = timestampToUnixMs(await oracle.take(1));
      expect(Math.abs(at - bench.clock(0).unixMs())).toBeLessThan(5_000);
      await bench.advance(60_000);
      expect(timestampToUnixMs(await oracle.take(1))).toBe(bench.clock(0).unixMs());
    }
  });

  it('passes with the monotonic clock while nobody agrees, and says so once', async () => {
    const bench = new Bench();
    bench.areClocksHeard = false;
    const { oracle } = await bench.elect(0);
    await oracle.take(1);
    const clock = bench.clock(0);
    clock.wallOffsetMs += 10 * MINUTE_MS;
    await clock.advance(1_000);
    expect(timestampToUnixMs(await oracle.take(1))).toBe(START_UNIX_MS + 1_000);
    await clock.advance(10_000);
    expect(timestampToUnixMs(await oracle.take(1))).toBe(START_UNIX_MS + 11_000);
    expect(bench.lines.filter((line) => line.level === 'warn')).toHaveLength(1);

    clock.wallOffsetMs -= 20 * MINUTE_MS;
    await clock.advance(10_000);
    expect(timestampToUnixMs(await oracle.take(1))).toBe(START_UNIX_MS + 21_000);
    clock.wallOffsetMs += 10 * MINUTE_MS;
    await oracle.take(1);
    expect(bench.lines.at(-1)?.event).toBe('wall clocks believed again');
  });

  it('leaps to where most members are, as after a night in which the cluster stood still', async () => {
    const bench = new Bench();
    await (await bench.elect(0)).oracle.take(1);
    for (const clock of bench.clocks) clock.wallOffsetMs += DAY_MS;
    const { oracle } = await bench.elect(1);
    expect(timestampToUnixMs(await oracle.take(1))).toBe(START_UNIX_MS + DAY_MS);
    expect(bench.lines.filter((line) => line.level === 'warn')).toHaveLength(1);
  });

  it('passes slower while most clocks are far behind it', async () => {
    const bench = new Bench();
    const { oracle } = await bench.elect(0);
    const first = timestampToUnixMs(await oracle.take(1));
    for (const clock of bench.clocks) clock.wallOffsetMs -= MINUTE_MS;
    for (let second = 0; second < 100; second += 1) {
      await bench.advance(1_000);
      await oracle.take(1);
    }
    expect(timestampToUnixMs(await oracle.take(1)) - first).toBeGreaterThanOrEqual(89_000);
    expect(timestampToUnixMs(await oracle.take(1)) - first).toBeLessThanOrEqual(91_000);
  });

  it('follows a clock that nobody agrees with as far as the setting allows', async () => {
    const bench = new Bench();
    bench.areClocksHeard = false;
    const before = await (await bench.elect(0)).oracle.take(1);
    bench.clock(1).wallOffsetMs += 30 * MINUTE_MS;
    const { oracle, proposer } = await bench.elect(1);
    const after = await oracle.take(1);
    expect(after).toBeGreaterThan(before);
    expect(timestampToUnixMs(after)).toBeLessThan(START_UNIX_MS + 10_000);
    const value = String(DAY_MS);
    const name = 'timestamp.clock_jump_max_milliseconds';
    await proposer.run(() => ({ changes: [{ type: 'setting', name, value }], result: undefined }));
    // The setting is read whenever the window moves.
    await bench.clock(1).advance(5_000);
    await oracle.take(1);
    expect(timestampToUnixMs(await oracle.take(1))).toBe(START_UNIX_MS + 30 * MINUTE_MS + 5_000);
  });

  it('refuses a clock beyond what timestamps can express with a sentence', async () => {
    const bench = new Bench();
    for (const clock of bench.clocks) clock.wallOffsetMs = 2 ** 50;
    await bench.raft.elect(0);
    await expect((bench.seats[0] as Seat).oracle.open(term(9))).rejects.toMatchObject({
      code: 'UNAVAILABLE',
    });
  });

  it('goes on when a majority shows what timestamps cannot express, and afterwards', async () => {
    const bench = new Bench();
    const { oracle } = await bench.elect(0);
    let last = await oracle.take(1);
    for (const offsetMs of [2 ** 50, 0]) {
      bench.clock(1).wallOffsetMs = offsetMs;
      bench.clock(2).wallOffsetMs = offsetMs;
      for (let second = 0; second < 10; second += 1) {
        await bench.advance(1_000);
        const next = await oracle.take(1);
        expect(next).toBeGreaterThan(last);
        last = next;
      }
    }
    expect(Math.abs(timestampToUnixMs(last) - START_UNIX_MS - 20_000)).toBeLessThan(2_000);
  });

  it('is not pushed ahead of time by whoever takes many', async () => {
    const bench = new Bench();
    const { oracle } = await bench.elect(0);
    let last = await oracle.take(1);
    let code = '';
    for (let count = 0; count < 5_000 && code === ''; count += 1) {
      await oracle.take(65_536).then(
        (first) => (last = first),
        (error: unknown) => (code = (error as { code: string }).code),
      );
    }
    expect(code).toBe('RESOURCE_EXHAUSTED');
    expect(timestampToUnixMs(last) - START_UNIX_MS).toBeLessThan(26_000);
  });

  it('forgets its memory with leadership: a later leadership of its own begins at the bound', async () => {
    const bench = new Bench();
    const mine = (await bench.elect(0)).oracle;
    await mine.take(1);
    const other = await (await bench.elect(1)).oracle.take(1);
    await bench.elect(0);
    expect(await mine.take(1)).toBeGreaterThan(other);
  });

  it('only ever grows, over failovers, stale leaders, held commits and any clock', async () => {
    const member = fc.nat(2);
    const action = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.record({
          type: fc.constant('take' as const),
          count: fc.integer({ min: 1, max: 65_536 }),
        }),
      },
      { weight: 2, arbitrary: fc.record({ type: fc.constant('pass' as const), member, ms: fc.nat(10_000) }) },
      {
        weight: 2,
        arbitrary: fc.record({
          type: fc.constant('jump' as const),
          member,
          ms: fc.integer({ min: -400 * DAY_MS, max: 400 * DAY_MS }),
        }),
      },
      {
        weight: 2,
        arbitrary: fc.record({
          type: fc.constant('elect' as const),
          member,
          keep: fc.nat(3),
          isNoticed: fc.boolean(),
        }),
      },
      { weight: 1, arbitrary: fc.record({ type: fc.constant('hold' as const), isHeld: fc.boolean() }) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(action, { maxLength: 40 }), async (actions) => {
        const bench = new Bench();
        await bench.elect(0);
        let highest = 0;
        const take = async ({ member: each, oracle }: Seat, count: number, floor: number): Promise<void> => {
          await each.readBarrier();
          const first = await oracle.take(count);
          expect(first).toBeGreaterThan(floor);
          const last = first + count - 1;
          expect(last).toBeLessThan(each.machine.state.timestampBound);
          highest = Math.max(highest, last);
        };
        for (const step of actions) {
          if (step.type === 'take') {
            // Whoever believes to lead is asked; what was handed out before the question is the floor.
            const asked = bench.seats.filter((seat) => seat.member.isLeader);
            const floor = highest;
            for (const seat of asked) take(seat, step.count, floor).catch(throwUnlessCoded);
          } else if (step.type === 'pass') await bench.clock(step.member).advance(step.ms);
          else if (step.type === 'jump') bench.clock(step.member).wallOffsetMs += step.ms;
          else if (step.type === 'elect') await bench.elect(step.member, step);
          else {
            bench.raft.isHeld = step.isHeld;
            await bench.raft.pump();
          }
          await settle();
        }
        bench.raft.isHeld = false;
        await bench.raft.pump();
        await settle();
        const floor = highest;
        const leader = bench.seats.find((seat) => seat.member === bench.raft.leader) as Seat;
        await take(leader, 1, floor);
        expect(failures.splice(0)).toEqual([]);
      }),
      { numRuns: 200 },
    );
  });
});

const failures: unknown[] = [];

/** Refusals are fine; a broken expectation is kept for the end of the run. */
function throwUnlessCoded(error: unknown): void {
  const code = (error as { code?: unknown }).code;
  if (code === 'NOT_LEADER' || code === 'OUTCOME_UNKNOWN' || code === 'RESOURCE_EXHAUSTED') return;
  failures.push(error);
}
