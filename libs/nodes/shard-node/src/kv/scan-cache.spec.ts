import { describe, expect, it } from '@jest/globals';
import { timestamp, TIMESTAMP_LOGICAL_STEPS, type Timestamp } from '@cairn/base';
import { decodeVersionToken } from '@cairn/mvcc';
import { KvOp, ReadConsistency, unpackRows, type KvRequest, type KvResponse } from '@cairn/wire';
import fc from 'fast-check';

import { answerOf, bytes, descriptorOf, KvRig, settle } from './kv-rig.testing.js';

const KEYS = ['a', 'a\0', 'a\0b', 'b', 'c', 'cc', 'd', '\xff'];

interface Written {
  readonly key: string;
  readonly at: number;
  readonly sequence: number;
  readonly expiry: number;
  /** undefined = deleted. */
  readonly value: string | undefined;
}

type Step =
  | { readonly type: 'put'; readonly key: string; readonly ttlMs: number }
  | { readonly type: 'delete'; readonly key: string }
  | { readonly type: 'deleteRange'; readonly key: string; readonly endKey: string }
  | { readonly type: 'time'; readonly ms: number }
  | { readonly type: 'failover' }
  | {
      readonly type: 'scan';
      readonly key: string;
      readonly endKey: string;
      readonly backMs: number;
      readonly limit: number;
      readonly pageBytes: number;
      /** Writes of this many keys are under way while the page is read. */
      readonly during: number;
    };

const key = fc.constantFrom(...KEYS);
const bound = fc.constantFrom('', ...KEYS);
const scan = fc.record({
  type: fc.constant('scan' as const),
  key: fc.oneof(fc.constant(''), bound),
  endKey: fc.oneof(fc.constant(''), bound),
  backMs: fc.constantFrom(0, 0, 0, 1, 5),
  limit: fc.constantFrom(1, 3, 100, 100),
  pageBytes: fc.constantFrom(1, 60, 10_000, 10_000),
  during: fc.constantFrom(0, 0, 1, 5),
});
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ type: fc.constant('put' as const), key, ttlMs: fc.constantFrom(0, 0, 3) }),
  },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('delete' as const), key }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('deleteRange' as const), key, endKey: bound }) },
  {
    weight: 3,
    arbitrary: fc.record({ type: fc.constant('time' as const), ms: fc.integer({ min: 1, max: 4 }) }),
  },
  { weight: 1, arbitrary: fc.constant({ type: 'failover' as const }) },
  { weight: 7, arbitrary: scan },
);

/** A range under test and every write it ever acknowledged. */
class Run {
  readonly rig: KvRig;
  readonly written: Written[] = [];
  #count = 0;

  constructor(rig: KvRig) {
    this.rig = rig;
  }

  #noteWrite(name: string, value: string | undefined, response: KvResponse, ttlMs = 0): void {
    const { timestamp: at, sequence } = decodeVersionToken(response.version);
    const endMs = Math.ceil(at / TIMESTAMP_LOGICAL_STEPS) + ttlMs;
    const expiry = ttlMs === 0 ? Infinity : endMs * TIMESTAMP_LOGICAL_STEPS;
    this.written.push({ key: name, at, sequence, expiry, value });
  }

  async step(each: Step): Promise<void> {
    const { rig } = this;
    switch (each.type) {
      case 'put': {
        const value = `${this.#count++}`;
        const { ttlMs } = each;
        const response = await rig.ask({ op: KvOp.put, key: bytes(each.key), value: bytes(value), ttlMs });
        this.#noteWrite(each.key, value, response, ttlMs);
        break;
      }
      case 'delete': {
        const response = await rig.ask({ op: KvOp.delete, key: bytes(each.key) });
        if (response.found) this.#noteWrite(each.key, undefined, response);
        break;
      }
      case 'deleteRange':
        await this.#deleteRange(each.key, each.endKey);
        break;
      case 'time':
        rig.environment.timestamps.observe(timestamp(rig.max + each.ms * TIMESTAMP_LOGICAL_STEPS));
        break;
      case 'failover':
        rig.replica.stepDown();
        await rig.replica.lead();
        break;
      case 'scan':
        await this.#scan(each);
    }
  }

  /** Its tombstones carry no token: the timestamp of the chunk stands, behind all writes there were. */
  async #deleteRange(from: string, to: string): Promise<void> {
    if (to !== '' && to <= from) return;
    const gone = this.#visible(this.rig.readNow).filter(([name]) => name >= from && (to === '' || name < to));
    await this.rig.ask({ op: KvOp.deleteRange, key: bytes(from), endKey: bytes(to) });
    const at = this.rig.max + 1;
    for (const [name] of gone) {
      this.written.push({ key: name, at, sequence: 0xffff_ffff, expiry: Infinity, value: undefined });
    }
    // Writes at the same timestamp come behind it, whatever their sequence.
    this.rig.environment.timestamps.observe(timestamp(at));
  }

  #visible(at: number): [string, string][] {
    const newest = new Map<string, Written>();
    for (const each of this.written) {
      const before = newest.get(each.key);
      const isNewer =
        before === undefined ||
        each.at > before.at ||
        (each.at === before.at && each.sequence > before.sequence);
      if (each.at <= at && isNewer) newest.set(each.key, each);
    }
    return [...newest.values()]
      .filter((each) => each.value !== undefined && each.expiry > at)
      .map((each): [string, string] => [each.key, each.value ?? ''])
      .sort(([one], [other]) => (one < other ? -1 : 1));
  }

  async #scan(wanted: Extract<Step, { type: 'scan' }>): Promise<void> {
    const { rig } = this;
    const at = timestamp(Math.max(1, rig.max + 1 - wanted.backMs * TIMESTAMP_LOGICAL_STEPS));
    const seen: [string, string][] = [];
    let from = bytes(wanted.key);
    for (let pages = 0; ; pages += 1) {
      const response = await this.#page(wanted, from, at);
      expect(response.error).toBeUndefined();
      const rows = unpackRows(response.rows);
      expect(rows).toHaveLength(response.rows.count);
      expect(rows.length).toBeLessThanOrEqual(wanted.limit);
      for (const row of rows) {
        seen.push([Buffer.from(row.key).toString('latin1'), Buffer.from(row.value).toString('latin1')]);
      }
      if (response.resumeKey === undefined) break;
      from = Buffer.from(response.resumeKey);
      if (wanted.endKey !== '' && Buffer.compare(from, bytes(wanted.endKey)) >= 0) break;
      expect(pages).toBeLessThan(50);
    }
    const inSpan = ([name]: [string, string]): boolean =>
      name >= wanted.key && (wanted.endKey === '' || name < wanted.endKey);
    expect(seen).toEqual(this.#visible(at).filter(inSpan));
  }

  async #page(wanted: Extract<Step, { type: 'scan' }>, from: Buffer, at: Timestamp): Promise<KvResponse> {
    const { rig } = this;
    const request: Partial<KvRequest> & { op: KvOp } = {
      op: KvOp.scan,
      key: from,
      endKey: bytes(wanted.endKey),
      consistency: ReadConsistency.timestamp,
      readTimestamp: at,
      limit: wanted.limit,
      pageBytes: wanted.pageBytes,
    };
    const sent = rig.send(request);
    rig.machine.turn(rig.clock.nowMs());
    const puts = KEYS.slice(0, wanted.during).map((name) => {
      const value = `${this.#count++}`;
      return { name, value, put: rig.send({ op: KvOp.put, key: bytes(name), value: bytes(value) }) };
    });
    await rig.run();
    for (const { name, value, put } of puts) this.#noteWrite(name, value, answerOf(put));
    return answerOf(sent);
  }
}

