/**
 * Goal: closures are transactions, whatever comes in between. Method: a client and in-memory routers in one
 * process; interference is written into the store by name, at the moment that a call arrives.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { CairnError } from '@cairn/base';
import { callsOf, failureOf } from '../test/expectations.js';
import { FakeRouter } from '../test/index.js';
import { connect, type CairnClient } from './client.js';
import { json } from './codecs.js';
import type { Transaction } from './transaction.js';
import { TRANSACTION_BYTES_MAX, TRANSACTION_KEYS_MAX, TransactionState } from './transaction-state.js';

let router: FakeRouter;
let client: CairnClient;

beforeEach(async () => {
  router = await FakeRouter.start();
  client = connect({ endpoints: [router.endpoint] });
});

afterEach(() => {
  client.close();
  router.kill();
});

/** Another client writes the key right before each of the first so many commits. */
function interfere(key: string, times: number): void {
  let left = times;
  router.verdict = ({ operation }) => {
    if (operation?.$case === 'commit' && left > 0) {
      left -= 1;
      router.store.apply({
        $case: 'put',
        value: {
          key: Buffer.from(key),
          value: Buffer.from(String(left)),
          ttlMs: 0,
          ordering: 1,
          requestId: undefined,
        },
      });
    }
    return 'answer';
  };
}

const textOf = async (key: string): Promise<string | undefined> => (await client.get(key))?.text();

