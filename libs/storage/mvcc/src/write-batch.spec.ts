import { describe, expect, it } from '@jest/globals';
import { timestamp, type CairnError } from '@cairn/base';
import fc from 'fast-check';
import {
  CommandOutcome,
  FOUND_VALUE_BYTES_MAX,
  OutcomeFlag,
  OutcomeKind,
  deleteRangeDetail,
  foundDetail,
  setDeleteRange,
  setFailedCompare,
} from './command-outcome.js';
import { ROW_NAMESPACES } from './namespace.js';
import { encodeRow, type VersionRecord } from './record.js';
import { encodeVersionKey } from './version-key.js';
import { encodeVersionToken } from './version-token.js';
import { WriteBatchBuilder } from './write-batch-builder.js';
import { ENGINE_KEY_BYTES_MAX, USER_KEY_BYTES_MAX } from './write-batch-format.js';
import { readWriteBatch, readWriteBatchHeader, type WriteBatchVisitor } from './write-batch-reader.js';

/** Notes everything it is shown, in words that compare well. */
class Recorder implements WriteBatchVisitor {
  readonly seen: string[] = [];

  write(key: Buffer, record: Buffer): void {
    this.seen.push(`write ${key.toString('hex')} ${record.toString('hex')}`);
  }

  outcome(outcome: CommandOutcome): void {
    this.seen.push(describeOutcome(outcome));
  }

  put(key: Buffer, record: Buffer): void {
    this.seen.push(`put ${key.toString('hex')} ${record.toString('hex')}`);
  }

  remove(key: Buffer, recordBytes: number): void {
    this.seen.push(`remove ${key.toString('hex')} ${recordBytes}`);
  }

  purge(key: Buffer): void {
    this.seen.push(`purge ${key.toString('hex')}`);
  }

  collected(safePoint: number, bytes: number): void {
    this.seen.push(`collected below ${safePoint}: ${bytes}`);
  }
}

function describeOutcome(outcome: CommandOutcome): string {
  const { client, requestSequence, kind, flags, sequence, detail } = outcome;
  const identity = `${client}/${requestSequence} kind ${kind} flags ${flags}`;
  return `outcome ${identity} at ${outcome.timestamp}#${sequence} ${detail?.toString('hex') ?? '-'}`;
}

function outcomeOf(fields: Partial<CommandOutcome>): CommandOutcome {
  return Object.assign(new CommandOutcome(), fields);
}

function versionOf(ts: number, sequence: number, value: string): VersionRecord {
  return {
    timestamp: timestamp(ts),
    sequence,
    expiry: timestamp(0),
    tombstone: false,
    kind: 0,
    value: Buffer.from(value),
  };
}

function visit(payload: Buffer): string[] {
  const recorder = new Recorder();
  readWriteBatch(payload, recorder);
  return recorder.seen;
}

const uint48 = fc.oneof(
  fc.maxSafeNat().map((value) => value % 2 ** 48),
  fc.constantFrom(0, 1, 2 ** 48 - 1),
);
const uint32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const versionArbitrary = fc.record({
  timestamp: fc.maxSafeNat().map(timestamp),
  sequence: uint32,
  expiry: fc.oneof(fc.constant(0), fc.maxSafeNat()).map(timestamp),
  tombstone: fc.constant(false),
  kind: fc.constantFrom(0, 0, 1, 255),
  value: fc.uint8Array({ maxLength: 40 }),
});
const keyArbitrary = fc.uint8Array({ maxLength: 20 });

type Item = (builder: WriteBatchBuilder) => { readonly shown: readonly string[]; readonly ts: number };

