import { describe, expect, it } from '@jest/globals';
import { rangeId, type StoreId } from '@cairn/base';

import { StoresRig } from './stores.testing.js';

const KIB = 1024;
const BACKLOG_MAX = 256 * KIB;
const BATCH_MAX = 64 * KIB;
const PAYLOAD_BYTES = 8 * KIB;

/** Three stores, the engine of one of which stands when the test says so. */
class SlowEngine {
  readonly rig: StoresRig;
  readonly #slow: number;
  #gate: Promise<void> | undefined;
  #open = (): void => undefined;
  #next = 0;

  private constructor(slow: number, rig: (delay: (id: StoreId) => Promise<void>) => StoresRig) {
    this.#slow = slow;
    this.rig = rig((id) => (id === this.#slow ? (this.#gate ?? Promise.resolve()) : Promise.resolve()));
  }

  static async of(slow: number): Promise<SlowEngine> {
    const config = { applyBacklogBytesMax: BACKLOG_MAX, applyBatchBytesMax: BATCH_MAX };
    const made = new SlowEngine(slow, (engineDelay) => new StoresRig({ config, engineDelay }));
    await made.rig.openStores(3);
    await made.rig.create();
    return made;
  }

  stand(): void {
    this.#gate = new Promise((resolve) => {
      this.#open = resolve;
    });
  }

  goOn(): void {
    this.#gate = undefined;
    this.#open();
  }

  propose(): boolean {
    const payload = Buffer.alloc(PAYLOAD_BYTES);
    payload.writeUInt32BE((this.#next += 1));
    return this.rig.replicaAt(1).propose(payload).type === 'accepted';
  }

  backlog(id: number): number {
    return this.rig.at(id).store.applyBacklogBytes;
  }

  applied(id: number): number {
    return this.rig.at(id).machines.get(rangeId(1))?.applied.length ?? 0;
  }
}

describe('what is committed and not applied', () => {
  it('holds proposals back when the engine of the leader stands, and lets them through when it goes on', async () => {
    const slow = await SlowEngine.of(1);
    slow.stand();
    let accepted = 0;
    for (let at = 0; at < 400; at += 1) {
      if (slow.propose()) accepted += 1;
      await slow.rig.run(2);
    }
    expect(slow.backlog(1)).toBeGreaterThanOrEqual(BACKLOG_MAX);
    expect(slow.backlog(1)).toBeLessThan(BACKLOG_MAX + 16 * PAYLOAD_BYTES);
    expect(accepted).toBeLessThan(400);
    expect(slow.rig.replicaAt(1).propose(Buffer.alloc(1))).toMatchObject({ reason: 'too-many-uncommitted' });
    slow.goOn();
    await slow.rig.run(2_000);
    expect([slow.backlog(1), slow.applied(1), slow.applied(3)]).toEqual([0, accepted, accepted]);
    expect(slow.propose()).toBe(true);
  });

  it('holds appends back when the engine of a follower stands, and the others go on', async () => {
    const slow = await SlowEngine.of(3);
    slow.stand();
    for (let at = 0; at < 400; at += 1) {
      expect(slow.propose()).toBe(true);
      await slow.rig.run(2);
    }
    expect(slow.applied(2)).toBeGreaterThan(390);
    expect(slow.backlog(3)).toBeLessThan(BACKLOG_MAX + 16 * PAYLOAD_BYTES);
    const { lastIndex, appliedIndex } = slow.rig.replicaAt(3).raft.status();
    // What it took in before it was behind, and no more.
    expect((lastIndex - appliedIndex) * PAYLOAD_BYTES).toBeLessThan(2 * BACKLOG_MAX);
    slow.goOn();
    await slow.rig.run(3_000);
    expect([slow.backlog(3), slow.applied(3)]).toEqual([0, 400]);
    expect(slow.rig.replicaAt(1).isReadyLeader).toBe(true);
  });
});
