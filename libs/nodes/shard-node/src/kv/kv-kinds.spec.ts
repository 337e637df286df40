import { beforeEach, describe, expect, it } from '@jest/globals';
import { RowKind, timestamp, TIMESTAMP_LOGICAL_STEPS, type Timestamp } from '@cairn/base';
import {
  encodeLockRow,
  encodeRow,
  encodeVersionKey,
  encodeVersionToken,
  LockRowOp,
  NO_EXPIRY,
  WriteBatchBuilder,
} from '@cairn/mvcc';
import { Expectation, KvOp, ReadConsistency, unpackRows, type KvResponse } from '@cairn/wire';

import { answerOf, bytes, codeOf, KvRig, type RequestFields } from './kv-rig.testing.js';

const HEADER = bytes('what only hashes can read');

/** Rows as other doors will write them: whole, and not as the outcome of a command. */
class KindRig {
  readonly rig: KvRig;

  constructor(rig: KvRig) {
    this.rig = rig;
  }

  async log(fill: (builder: WriteBatchBuilder) => void): Promise<void> {
    const builder = new WriteBatchBuilder();
    fill(builder);
    this.rig.replica.propose(builder.finish());
    await this.rig.run();
  }

  /** Puts a hash under the key, above everything before; answers its version. */
  async plant(key: string, expiry = NO_EXPIRY): Promise<Buffer> {
    const at = this.later();
    await this.log((builder) => {
      builder.addPut(...this.hashRow(key, at, expiry));
    });
    return encodeVersionToken(at, 0);
  }

  hashRow(key: string, at: Timestamp, expiry = NO_EXPIRY): readonly [Buffer, Buffer] {
    const version = {
      timestamp: at,
      sequence: 0,
      expiry,
      tombstone: false,
      kind: RowKind.hash,
      value: HEADER,
    };
    return encodeRow(encodeVersionKey(bytes(key), at, 0), version);
  }

  /** A timestamp that the oracle has issued meanwhile. */
  later(): Timestamp {
    const at = timestamp(this.rig.max + TIMESTAMP_LOGICAL_STEPS);
    this.rig.environment.timestamps.observe(at);
    return at;
  }

  scan(fields: Partial<RequestFields> = {}): Promise<KvResponse> {
    const readTimestamp = this.later();
    const consistency = ReadConsistency.timestamp;
    return this.rig.ask({ op: KvOp.scan, key: bytes(''), consistency, readTimestamp, ...fields });
  }
}

/** What a scan shows, in words that compare well. */
function shown({ rows }: KvResponse): string[] {
  return unpackRows(rows).map(
    ({ key, value, kind }) => `${Buffer.from(key).toString()}=${Buffer.from(value).toString()} (${kind})`,
  );
}

