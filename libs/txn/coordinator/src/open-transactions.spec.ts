import { describe, expect, it } from '@jest/globals';
import { timestamp } from '@cairn/base';
import { noopMetrics } from '@cairn/ports';
import { SimRng } from '@cairn/runtime-sim';
import type { KvRow } from '@cairn/wire';

import { key } from './fake-shards.testing.js';
import { OpenTransactions, type OpenTransactionsOptions } from './open-transactions.js';
import { clusterOf, codeOf, CoordinatorRig } from './rig.testing.js';
import type { BeginOptions, OpenTransaction, TransactionScan } from './types.js';

const SPAN: TransactionScan = {
  ...{ start: key(''), end: key(''), reverse: false, keysOnly: false, limit: 0, pageBytes: 1_000 },
  pageTimeoutMs: 5_000,
};

class OpenRig {
  readonly rig: CoordinatorRig;
  readonly open: OpenTransactions;

  constructor(rig: CoordinatorRig, more: Partial<OpenTransactionsOptions> = {}) {
    this.rig = rig;
    const { clock, coordinator, gateway, router } = rig;
    this.open = new OpenTransactions({
      ...{ coordinator, router, clock, timestamps: gateway, rng: new SimRng('ids'), metrics: noopMetrics },
      ...more,
    });
  }

  begin(options: Partial<BeginOptions> = {}): Promise<OpenTransaction> {
    return this.rig.settle(
      this.open.begin(
        { isolation: 'serializable', readOnly: false, caller: 'me', ...options },
        this.rig.times(),
      ),
    );
  }

  async get(transaction: OpenTransaction, ...names: string[]): Promise<(string | undefined)[]> {
    const rows = await this.rig.settle(transaction.get(names.map(key), this.rig.times()));
    return rows.map(({ found, value }) => (found ? Buffer.from(value).toString() : undefined));
  }

  async scan(transaction: OpenTransaction, span: Partial<TransactionScan> = {}): Promise<string[]> {
    const all = async (): Promise<KvRow[]> => {
      const rows: KvRow[] = [];
      for await (const page of transaction.scan({ ...SPAN, ...span }, this.rig.times())) rows.push(...page);
      return rows;
    };
    const rows = await this.rig.settle(all());
    return rows.map((row) => `${String(row.key)}=${String(row.value)}`);
  }

  add(transaction: OpenTransaction, name: string, delta: bigint): Promise<bigint> {
    return this.rig.settle(transaction.increment(key(name), delta, this.rig.times()));
  }

  commit(transaction: OpenTransaction): Promise<string> {
    return this.rig.settle(codeOf(transaction.commit(this.rig.times())));
  }
}

async function openRig(
  splits?: readonly string[],
  more?: Partial<OpenTransactionsOptions>,
): Promise<OpenRig> {
  return new OpenRig(await clusterOf(splits), more);
}

const put = (transaction: OpenTransaction, name: string, value: string): void => {
  transaction.put(key(name), key(value), 0);
};