describe('a transaction', () => {
  test('moves from one key to another, and answers what the closure returns', async () => {
    await client.put('a', '10');
    await client.put('b', '1');
    let timestamps: (number | undefined)[] = [];
    const moved = await client.transaction(async (tx) => {
      const [a, b] = await Promise.all([tx.get('a'), tx.get('b')]);
      tx.put('a', String(Number(a?.text()) - 3));
      tx.put('b', String(Number(b?.text()) + 3));
      timestamps = [await tx.timestamp(), tx.commitTimestamp];
      return 3;
    });
    expect(moved).toBe(3);
    expect([await textOf('a'), await textOf('b')]).toEqual(['7', '4']);
    expect(timestamps).toEqual([expect.any(Number), undefined]);
    const [commit] = callsOf(router, 'commit');
    expect(commit?.start).toBe(timestamps[0]);
    // What is written is checked by being written.
    expect(commit?.reads.map(String)).toEqual([]);
  });

  test('has reads checked that its writes do not: of other keys, and of what may expire', async () => {
    await client.put('lasting', '1');
    await client.put('expiring', '1', { ttlMs: 60_000 });
    await client.transaction(async (tx) => {
      await Promise.all(['lasting', 'expiring', 'absent', 'only read'].map((key) => tx.get(key)));
      for (const key of ['lasting', 'expiring', 'absent', 'only written']) tx.put(key, '2');
    });
    await client.transaction(async (tx) => {
      await tx.increment('counter');
      await tx.get('lasting');
      tx.delete('lasting');
    });
    expect(callsOf(router, 'commit').map(({ reads }) => reads.map(String))).toEqual([
      ['expiring', 'only read'],
      [],
    ]);
  });

  test('reads with one call what is read together, and takes its instant with it', async () => {
    await client.transaction(async (tx) => {
      await Promise.all([tx.get('a'), tx.getMany(['b', 'c'])]);
      await tx.get('d');
    });
    const calls = callsOf(router, 'snapshotGet');
    expect(calls.map(({ keys, at }) => [keys.map(String), at?.$case])).toEqual([
      [['a', 'b', 'c'], 'fresh'],
      [['d'], 'timestamp'],
    ]);
    expect(callsOf(router, 'commit')).toEqual([]);
  });

  test('asks again for what did not fit into an answer', async () => {
    router.store.transactions.rowsMax = 2;
    const keys = ['a', 'b', 'c', 'd', 'e'];
    for (const key of keys) await client.put(key, key);
    const entries = await client.transaction((tx) => tx.getMany(keys));
    expect(entries.map((entry) => entry?.text())).toEqual(keys);
    expect(callsOf(router, 'snapshotGet').map(({ at }) => at?.$case)).toEqual([
      'fresh',
      'timestamp',
      'timestamp',
    ]);
  });

  test('sees one instant, whatever others write meanwhile', async () => {
    await client.put('a', '1');
    await client.put('b', '1');
    const seen = await client.transaction(async (tx) => {
      const a = await tx.get('a');
      await client.put('b', '2');
      await client.put('a', '2');
      return [a?.text(), (await tx.get('b'))?.text(), (await tx.scan().next()).value?.text()];
    });
    expect(seen).toEqual(['1', '1', '1']);
  });

  test('sees its own writes, in gets, increments and scans of both directions', async () => {
    for (const key of ['a', 'b', 'c', 'e']) await client.put(key, 'old');
    await client.transaction(async (tx) => {
      tx.put('b', 'new');
      tx.delete('c');
      tx.put('d', 'new', { ttlMs: 1_000 });
      expect((await tx.get('b'))?.text()).toBe('new');
      expect(await tx.get('c')).toBeUndefined();
      expect(await rowsOf(tx, {})).toEqual(['a=old', 'b=new', 'd=new', 'e=old']);
      expect(await rowsOf(tx, { reverse: true, limit: 3 })).toEqual(['e=old', 'd=new', 'b=new']);
      expect(await rowsOf(tx, { start: 'c', end: 'e' })).toEqual(['d=new']);
      expect(await rowsOf(tx, { prefix: 'b', keysOnly: true })).toEqual(['b=']);
      expect(await tx.increment('n', 5)).toBe(5n);
      expect(await Promise.all([tx.increment('n'), tx.increment('n')])).toEqual([6n, 7n]);
      expect((await tx.get('n'))?.text()).toBe('7');
    });
    expect(await textOf('n')).toBe('7');
    expect(await client.get('c')).toBeUndefined();
    expect((await client.get('d'))?.expiresAtMs).toEqual(expect.any(Number));
  });

  test('says what it has read, spans as far as they were looked at', async () => {
    for (const key of ['a', 'b', 'c', 'd']) await client.put(key, 'x');
    await client.transaction(async (tx) => {
      expect(await rowsOf(tx, { prefix: 'z' })).toEqual([]);
      expect(await rowsOf(tx, { start: 'a', limit: 2 })).toHaveLength(2);
      for await (const row of tx.scan({ end: 'd', reverse: true })) if (row.keyText() === 'b') break;
      tx.put('new', '1');
    });
    const [commit] = callsOf(router, 'commit');
    expect(commit?.spans.map(({ start, end }) => [start.toString(), end.toString()])).toEqual([
      ['z', '{'],
      ['a', 'b\0'],
      ['b', 'd'],
    ]);
  });

  test('that writes and reads nothing costs one call, and one that only reads none at its end', async () => {
    await client.transaction((tx) => {
      tx.put('a', '1');
      tx.delete('b');
    });
    expect(router.operations.map(({ operation }) => operation?.$case)).toEqual(['commit']);
    expect(callsOf(router, 'commit')[0]).toMatchObject({ start: 0, reads: [], spans: [] });
  });

  test('keeps the time to live of a counter, from the commit on', async () => {
    await client.put('n', '1', { ttlMs: 3_600_000 });
    await client.transaction((tx) => tx.increment('n'));
    expect((await client.get('n'))?.expiresAtMs).toEqual(expect.any(Number));
  });
});

