/**
 * Goal: what a store keeps and sends has the bytes that are written down, and what a later release wrote is
 * told from damage. The bytes may change only together with the number of their format.
 */
import { describe, expect, it } from '@jest/globals';
import { logIndex, rangeId, replicaId, storeId, term, type RangeDescriptor } from '@cairn/base';
import { crc32, sealEnd } from '@cairn/codec';
import { SimDisk, SimRng } from '@cairn/runtime-sim';

import { decodeCheckpointState, encodeCheckpointState } from './checkpoint-state.js';
import { saveIdentity } from './node-identity.js';
import {
  decodeSnapshotAnswer,
  decodeSnapshotHeader,
  decodeSnapshotRows,
  encodeSnapshotAnswer,
  encodeSnapshotHeader,
  encodeSnapshotRows,
  type SnapshotAnswer,
} from './snapshot-frames.js';
import { decodeMark, encodeMark } from './store-mark.js';
import { decodeTombstone, encodeTombstone } from './tombstones.js';

const CONFIG = {
  voters: [replicaId(11), replicaId(12)],
  outgoing: [],
  learners: [replicaId(13)],
  learnersNext: [],
};
const CONFIG_HEX = '020b0c' + '00' + '010d' + '00';
const DESCRIPTOR: RangeDescriptor = {
  rangeId: rangeId(1),
  startKey: Buffer.from('a'),
  endKey: Buffer.from('m'),
  epoch: { version: 2, confVersion: 3 },
  replicas: [{ replicaId: replicaId(11), storeId: storeId(1), role: 'voter' }],
};
const DESCRIPTOR_HEX = '0b000000' + '01' + '0161' + '016d' + '02' + '03' + '01' + '0b0100';
const tooNew = expect.objectContaining({ code: 'FORMAT_TOO_NEW' });
const corrupt = expect.objectContaining({ code: 'CORRUPTION' });
const bytesOf = (hex: string): Buffer => Buffer.from(hex, 'hex');

/** With the checksum in front. */
function sealed(hex: string): Buffer {
  const bytes = bytesOf(`00000000${hex}`);
  bytes.writeUInt32LE(crc32(bytes.subarray(4)), 0);
  return bytes;
}

describe('a checkpoint', () => {
  const state = { replicaId: replicaId(11), config: CONFIG, confVersionSeen: 0 };

  it('has the bytes that are written down, with what there is of it', () => {
    const whole = { ...state, descriptor: DESCRIPTOR, installing: 'a.spool' };
    const hex = '03' + '03' + '0b' + '00' + CONFIG_HEX + DESCRIPTOR_HEX + '07612e73706f6f6c';
    expect(encodeCheckpointState(whole).toString('hex')).toBe(hex);
    expect(decodeCheckpointState(bytesOf(hex))).toEqual(whole);
    const empty = { ...state, confVersionSeen: 9, descriptor: undefined, installing: undefined };
    expect(encodeCheckpointState(empty).toString('hex')).toBe('03' + '00' + '0b' + '09' + CONFIG_HEX);
    expect(decodeCheckpointState(encodeCheckpointState(empty))).toEqual(empty);
  });

  it('of a later release is no damage', () => {
    expect(() => decodeCheckpointState(bytesOf('04'))).toThrow(tooNew);
    expect(() => decodeCheckpointState(bytesOf('0304'))).toThrow(tooNew);
    expect(() => decodeCheckpointState(bytesOf('02'))).toThrow(corrupt);
    expect(() => decodeCheckpointState(bytesOf('0300' + '0b' + '09' + CONFIG_HEX + '00'))).toThrow(corrupt);
  });
});

describe('a tombstone', () => {
  it('has the bytes that are written down', () => {
    const state = {
      nextReplicaId: replicaId(12),
      isFinished: false,
      spans: [{ start: Buffer.of(16), end: Buffer.of(17) }],
    };
    const hex = '01' + '00' + '0c' + '01' + '0110' + '0111';
    expect(encodeTombstone(state).toString('hex')).toBe(hex);
    expect(decodeTombstone(bytesOf(hex))).toEqual(state);
    const finished = { ...state, isFinished: true, spans: [] };
    expect(encodeTombstone(finished).toString('hex')).toBe('01' + '01' + '0c' + '00');
  });

  it('of a later release is no damage', () => {
    expect(() => decodeTombstone(bytesOf('02'))).toThrow(tooNew);
    expect(() => decodeTombstone(bytesOf('00'))).toThrow(corrupt);
  });
});