describe('an open transaction', () => {
  it('reads its snapshot and its own writes, and happens at its commit', async () => {
    const rig = await openRig();
    await rig.rig.settle(rig.rig.commit(0, { a: '1', z: '1', b: '1' }));
    const transaction = await rig.begin();
    expect(await rig.get(transaction, 'a', 'z')).toEqual(['1', '1']);
    await rig.rig.settle(rig.rig.put('b', '2'));
    expect(await rig.get(transaction, 'b')).toEqual(['1']);
    put(transaction, 'a', 'mine');
    transaction.delete(key('z'));
    expect(await rig.get(transaction, 'z', 'a', 'c', 'a')).toEqual([undefined, 'mine', undefined, 'mine']);
    expect(await rig.rig.read(['a', 'z'])).toEqual(['1', '1']);
    expect(await rig.commit(transaction)).toBe('TRANSACTION_ABORTED');
    const again = await rig.begin();
    put(again, 'a', 'mine');
    again.delete(key('z'));
    expect(await rig.commit(again)).toBe('OK');
    expect(await rig.rig.read(['a', 'z'])).toEqual(['mine', undefined]);
  });

  it('adds in 64 bits to what it sees, one after the other', async () => {
    const rig = await openRig();
    await rig.rig.settle(rig.rig.commit(0, { a: '40', x: 'text' }));
    const transaction = await rig.begin();
    const sums = Promise.all(
      [1n, 1n, 1n].map((delta) => transaction.increment(key('a'), delta, rig.rig.times())),
    );
    expect(await rig.rig.settle(sums)).toEqual([41n, 42n, 43n]);
    expect(await codeOf(rig.add(transaction, 'x', 1n))).toBe('FAILED_PRECONDITION');
    expect(await codeOf(rig.add(transaction, 'a', 2n ** 63n - 1n))).toBe('FAILED_PRECONDITION');
    expect(await rig.add(transaction, 'z', -5n)).toBe(-5n);
    expect(await rig.commit(transaction)).toBe('OK');
    expect(await rig.rig.read(['a', 'z'])).toEqual(['43', '-5']);
  });

  it('goes back to savepoints, and forgets them', async () => {
    const rig = await openRig();
    const transaction = await rig.begin();
    put(transaction, 'a', '1');
    transaction.savepoint('one');
    put(transaction, 'a', '2');
    put(transaction, 'b', '2');
    transaction.savepoint('two');
    transaction.delete(key('a'));
    put(transaction, 'c', '3');
    transaction.rollbackTo('two');
    expect(await rig.get(transaction, 'a', 'b', 'c')).toEqual(['2', '2', undefined]);
    transaction.rollbackTo('one');
    transaction.rollbackTo('one');
    expect(await rig.get(transaction, 'a', 'b')).toEqual(['1', undefined]);
    expect(() => {
      transaction.rollbackTo('two');
    }).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
    put(transaction, 'a', '4');
    transaction.release('one');
    expect(() => {
      transaction.release('one');
    }).toThrow('no savepoint "one"');
    expect(await rig.commit(transaction)).toBe('OK');
    expect(await rig.rig.read(['a', 'b', 'c'])).toEqual(['4', undefined, undefined]);
  });

  it('counts savepoints, and forgets what none of them brings back', async () => {
    const rig = await openRig(undefined, { bytesMax: 64 * 1024 });
    const transaction = await rig.begin();
    for (let round = 0; round < 100; round += 1) {
      transaction.savepoint('statement');
      put(transaction, 'row', 'x'.repeat(4_096));
    }
    expect(() => {
      for (let at = 0; at < 999; at += 1) transaction.savepoint(`${at}`.padEnd(128, 'x'));
    }).toThrow(expect.objectContaining({ code: 'RESOURCE_EXHAUSTED' }));
    transaction.rollbackTo('statement');
    put(transaction, 'other', 'x'.repeat(32 * 1024));
  });

  it('ends at once when its caller has gone before it began', async () => {
    const rig = await openRig();
    const gone = new AbortController();
    gone.abort();
    const begun = rig.open.begin(
      { isolation: 'serializable', readOnly: false, caller: 'me' },
      rig.rig.times(5_000, gone.signal),
    );
    expect(await codeOf(rig.rig.settle(begun))).toBe('CANCELLED');
    expect(rig.open.count).toBe(0);
  });

  it('gives out its own writes in pages too', async () => {
    const rig = await openRig();
    const transaction = await rig.begin();
    for (let at = 0; at < 10; at += 1) put(transaction, `k${at}`, 'x'.repeat(600));
    for (const reverse of [false, true]) {
      const sizes: number[] = [];
      const all = async (): Promise<void> => {
        for await (const page of transaction.scan({ ...SPAN, reverse }, rig.rig.times()))
          sizes.push(page.length);
      };
      await rig.rig.settle(all());
      expect(sizes).toEqual([2, 2, 2, 2, 2]);
    }
    expect(await rig.scan(transaction)).toHaveLength(10);
  });

  it('is given up when the reader of its scan takes nothing for a minute', async () => {
    const rig = await openRig([]);
    await rig.rig.settle(rig.rig.commit(0, { a: '1', b: '2', c: '3', d: '4', e: '5' }));
    const scanOf = async (transaction: OpenTransaction): Promise<AsyncGenerator<readonly KvRow[]>> => {
      const scan = transaction.scan(SPAN, rig.rig.times(300_000));
      expect((await rig.rig.settle(scan.next())).done).toBe(false);
      return scan;
    };
    const transaction = await rig.begin();
    const scan = await scanOf(transaction);
    await rig.rig.run(55_000);
    expect((await rig.rig.settle(scan.next())).done).toBe(false);
    await rig.rig.run(65_000);
    expect([rig.open.count, rig.rig.coordinator.oldestStart]).toEqual([0, 0]);
    expect(await codeOf(rig.rig.settle(scan.next()))).toBe('TRANSACTION_NOT_FOUND');
    // One that stops reading uses the transaction no longer, and is counted once.
    const other = await rig.begin();
    await (await scanOf(other)).return(undefined);
    await rig.rig.run(55_000);
    expect(await rig.get(other, 'a')).toEqual(['1']);
    await rig.rig.run(65_000);
    expect(rig.open.count).toBe(0);
  });

  it('waits for a page of a scan no longer than that may take', async () => {
    const rig = await openRig([]);
    const transaction = await rig.begin();
    rig.rig.shards.hold = () => 10_000;
    const scan = transaction.scan({ ...SPAN, pageTimeoutMs: 500 }, rig.rig.times(60_000));
    const beganMs = rig.rig.clock.nowMs();
    expect(await codeOf(rig.rig.settle(scan.next()))).toBe('DEADLINE_EXCEEDED');
    expect(rig.rig.clock.nowMs() - beganMs).toBeLessThan(1_000);
  });

  it('charges a scan what its span takes', async () => {
    const rig = await openRig();
    const transaction = await rig.begin();
    for (let at = 0; at < 1_200; at += 1) {
      const scan = transaction.scan(
        {
          start: key(`p${at}/`),
          end: key(`p${at}0`),
          reverse: false,
          keysOnly: false,
          limit: 0,
          pageBytes: 1_000,
          pageTimeoutMs: 5_000,
        },
        rig.rig.times(600_000),
      );
      const first = scan.next();
      await rig.rig.settle(first);
      await rig.rig.settle(scan.return(undefined));
    }
    expect(await rig.commit(transaction)).toBe('OK');
  });

  it('scans with its own writes, forward and back, within limits', async () => {
    const rig = await openRig(['d', 'h']);
    const stored = Object.fromEntries([...'abcdefghij'].map((name) => [name, name.toUpperCase()]));
    await rig.rig.settle(rig.rig.commit(0, stored));
    const transaction = await rig.begin();
    for (const name of ['b', 'e', 'f', 'g', 'j']) transaction.delete(key(name));
    for (const name of ['aa', 'c', 'hh', 'z']) put(transaction, name, '!');
    const whole = ['a=A', 'aa=!', 'c=!', 'd=D', 'h=H', 'hh=!', 'i=I', 'z=!'];
    expect(await rig.scan(transaction)).toEqual(whole);
    expect(await rig.scan(transaction, { reverse: true })).toEqual([...whole].reverse());
    expect(await rig.scan(transaction, { limit: 3 })).toEqual(whole.slice(0, 3));
    expect(await rig.scan(transaction, { limit: 4, reverse: true })).toEqual(
      [...whole].reverse().slice(0, 4),
    );
    expect(await rig.scan(transaction, { start: key('aa'), end: key('hh') })).toEqual(whole.slice(1, 5));
    expect(
      await rig.scan(transaction, { start: key('aa'), end: key('hh'), reverse: true, limit: 1 }),
    ).toEqual(['h=H']);
    expect(await rig.scan(transaction, { start: key('hh'), keysOnly: true })).toContain('hh=');
    expect(await rig.scan(transaction, { start: key('q'), end: key('r') })).toEqual([]);
  });

  it('validates what it has scanned, and nothing beyond', async () => {
    const rig = await openRig(['d', 'h']);
    const scanned = async (span: Partial<TransactionScan>, written: string): Promise<string> => {
      await rig.rig.settle(rig.rig.commit(0, Object.fromEntries([...'acegik'].map((name) => [name, name]))));
      const transaction = await rig.begin();
      await rig.scan(transaction, span);
      put(transaction, 'zz', 'mine');
      await rig.rig.settle(rig.rig.commit(0, { [written]: 'new', zy: 'new' }));
      return rig.commit(transaction);
    };
    expect(await scanned({ limit: 2 }, 'b')).toBe('TRANSACTION_ABORTED');
    expect(await scanned({ limit: 2 }, 'd')).toBe('OK');
    expect(await scanned({ limit: 2, reverse: true, end: key('m') }, 'j')).toBe('TRANSACTION_ABORTED');
    expect(await scanned({ limit: 2, reverse: true, end: key('m') }, 'h')).toBe('OK');
    expect(await scanned({ start: key('l'), end: key('n') }, 'm')).toBe('TRANSACTION_ABORTED');
    expect(await scanned({ start: key('l'), end: key('n') }, 'n')).toBe('OK');
  });

  it('at READ COMMITTED reads what is there, overwrites, and loses no increment', async () => {
    const rig = await openRig();
    await rig.rig.settle(rig.rig.commit(0, { a: '1', n: '1', z: '1' }));
    const transaction = await rig.begin({ isolation: 'read-committed' });
    expect(await rig.get(transaction, 'a')).toEqual(['1']);
    await rig.rig.settle(rig.rig.commit(0, { a: '2', b: '2' }));
    expect(await rig.get(transaction, 'a')).toEqual(['2']);
    expect(await rig.scan(transaction, { end: key('c') })).toEqual(['a=2', 'b=2']);
    put(transaction, 'a', 'mine');
    put(transaction, 'z', 'mine');
    await rig.rig.settle(rig.rig.commit(0, { a: '3' }));
    expect(await rig.commit(transaction)).toBe('OK');
    expect(await rig.rig.read(['a', 'z'])).toEqual(['mine', 'mine']);
    const counting = await rig.begin({ isolation: 'read-committed' });
    expect(await rig.add(counting, 'n', 1n)).toBe(2n);
    await rig.rig.settle(rig.rig.commit(0, { n: '7' }));
    expect(await rig.commit(counting)).toBe('TRANSACTION_ABORTED');
  });

  it('that only reads refuses writes, and reads any snapshot that is kept', async () => {
    const rig = await openRig();
    await rig.rig.settle(rig.rig.put('a', '1'));
    const { timestamp: at } = await rig.rig.settle(
      rig.rig.coordinator.snapshotGet([key('a')], undefined, rig.rig.times()),
    );
    await rig.rig.settle(rig.rig.put('a', '2'));
    const transaction = await rig.begin({ readOnly: true, at });
    expect(await rig.get(transaction, 'a')).toEqual(['1']);
    expect(await rig.scan(transaction)).toEqual(['a=1']);
    expect(() => {
      put(transaction, 'a', '3');
    }).toThrow(expect.objectContaining({ code: 'FAILED_PRECONDITION' }));
    expect(await codeOf(rig.add(transaction, 'a', 1n))).toBe('FAILED_PRECONDITION');
    expect(await rig.commit(transaction)).toBe('OK');
    const early = await rig.begin({ readOnly: true, at: timestamp(at - 5) });
    rig.rig.shards.rows.readableSince = at;
    expect(await codeOf(rig.get(early, 'a'))).toBe('FAILED_PRECONDITION');
    const late = await rig.begin({ readOnly: true, at: timestamp(at + 4096 * 100_000) });
    expect(await codeOf(rig.get(late, 'a'))).toBe('INVALID_ARGUMENT');
    expect(
      await codeOf(
        rig.open.begin({ isolation: 'snapshot', readOnly: false, at, caller: 'me' }, rig.rig.times()),
      ),
    ).toBe('INVALID_ARGUMENT');
  });
});