describe('scans from kept pages', () => {
  it('answer what the history says, whatever is written before, between and meanwhile', async () => {
    let hits = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 5, maxLength: 40 }),
        fc.boolean(),
        async (steps, isTight) => {
          const rig = await KvRig.leading({ limits: { scanCacheBytesMax: isTight ? 4_000 : 1_000_000 } });
          const run = new Run(rig);
          for (const each of steps) await run.step(each);
          expect(rig.environment.scanCache.bytes).toBeLessThanOrEqual(isTight ? 4_000 : 1_000_000);
          hits += rig.environment.scanCache.hits;
          rig.machine.closed();
          expect(rig.environment.scanCache.bytes).toBe(0);
        },
      ),
      { seed: 20_261_120, numRuns: 300 },
    );
    expect(hits).toBeGreaterThan(300);
  });

  const whole = (rig: KvRig): Promise<KvResponse> =>
    rig.ask({
      op: KvOp.scan,
      key: bytes(''),
      consistency: ReadConsistency.timestamp,
      readTimestamp: timestamp(rig.max + 1),
    });
  const filled = async (): Promise<KvRig> => {
    const rig = await KvRig.leading();
    for (const name of ['a', 'b', 'c']) await rig.put(name, name);
    await whole(rig);
    expect(rig.environment.scanCache.bytes).toBeGreaterThan(0);
    return rig;
  };

  it('do not touch the engine when nothing was written, and are the same bytes', async () => {
    const rig = await filled();
    const one = await whole(rig);
    const other = await whole(rig);
    expect(rig.environment.scanCache.hits).toBe(2);
    expect(one.rows.count).toBe(3);
    expect(other.rows.bytes.buffer).toBe(one.rows.bytes.buffer);
  });

  it('need a lease, or the word of the quorum', async () => {
    const rig = await filled();
    rig.replica.hasLeaseNow = false;
    const scans = [1, 2].map(() =>
      rig.send({
        op: KvOp.scan,
        key: bytes(''),
        consistency: ReadConsistency.timestamp,
        readTimestamp: rig.max,
      }),
    );
    await rig.turn();
    expect(scans.map(({ answers }) => answers.length)).toEqual([0, 0]);
    const [first] = rig.replica.readIndexes.splice(0, 1);
    first?.(true);
    rig.replica.answerReads(false);
    await settle();
    expect(scans.map((each) => answerOf(each).error?.code)).toEqual([undefined, 'NOT_LEADER']);
  });

  it('forget everything when the range is cut, restored, or led anew', async () => {
    const changes: ((rig: KvRig) => unknown)[] = [
      (rig) => rig.machine.split(descriptorOf('', 'b', 2), [descriptorOf('b', '', 2, 8)]),
      (rig) => {
        rig.machine.descriptorChanged(descriptorOf('', 'b', 2));
      },
      (rig) => rig.machine.restored(new Uint8Array(0)),
      (rig) => {
        rig.replica.stepDown();
      },
    ];
    for (const change of changes) {
      const rig = await filled();
      await change(rig);
      expect(rig.environment.scanCache.bytes).toBe(0);
    }
  });

  it('are not kept for what nobody scans any more', async () => {
    const rig = await filled();
    await rig.clock.advance(40_000);
    await rig.put('b', 'new');
    expect(rig.environment.scanCache.bytes).toBe(0);
    expect((await whole(rig)).rows.count).toBe(3);
  });
});