const writeItem: fc.Arbitrary<Item> = fc
  .record({ client: uint48, requestSequence: uint48, key: keyArbitrary, version: versionArbitrary })
  .chain((made) => fc.constantFrom(...Object.values(OutcomeKind)).map((kind) => ({ ...made, kind })))
  .map(({ client, requestSequence, key, version, kind }) => (builder) => {
    const { timestamp: ts, sequence } = version;
    const outcome = outcomeOf({ client, requestSequence, kind, flags: 3, timestamp: ts, sequence });
    builder.addWrite(outcome, key, version);
    if (kind === OutcomeKind.increment) outcome.detail = Buffer.from(version.value);
    const [engineKey, record] = encodeRow(encodeVersionKey(key, ts, version.sequence), version);
    const row = `write ${engineKey.toString('hex')} ${record.toString('hex')}`;
    return { shown: [row, describeOutcome(outcome)], ts };
  });

const partsItem: fc.Arbitrary<Item> = fc
  .record({
    client: uint48,
    requestSequence: uint48,
    rows: fc.array(fc.tuple(keyArbitrary, versionArbitrary), { maxLength: 4 }),
    resumeKey: fc.option(keyArbitrary, { nil: undefined }),
  })
  .map(({ client, requestSequence, rows, resumeKey }) => (builder) => {
    const shown: string[] = [];
    let ts = 5;
    for (const [key, version] of rows) {
      builder.addPart(key, version);
      ts = Math.max(ts, version.timestamp);
      const engineKey = encodeVersionKey(key, version.timestamp, version.sequence);
      shown.push(`write ${engineKey.toString('hex')} ${encodeRow(engineKey, version)[1].toString('hex')}`);
    }
    const outcome = outcomeOf({ client, requestSequence, timestamp: timestamp(5) });
    setDeleteRange(outcome, rows.length, resumeKey);
    builder.addOutcome(outcome);
    return { shown: [...shown, describeOutcome(outcome)], ts };
  });

const rowKeyArbitrary = fc
  .tuple(fc.constantFrom(...ROW_NAMESPACES), keyArbitrary)
  .map(([namespace, rest]) => Buffer.concat([Buffer.of(namespace), rest]));

const purgeItem: fc.Arbitrary<Item> = fc.array(rowKeyArbitrary, { maxLength: 5 }).map((keys) => (builder) => {
  builder.addPurge(keys);
  return { shown: keys.map((key) => `purge ${key.toString('hex')}`), ts: 0 };
});

/** Versions and members end with the suffix that their record tells; keys of other rows with anything. */
const putItem: fc.Arbitrary<Item> = fc
  .record({ namespace: fc.constantFrom(...ROW_NAMESPACES), rest: keyArbitrary, version: versionArbitrary })
  .map(({ namespace, rest, version }) => (builder) => {
    const versionKey = encodeVersionKey(rest, version.timestamp, version.sequence);
    const [key, record] = encodeRow(Buffer.concat([Buffer.of(namespace), versionKey.subarray(1)]), version);
    builder.addPut(key, record);
    return { shown: [`put ${key.toString('hex')} ${record.toString('hex')}`], ts: 0 };
  });

const removeItem: fc.Arbitrary<Item> = fc.tuple(rowKeyArbitrary, uint32).map(([key, bytes]) => (builder) => {
  builder.addRemove(key, bytes);
  return { shown: [`remove ${key.toString('hex')} ${bytes}`], ts: 0 };
});

const collectedItem: fc.Arbitrary<Item> = fc
  .record({ safePoint: fc.maxSafeNat(), bytes: fc.maxSafeNat() })
  .map(({ safePoint, bytes }) => (builder) => {
    builder.addCollected(timestamp(safePoint), bytes);
    return { shown: [`collected below ${safePoint}: ${bytes}`], ts: 0 };
  });