describe('others that come in between', () => {
  test('have the closure run again, from its first read', async () => {
    interfere('n', 3);
    let runs = 0;
    const sum = await client.transaction(async (tx) => {
      runs += 1;
      return tx.increment('n', 10);
    });
    expect([sum, runs]).toEqual([10n, 4]);
    expect(client.stats().transactionsRestarted).toBe(3);
    expect(new Set(callsOf(router, 'commit').map(({ start }) => start)).size).toBe(4);
  });

  test('are told as the last error, with the number of attempts', async () => {
    interfere('n', 1_000);
    const work = (tx: Transaction): Promise<bigint> => tx.increment('n');
    const error = await failureOf(client.transaction(work, { attemptsMax: 3 }));
    expect(error).toMatchObject({ code: 'TRANSACTION_ABORTED', details: { attempts: 3 } });
    expect(error.message).toContain('given up after 3 attempts');
    router.verdict = () => new CairnError('TRANSACTION_ABORTED', 'come later', { retryAfterMs: 5_000 });
    const late = await failureOf(client.transaction((tx) => tx.put('a', '1'), { timeoutMs: 1_000 }));
    expect(late.code).toBe('TRANSACTION_ABORTED');
    expect(late.message).toContain('given up after 1 attempt (within 1000 ms)');
  });

  test('do not matter for what was only read, with snapshot isolation', async () => {
    interfere('read', 1);
    await client.transaction(
      async (tx) => {
        await tx.get('read');
        tx.put('written', '1');
      },
      { isolation: 'snapshot' },
    );
    expect(callsOf(router, 'commit')).toEqual([expect.objectContaining({ isolation: 2, reads: [] })]);
  });

  test('are seen at once with read committed, unless they write the same keys', async () => {
    await client.put('a', '1');
    const seen = await client.transaction(
      async (tx) => {
        const first = (await tx.get('a'))?.text();
        await client.put('a', '2');
        const rows = await rowsOf(tx, { prefix: 'a' });
        tx.put('b', '1');
        return [first, (await tx.get('a'))?.text(), ...rows];
      },
      { isolation: 'read-committed' },
    );
    expect(seen).toEqual(['1', '2', 'a=2']);
    expect(callsOf(router, 'commit')).toEqual([
      expect.objectContaining({ isolation: 3, reads: [], spans: [] }),
    ]);
    interfere('n', 1);
    let runs = 0;
    await client.transaction(
      async (tx) => {
        runs += 1;
        await tx.increment('n');
      },
      { isolation: 'read-committed' },
    );
    expect(runs).toBe(2);
  });

  test('are seen in spans that were empty', async () => {
    interfere('job/1', 1);
    const found = await client.transaction(async (tx) => {
      const rows = await rowsOf(tx, { prefix: 'job/' });
      tx.put('count', String(rows.length));
      return rows.length;
    });
    expect(found).toBe(1);
  });
});

