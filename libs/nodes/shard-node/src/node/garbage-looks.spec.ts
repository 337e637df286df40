import { describe, expect, it } from '@jest/globals';
import { RowKind, timestamp } from '@cairn/base';
import { MemoryEngine } from '@cairn/engine';
import {
  encodeIncarnation,
  encodeMemberKey,
  encodeMembersForm,
  encodeRow,
  encodeVersionKey,
  keyPrefixIn,
  Namespace,
  NO_EXPIRY,
  rowSpansOf,
  type VersionRecord,
} from '@cairn/mvcc';
import fc from 'fast-check';

import { bytes, descriptorOf } from '../kv/kv-rig.testing.js';
import { GarbageLooks, type LookPlace } from './garbage-looks.js';

const STEP = 2 ** 21;
/** None goes. */
const NO_RECORDS = { below: timestamp(0), ripeBelow: timestamp(0) };
const KEYS = ['a', 'a\0', 'b'] as const;
const INCARNATIONS = [0, 1, 2].map((at) => encodeIncarnation(timestamp(1 + at), 0));
const TS_MAX = 12;

/** What the row of a key says: which incarnation it names, that it is inline, bytes, or gone. */
type Said = number | 'inline' | 'bytes' | 'deleted' | 'unknown';

interface Header {
  readonly key: string;
  readonly ts: number;
  readonly step: number;
  readonly expiry: number;
  readonly says: Said;
}

interface Member {
  readonly key: string;
  readonly incarnation: number;
  readonly sub: string;
  readonly ts: number;
  readonly step: number;
  readonly isDeleted: boolean;
}

interface State {
  readonly headers: readonly Header[];
  readonly members: readonly Member[];
}

const place = { key: fc.constantFrom(...KEYS), ts: fc.integer({ min: 1, max: TS_MAX }), step: fc.nat(1) };
const header: fc.Arbitrary<Header> = fc.record({
  ...place,
  expiry: fc.oneof(fc.constant(0), fc.constant(0), fc.integer({ min: 1, max: TS_MAX })),
  says: fc.oneof(
    fc.constantFrom<Said>(0, 1, 2, 0, 1, 2),
    fc.constantFrom<Said>('inline', 'bytes', 'deleted', 'unknown'),
  ),
});
const member: fc.Arbitrary<Member> = fc.record({
  ...place,
  incarnation: fc.nat(2),
  sub: fc.constantFrom('', 'x', 'x\0'),
  isDeleted: fc.boolean(),
});

function last<Item extends { readonly ts: number; readonly step: number }>(
  items: readonly Item[],
): Item | undefined {
  return items.toSorted((one, other) => one.ts - other.ts || one.step - other.step).at(-1);
}

/** Of writes at one place the last stands. */
function settled({ headers, members }: State): State {
  return {
    headers: [...new Map(headers.map((one) => [`${one.key}/${one.ts}/${one.step}`, one])).values()],
    members: [
      ...new Map(
        members.map((one) => [`${one.key}/${one.incarnation}/${one.sub}/${one.ts}/${one.step}`, one]),
      ).values(),
    ],
  };
}

function versionOf(
  at: { readonly ts: number; readonly step: number },
  more: Partial<VersionRecord>,
): VersionRecord {
  return {
    timestamp: timestamp(at.ts),
    sequence: at.step * STEP,
    expiry: NO_EXPIRY,
    tombstone: false,
    kind: RowKind.bytes,
    value: Buffer.alloc(0),
    ...more,
  };
}

function headerRow(one: Header): readonly [Buffer, Buffer] {
  const key = encodeVersionKey(bytes(one.key), timestamp(one.ts), one.step * STEP);
  const expiry = timestamp(one.expiry);
  const collection = (value: Buffer): VersionRecord => versionOf(one, { kind: RowKind.hash, expiry, value });
  switch (one.says) {
    case 'deleted':
      return encodeRow(key, versionOf(one, { tombstone: true }));
    case 'bytes':
      return encodeRow(key, versionOf(one, { expiry, value: encodeMembersForm(INCARNATIONS[0] as Buffer) }));
    case 'inline':
      return encodeRow(key, collection(Buffer.of(0)));
    case 'unknown':
      return encodeRow(key, collection(Buffer.of(7)));
    default:
      return encodeRow(key, collection(encodeMembersForm(INCARNATIONS[one.says] as Buffer)));
  }
}