describe('a key that holds no bytes', () => {
  let kinds: KindRig;
  let rig: KvRig;
  let version: Buffer;

  beforeEach(async () => {
    rig = await KvRig.leading();
    kinds = new KindRig(rig);
    await rig.put('a', 'bytes');
    version = await kinds.plant('k');
  });

  const refused: readonly (readonly [string, RequestFields])[] = [
    ['a read', { op: KvOp.get, key: bytes('k') }],
    ['a stale read', { op: KvOp.get, key: bytes('k'), consistency: ReadConsistency.stale }],
    ['an increment', { op: KvOp.increment, key: bytes('k'), delta: '1' }],
    [
      'a compare-and-set by value',
      {
        op: KvOp.compareAndSet,
        key: bytes('k'),
        expectation: Expectation.value,
        expected: HEADER,
        value: HEADER,
      },
    ],
    [
      'a compare-and-set by version',
      {
        op: KvOp.compareAndSet,
        key: bytes('k'),
        expectation: Expectation.version,
        expected: Buffer.alloc(12),
      },
    ],
  ];

  it.each(refused)('tells %s its kind, whether the row is cached or not', async (_name, fields) => {
    for (let round = 0; round < 3; round += 1) {
      const response = await rig.ask(fields);
      expect(response.error).toMatchObject({ code: 'WRONG_KIND', kind: RowKind.hash });
      expect(response.value).toBeUndefined();
      if (round === 1) rig.environment.rowCache.clear();
    }
    expect(rig.damage).toEqual([]);
  });

  it('tells a compare-and-set by its version, which is not that of the key', async () => {
    const request = { op: KvOp.compareAndSet, key: bytes('k'), expectation: Expectation.version } as const;
    expect((await rig.ask({ ...request, expected: version })).error?.code).toBe('WRONG_KIND');
  });

  it('tells a read at a timestamp its kind, and one before it what was there', async () => {
    const before = timestamp(rig.max - TIMESTAMP_LOGICAL_STEPS);
    const consistency = ReadConsistency.timestamp;
    const read = { op: KvOp.get, key: bytes('k'), consistency } as const;
    expect((await rig.ask({ ...read, readTimestamp: rig.max })).error?.code).toBe('WRONG_KIND');
    expect(await rig.ask({ ...read, readTimestamp: before })).toMatchObject({
      error: undefined,
      found: false,
    });
  });

  it('fails a compare-and-set that expects nothing, with its kind and version, again when it is sent again', async () => {
    const request = {
      ...{ op: KvOp.compareAndSet, key: bytes('k'), value: bytes('new') },
      expectation: Expectation.absent,
    } as const;
    const wanted = { error: undefined, succeeded: false, found: true, kind: RowKind.hash, value: undefined };
    const first = await rig.ask({ ...request, requestId: rig.identity(1) });
    expect(first).toMatchObject(wanted);
    expect(Buffer.from(first.version)).toEqual(version);
    await rig.put('k', 'now bytes');
    const again = await rig.ask({ ...request, requestId: rig.identity(1, { isRetry: true }) });
    expect(again).toMatchObject(wanted);
    expect(again.version).toEqual(first.version);
  });

  it('is shown by scans with its kind and no value, in both directions and without values', async () => {
    const both = ['a=bytes (0)', 'k= (1)'];
    expect(shown(await kinds.scan())).toEqual(both);
    expect(shown(await kinds.scan({ reverse: true }))).toEqual(both.toReversed());
    expect(shown(await kinds.scan({ keysOnly: true }))).toEqual(['a= (0)', 'k= (1)']);
  });

  it('keeps its kind in pages that are kept, also when it changes under them', async () => {
    const both = ['a=bytes (0)', 'k= (1)'];
    expect(shown(await kinds.scan())).toEqual(both);
    expect(shown(await kinds.scan())).toEqual(both);
    expect(rig.environment.scanCache.hits).toBe(1);
    await rig.ask({ op: KvOp.expire, key: bytes('k'), ttlMs: 3_600_000 });
    const after = await kinds.scan();
    expect(rig.environment.scanCache.hits).toBe(2);
    expect(shown(after)).toEqual(both);
    expect(unpackRows(after.rows)[1]?.expiresUnixMs).toBeGreaterThan(0);
  });

  it('keeps its kind and what it says when its time to live changes', async () => {
    const answer = await rig.ask({ op: KvOp.expire, key: bytes('k'), ttlMs: 5_000 });
    expect(answer).toMatchObject({ error: undefined, found: true });
    expect((await rig.ask({ op: KvOp.get, key: bytes('k') })).error?.kind).toBe(RowKind.hash);
    const row = rig.engine.get(encodeVersionKey(bytes('k'), answer.timestamp, 0));
    expect(row?.includes(HEADER)).toBe(true);
  });

  it('is replaced by a put, and removed by a deletion, of itself or of a span', async () => {
    await rig.put('k', 'bytes again');
    expect(await rig.get('k')).toBe('bytes again');
    for (const fields of [
      { op: KvOp.delete, key: bytes('k') },
      { op: KvOp.deleteRange, key: bytes('k'), endKey: bytes('l') },
    ] as const) {
      await kinds.plant('k');
      const answer = await rig.ask(fields);
      expect(answer.error).toBeUndefined();
      expect(answer.found || answer.count === 1).toBe(true);
      expect(await rig.get('k')).toBeUndefined();
    }
  });

  it('is absent once it has expired: then it counts as bytes that are not there', async () => {
    await kinds.plant('n', timestamp(rig.max + 2 * TIMESTAMP_LOGICAL_STEPS));
    expect((await rig.ask({ op: KvOp.get, key: bytes('n') })).error?.code).toBe('WRONG_KIND');
    for (let passed = 0; passed < 3; passed += 1) kinds.later();
    expect(await rig.get('n')).toBeUndefined();
    expect((await rig.ask({ op: KvOp.increment, key: bytes('n'), delta: '2' })).number).toBe('2');
  });
});

describe('rows that no command wrote', () => {
  it('are seen by caches and pages of the leader that logged them, and of its followers', async () => {
    const rig = await KvRig.leading();
    const kinds = new KindRig(rig);
    await rig.put('k', 'cached');
    expect(await rig.get('k')).toBe('cached');
    expect(shown(await kinds.scan())).toEqual(['k=cached (0)']);
    const at = kinds.later();
    const row = kinds.hashRow('k', at);
    await kinds.log((builder) => {
      builder.addPut(...row);
    });
    expect((await rig.ask({ op: KvOp.get, key: bytes('k') })).error?.kind).toBe(RowKind.hash);
    expect(shown(await kinds.scan())).toEqual(['k= (1)']);
    await kinds.log((builder) => {
      builder.addRemove(row[0], row[1].length);
    });
    expect(await rig.get('k')).toBe('cached');
    expect(shown(await kinds.scan())).toEqual(['k=cached (0)']);

    const follower = new KvRig();
    follower.replica.isLeader = false;
    follower.replica.isReadyLeader = false;
    await follower.machine.open();
    const read = { op: KvOp.get, key: bytes('k'), consistency: ReadConsistency.stale } as const;
    const seen: (string | undefined)[] = [];
    for (const entry of rig.replica.history) {
      await follower.replica.follow([entry]);
      const sent = follower.send(read);
      await follower.turn();
      seen.push(codeOf(sent) ?? Buffer.from(answerOf(sent).value ?? []).toString());
    }
    expect(seen).toEqual(['cached', 'WRONG_KIND', 'cached']);
  });

  it('count for the size of the range, and their removal does', async () => {
    const rig = await KvRig.leading();
    const kinds = new KindRig(rig);
    const before = rig.machine.load.bytes;
    const [key, record] = encodeLockRow(bytes('k'), {
      ...{
        start: timestamp(1),
        op: LockRowOp.put,
        minCommit: timestamp(2),
        deadline: timestamp(3),
        ttlMs: 0,
      },
      ...{ primary: bytes('k'), value: Buffer.alloc(1_000) },
    });
    await kinds.log((builder) => {
      builder.addPut(key, record);
    });
    expect(rig.machine.load.bytes - before).toBe(key.length + record.length);
    expect(rig.engine.get(key)).toEqual(record);
    await kinds.log((builder) => {
      builder.addRemove(key, record.length);
    });
    expect(rig.machine.load.bytes).toBe(before);
    expect(rig.engine.get(key)).toBeUndefined();
  });
});