describe('write batches', () => {
  it('show what was added, in order, and again after reuse', () => {
    const builder = new WriteBatchBuilder(16);
    const items = fc.array(fc.oneof(writeItem, partsItem, purgeItem, collectedItem, putItem, removeItem), {
      minLength: 1,
      maxLength: 12,
    });
    fc.assert(
      fc.property(items, (made) => {
        const added = made.map((item) => item(builder));
        const { bytes, count, maxTimestamp } = builder;
        const payload = builder.finish();
        expect(payload).toHaveLength(bytes);
        expect(builder.count).toBe(0);
        expect(readWriteBatchHeader(payload)).toEqual({ count, maxTimestamp });
        expect(maxTimestamp).toBe(Math.max(...added.map(({ ts }) => ts)));
        expect(visit(payload)).toEqual(added.flatMap(({ shown }) => shown));
      }),
      { seed: 20_260_105, numRuns: 600 },
    );
  });

  it('have the bytes that are written down', () => {
    const builder = new WriteBatchBuilder();
    const put = outcomeOf({
      client: 1,
      requestSequence: 2,
      kind: OutcomeKind.put,
      timestamp: timestamp(9),
      sequence: 3,
    });
    builder.addWrite(put, Buffer.from('k'), versionOf(9, 3, 'v'));
    builder.addPart(Buffer.from('p'), versionOf(8, 1, ''));
    const failed = outcomeOf({ client: 2 ** 48 - 1, requestSequence: 4, timestamp: timestamp(7) });
    setFailedCompare(failed, {
      token: encodeVersionToken(timestamp(5), 6),
      value: Buffer.from('w'),
      kind: 0,
    });
    builder.addOutcome(failed);
    builder.addPurge([Buffer.from('10aa', 'hex'), Buffer.from('13', 'hex')]);
    builder.addCollected(timestamp(6), 258);
    builder.addPut(Buffer.of(0x11, 0x6b), Buffer.from('000000000700000000', 'hex'));
    builder.addRemove(Buffer.of(0x13, 0x6d), 259);
    const expected = [
      '01' + '03' + '00000007' + '0000000000000009',
      '01' + '01' + '00' + '000000000001' + '000000000002' + '0000000c' + '0000000a',
      '106b0001' + 'ffffffffffffb7ff' + '00' + '00000003' + '54c44966' + '76',
      '03' + '0000000c' + '00000009' + '10700001' + 'ffffffffffffbfff' + '00' + '00000001' + '07c3bdde',
      '02' + '03' + '04' + 'ffffffffffff' + '000000000004' + '0000000000000007' + '00000000' + '0000000d',
      '0000000000000005' + '00000006' + '77',
      '04' + '00000002' + '00000002' + '10aa' + '00000001' + '13',
      '05' + '0000000000000006' + '0000000000000102',
      '06' + '00000002' + '00000009' + '116b' + '000000000700000000',
      '07' + '00000002' + '00000103' + '136d',
    ];
    expect(builder.finish().toString('hex')).toBe(expected.join(''));
  });

  it('hold the longest user key, of zero bytes only, which make its engine key twice as long', () => {
    const longest = Buffer.alloc(USER_KEY_BYTES_MAX);
    const engineKey = encodeVersionKey(longest, timestamp(9), 0);
    expect(engineKey.length).toBeLessThanOrEqual(ENGINE_KEY_BYTES_MAX);
    expect(engineKey.length).toBeGreaterThan(ENGINE_KEY_BYTES_MAX - 2);
    const builder = new WriteBatchBuilder();
    const outcome = outcomeOf({ client: 1, kind: OutcomeKind.put, timestamp: timestamp(9) });
    builder.addWrite(outcome, longest, versionOf(9, 0, 'v'));
    builder.addPart(longest, versionOf(9, 0, 'v'));
    builder.addPurge([engineKey]);
    const seen = visit(builder.finish());
    const row = encodeRow(encodeVersionKey(longest, timestamp(9), 0), versionOf(9, 0, 'v'));
    const written = `write ${row[0].toString('hex')} ${row[1].toString('hex')}`;
    expect([seen[0], seen[2], seen[3]]).toEqual([written, written, `purge ${engineKey.toString('hex')}`]);
    expect(() => {
      builder.addPart(Buffer.alloc(USER_KEY_BYTES_MAX + 1), versionOf(9, 0, 'v'));
    }).toThrow('engine key too long');
  });

  it('refuse every shortened and every unknown payload', () => {
    const builder = new WriteBatchBuilder();
    builder.addWrite(outcomeOf({ timestamp: timestamp(9) }), Buffer.from('k'), versionOf(9, 0, 'v'));
    const failed = outcomeOf({ client: 1 });
    setFailedCompare(failed, undefined);
    builder.addOutcome(failed);
    builder.addPurge([Buffer.from('10aa', 'hex')]);
    builder.addCollected(timestamp(4), 9);
    const good = builder.finish();
    const corrupt = expect.objectContaining({ code: 'CORRUPTION' });
    for (let length = 0; length < good.length; length += 1) {
      expect(() => visit(good.subarray(0, length))).toThrow(corrupt);
    }
    expect(() => visit(Buffer.concat([good, Buffer.of(0)]))).toThrow(corrupt);
    const tooNew = expect.objectContaining({ code: 'FORMAT_TOO_NEW' });
    for (const [at, byte] of [
      [0, 2],
      [1, 4],
      [14, 8],
      [15, 7],
      [16, 64],
    ] as const) {
      const newer = Buffer.from(good);
      newer[at] = byte;
      expect(() => visit(newer)).toThrow(tooNew);
    }
    for (const [at, byte] of [
      [0, 0],
      [1, 1],
      [14, 0],
      [15, 0],
      // The last byte of the key: another step than the record's.
      [48, 0xfe],
    ] as const) {
      const bad = Buffer.from(good);
      bad[at] = byte;
      expect(() => visit(bad)).toThrow(corrupt);
    }
  });

  it('never read past a payload, whatever it holds', () => {
    const builder = new WriteBatchBuilder();
    builder.addWrite(
      outcomeOf({ client: 5, timestamp: timestamp(9) }),
      Buffer.from('key'),
      versionOf(9, 0, 'value'),
    );
    builder.addPurge([Buffer.from('10aa', 'hex')]);
    const good = builder.finish();
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: good.length - 1 }),
        fc.integer({ min: 0, max: 255 }),
        (at, byte) => {
          const bad = Buffer.from(good);
          bad[at] = byte;
          try {
            visit(bad);
          } catch (error) {
            expect(['CORRUPTION', 'FORMAT_TOO_NEW']).toContain((error as CairnError).code);
          }
        },
      ),
      { seed: 1, numRuns: 2000 },
    );
  });

  it('refuse a write whose outcome tells another version', () => {
    const builder = new WriteBatchBuilder();
    const outcome = outcomeOf({ timestamp: timestamp(9), sequence: 1 });
    expect(() => {
      builder.addWrite(outcome, Buffer.from('k'), versionOf(9, 2, 'v'));
    }).toThrow('sequence');
    expect(() => builder.finish()).toThrow('without items');
  });
});

