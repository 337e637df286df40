import { describe, expect, it } from '@jest/globals';
import { rangeId, replicaId, storeId, type RangeDescriptor } from '@cairn/base';
import { ByteReader, ByteWriter } from '@cairn/codec';

import { readDescriptor, writeDescriptor } from './descriptor-codec.js';

const DESCRIPTOR: RangeDescriptor = {
  rangeId: rangeId(300),
  startKey: Buffer.from('a'),
  endKey: Buffer.from('bc'),
  epoch: { version: 2, confVersion: 3 },
  replicas: [
    { replicaId: replicaId(5), storeId: storeId(1), role: 'voter' },
    { replicaId: replicaId(6), storeId: storeId(2), role: 'learner' },
  ],
};
const FIELDS = 'ac02' + '0161' + '026263' + '02' + '03' + '02' + '050100' + '060201';

function encode(descriptor: RangeDescriptor): Buffer {
  const writer = new ByteWriter();
  // Something before, as in every place where descriptors are nested.
  writer.u8(0x77);
  writeDescriptor(writer, descriptor);
  return writer.take().subarray(1);
}

const decode = (hex: string): RangeDescriptor => readDescriptor(new ByteReader(Buffer.from(hex, 'hex')));

describe('range descriptors', () => {
  it('have the bytes that are written down, and come back from them', () => {
    expect(encode(DESCRIPTOR).toString('hex')).toBe('10000000' + FIELDS);
    expect(decode('10000000' + FIELDS)).toEqual(DESCRIPTOR);
  });

  it('keep what a later release says behind the fields that are known, and write it back', () => {
    const newer = '13000000' + FIELDS + 'c0ffee';
    const descriptor = decode(newer);
    expect(descriptor).toEqual({ ...DESCRIPTOR, tail: Buffer.from('c0ffee', 'hex') });
    expect(encode(descriptor).toString('hex')).toBe(newer);
  });

  it('end where they say, so that others can follow', () => {
    const reader = new ByteReader(Buffer.concat([encode(DESCRIPTOR), encode(DESCRIPTOR), Buffer.of(9)]));
    expect([readDescriptor(reader), readDescriptor(reader)]).toEqual([DESCRIPTOR, DESCRIPTOR]);
    expect(reader.u8()).toBe(9);
  });

  it('are refused cut short, with a role of a later release, and with a tail that no release writes', () => {
    const whole = encode(DESCRIPTOR);
    for (let length = 0; length < whole.length; length += 1) {
      expect(() => decode(whole.subarray(0, length).toString('hex'))).toThrow('ends early');
    }
    const corrupt = expect.objectContaining({ code: 'CORRUPTION' });
    expect(() => decode('0f000000' + FIELDS)).toThrow(corrupt);
    expect(() => encode({ ...DESCRIPTOR, tail: Buffer.alloc(0) })).not.toThrow();
    const long = encode({ ...DESCRIPTOR, tail: Buffer.alloc(4097) }).toString('hex');
    expect(() => decode(long)).toThrow(corrupt);
    const roled = '10000000' + FIELDS.slice(0, -2) + '04';
    expect(() => decode(roled)).toThrow(expect.objectContaining({ code: 'FORMAT_TOO_NEW' }));
  });
});
