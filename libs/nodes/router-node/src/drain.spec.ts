import { SimScheduler } from '@cairn/runtime-sim';
import { beforeEach, describe, expect, it } from '@jest/globals';

import { orTimeUp, untilIdle } from './drain.js';

describe('a router that drains', () => {
  let scheduler: SimScheduler;
  let openOperations: number;
  let waits: (() => void)[];

  beforeEach(() => {
    scheduler = new SimScheduler();
    openOperations = 0;
    waits = [];
  });

  const router = {
    get openOperations(): number {
      return openOperations;
    },
    whenIdle: () => new Promise<void>((resolve) => waits.push(resolve)),
  };

  function answerLast(): void {
    openOperations = 0;
    for (const resolve of waits.splice(0)) resolve();
  }

  it('waits for whoever goes on in the turn in which it was answered', async () => {
    const clock = scheduler.clockFor('router');
    openOperations = 1;
    let isIdle = false;
    const idle = untilIdle(router, clock).then(() => {
      isIdle = true;
    });
    await scheduler.runFor(1);
    answerLast();
    void Promise.resolve().then(() => (openOperations = 1));
    await scheduler.runFor(1);
    expect([isIdle, waits.length]).toEqual([false, 1]);
    answerLast();
    await scheduler.settle(idle);
  });

  it('has nothing to wait for when nothing is open', async () => {
    await untilIdle(router, scheduler.clockFor('router'));
    expect(waits).toEqual([]);
  });

  it('waits no longer than it may', async () => {
    const clock = scheduler.clockFor('router');
    openOperations = 1;
    await scheduler.settle(orTimeUp(clock, 500, untilIdle(router, clock)));
    expect(scheduler.nowMs).toBe(500);
  });

  it('goes on at once when the event comes in time, and leaves no timer', async () => {
    await scheduler.settle(orTimeUp(scheduler.clockFor('router'), 500, Promise.resolve()));
    expect(scheduler.nowMs).toBe(0);
  });
});