function memberRow(one: Member): readonly [Buffer, Buffer] {
  const incarnation = INCARNATIONS[one.incarnation] as Buffer;
  const name = { userKey: bytes(one.key), incarnation, tag: 1, sub: bytes(one.sub) };
  const key = encodeMemberKey(name, timestamp(one.ts), one.step * STEP);
  return encodeRow(
    key,
    versionOf(one, one.isDeleted ? { tombstone: true } : { value: bytes('of the member') }),
  );
}

function lockRow(key: string): readonly [Buffer, Buffer] {
  const lock = Buffer.concat([keyPrefixIn(Namespace.locks, bytes(key)), bytes('lock')]);
  return encodeRow(lock, versionOf({ ts: 1, step: 0 }, {}));
}

/** What a read at `ts` sees of a key's members. */
function visible({ headers, members }: State, key: string, ts: number): string[] {
  const newest = last(headers.filter((one) => one.key === key && one.ts <= ts));
  if (newest === undefined || (newest.expiry !== 0 && newest.expiry <= ts)) return [];
  const seen: string[] = [];
  for (const sub of ['', 'x', 'x\0']) {
    const chain = members.filter(
      (one) => one.key === key && one.incarnation === newest.says && one.sub === sub,
    );
    const at = last(chain.filter((one) => one.ts <= ts));
    if (at?.isDeleted === false) seen.push(`${sub}@${at.ts}#${at.step}`);
  }
  return seen;
}

async function engineWith(rows: readonly (readonly [Buffer, Buffer])[]): Promise<MemoryEngine> {
  const engine = new MemoryEngine();
  const batch = engine.newBatch();
  for (const [key, record] of rows) batch.put(key, record);
  await engine.write(batch);
  return engine;
}

/** Looks until the range is done, and takes away what is found. */
async function collect(engine: MemoryEngine, safePoint: number, keysMax: number): Promise<void> {
  const range = { descriptor: descriptorOf('', ''), safePoint: timestamp(safePoint), records: NO_RECORDS };
  const looks = new GarbageLooks(engine, range, keysMax);
  let next: LookPlace | undefined = looks.first;
  for (let look = 0; next !== undefined; look += 1) {
    expect(look).toBeLessThan(500);
    const found = await looks.look(next);
    expect(found.keys.length).toBeLessThanOrEqual(keysMax);
    const batch = engine.newBatch();
    for (const key of found.keys) batch.delete(key);
    if (batch.length > 0) await engine.write(batch);
    next = found.next;
  }
}

async function keysIn(engine: MemoryEngine): Promise<Set<string>> {
  const keys = new Set<string>();
  for (const span of rowSpansOf(bytes(''), bytes(''))) {
    const iterator = engine.iterate(span);
    for (let rows = await iterator.next(1_000); rows.length > 0; rows = await iterator.next(1_000)) {
      for (const [key] of rows) keys.add(key.toString('hex'));
    }
    await iterator.close();
  }
  return keys;
}

const state = fc
  .record({ headers: fc.array(header, { maxLength: 8 }), members: fc.array(member, { maxLength: 24 }) })
  .map(settled);
const locks = fc.array(fc.constantFrom(...KEYS, 'z'), { maxLength: 2 });

