import { describe, expect, it } from '@jest/globals';
import { CairnError, storeId } from '@cairn/base';

import {
  commonProtocol,
  decodeHello,
  decodeRefusal,
  encodeHello,
  encodeRefusal,
  mismatchOf,
} from './hello.js';
import type { Hello } from './session-types.js';

const HELLO: Hello = {
  protocols: { min: 6, max: 7 },
  build: '0.2.0',
  clusterVersions: { min: 1, max: 3 },
  purpose: 'kv',
  kind: 'router',
  clusterId: 'c1',
  name: 'router-1',
  storeId: storeId(0),
};

describe('a hello', () => {
  it('has the bytes that are written down', () => {
    const bytes =
      '4349524e' +
      '06' +
      '07' +
      '05302e322e30' +
      '01' +
      '03' +
      '00' +
      '01' +
      '02' +
      '026331' +
      '08726f757465722d31' +
      '00' +
      '00' +
      '00';
    expect(encodeHello(HELLO).toString('hex')).toBe(bytes);
    expect(decodeHello(Buffer.from(bytes, 'hex'))).toEqual(HELLO);
  });

  it('of a member has the bytes that are written down', () => {
    const member: Hello = {
      ...{ ...HELLO, clusterVersion: 2, purpose: 'raft', kind: 'metadata', name: 'm1', storeId: storeId(1) },
      timing: { leaseDurationMs: 400, voteHoldMs: 500 },
      life: {
        ...{ group: 'm1=1', incarnation: 'aa', process: 'bb', unixMs: 258 },
        start: { accepted: 'c', offered: ['d', 'e'] },
      },
    };
    const bytes =
      '4349524e' + '0607' + '05302e322e30' + '010302' + '0200' + '026331' + '026d31' + '01' + '9003' + 'f403';
    const life =
      '046d313d31' + '026161' + '01' + '0163' + '02' + '0164' + '0165' + '026262' + '0201000000000000';
    expect(encodeHello(member).toString('hex')).toBe(bytes + life);
    expect(decodeHello(Buffer.from(bytes + life, 'hex'))).toEqual(member);
  });

  it('that is refused is answered with the bytes that are written down', () => {
    const refusal = new CairnError('UNAVAILABLE', 'wait');
    expect(encodeRefusal(refusal).toString('hex')).toBe('0b554e415641494c41424c45' + '0477616974');
    expect(decodeRefusal(encodeRefusal(refusal))).toMatchObject({ code: 'UNAVAILABLE', message: 'wait' });
  });

  it.each([
    ['build', { build: '0.1\u001b[2J' }],
    ['build', { build: '' }],
    ['build', { build: '0.1 or so' }],
    ['name', { name: 'router\u0007' }],
    ['name', { name: 'é' }],
    ['clusterId', { clusterId: 'c\n1' }],
  ])('is refused with a %s that would move a cursor, or is none: %j', (_field, wrong) => {
    const reading = (): unknown => decodeHello(encodeHello({ ...HELLO, ...wrong }));
    expect(reading).toThrow(expect.objectContaining({ code: 'CORRUPTION' }));
    expect(reading).toThrow(/^[^\p{Cc}]*$/u);
  });

  it('that is refused is answered with a sentence that moves no cursor', () => {
    const refusal = decodeRefusal(encodeRefusal(new CairnError('UNAVAILABLE', 'wait\u001b[2J')));
    expect(refusal.message).toBe('wait\\u{1b}[2J');
  });

  it('is read also when a later release says more behind it', () => {
    expect(decodeHello(Buffer.concat([encodeHello(HELLO), Buffer.from('more')]))).toEqual(HELLO);
  });

  it('of a node with replicas says what its leaders and voters go by', () => {
    const shard: Hello = { ...HELLO, kind: 'shard', timing: { leaseDurationMs: 400, voteHoldMs: 500 } };
    expect(encodeHello(shard).subarray(-4).toString('hex')).toBe('9003' + 'f403');
    expect(decodeHello(encodeHello(shard))).toEqual(shard);
  });

  it.each([
    [400, 500, 400, 500, true],
    [400, 500, 460, 600, false],
    [400, 600, 460, 600, true],
    [50_000, 55_000, 400, 500, false],
    [50_000, 55_000, 50_000, 55_000, true],
  ])('of leases of %i, votes held for %i, and of %i, %i: may they share groups? %s', (...row) => {
    const [lease, hold, otherLease, otherHold, mayTalk] = row;
    const raft = { ...HELLO, purpose: 'raft', kind: 'shard' } as const;
    const one = { ...raft, timing: { leaseDurationMs: lease, voteHoldMs: hold } };
    const other = { ...raft, timing: { leaseDurationMs: otherLease, voteHoldMs: otherHold } };
    expect(mismatchOf(one, other) === undefined).toBe(mayTalk);
    expect(mismatchOf(other, one) === undefined).toBe(mayTalk);
    if (!mayTalk)
      expect(mismatchOf(one, other)?.message).toMatch(/at least 10 % more: give all nodes the longer/);
    expect(mismatchOf({ ...one, purpose: 'rpc' }, { ...other, purpose: 'rpc' })).toBeUndefined();
  });

  it.each([
    [6, 6, 6, 6, 6],
    [5, 6, 6, 7, 6],
    [5, 9, 6, 7, 7],
    [7, 7, 5, 9, 7],
    [5, 5, 6, 6, undefined],
    [8, 9, 6, 7, undefined],
  ])('of protocols %i to %i finds with one of %i to %i the newest that both speak: %s', (...row) => {
    const [min, max, otherMin, otherMax, common] = row;
    const [one, other] = [
      { min, max },
      { min: otherMin, max: otherMax },
    ];
    expect(commonProtocol(one, other)).toBe(common);
    expect(commonProtocol(other, one)).toBe(common);
    const mismatch = mismatchOf({ ...HELLO, protocols: one }, { ...HELLO, protocols: other });
    expect(mismatch === undefined).toBe(common !== undefined);
  });

  it('tells the newest cluster version that was heard of, and which ones its build runs with', () => {
    const heard = { ...HELLO, clusterVersion: 2 };
    expect(encodeHello(heard).subarray(12, 15).toString('hex')).toBe('010302');
    expect(decodeHello(encodeHello(heard))).toEqual(heard);
  });

  it.each([
    [{ min: 1, max: 2 }, undefined],
    [{ min: 2, max: 2 }, undefined],
    [{ min: 2, max: 9 }, undefined],
    [
      { min: 1, max: 1 },
      'with cluster version 1, and the cluster is at version 2: start it with a later release',
    ],
    [
      { min: 3, max: 4 },
      'with cluster versions 3 to 4, and the cluster is at version 2: upgrade it by way of',
    ],
  ])('of a build that runs with %j, in a cluster at version 2: %s', (clusterVersions, sentence) => {
    const heard: Hello = { ...HELLO, clusterVersions: { min: 1, max: 2 }, clusterVersion: 2 };
    const other: Hello = { ...HELLO, kind: 'shard', name: 'shard-9', build: '0.1.9', clusterVersions };
    for (const mismatch of [mismatchOf(heard, other), mismatchOf(other, heard)]) {
      if (sentence === undefined) expect(mismatch).toBeUndefined();
      else expect(mismatch?.message).toContain(`shard "shard-9" is Cairn 0.1.9 and runs ${sentence}`);
    }
  });

  it('of a release that speaks nothing known here is refused with both sides named', () => {
    const later = { ...HELLO, name: 'router-9', build: '9.0.0', protocols: { min: 40, max: 41 } };
    expect(mismatchOf({ ...HELLO, protocols: { min: 6, max: 6 } }, later)?.message).toBe(
      'router "router-9" is Cairn 9.0.0 and speaks protocols 40 to 41, ' +
        'router "router-1" is Cairn 0.2.0 and speaks protocol 6: run releases that know each other',
    );
  });
});
