import { describe, expect, it } from '@jest/globals';
import { KvOp } from '@cairn/wire';

import { keyText } from './kv-machine-view.js';
import { bytes, descriptorOf, KvRig } from './kv-rig.testing.js';

describe('KvMachine.debugView', () => {
  it('shows what is under way and what is remembered', async () => {
    const rig = await KvRig.leading({ descriptor: descriptorOf('a', 'x', 3) });
    await rig.ask({ op: KvOp.put, key: bytes('k'), value: bytes('1'), requestId: rig.identity(1) });
    const before = rig.machine.debugView();
    expect(before).toMatchObject({ startKey: '61', endKey: '78', version: 3, isServing: true });
    expect(before).toMatchObject({ pendingEntries: 0, queuedCalls: 0, window: { outcomes: 1 } });
    expect(before.appliedTimestamp).toBeGreaterThan(before.leaderSince);
    rig.send({ op: KvOp.put, key: bytes('k'), value: bytes('2') });
    expect(rig.machine.debugView().queuedCalls).toBe(1);
    await rig.turn();
    expect(rig.machine.debugView()).toMatchObject({ pendingEntries: 1, uncommittedEntries: 1 });
    rig.replica.apply();
    expect(rig.machine.debugView()).toMatchObject({ pendingEntries: 1, uncommittedEntries: 0 });
    await rig.replica.publish();
    const after = { appliedIndex: 12, appliedTimestamp: rig.readNow, estimatedBytes: 44 };
    expect(rig.machine.debugView()).toMatchObject({ ...before, ...after });
  });

  it('is the same for a leader and for a replica that follows it, up to what is of one replica', async () => {
    const [leader, follower] = [await KvRig.leading(), new KvRig()];
    follower.replica.stepDown();
    for (const value of ['1', '2', '3']) await leader.put('k', value);
    await follower.replica.follow(leader.replica.history);
    const ofReplica = { isServing: true, leaderSince: 0, term: 0 };
    expect({ ...follower.machine.debugView(), ...ofReplica }).toEqual({
      ...leader.machine.debugView(),
      ...ofReplica,
    });
  });

  it('is one line of bounded length', async () => {
    const rig = await KvRig.leading({ descriptor: descriptorOf('a'.repeat(4_000), '') });
    const line = String(rig.machine);
    expect(line).toMatch(
      /^range 7 \[(61){32}… \(4000 bytes\), \) version 1: isClosed false, appliedIndex 10, /,
    );
    expect(line.length).toBeLessThan(700);
    expect(keyText(bytes('a'.repeat(32)))).toBe('61'.repeat(32));
  });
});