describe('open transactions', () => {
  it('are found by their callers until they end, and hold their snapshot until then', async () => {
    const rig = await openRig();
    const transaction = await rig.begin();
    expect(rig.open.find(transaction.id, 'me')).toBe(transaction);
    expect(rig.rig.coordinator.oldestStart).toBe(transaction.start);
    for (const [id, caller] of [
      [transaction.id, 'you'],
      ['nothing', 'me'],
    ] as const) {
      expect(() => rig.open.find(id, caller)).toThrow(
        expect.objectContaining({ code: 'TRANSACTION_NOT_FOUND' }),
      );
    }
    transaction.rollback();
    expect(() => rig.open.find(transaction.id, 'me')).toThrow('no such transaction');
    expect(() => {
      put(transaction, 'a', '1');
    }).toThrow('no such transaction');
    expect(await codeOf(transaction.commit(rig.rig.times()))).toBe('TRANSACTION_NOT_FOUND');
    expect([rig.rig.coordinator.oldestStart, rig.open.count]).toEqual([0, 0]);
  });

  it('end when they were not used for a minute, or are an hour old', async () => {
    const rig = await openRig([], { idleMs: 5_000 });
    const idle = await rig.begin();
    const used = await rig.begin();
    for (let at = 0; at < 4; at += 1) {
      await rig.rig.run(2_000);
      put(used, 'a', String(at));
    }
    expect(() => rig.open.find(idle.id, 'me')).toThrow('no such transaction');
    expect(rig.open.find(used.id, 'me')).toBe(used);
    for (let at = 0; at < 1_000 && rig.open.count > 0; at += 1) {
      await rig.rig.run(4_000);
      if (rig.open.count > 0) put(used, 'a', '1');
    }
    expect(rig.rig.clock.nowMs()).toBeGreaterThan(3_600_000);
    expect(rig.open.count).toBe(0);
  });

  it('are shared among callers, by number and by bytes', async () => {
    const rig = await openRig([], { countMax: 40, bytesMax: 100_000 });
    let own = 0;
    while (own < 40 && (await codeOf(rig.begin())) === 'OK') own += 1;
    expect(own).toBe(20);
    const other = await rig.begin({ caller: 'you' });
    put(other, 'a', 'x'.repeat(40_000));
    expect(() => {
      put(other, 'b', 'x'.repeat(40_000));
    }).toThrow(expect.objectContaining({ code: 'RESOURCE_EXHAUSTED' }));
    rig.open.endAllOf('me');
    expect(rig.open.count).toBe(1);
    rig.open.close();
    expect(rig.open.count).toBe(0);
    const late = await rig.begin();
    put(late, 'b', 'x'.repeat(40_000));
  });

  it('refuse the very write that crosses a limit, and go on without it', async () => {
    const { shards } = await clusterOf();
    const rig = new OpenRig(
      await new CoordinatorRig(shards, 'small', { bytesMax: 1_000, keysMax: 4 }).ready(),
    );
    const transaction = await rig.begin();
    put(transaction, 'a', 'x'.repeat(700));
    expect(() => {
      put(transaction, 'b', 'x'.repeat(300));
    }).toThrow(expect.objectContaining({ code: 'TRANSACTION_TOO_LARGE', details: { limit: 1_000 } }));
    put(transaction, 'a', 'small');
    await rig.get(transaction, 'b', 'c');
    put(transaction, 'd', '1');
    expect(await codeOf(rig.get(transaction, 'e'))).toBe('TRANSACTION_TOO_LARGE');
    expect(() => {
      put(transaction, 'e', '1');
    }).toThrow('at most 4 keys');
    expect(await rig.commit(transaction)).toBe('OK');
    expect(await rig.rig.read(['a', 'b', 'd'])).toEqual(['small', undefined, '1']);
  });
});
