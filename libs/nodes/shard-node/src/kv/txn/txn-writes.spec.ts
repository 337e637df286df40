import { beforeEach, describe, expect, it } from '@jest/globals';
import { timestamp } from '@cairn/base';

import { commitOf, TxnRig } from './txn-rig.testing.js';

/*
 * Goal: the steps of a transaction over several ranges, alone and against others. Method: commands to one
 * range whose log commits when the test says so.
 */

let rig: TxnRig;
beforeEach(async () => {
  rig = await TxnRig.leading();
});

describe('a transaction', () => {
  it('is there at its commit and not before', async () => {
    await rig.kv.put('a', 'old');
    const start = rig.issue();
    expect(await rig.prewrite(start, { a: '1', b: '2' })).toMatchObject({ type: 'prewritten' });
    const commit = rig.issue();
    expect(await rig.tell(commitOf(start, commit, 'a', ['b']))).toEqual({ type: 'committed', commit });
    expect(await rig.getAt('a', timestamp(commit - 1))).toBe('old');
    expect(await rig.getAt('a', commit)).toBe('1');
    expect(await rig.getAt('b', commit)).toBe('2');
    expect(await rig.get('b')).toBe('2');
  });
});
