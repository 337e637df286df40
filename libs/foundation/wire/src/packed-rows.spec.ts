import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';

import type { RowKind } from './gen/cairn/v1/kinds.js';
import { ScanResponse } from './gen/cairn/v1/kv.js';
import {
  decodeScanPage,
  encodeScanPage,
  PackedRowReader,
  packRows,
  RowPacker,
  unpackRows,
} from './packed-rows.js';

const bytes = (maxLength: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ maxLength }).map((found) => Buffer.from(found));
const large = fc.integer({ min: 100, max: 300 }).map((size) => Buffer.alloc(size, size & 255));
const version = fc.uint8Array({ minLength: 12, maxLength: 12 }).map((found) => Buffer.from(found));
const expiresUnixMs = fc.oneof(
  fc.constant(0),
  fc.maxSafeNat(),
  fc.constantFrom(127, 128, 2 ** 28, 2 ** 35 - 1, 2 ** 35, 2 ** 42, 2 ** 49),
);
/** Some that no release has yet. */
const kind = fc.constantFrom(0, 0, 1, 127, 128, 255) as fc.Arbitrary<RowKind>;
const rows = fc.array(
  fc.record({ key: bytes(40), value: fc.oneof(bytes(40), large), version, kind, expiresUnixMs }),
  { maxLength: 8 },
);
const timestamp = fc.maxSafeNat();

describe('packed rows', () => {
  it('are, with the timestamp, byte for byte the message of the generated encoder', () => {
    fc.assert(
      fc.property(rows, timestamp, (list, at) => {
        const wanted = Buffer.from(ScanResponse.encode({ rows: list, timestamp: at }).finish());
        expect(encodeScanPage({ rows: packRows(list), timestamp: at }).equals(wanted)).toBe(true);
        const page = decodeScanPage(wanted);
        expect(page.timestamp).toBe(at);
        expect(page.rows.count).toBe(list.length);
        expect(unpackRows(page.rows)).toEqual(list);
      }),
    );
  });

  it('keep that form where lengths take one byte more', () => {
    for (const size of [127, 128, 16_383 - 20, 16_383, 16_384, 2 ** 21 - 20, 2 ** 21]) {
      const list = [
        {
          key: Buffer.from('k'),
          value: Buffer.alloc(size, 7),
          version: Buffer.alloc(12, 1),
          kind: 0,
          expiresUnixMs: 0,
        },
      ];
      const wanted = Buffer.from(ScanResponse.encode({ rows: list, timestamp: 1 }).finish());
      expect(encodeScanPage({ rows: packRows(list), timestamp: 1 }).equals(wanted)).toBe(true);
      expect(unpackRows(decodeScanPage(wanted).rows)[0]?.value.length).toBe(size);
    }
  });

  it('can be put together from runs of others', () => {
    fc.assert(
      fc.property(rows, rows, (one, other) => {
        const packer = new RowPacker(16);
        for (const part of [packRows(one), packRows(other)]) packer.append(part.bytes, part.count);
        const packed = packer.take();
        expect(packed).toEqual(packRows([...one, ...other]));
        const starts: number[] = [];
        for (const reader = new PackedRowReader(packed.bytes); reader.next();) starts.push(reader.rowStart);
        for (const [at, start] of starts.entries()) {
          const rest = { count: starts.length - at, bytes: packed.bytes.subarray(start) };
          expect(unpackRows(rest)).toEqual([...one, ...other].slice(at));
        }
      }),
    );
  });

  it('are understood when others order fields differently and add some', () => {
    const row = Buffer.concat([
      Buffer.from([0x28, 0xac, 0x02]),
      Buffer.from([0x1a, 2, 7, 8]),
      Buffer.from([0x20, 0x96, 0x01]),
      Buffer.from([0x0a, 1, 0x6b]),
      Buffer.from([0x92, 0x01, 1, 9]),
    ]);
    const message = Buffer.concat([
      Buffer.from([0x10, 5]),
      Buffer.from([0x0a, row.length]),
      row,
      Buffer.from([0x2a, 1, 0, 0x1d, 1, 2, 3, 4]),
      Buffer.from([0x0a, row.length]),
      row,
    ]);
    const page = decodeScanPage(message);
    expect(page.timestamp).toBe(5);
    const one = {
      ...{ key: Buffer.from('k'), value: Buffer.alloc(0), version: Buffer.from([7, 8]) },
      kind: 150,
      expiresUnixMs: 300,
    };
    expect(page.rows.count).toBe(2);
    expect(unpackRows(page.rows)).toEqual([one, one]);
  });

  it('answer garbled bytes with CORRUPTION, or with something whole, never with another error', () => {
    fc.assert(
      fc.property(rows, fc.nat(), fc.nat(255), (list, at, flip) => {
        const message = encodeScanPage({ rows: packRows(list), timestamp: 3 });
        message[at % message.length] = flip;
        for (const garbled of [message, message.subarray(0, at % message.length)]) {
          try {
            unpackRows(decodeScanPage(garbled).rows);
          } catch (thrown) {
            expect(thrown).toMatchObject({ code: 'CORRUPTION' });
          }
        }
      }),
    );
  });
});
