import { crc32 as reference } from 'node:zlib';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { ByteReader } from './byte-reader.js';
import { ByteWriter } from './byte-writer.js';
import { crc32 } from './crc32.js';
import { isEndSealed, isFrontSealed, sealEnd, sealFront } from './sealed.js';

const safe = fc.maxSafeNat();
const field = fc.oneof(
  fc.record({ type: fc.constant('u8' as const), value: fc.integer({ min: 0, max: 255 }) }),
  fc.record({ type: fc.constant('u16' as const), value: fc.integer({ min: 0, max: 65_535 }) }),
  fc.record({ type: fc.constant('u32' as const), value: fc.integer({ min: 0, max: 0xffffffff }) }),
  fc.record({ type: fc.constant('u48' as const), value: fc.integer({ min: 0, max: 2 ** 48 - 1 }) }),
  fc.record({ type: fc.constant('u64' as const), value: safe }),
  fc.record({ type: fc.constant('varint' as const), value: safe }),
  fc.record({ type: fc.constant('f64' as const), value: fc.double({ noNaN: true }) }),
);

describe('ByteWriter and ByteReader', () => {
  it('read back whatever was written, also over many takes of one writer', () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(field)),
        fc.uint8Array({ maxLength: 300 }),
        fc.string(),
        (lists, bytes, text) => {
          const writer = new ByteWriter(16);
          const results = lists.map((list) => {
            for (const { type, value } of list) writer[type](value);
            writer.bytes(bytes);
            writer.string(text);
            const length = writer.length;
            const taken = writer.take();
            expect(taken.length).toBe(length);
            return taken;
          });
          results.forEach((result, index) => {
            const reader = new ByteReader(result);
            for (const { type, value } of lists[index] ?? []) expect(reader[type]()).toBe(value);
            expect([...reader.bytes()]).toEqual([...bytes]);
            expect(reader.string()).toBe(Buffer.from(text).toString());
            reader.expectEnd();
          });
        },
      ),
    );
  });

  it('patches within what is being written, also behind an earlier take', () => {
    const writer = new ByteWriter(64);
    writer.u32(1);
    const first = writer.take();
    writer.u32(0);
    writer.u8(9);
    writer.patchU32(0, 77);
    const second = writer.take();
    expect(first.readUInt32LE(0)).toBe(1);
    expect(second.readUInt32LE(0)).toBe(77);
    writer.u8(1);
    expect(() => {
      writer.patchU32(0, 1);
    }).toThrow('patch past the end');
  });

  it('never reads past the end of garbled input', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        const whole = Buffer.concat([bytes, Buffer.alloc(40, 255)]);
        const reader = new ByteReader(whole, 0, bytes.length);
        try {
          for (;;) reader.bytes();
        } catch (error) {
          expect(error).toMatchObject({ code: 'CORRUPTION' });
        }
        expect(reader.position).toBeLessThanOrEqual(bytes.length);
      }),
    );
  });

  it('refuses integers above 2^53 - 1 in both encodings', () => {
    expect(() => new ByteReader(Buffer.alloc(8, 255)).u64()).toThrow('above 2^53');
    expect(() => new ByteReader(Buffer.alloc(9, 255)).varint()).toThrow('varint too long');
    expect(() => {
      new ByteWriter().varint(-1);
    }).toThrow('not a safe unsigned integer');
  });
});

describe('crc32', () => {
  it('goes on over several buffers', () => {
    expect(crc32(Buffer.from('123456789'))).toBe(0xcbf43926);
    expect(crc32(Buffer.from('6789'), crc32(Buffer.from('12345')))).toBe(reference('123456789'));
  });
});

describe('sealed bytes', () => {
  const seals = [
    ['in front', sealFront, isFrontSealed],
    ['at the end', sealEnd, isEndSealed],
  ] as const;

  it.each(seals)('show every flipped bit, with the checksum %s', (_, seal, isSealed) => {
    const bytes = seal(Buffer.from('....what matters....'));
    expect(isSealed(bytes)).toBe(true);
    for (let bit = 0; bit < bytes.length * 8; bit += 1) {
      const flipped = Buffer.from(bytes);
      flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
      expect(isSealed(flipped)).toBe(false);
    }
  });

  it.each(seals)('are not too short for their checksum %s', (_, seal, isSealed) => {
    for (let length = 0; length < 4; length += 1) expect(isSealed(Buffer.alloc(length))).toBe(false);
    expect(isSealed(seal(Buffer.alloc(4)))).toBe(true);
  });
});