describe('a snapshot', () => {
  const meta = { index: logIndex(9), term: term(4), config: CONFIG };
  const header = {
    ...{ rangeId: rangeId(1), from: replicaId(11), to: replicaId(13), term: term(5), meta },
    ...{ descriptor: DESCRIPTOR, rowBytes: 300, namespaces: [16, 17] },
    volatileState: Buffer.from('v'),
  };
  const headerHex =
    '03' + '01' + '0b' + '0d' + '05' + '09' + '04' + CONFIG_HEX + DESCRIPTOR_HEX + 'ac02' + '021011' + '0176';

  it('has the bytes that are written down: a header, rows, answers', () => {
    expect(encodeSnapshotHeader(header)).toEqual(sealed(headerHex));
    expect(decodeSnapshotHeader(sealed(headerHex))).toEqual(header);
    const rows: [Buffer, Buffer][] = [
      [Buffer.from('k'), Buffer.from('value')],
      [Buffer.from('l'), Buffer.alloc(0)],
    ];
    const rowsHex = '02' + '016b' + '0576616c7565' + '016c' + '00';
    expect(encodeSnapshotRows(rows)).toEqual(sealed(rowsHex));
    expect(decodeSnapshotRows(sealed(rowsHex))).toEqual(rows);
    const answers: [SnapshotAnswer, string][] = [
      [{ type: 'accepted' }, '0000'],
      [{ type: 'refused', reason: 'no' }, '01026e6f'],
      [{ type: 'received' }, '0200'],
      [{ type: 'written' }, '0300'],
    ];
    for (const [answer, hex] of answers) {
      expect(encodeSnapshotAnswer(answer).toString('hex')).toBe(hex);
      expect(decodeSnapshotAnswer(bytesOf(hex))).toEqual(answer);
    }
  });

  it('of a later release is no damage', () => {
    expect(() => decodeSnapshotHeader(sealed(`04${headerHex.slice(2)}`))).toThrow(tooNew);
    expect(() => decodeSnapshotHeader(sealed(`02${headerHex.slice(2)}`))).toThrow(corrupt);
    expect(() => decodeSnapshotHeader(bytesOf(`00000000${headerHex}`))).toThrow(corrupt);
  });
});

describe('the mark of log and engine', () => {
  it('has the bytes that are written down, and one of a later release is no damage', () => {
    const hex = '01' + '07'.repeat(16);
    const mark = sealEnd(Buffer.concat([bytesOf(hex), Buffer.alloc(4)]));
    expect(encodeMark(Buffer.alloc(16, 7))).toEqual(mark);
    expect(decodeMark(mark, 'log')).toEqual(Buffer.alloc(16, 7));
    const later = sealEnd(Buffer.concat([bytesOf(`02${hex.slice(2)}`), Buffer.alloc(4)]));
    expect(() => decodeMark(later, 'log')).toThrow(tooNew);
    expect(() => decodeMark(mark.subarray(1), 'log')).toThrow(corrupt);
  });
});

describe('node.json', () => {
  it('has the bytes that are written down', async () => {
    const sim = new SimDisk(new SimRng(1));
    const disk = sim.attach();
    await disk.makeDirectory('/data');
    await saveIdentity(disk, '/data', {
      ...{ name: 'meta-1', kind: 'metadata', incarnation: Buffer.alloc(16, 1), clusterId: '' },
      storeId: storeId(1),
      isStoreMade: true,
      starts: [{ acceptor: 'meta-2', accepted: '', offered: ['0a'.repeat(8)] }],
      process: Buffer.alloc(8, 2),
      members: [{ name: 'meta-1', storeId: storeId(1), incarnation: '01'.repeat(16), start: '' }],
    });
    expect(Buffer.from(sim.peek('/data/node.json') ?? []).toString()).toBe(
      '{"format":5,"name":"meta-1","kind":"metadata","incarnation":"01010101010101010101010101010101",' +
        '"clusterId":"","storeId":1,"isStoreMade":true,' +
        '"starts":[{"acceptor":"meta-2","accepted":"","offered":["0a0a0a0a0a0a0a0a"]}],' +
        '"members":[{"name":"meta-1","storeId":1,"incarnation":"01010101010101010101010101010101","start":""}],' +
        '"checksum":"4bb10e8f"}\n',
    );
  });
});
