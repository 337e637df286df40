import { describe, expect, it } from '@jest/globals';
import { InvariantError } from '@cairn/base';
import { sleep } from '@cairn/ports';
import { SimRng, SimScheduler } from './index.js';

describe('the scheduler of virtual time', () => {
  it('runs events by time, then by order of scheduling', async () => {
    const scheduler = new SimScheduler();
    const seen: string[] = [];
    for (const [delayMs, name] of [
      [5, 'c'],
      [1, 'a'],
      [5, 'd'],
      [1, 'b'],
      [9, 'late'],
    ] as const) {
      scheduler.schedule(delayMs, () => seen.push(`${scheduler.nowMs}${name}`));
    }
    await scheduler.runUntil(5);
    expect(seen).toEqual(['1a', '1b', '5c', '5d']);
    expect(scheduler.nowMs).toBe(5);
    await scheduler.runUntilIdle();
    expect(seen.at(-1)).toBe('9late');
  });

  it('agrees with sorting for many random events', async () => {
    const rng = new SimRng(1);
    const scheduler = new SimScheduler();
    const wanted: { at: number; id: number }[] = [];
    const seen: number[] = [];
    for (let id = 0; id < 2000; id += 1) {
      const at = rng.integer(100);
      wanted.push({ at, id });
      scheduler.schedule(at, () => seen.push(id));
    }
    wanted.sort((left, right) => left.at - right.at || left.id - right.id);
    await scheduler.runUntilIdle();
    expect(seen).toEqual(wanted.map((one) => one.id));
  });

  it('runs long promise chains of an event before the next event', async () => {
    const scheduler = new SimScheduler();
    const seen: string[] = [];
    scheduler.schedule(1, () => {
      void (async () => {
        for (let count = 0; count < 1000; count += 1) await Promise.resolve();
        seen.push('chain');
      })();
    });
    scheduler.schedule(1, () => seen.push('next'));
    await scheduler.runUntilIdle();
    expect(seen).toEqual(['chain', 'next']);
  });

  it('lets time stand still until real work has ended that an event began', async () => {
    const scheduler = new SimScheduler();
    const seen: string[] = [];
    const work = (name: string, realMs: number): Promise<void> =>
      new Promise((resolve) => {
        setTimeout(() => {
          seen.push(`${name} at ${scheduler.nowMs}`);
          resolve();
        }, realMs);
      });
    scheduler.schedule(1, () => {
      scheduler.holdFor(work('long', 20));
      scheduler.holdFor(work('short', 5).then(() => scheduler.holdFor(work('more', 30))));
    });
    scheduler.schedule(2, () => seen.push('next'));
    scheduler.schedule(3, () => scheduler.holdFor(work('last', 5)));
    await scheduler.runUntil(2);
    expect(seen).toEqual(['short at 1', 'long at 1', 'more at 1', 'next']);
    await scheduler.runUntil(3);
    expect(seen.at(-1)).toBe('last at 3');
  });

  it('waits for real work that began before it runs, and fails when that does', async () => {
    const scheduler = new SimScheduler();
    const seen: string[] = [];
    scheduler.schedule(1, () => seen.push('event'));
    scheduler.holdFor(new Promise((_, reject) => setTimeout(() => reject(new Error('boom')), 5)));
    await expect(scheduler.runUntil(1)).rejects.toThrow('boom');
    expect(seen).toEqual([]);
    await scheduler.runUntil(1);
    expect(seen).toEqual(['event']);
  });

  it('skips cancelled timers and passes on what an event throws', async () => {
    const scheduler = new SimScheduler();
    let ran = false;
    scheduler.schedule(1, () => (ran = true)).cancel();
    scheduler.schedule(2, () => {
      throw new Error('boom');
    });
    await expect(scheduler.runUntilIdle()).rejects.toThrow('boom');
    expect(ran).toBe(false);
    expect(await scheduler.step()).toBe(false);
  });

  it('says when it does not become idle', async () => {
    const scheduler = new SimScheduler();
    const again = (): void => {
      scheduler.schedule(10, again);
    };
    again();
    await expect(scheduler.runUntilIdle(100)).rejects.toThrow(InvariantError);
  });

  it('lets the wall clock of a process step, and its monotonic one never', async () => {
    const scheduler = new SimScheduler();
    const process = scheduler.startProcess('stepped');
    await scheduler.runFor(1_000);
    const before = process.clock.unixMs();
    process.stepWallClock(-5_000);
    expect(process.clock.nowMs()).toBe(1_000);
    expect(process.clock.unixMs()).toBe(before - 5_000);
    process.stepWallClock(7_000);
    await scheduler.runFor(10);
    expect(process.clock.unixMs()).toBe(before + 2_010);
  });

  it('gives each process a clock of its own offset and drift', async () => {
    const scheduler = new SimScheduler();
    const clock = scheduler.clockFor('fast', { offsetMs: 1000, driftPpm: 100_000 });
    let woke = 0;
    clock.setTimer(110, () => {
      woke = scheduler.nowMs;
    });
    await scheduler.runUntil(1000);
    expect(clock.nowMs()).toBeCloseTo(2100, 6);
    expect(woke).toBeCloseTo(100, 6);
    expect(clock.unixMs()).toBe(scheduler.unixOriginMs + 2100);
  });

  it('holds the events of a paused process and drops those of a dead one', async () => {
    const scheduler = new SimScheduler();
    const process = scheduler.startProcess('one');
    const seen: string[] = [];
    const note = (name: string): void => {
      seen.push(`${name} at ${scheduler.nowMs}`);
    };
    process.clock.setTimer(1, () => {
      note('first');
    });
    process.clock.setTimer(2, () => {
      note('second');
    });
    const cancelled = process.clock.setTimer(2, () => {
      note('cancelled');
    });
    process.clock.setTimer(30, () => {
      note('never');
    });
    process.pause();
    await scheduler.runUntil(10);
    expect(seen).toEqual([]);
    cancelled.cancel();
    process.resume();
    await scheduler.runUntil(11);
    expect(seen).toEqual(['first at 10', 'second at 10']);
    process.kill();
    process.clock.setTimer(1, () => {
      note('dead');
    });
    await scheduler.runUntil(100);
    expect(seen).toHaveLength(2);
  });

  it('settles promises that depend on virtual time', async () => {
    const scheduler = new SimScheduler();
    const clock = scheduler.clockFor('one');
    await scheduler.settle(sleep(clock, 250));
    expect(scheduler.nowMs).toBe(250);
    await expect(scheduler.settle(new Promise(() => undefined), 100)).rejects.toThrow('did not settle');
  });
});

