import { describe, expect, it } from '@jest/globals';
import { timestamp, TIMESTAMP_LOGICAL_STEPS, type Timestamp } from '@cairn/base';
import { KvOp, ReadConsistency } from '@cairn/wire';

import { bytes, codeOf, KvRig } from './kv-rig.testing.js';

const after = (rig: KvRig, ms: number): Timestamp => timestamp(rig.max + ms * TIMESTAMP_LOGICAL_STEPS);
const stamped = (stamp: Timestamp) => ({ client: 9, sequence: 1, stamp, isRetry: false });
const HOUR_MS = 3_600_000;

describe('timestamps that requests bring', () => {
  it.each([KvOp.put, KvOp.increment, KvOp.deleteRange])(
    'move nothing when they were not issued (op %s)',
    async (op) => {
      const rig = await KvRig.leading();
      const before = rig.max;
      const poison = rig.send({ op, key: bytes('n'), delta: '1', requestId: stamped(after(rig, HOUR_MS)) });
      await rig.run();
      expect(codeOf(poison)).toBe('INVALID_ARGUMENT');
      expect(rig.max - before).toBeLessThan(1_000 * TIMESTAMP_LOGICAL_STEPS);
      expect(await rig.get('n')).toBeUndefined();
      await rig.put('n', '1');
      expect(await rig.get('n')).toBe('1');
    },
  );

  it.each([KvOp.get, KvOp.scan])('are not read at when they were not issued (op %s)', async (op) => {
    const rig = await KvRig.leading();
    const before = rig.max;
    const poison = rig.send({
      op,
      key: bytes('a'),
      consistency: ReadConsistency.timestamp,
      readTimestamp: after(rig, HOUR_MS),
    });
    await rig.run();
    expect(codeOf(poison)).toBe('INVALID_ARGUMENT');
    expect(rig.max - before).toBeLessThan(1_000 * TIMESTAMP_LOGICAL_STEPS);
  });

  it('are taken as they come while time allows them, and asked about when it does not', async () => {
    const rig = await KvRig.leading();
    const near = after(rig, 900);
    const asked = rig.oracle.next;
    expect(
      (await rig.ask({ op: KvOp.put, key: bytes('a'), value: bytes('1'), requestId: stamped(near) })).error,
    ).toBeUndefined();
    expect(rig.max).toBe(near);
    expect(rig.oracle.next).toBe(asked);

    // The oracle leapt, or this process stood still while the others went on.
    const far = after(rig, HOUR_MS);
    rig.oracle.next = far;
    expect(
      (await rig.ask({ op: KvOp.put, key: bytes('a'), value: bytes('2'), requestId: stamped(far) })).error,
    ).toBeUndefined();
    expect(rig.max).toBeGreaterThanOrEqual(far);
  });

  it('are refused for the moment when the oracle cannot be asked', async () => {
    const rig = await KvRig.leading();
    rig.oracle.isDown = true;
    const sent = rig.send({
      op: KvOp.increment,
      key: bytes('n'),
      delta: '1',
      requestId: stamped(after(rig, HOUR_MS)),
    });
    await rig.run();
    expect(codeOf(sent)).toBe('UNAVAILABLE');
  });
});
