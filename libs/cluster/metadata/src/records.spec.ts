/**
 * Goal: commands and rows of the metadata service have the bytes that are written down. They may change only
 * together with the number of their format.
 */
import { describe, expect, it } from '@jest/globals';
import { rangeId, replicaId, storeId, term, timestamp } from '@cairn/base';

import { decodeCommand, encodeCommand } from './command.js';
import { decodeRow, encodeChange, rowFrom, rowKey, type Change } from './records.js';

const NODE = {
  ...{ storeId: storeId(3), incarnation: Buffer.alloc(2, 0xaa), address: 'a:1', publicAddress: '' },
  ...{ joinedUnixMs: 258, start: 's', process: Buffer.of(7), build: '0.1.0' },
  ...{ clusterVersions: { min: 1, max: 2 }, isEstablished: true, isLost: true },
};
const DESCRIPTOR = {
  rangeId: rangeId(1),
  startKey: Buffer.alloc(0),
  endKey: Buffer.alloc(0),
  epoch: { version: 1, confVersion: 1 },
  replicas: [{ replicaId: replicaId(2), storeId: storeId(3), role: 'voter' as const }],
};

const GOLDEN: readonly [Change, number, string][] = [
  [{ type: 'cluster', value: { clusterId: 'c', createdUnixMs: 258 } }, 1, '0163' + '0201000000000000'],
  [{ type: 'next-id', value: 258 }, 2, '0201000000000000'],
  [{ type: 'timestamp-bound', value: timestamp(258) }, 3, '0201000000000000'],
  [
    { type: 'node', name: 'shard-3', value: NODE },
    4,
    '03' +
      '02aaaa' +
      '03613a31' +
      '00' +
      '0201000000000000' +
      '0173' +
      '0107' +
      '05302e312e30' +
      '0102' +
      '03',
  ],
  [{ type: 'setting', name: 'gc', value: '10' }, 5, '023130'],
  [
    { type: 'bootstrap', value: { ranges: [DESCRIPTOR], createdReplicaIds: [replicaId(2)] } },
    6,
    '01' + '09000000' + '01' + '00' + '00' + '01' + '01' + '01' + '020300' + '0102',
  ],
  [{ type: 'cluster-version', value: 2 }, 7, '02'],
  [
    { type: 'hold', name: 'h', value: { heldAt: timestamp(258), expiresUnixMs: 259, reason: 'r' } },
    8,
    '0201000000000000' + '0301000000000000' + '0172',
  ],
  [{ type: 'gc-safe-point', value: timestamp(258) }, 9, '0201000000000000'],
];

describe('rows', () => {
  it.each(GOLDEN.map(([change, tag, hex]) => [change.type, change, tag, hex] as const))(
    'of kind %s have the bytes that are written down',
    (_type, change, tag, hex) => {
      const row = encodeChange(change);
      const name = 'name' in change ? change.name : '';
      expect([row.tag, row.name, row.value?.toString('hex')]).toEqual([tag, name, `05${hex}`]);
      expect(decodeRow(row)).toEqual(change);
      const key = rowKey(row);
      expect(key.toString('hex')).toBe(`020${tag}${Buffer.from(name).toString('hex')}`);
      expect(rowFrom(key, row.value ?? Buffer.alloc(0))).toEqual(row);
    },
  );

  it.each([['setting', 5] as const, ['hold', 8] as const])('that are removed: a %s', (type, tag) => {
    const row = encodeChange({ type, name: 'gc', value: undefined });
    expect(row).toEqual({ tag, name: 'gc', value: undefined });
    expect(decodeRow(row)).toEqual({ type, name: 'gc', value: undefined });
  });

  it('of other kinds are never removed', () => {
    const corrupt = expect.objectContaining({ code: 'CORRUPTION', message: 'row 9 cannot be removed' });
    expect(() => decodeRow({ tag: 9, name: '', value: undefined })).toThrow(corrupt);
  });

  it('of a later release are no damage', () => {
    const tooNew = expect.objectContaining({ code: 'FORMAT_TOO_NEW' });
    const corrupt = expect.objectContaining({ code: 'CORRUPTION' });
    expect(() => decodeRow({ tag: 7, name: '', value: Buffer.of(6, 2) })).toThrow(tooNew);
    expect(() => decodeRow({ tag: 10, name: '', value: Buffer.of(5) })).toThrow(tooNew);
    expect(() => decodeRow({ tag: 7, name: '', value: Buffer.of(4, 2) })).toThrow(corrupt);
    expect(() => decodeRow({ tag: 7, name: '', value: Buffer.of(5, 2, 0) })).toThrow(corrupt);
  });
});

describe('commands', () => {
  it('have the bytes that are written down', () => {
    const command = {
      term: term(3),
      rows: [encodeChange({ type: 'next-id', value: 1 }), { tag: 5, name: 'gc', value: undefined }],
    };
    const hex =
      '01' + '03' + '02' + '02' + '00' + '01' + '09' + '050100000000000000' + '05' + '026763' + '00';
    expect(encodeCommand(command).toString('hex')).toBe(hex);
    expect(decodeCommand(Buffer.from(hex, 'hex'))).toEqual(command);
  });
});
