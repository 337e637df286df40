import { describe, expect, it } from '@jest/globals';
import { CairnError } from '@cairn/base';
import { noopLogger } from '@cairn/ports';
import { SimScheduler } from '@cairn/runtime-sim';

import { Background } from './background.js';

function rigOf(more: { tasksMax?: number; bytesMax?: number } = {}): {
  scheduler: SimScheduler;
  background: Background;
  done: string[];
  add: (name: string, bytes: number, untilMs?: number) => Promise<void>;
} {
  const scheduler = new SimScheduler();
  const clock = scheduler.clockFor('background');
  const background = new Background({ clock, logger: noopLogger, tasksMax: 2, bytesMax: 100, ...more });
  const done: string[] = [];
  const add = (name: string, bytes: number, untilMs = 1_000): Promise<void> =>
    background.add(bytes, untilMs, async () => {
      await new Promise<void>((resolve) => clock.setTimer(10, resolve));
      done.push(name);
      if (name === 'bad') throw new CairnError('UNAVAILABLE', 'it fails');
    });
  return { scheduler, background, done, add };
}

describe('what is done behind answers', () => {
  it('begins at once while there is room, and waits for some otherwise', async () => {
    const { scheduler, background, done, add } = rigOf();
    await Promise.all([add('a', 1), add('b', 1)]);
    expect([background.tasks, background.bytes]).toEqual([2, 2]);
    const waiting = add('c', 1);
    await scheduler.runFor(5);
    expect([background.tasks, done]).toEqual([2, []]);
    await scheduler.settle(waiting);
    expect([background.tasks, done]).toEqual([2, ['a']]);
    await scheduler.runFor(20);
    expect([background.tasks, background.bytes, done]).toEqual([0, 0, ['a', 'b', 'c']]);
  });

  it('is bounded in bytes, but one that is larger than all gets through alone', async () => {
    const { scheduler, done, add } = rigOf({ tasksMax: 10 });
    await add('huge', 1_000);
    const small = add('small', 1);
    await scheduler.runFor(5);
    expect(done).toEqual([]);
    await scheduler.settle(small);
    await scheduler.runFor(20);
    expect(done).toEqual(['huge', 'small']);
  });

  it('is left to others when there is no room in time, or when it fails', async () => {
    const { scheduler, background, done, add } = rigOf({ tasksMax: 1 });
    await add('bad', 1);
    await scheduler.settle(add('late', 1, 3));
    await scheduler.runFor(50);
    expect([background.tasks, done]).toEqual([0, ['bad']]);
  });

  it('is waited for at the end, for a while', async () => {
    const { scheduler, background, done, add } = rigOf();
    await add('a', 1);
    await scheduler.settle(background.close(3));
    expect([done, scheduler.nowMs]).toEqual([[], 3]);
    await scheduler.settle(background.close(1_000));
    expect([done, scheduler.nowMs]).toEqual([['a'], 10]);
    await add('b', 1);
    expect(background.tasks).toBe(0);
  });
});