describe('outcome details', () => {
  it('tell what a failed compare-and-set found, within the bound', () => {
    const outcome = new CommandOutcome();
    const token = encodeVersionToken(timestamp(5), 6);
    const value = Buffer.alloc(FOUND_VALUE_BYTES_MAX, 1);
    setFailedCompare(outcome, { token, value, kind: 0 });
    expect(foundDetail(outcome)).toEqual({ token, value, kind: 0 });
    setFailedCompare(outcome, { token, value: Buffer.alloc(FOUND_VALUE_BYTES_MAX + 1, 1), kind: 0 });
    expect(outcome.has(OutcomeFlag.valueTruncated)).toBe(true);
    expect(foundDetail(outcome)).toEqual({ token, value: undefined, kind: 0 });
    setFailedCompare(outcome, { token, value, kind: 3 });
    expect(foundDetail(outcome)).toEqual({ token, value: undefined, kind: 3 });
    setFailedCompare(outcome, undefined);
    expect(foundDetail(outcome)).toBeUndefined();
  });

  it('tell how far a deleteRange came', () => {
    const outcome = new CommandOutcome();
    setDeleteRange(outcome, 70_000, Buffer.from('next'));
    expect(deleteRangeDetail(outcome)).toEqual({ count: 70_000, resumeKey: Buffer.from('next') });
    setDeleteRange(outcome, 1, undefined);
    expect(deleteRangeDetail(outcome)).toEqual({ count: 1, resumeKey: undefined });
  });
});
