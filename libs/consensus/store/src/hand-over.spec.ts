import { replicaId, type ReplicaId } from '@cairn/base';
import { SimScheduler } from '@cairn/runtime-sim';
import { describe, expect, it } from '@jest/globals';

import { HandOver, type HandedReplica } from './hand-over.js';

class Led implements HandedReplica {
  isReadyLeader = true;
  readonly asked: ReplicaId[] = [];
  wakes = 0;
  readonly raft = {
    status: () =>
      ({
        peers: [
          { replicaId: replicaId(2), recentlyActive: false, isLearner: false, match: 9 },
          { replicaId: replicaId(3), recentlyActive: true, isLearner: true, match: 9 },
          { replicaId: replicaId(5), recentlyActive: true, isLearner: false, match: 7 },
          { replicaId: replicaId(4), recentlyActive: true, isLearner: false, match: 8 },
        ],
      }) as unknown as ReturnType<HandedReplica['raft']['status']>,
    transferLeader: (to: ReplicaId): { type: 'accepted' } => {
      this.asked.push(to);
      return { type: 'accepted' };
    },
  };

  wake(): void {
    this.wakes += 1;
  }
}

describe('leaderships of a node', () => {
  it('go to voters that are heard while its disk has no room, now and then', async () => {
    const scheduler = new SimScheduler();
    const clock = scheduler.clockFor('node');
    const led = new Led();
    const handOver = new HandOver({ clock, replicas: () => [led] });
    handOver.poll(false);
    expect(led.asked).toEqual([]);
    handOver.poll(true);
    expect(led.asked).toEqual([4]);
    for (let second = 0; second < 29; second += 1) {
      await scheduler.runFor(1_000);
      handOver.poll(true);
    }
    expect(led.asked).toEqual([4]);
    await scheduler.runFor(2_000);
    handOver.poll(true);
    expect(led.asked).toEqual([4, 4]);
    // There was room in between: this is the next time.
    handOver.poll(false);
    handOver.poll(true);
    expect(led.asked).toEqual([4, 4, 4]);
  });

  it('go before it stops, which waits for that a little', async () => {
    const scheduler = new SimScheduler();
    const clock = scheduler.clockFor('node');
    const led = new Led();
    const handOver = new HandOver({ clock, replicas: () => [led] });
    let isDone = false;
    void handOver.drain(1_000).then(() => {
      isDone = true;
    });
    await scheduler.runFor(500);
    expect([led.asked.length > 10, isDone]).toEqual([true, false]);
    led.isReadyLeader = false;
    await scheduler.runFor(50);
    expect(isDone).toBe(true);
  });
});