describe('a seeded generator', () => {
  it('repeats by seed, differs by seed, and forks by name only', () => {
    const draw = (rng: SimRng): number[] => Array.from({ length: 5 }, () => rng.uint32());
    expect(draw(new SimRng(7))).toEqual(draw(new SimRng(7)));
    expect(draw(new SimRng(7))).not.toEqual(draw(new SimRng(8)));
    const used = new SimRng(7);
    draw(used);
    expect(draw(used.fork('disk'))).toEqual(draw(new SimRng(7).fork('disk')));
    expect(draw(new SimRng(7).fork('disk'))).not.toEqual(draw(new SimRng(7).fork('network')));
  });

  it('is spread evenly and stays in bounds', () => {
    const rng = new SimRng('even');
    const counts = new Array<number>(10).fill(0);
    for (let count = 0; count < 10_000; count += 1) {
      const at = rng.integer(10);
      counts[at] = (counts[at] ?? 0) + 1;
      const unit = rng.next();
      expect(unit >= 0 && unit < 1).toBe(true);
    }
    for (const count of counts) expect(Math.abs(count - 1000)).toBeLessThan(150);
    expect(rng.integer(2 ** 50)).toBeLessThan(2 ** 50);
    expect(rng.bytes(7)).toHaveLength(7);
  });
});