describe('what goes wrong', () => {
  test('in the closure is thrown as it is, and nothing happened', async () => {
    const mine = new Error('mine');
    await expect(
      client.transaction((tx) => {
        tx.put('a', '1');
        throw mine;
      }),
    ).rejects.toBe(mine);
    expect(router.operations).toEqual([]);
  });

  test('with an unknown outcome is never tried again', async () => {
    let runs = 0;
    router.verdict = ({ operation }) => {
      if (operation?.$case !== 'commit') return 'answer';
      setImmediate(() => router.breakStreams());
      return 'apply-silently';
    };
    const error = await failureOf(
      client.transaction((tx) => {
        runs += 1;
        tx.put('a', '1');
      }),
    );
    expect([error.code, runs]).toEqual(['OUTCOME_UNKNOWN', 1]);
    router.verdict = () => 'answer';
    expect(await textOf('a')).toBe('1');
  });

  test('for the moment is tried again as it is', async () => {
    let refusals = 2;
    router.verdict = ({ operation }) => {
      if (operation?.$case !== 'commit' || refusals === 0) return 'answer';
      refusals -= 1;
      return new CairnError('UNAVAILABLE', 'no leader');
    };
    let runs = 0;
    await client.transaction((tx) => {
      runs += 1;
      tx.put('a', '1');
    });
    expect([runs, callsOf(router, 'commit').length]).toEqual([1, 3]);
  });

  test('after the end is an error that says so', async () => {
    let kept: Transaction | undefined;
    let read: Promise<unknown> | undefined;
    await client.transaction((tx) => {
      kept = tx;
      read = failureOf(tx.get('late'));
    });
    const tx = kept as Transaction;
    expect(await read).toMatchObject({ code: 'TRANSACTION_NOT_FOUND' });
    const error = await failureOf(tx.get('a'));
    expect(error).toMatchObject({ code: 'TRANSACTION_NOT_FOUND', retryClass: 'fatal' });
    expect(error.message).toContain('its closure returned');
    expect(() => tx.put('a', '1')).toThrow('has ended');
    expect(() => tx.delete('a')).toThrow('has ended');
    expect((await failureOf(tx.scan().next())).code).toBe('TRANSACTION_NOT_FOUND');
    expect((await failureOf(tx.timestamp())).code).toBe('TRANSACTION_NOT_FOUND');
    expect(tx.commitTimestamp).toEqual(expect.any(Number));
  });

  test('when an increment is not awaited is told, instead of losing it', async () => {
    const error = await failureOf(
      client.transaction((tx) => {
        tx.increment('n').catch(() => undefined);
        tx.put('a', '1');
      }),
    );
    expect(error.message).toContain('before an increment was done');
    await delay(10);
    expect(router.store.size).toBe(0);
  });

  test('when the time is over', async () => {
    const error = await failureOf(
      client.transaction(
        async (tx) => {
          await delay(40);
          return tx.get('a');
        },
        { timeoutMs: 20 },
      ),
    );
    expect(error.code).toBe('DEADLINE_EXCEEDED');
    expect(error.message).toContain('within 20 ms (attempt 1)');
  });

  test('when the caller gives up, or the client is closed', async () => {
    interfere('n', 1_000);
    const abort = new AbortController();
    let runs = 0;
    const work = async (tx: Transaction): Promise<void> => {
      runs += 1;
      if (runs === 3) abort.abort();
      await tx.increment('n');
    };
    expect((await failureOf(client.transaction(work, { signal: abort.signal }))).code).toBe('CANCELLED');
    runs = 10;
    const closed = failureOf(
      client.transaction(async (tx) => {
        await tx.increment('n');
        if ((runs += 1) === 12) client.close();
      }),
    );
    expect((await closed).code).toBe('CANCELLED');
  });

  test('with keys of another kind, values that are no number, and options that are none', async () => {
    await client.put('cart', 'x');
    await client.put('text', 'seven');
    router.store.kinds.set('cart', 1);
    expect(await failureOf(client.transaction((tx) => tx.get('cart')))).toMatchObject({
      code: 'WRONG_KIND',
      details: { kind: 'hash' },
    });
    const counted = await failureOf(client.transaction((tx) => tx.increment('text')));
    expect(counted.code).toBe('FAILED_PRECONDITION');
    const work = (): number => 1;
    for (const options of [{ isolation: 'dirty' as never }, { attemptsMax: 0 }, { timeoutMs: -1 }])
      expect((await failureOf(client.transaction(work, options))).code).toBe('INVALID_ARGUMENT');
    for (const use of [
      (tx: Transaction) => tx.get(''),
      (tx: Transaction) => tx.put(Buffer.from([0xff, 1]), 'x'),
      (tx: Transaction) => tx.put('a', Buffer.alloc(2 * 1024 * 1024)),
      (tx: Transaction) => tx.increment('a', 0.5),
      (tx: Transaction) => rowsOf(tx, { prefix: 'a', start: 'b' }),
      (tx: Transaction) => {
        tx.put('a', '1');
        return rowsOf(tx, { limit: -1 });
      },
    ]) {
      // The limits of the cluster are known once it was asked.
      await client.get('a');
      const refused = failureOf(client.transaction(async (tx) => use(tx)));
      expect((await refused).code).toBe('INVALID_ARGUMENT');
    }
  });

  test('because the router is older, or not all nodes are new', async () => {
    router.verdict = () =>
      new CairnError('INVALID_ARGUMENT', 'operation must be given', { details: { field: 'operation' } });
    const older = await failureOf(client.transaction((tx) => tx.get('a')));
    expect(older.code).toBe('FAILED_PRECONDITION');
    expect(older.message).toContain('of an older release');
    router.verdict = () => new CairnError('FAILED_PRECONDITION', 'run `cairn upgrade`');
    expect((await failureOf(client.execute({ then: [{ get: { key: 'a' } }] }))).message).toContain('upgrade');
  });
});

