import { describe, expect, it } from '@jest/globals';
import { crc32 } from '@cairn/codec';

import {
  decodeBlockHeader,
  decodeSegmentHeader,
  encodeBlockHeader,
  encodeSegmentHeader,
  saltFrom,
  SEGMENT_HEADER_BYTES,
} from './segment-format.js';

// On disks: these bytes may never change under format version 2.
const SALT = saltFrom(Buffer.from('0a0b0c0d0e0f', 'hex'));

describe('segments', () => {
  it('begin with the bytes that are written down', () => {
    const header = { epoch: 3, previousEnd: 0x010203, salt: SALT };
    const bytes = encodeSegmentHeader(header);
    const fields =
      '434149524e4c4f47' +
      '02000000' +
      '00000000' +
      '030000000000' +
      '0000' +
      '030201000000' +
      '0a0b0c0d0e0f';
    expect(bytes.subarray(0, 36).toString('hex')).toBe(fields);
    expect(bytes.readUInt32LE(36)).toBe(crc32(bytes.subarray(0, 36)));
    expect([bytes.length, bytes.subarray(40).every((byte) => byte === 0)]).toEqual([
      SEGMENT_HEADER_BYTES,
      true,
    ]);
    expect(decodeSegmentHeader(bytes)).toEqual({ type: 'valid', header });
  });

  it('have blocks that begin with the bytes that are written down', () => {
    const header = { epoch: 3, sequence: 4, bodyBytes: 5, recordCount: 6, digest: 0x01020304 };
    const bytes = Buffer.alloc(32);
    encodeBlockHeader(bytes, header, SALT);
    const fields = '43424c4b' + '030000000000' + '0e0f' + '04000000' + '05000000' + '06000000' + '04030201';
    expect(bytes.subarray(0, 28).toString('hex')).toBe(fields);
    // The rest of the salt is the seed of the checksum.
    expect(bytes.readUInt32LE(28)).toBe(crc32(bytes.subarray(0, 28), 0x0d0c0b0a));
    expect(decodeBlockHeader(bytes, 0, { epoch: 3, salt: SALT })).toEqual(header);
  });
});