describe('looks for garbage', () => {
  it('take no member away that a read at or above the safe point sees, nor anything under a lock', async () => {
    await fc.assert(
      fc.asyncProperty(state, locks, fc.nat(TS_MAX + 1), fc.integer({ min: 1, max: 4 }), async (...drawn) => {
        const [before, locked, safePoint, keysMax] = drawn;
        const rows = [
          ...before.headers.map(headerRow),
          ...before.members.map(memberRow),
          ...locked.map(lockRow),
        ];
        const engine = await engineWith(rows);
        await collect(engine, safePoint, keysMax);
        const left = await keysIn(engine);
        const isLeft = ([key]: readonly [Buffer, Buffer]): boolean => left.has(key.toString('hex'));
        const after = {
          headers: before.headers.filter((one) => isLeft(headerRow(one))),
          members: before.members.filter((one) => isLeft(memberRow(one))),
        };
        for (const key of KEYS) {
          for (let ts = safePoint; ts <= TS_MAX + 1; ts += 1) {
            expect(visible(after, key, ts)).toEqual(visible(before, key, ts));
          }
        }
        for (const key of locked) {
          const isOf = (one: { readonly key: string }): boolean => one.key === key;
          expect(after.headers.filter(isOf)).toEqual(before.headers.filter(isOf));
          expect(after.members.filter(isOf)).toEqual(before.members.filter(isOf));
          expect(isLeft(lockRow(key))).toBe(true);
        }
      }),
      { numRuns: 400 },
    );
  });

  it('leave of the members at or below the safe point only those that some header still shows', async () => {
    await fc.assert(
      fc.asyncProperty(state, fc.nat(TS_MAX + 1), async (before, safePoint) => {
        const engine = await engineWith([...before.headers.map(headerRow), ...before.members.map(memberRow)]);
        await collect(engine, safePoint, 3);
        const left = await keysIn(engine);
        for (const one of before.members) {
          if (one.ts > safePoint || !left.has(memberRow(one)[0].toString('hex'))) continue;
          const headers = before.headers.filter(({ key }) => key === one.key);
          if (headers.some(({ says }) => says === 'unknown')) continue;
          const pivot = last(headers.filter(({ ts }) => ts <= safePoint));
          const isPivotLive = pivot !== undefined && (pivot.expiry === 0 || pivot.expiry > safePoint);
          const readable = [...headers.filter(({ ts }) => ts > safePoint), ...(isPivotLive ? [pivot] : [])];
          expect(readable.map(({ says }) => says)).toContain(one.incarnation);
          const chain = before.members.filter(
            ({ incarnation, key, sub, ts }) =>
              key === one.key && incarnation === one.incarnation && sub === one.sub && ts <= safePoint,
          );
          expect(last(chain)).toBe(one);
          expect(one.isDeleted).toBe(false);
        }
      }),
      { numRuns: 400 },
    );
  });

  it('go through a collection that is larger than a look, from where the last one ended', async () => {
    const members = Array.from({ length: 25_000 }, (_, at): Member => ({
      key: 'a',
      incarnation: at % 2,
      sub: String(at).padStart(6, '0'),
      ts: 2,
      step: 0,
      isDeleted: false,
    }));
    const says: Header = { key: 'a', ts: 3, step: 0, expiry: 0, says: 1 };
    const engine = await engineWith([headerRow(says), ...members.map(memberRow)]);
    await collect(engine, 5, 1_000);
    const left = await keysIn(engine);
    expect(left.size).toBe(1 + members.length / 2);
    expect(left.has(memberRow(members[1] as Member)[0].toString('hex'))).toBe(true);
  });
});

describe('damage that a look comes upon', () => {
  const version = (more: Partial<VersionRecord> = {}): VersionRecord => ({
    ...{ timestamp: timestamp(5), sequence: 0, expiry: NO_EXPIRY, tombstone: false, kind: RowKind.bytes },
    ...{ value: bytes('v'), ...more },
  });
  const looksOver = async (...rows: readonly (readonly [Buffer, Buffer])[]): Promise<GarbageLooks> => {
    const engine = new MemoryEngine();
    const batch = engine.newBatch();
    for (const [key, record] of rows) batch.put(key, record);
    await engine.write(batch);
    const range = { descriptor: descriptorOf('', ''), safePoint: timestamp(9), records: NO_RECORDS };
    return new GarbageLooks(engine, range, 10);
  };

  it('in the flags of a row is no row of a later release', async () => {
    const [key, record] = encodeRow(encodeVersionKey(bytes('k'), timestamp(5), 0), version());
    record[0] = (record[0] as number) ^ 0x40;
    const looks = await looksOver([key, record]);
    await expect(looks.look(looks.first)).rejects.toMatchObject({ code: 'CORRUPTION' });
  });

  it('in an old version is told before the version is purged', async () => {
    const older = encodeRow(
      encodeVersionKey(bytes('k'), timestamp(3), 0),
      version({ timestamp: timestamp(3) }),
    );
    const newer = encodeRow(
      encodeVersionKey(bytes('k'), timestamp(5), 0),
      version({ expiry: timestamp(2 ** 40) }),
    );
    older[1][older[1].length - 1] = (older[1].at(-1) as number) ^ 1;
    const looks = await looksOver(newer, older);
    await expect(looks.look(looks.first)).rejects.toMatchObject({ code: 'CORRUPTION' });
  });

  it('in the key of a member does not make it garbage', async () => {
    const incarnation = encodeIncarnation(timestamp(3), 0);
    const header = version({ kind: RowKind.hash, value: encodeMembersForm(incarnation) });
    const place = { userKey: bytes('k'), incarnation, tag: 1, sub: bytes('x') };
    const [key, record] = encodeRow(encodeMemberKey(place, timestamp(5), 0), version());
    // The first byte of the incarnation.
    key[4] = (key[4] as number) ^ 1;
    const looks = await looksOver(encodeRow(encodeVersionKey(bytes('k'), timestamp(5), 0), header), [
      key,
      record,
    ]);
    const { next } = await looks.look(looks.first);
    await expect(looks.look(next as LookPlace)).rejects.toMatchObject({ code: 'CORRUPTION' });
  });
});