describe('what a transaction holds', () => {
  const failure = (work: () => unknown): unknown => {
    try {
      return work();
    } catch (error) {
      return error;
    }
  };

  test('is bounded in bytes; the write that crosses names size and limit', () => {
    const state = new TransactionState(true);
    const value = Buffer.alloc(1024 * 1024);
    let count = 0;
    const fill = (): void => {
      for (; count < 100; count += 1) state.write({ key: Buffer.from(String(count)), value, ttlMs: 0 });
    };
    expect(failure(fill)).toMatchObject({
      code: 'TRANSACTION_TOO_LARGE',
      message: expect.stringContaining(`the limit is ${TRANSACTION_BYTES_MAX}`) as unknown,
    });
    expect(count).toBe(14);
    // Another value in place of one that is there takes its room.
    state.write({ key: Buffer.from('3'), value: Buffer.alloc(0), ttlMs: 0 });
    state.write({ key: Buffer.from('14'), value, ttlMs: 0 });
    expect(state.bytes).toBeLessThanOrEqual(TRANSACTION_BYTES_MAX);
  });

  test('is bounded in keys, read and written ones and spans together', () => {
    const state = new TransactionState(true);
    for (let index = 0; index < TRANSACTION_KEYS_MAX - 2; index += 1) state.read(Buffer.from(String(index)));
    state.read(Buffer.from('1'));
    state.scanned(Buffer.from('a'), Buffer.from('b'), false);
    const write = { key: Buffer.from('w'), value: undefined, ttlMs: 0 };
    state.write(write);
    state.write(write);
    expect(failure(() => state.read(Buffer.from('one more')))).toMatchObject({
      code: 'TRANSACTION_TOO_LARGE',
    });
  });
});

describe('a snapshot', () => {
  test('reads one instant, also that of before', async () => {
    const first = await client.put('a', '1');
    const now = await client.snapshot();
    await client.put('a', '2');
    await client.put('b', '2');
    expect((await now.get('a'))?.text()).toBe('1');
    expect((await now.getMany(['a', 'b'])).map((entry) => entry?.text())).toEqual(['1', undefined]);
    expect((await now.scan().toArray()).map((row) => row.keyText())).toEqual(['a']);
    const then = await client.snapshot({ at: first.timestamp });
    expect((await then.get('a'))?.text()).toBe('1');
    expect(then.timestamp).toBe(first.timestamp);
  });

  test('is named by a timestamp, a time, or how long ago', async () => {
    const now = await client.timestamp();
    expect((await client.snapshot({ at: -10 })).timestamp).toBe(now - 10 * 4096);
    const date = new Date(Date.UTC(2026, 5, 1));
    expect((await client.snapshot({ at: date })).timestamp % 4096).toBe(0);
    for (const at of [0, 0.5, new Date(Number.NaN), new Date(0), -1e12])
      expect((await failureOf(client.snapshot({ at }))).code).toBe('INVALID_ARGUMENT');
  });
});

describe('execute', () => {
  test('carries out one list or the other, with typed results', async () => {
    const created = await client.execute({
      if: [{ key: 'lock', absent: true }],
      then: [
        { put: { key: 'lock', value: 'me' } },
        { increment: { key: 'n', delta: 2 } },
        { get: { key: 'lock' } },
      ],
      else: [{ get: { key: 'lock' } }],
    });
    expect(created.succeeded).toBe(true);
    if (created.succeeded) {
      const [put, sum, got] = created.results;
      expect([put.timestamp, sum, got?.text()]).toEqual([created.timestamp, 2n, 'me']);
      const again = await client.execute({
        if: [
          { key: 'lock', version: put.version },
          { key: 'lock', value: 'me' },
          { key: 'n', exists: true },
        ],
        then: [{ delete: { key: 'lock' } }],
      });
      expect(again).toMatchObject({ succeeded: true, results: [{ existed: true }] });
    }
    await client.put('lock', 'you');
    const failed = await client.execute({
      if: [{ key: 'lock', absent: true }],
      then: [{ put: { key: 'lock', value: 'me' } }],
      else: [{ get: { key: 'lock' } }],
    });
    expect(failed.succeeded ? 'no' : failed.results[0]?.text()).toBe('you');
  });

  test('shows a key that holds no bytes with its kind', async () => {
    await client.put('cart', 'x');
    router.store.kinds.set('cart', 1);
    const { results } = await client.execute({ then: [{ get: { key: 'cart' } }] });
    expect(results[0]).toMatchObject({ kind: 'hash', value: Buffer.alloc(0) });
  });

  test('refuses what cannot be, before anything is sent', async () => {
    const many = Array.from({ length: 129 }, () => ({ get: { key: 'a' } }));
    expect((await failureOf(client.execute({ then: many }))).code).toBe('TRANSACTION_TOO_LARGE');
    for (const input of [
      { if: [{ key: '', exists: true as const }] },
      { if: [{ key: 'a', version: Buffer.alloc(0) }] },
      { then: [{ put: { key: 'a', value: 7 as never } }] },
      { else: [{ increment: { key: 'a', delta: 0.5 } }] },
      { then: [{ expire: { key: 'a' } } as never] },
      { if: [{ key: 'a', exists: false as never }] },
      { if: [{ key: 'a', absent: false as never }] },
      { if: [{ key: 'a', exists: true as const, value: 'other' } as never] },
      { then: [{ put: { key: 'a', value: '1' }, delete: { key: 'b' } } as never] },
    ])
      expect((await failureOf(client.execute(input))).code).toBe('INVALID_ARGUMENT');
    expect(router.operations).toEqual([]);
  });

  test('is never sent again, and says what is not known any more', async () => {
    router.verdict = () => {
      setImmediate(() => router.breakStreams());
      return 'swallow';
    };
    const lost = await failureOf(client.execute({ then: [{ put: { key: 'a', value: '1' } }] }));
    expect(lost.code).toBe('OUTCOME_UNKNOWN');
  });
});

describe('writeMany with atomic', () => {
  test('writes all or nothing, at one timestamp', async () => {
    await client.put('gone', 'x');
    const { timestamp } = await client.writeMany(
      [{ put: { key: 'a', value: '1' } }, { put: { key: 'b', value: '2' } }, { delete: { key: 'gone' } }],
      { atomic: true },
    );
    const at = await client.snapshot({ at: timestamp });
    expect((await at.getMany(['a', 'b', 'gone'])).map((entry) => entry?.text())).toEqual([
      '1',
      '2',
      undefined,
    ]);
    expect(await (await client.snapshot({ at: timestamp - 1 })).get('a')).toBeUndefined();
  });

  test('refuses what it cannot, and names the operation', async () => {
    const put = { put: { key: 'a', value: '1' } };
    const twice = await failureOf(client.writeMany([put, put], { atomic: true }));
    expect(twice.message).toContain('operation 1 writes a key');
    const counted = await failureOf(
      client.writeMany([put, { increment: { key: 'n', delta: 1 } }], { atomic: true }),
    );
    expect(counted.message).toContain('operation 1 is no put');
    expect(router.operations).toEqual([]);
  });
});

test('a typed view has the same, typed', async () => {
  const cities = client.withCodec({ value: json<{ people: number }>() });
  await cities.put('rome', { people: 1 });
  await cities.transaction(async (tx) => {
    const rome = await tx.get('rome');
    tx.put('rome', { people: (rome?.value.people ?? 0) + 1 });
    tx.put('oslo', { people: 5 });
    tx.delete('nowhere');
    const rows: string[] = [];
    for await (const { key, value } of tx.scan({ start: 'o' })) rows.push(`${key}=${value.people}`);
    expect(rows).toEqual(['oslo=5', 'rome=2']);
    expect((await tx.getMany(['oslo', 'x'])).map((each) => each?.value.people)).toEqual([5, undefined]);
    expect(await tx.raw.increment('visits')).toBe(1n);
    expect(await tx.timestamp()).toBeGreaterThan(0);
  });
  const snapshot = await cities.snapshot();
  await cities.delete('rome');
  expect((await snapshot.get('rome'))?.value.people).toBe(2);
  expect((await snapshot.getMany(['oslo'])).map((each) => each?.value.people)).toEqual([5]);
  const keys: string[] = [];
  for await (const { key } of snapshot.scan({ start: 'o', end: 's' })) keys.push(key);
  expect(keys).toEqual(['oslo', 'rome']);
  expect(snapshot.timestamp).toBeGreaterThan(0);
});

async function rowsOf(tx: Transaction, options: Parameters<Transaction['scan']>[0]): Promise<string[]> {
  const rows: string[] = [];
  for await (const row of tx.scan(options)) rows.push(`${row.keyText()}=${row.text()}`);
  return rows;
}
