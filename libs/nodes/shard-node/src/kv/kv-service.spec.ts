import { rangeId, timestamp } from '@cairn/base';
import { firstByWalk } from '@cairn/engine';
import { rowCacheKey, type VersionRecord } from '@cairn/mvcc';
import { noopMetrics, noopTracer } from '@cairn/ports';
import { describe, expect, it, jest } from '@jest/globals';
import {
  decodeChangesReply,
  decodeKvResponses,
  encodeKvCancel,
  Expectation,
  FRAME_CUT_BYTES,
  FrameType,
  KvOp,
  KvRequestEncoder,
  MESSAGE_BYTES_MAX,
  newKvRequest,
  newKvResponse,
  ReadConsistency,
  type KvRequest,
  type KvResponse,
  type Session,
} from '@cairn/wire';

import { questionOf } from './changes/changes-rig.testing.js';
import { DEFAULT_KV_LIMITS, type KvLimits } from './kv-limits.js';
import { bytes, KvRig, type RequestFields, type RigOptions } from './kv-rig.testing.js';
import { KvService, type KvSession } from './kv-service.js';
import { reserveOf } from './reservations/reserve-rig.testing.js';
import { prewriteOf, requestOf } from './txn/txn-rig.testing.js';

const MIB = 1024 * 1024;

/** A router's end of the connection. */
class FakeSession implements Session {
  readonly remote = undefined;
  readonly remoteAddress = 'router';
  readonly isReady = true;
  isClosed = false;
  queuedBytes = 0;
  /** What is sent waits until the test says that it is through. */
  isSlow = false;
  readonly receivedBytes = 0;
  longestFrame = 0;
  readonly responses: KvResponse[] = [];
  whenClosed: (() => void) | undefined;
  frames = 0;
  timestamp = timestamp(0);

  send(type: FrameType, parts: readonly Uint8Array[]): boolean {
    expect(type).toBe(FrameType.kvResponses);
    const frame = Buffer.concat(parts);
    this.longestFrame = Math.max(this.longestFrame, frame.length);
    const { responses, maxTimestamp } = decodeKvResponses(frame);
    this.responses.push(...responses);
    this.timestamp = maxTimestamp;
    this.frames += 1;
    if (this.isSlow) this.queuedBytes += frame.length;
    return true;
  }

  close(): void {
    this.isClosed = true;
    this.whenClosed?.();
  }

  fail(): void {
    this.isClosed = true;
  }
}

class ServiceRig {
  readonly gauges = new Map<string, number>();
  readonly service: KvService;
  readonly session = new FakeSession();
  readonly door: KvSession;
  readonly rig: KvRig;
  isUpgraded = true;
  readonly #collect: (() => void)[] = [];
  #sequence = 0;

  constructor(rig: KvRig, limits: Partial<KvLimits>) {
    this.rig = rig;
    this.service = new KvService({
      clock: rig.clock,
      tracer: noopTracer,
      metrics: {
        ...noopMetrics,
        gauge: (name) => ({ set: (value) => void this.gauges.set(name, value) }),
        onCollect: (callback) => void this.#collect.push(callback),
      },
      limits: { ...DEFAULT_KV_LIMITS, ...limits },
      sizes: () => ({ keyBytesMax: 100, valueBytesMax: 1_000 }),
      timestamps: rig.environment.timestamps,
      gates: { isOpen: () => this.isUpgraded },
      idSeed: 7,
      machines: rig.environment.machines,
      covering: () => undefined,
      scanSlots: rig.environment.scanSlots,
      readRoom: rig.environment.readRoom,
      heldQuestions: rig.environment.changes.held,
      heldReserves: rig.environment.reservations.held,
      lagging: rig.lagging,
    });
    this.door = this.service.accept(this.session);
  }

  static async open(limits: Partial<KvLimits> = {}, options: RigOptions = {}): Promise<ServiceRig> {
    return new ServiceRig(await KvRig.leading({ limits, ...options }), limits);
  }

  send(...requests: (Partial<KvRequest> & { readonly op: KvOp })[]): number[] {
    return this.sendBy(this.door, ...requests);
  }

  sendBy(door: KvSession, ...requests: (Partial<KvRequest> & { readonly op: KvOp })[]): number[] {
    const encoder = new KvRequestEncoder();
    const sequences = requests.map((fields) => {
      this.#sequence += 1;
      encoder.add({
        ...newKvRequest(),
        sequence: this.#sequence,
        rangeId: this.rig.machine.descriptor.rangeId,
        epochVersion: 1,
        timeoutMs: 1_000,
        ...fields,
      });
      return this.#sequence;
    });
    door.onFrame(FrameType.kvRequests, Buffer.concat(encoder.take()));
    return sequences;
  }

  cancel(...sequences: number[]): void {
    this.door.onFrame(FrameType.kvCancel, Buffer.concat(encodeKvCancel(sequences)));
  }

  async run(): Promise<void> {
    await this.rig.run();
    this.rig.clock.runDeferred();
  }

  get open(): readonly [calls: number | undefined, bytes: number | undefined] {
    for (const callback of this.#collect) callback();
    return [this.gauges.get('cairn_shard_open_requests'), this.gauges.get('cairn_shard_open_request_bytes')];
  }

  get codes(): (string | undefined)[] {
    return this.session.responses.map(({ error }) => error?.code);
  }
}

const put = (key: string, value: string): Partial<KvRequest> & { readonly op: KvOp } => ({
  op: KvOp.put,
  key: bytes(key),
  value: bytes(value),
});

function prewriteRequest(start: number, key: string): ReturnType<typeof requestOf> {
  return requestOf(prewriteOf(timestamp(start), { [key]: '1' }));
}

function checkRequest(start: number, key: string): ReturnType<typeof requestOf> {
  return requestOf({
    type: 'check',
    start: timestamp(start),
    primary: bytes(key),
    pushTo: timestamp(0),
    lockDeadline: timestamp(0),
  });
}

describe('the key-value door', () => {
  it('answers the requests of a turn in one frame that tells the newest timestamp', async () => {
    const door = await ServiceRig.open();
    const sequences = door.send(put('a', '1'), put('b', '2'), put('c', '3'));
    expect(door.open).toEqual([3, 6]);
    await door.run();
    expect(door.session.responses.map(({ sequence }) => sequence)).toEqual(sequences);
    expect(door.session.frames).toBe(1);
    expect(door.session.timestamp).toBe(door.rig.max);
    expect(door.open).toEqual([0, 0]);
  });

  it('refuses what goes beyond its bounds before anything is spent, and takes more afterwards', async () => {
    const door = await ServiceRig.open({ callsMax: 4, callBytesMax: 50 });
    door.send(put('a', '1'), put('b', '2'), put('c', '3'));
    await door.run();
    expect(door.codes).toEqual(['RESOURCE_EXHAUSTED', undefined, undefined]);
    expect(door.session.responses[0]?.error?.retryAfterMs).toBeGreaterThan(0);
    door.session.responses.length = 0;
    door.send(put('big', 'x'.repeat(60)), put('d', '4'));
    await door.run();
    expect(door.codes).toEqual(['RESOURCE_EXHAUSTED', undefined]);
    expect(door.open).toEqual([0, 0]);
  });

  it('takes transactions once all nodes are upgraded, and nothing else of what is no command', async () => {
    const door = await ServiceRig.open();
    const command = prewriteRequest(door.rig.oracle.next + 1, 'a');
    door.isUpgraded = false;
    door.send(command, put('b', '1'));
    door.isUpgraded = true;
    door.send(command, { ...command, value: bytes('garbage') }, { op: KvOp.execute, key: bytes('a') });
    await door.run();
    const [refused, ...rest] = door.codes;
    expect(refused).toBe('FAILED_PRECONDITION');
    expect(rest.filter((code) => code === undefined).length).toBe(2);
    expect(rest.filter((code) => code === 'INVALID_ARGUMENT').length).toBe(2);
    expect(door.open).toEqual([0, 0]);
  });

  it('takes questions for changes once all nodes are upgraded, and lets them go with their connection', async () => {
    const door = await ServiceRig.open();
    const question = { ...questionOf({ waitMs: 5_000 }), timeoutMs: 9_000 };
    door.isUpgraded = false;
    door.send(question);
    door.isUpgraded = true;
    door.send({ ...question, value: bytes('garbage') }, { ...question, key: bytes('other') });
    await door.run();
    expect(door.codes).toEqual(['FAILED_PRECONDITION', 'INVALID_ARGUMENT', 'INVALID_ARGUMENT']);
    door.send({ ...question, ...questionOf({ waitMs: 0 }) });
    await door.run();
    const page = decodeChangesReply(door.session.responses[3]?.value ?? bytes(''));
    const index = page.type === 'page' ? page.index : 0;
    door.send({ ...questionOf({ waitMs: 5_000, index, after: door.rig.max }), timeoutMs: 9_000 });
    await door.run();
    const { held } = door.rig.environment.changes;
    expect([door.session.responses.length, held.count, door.open[0]]).toEqual([4, 1, 1]);
    door.service.closed(door.door);
    expect([held.count, ...door.open]).toEqual([0, 0, 0]);
  });

  it('takes reservations once all nodes are upgraded, on a full disk too, and lets waiting ones go', async () => {
    const door = await ServiceRig.open();
    const reserve = (owner: number): RequestFields => reserveOf(timestamp(owner), ['a']);
    door.isUpgraded = false;
    door.send(reserve(1));
    door.isUpgraded = true;
    door.service.isDiskFull = true;
    door.send(reserve(1), { ...reserve(1), value: bytes('garbage') }, reserve(2));
    await door.run();
    expect(door.codes).toEqual(['FAILED_PRECONDITION', 'INVALID_ARGUMENT', undefined]);
    const { held } = door.rig.environment.reservations;
    expect([held.count, door.open[0]]).toEqual([1, 1]);
    door.service.closed(door.door);
    expect([held.count, ...door.open]).toEqual([0, 0, 0]);
  });

  it('ends transactions on a full disk, and lets none begin', async () => {
    const door = await ServiceRig.open();
    const start = door.rig.oracle.next + 1;
    door.send(prewriteRequest(start, 'a'));
    await door.run();
    door.service.isDiskFull = true;
    door.send(prewriteRequest(start, 'b'), checkRequest(start, 'a'));
    await door.run();
    expect(door.codes).toEqual([undefined, 'DISK_FULL', undefined]);
  });

  it('gives no session more places than it leaves free for others', async () => {
    const door = await ServiceRig.open({ callsMax: 16 });
    const [late, later] = [new FakeSession(), new FakeSession()];
    const lateDoor = door.service.accept(late);
    const laterDoor = door.service.accept(later);
    door.send(...Array.from({ length: 50 }, (_, at) => put(`g${at}`, '1')));
    door.sendBy(lateDoor, ...Array.from({ length: 50 }, (_, at) => put(`l${at}`, '1')));
    door.sendBy(laterDoor, put('x', '1'));
    expect(door.open[0]).toBe(8 + 4 + 1);
    await door.run();
    const taken = (session: FakeSession): number => session.responses.filter(({ error }) => !error).length;
    expect([taken(door.session), taken(late), taken(later)]).toEqual([8, 4, 1]);
    expect(door.open).toEqual([0, 0]);
  });

  it('has places for each of many sessions, however many others have all they can get', async () => {
    const door = await ServiceRig.open({ callsMax: 512 });
    const taken: number[] = [];
    for (let each = 0; each < 20; each += 1) {
      const before = door.open[0] ?? 0;
      const session = door.service.accept(new FakeSession());
      door.sendBy(session, ...Array.from({ length: 300 }, (_, at) => put(`${each}/${at}`, '1')));
      taken.push((door.open[0] ?? 0) - before);
    }
    expect(taken).toEqual([256, 128, ...Array<number>(18).fill(4)]);
    await door.run();
  });

  it('gives no session more bytes than it leaves free for others, but one request in any case', async () => {
    const door = await ServiceRig.open({ callBytesMax: 1_000 });
    const late = new FakeSession();
    const lateDoor = door.service.accept(late);
    door.send(put('a', 'x'.repeat(700)));
    door.send(put('b', 'x'.repeat(200)));
    door.sendBy(lateDoor, put('c', 'x'.repeat(250)));
    door.sendBy(lateDoor, put('d', 'x'.repeat(10)));
    await door.run();
    expect(door.codes).toEqual(['RESOURCE_EXHAUSTED', undefined]);
    expect(late.responses.map(({ error }) => error?.code)).toEqual(['RESOURCE_EXHAUSTED', undefined]);
  });

  it.each<[string, Partial<KvRequest> & { readonly op: KvOp }]>([
    ['key', { ...put('k', 'v'), key: Buffer.alloc(101) }],
    ['key', { ...put('', 'v') }],
    ['key', { op: KvOp.get, key: Buffer.alloc(65_537) }],
    ['value', put('k', 'v'.repeat(1_001))],
    ['value', { op: KvOp.put, key: bytes('k') }],
    ['expected', { op: KvOp.compareAndSet, key: bytes('k') }],
    ['expected', { op: KvOp.compareAndSet, key: bytes('k'), expectation: Expectation.version }],
    ['ttl', { ...put('k', 'v'), ttlMs: 1e15 }],
    [
      'request_id',
      { ...put('k', 'v'), requestId: { client: 0, sequence: 1, stamp: timestamp(1), isRetry: false } },
    ],
    ['limit', { op: KvOp.scan, pageBytes: 100 }],
    ['limit', { op: KvOp.deleteRange }],
    ['page_bytes', { op: KvOp.scan, limit: 1, pageBytes: 5 * MIB }],
    ['page_bytes', { op: KvOp.scan, limit: 1 }],
    ['end_key', { op: KvOp.scan, limit: 1, pageBytes: 100, endKey: Buffer.alloc(65_537) }],
  ])('refuses what no router sends: a wrong %s', async (field, request) => {
    const door = await ServiceRig.open();
    door.send(request);
    await door.run();
    expect(door.session.responses[0]?.error).toMatchObject({ code: 'INVALID_ARGUMENT', field });
    expect(door.open).toEqual([0, 0]);
  });

  it('lets what was stored under a longer limit be read and deleted', async () => {
    const door = await ServiceRig.open();
    door.send(
      { op: KvOp.get, key: Buffer.alloc(5_000, 'k') },
      { op: KvOp.delete, key: Buffer.alloc(5_000, 'k') },
    );
    await door.run();
    expect(door.codes).toEqual([undefined, undefined]);
  });

  it.each([1, 4_096, 4_097, 100_000])(
    'answers a row of %i bytes as it was read, whatever becomes of it before the frame leaves',
    async (length) => {
      const door = await ServiceRig.open();
      const row = (fill: string): VersionRecord => ({
        timestamp: door.rig.max,
        sequence: 0,
        expiry: timestamp(0),
        tombstone: false,
        kind: 0,
        value: Buffer.alloc(length, fill),
      });
      const { rowCache } = door.rig.environment;
      rowCache.set(rowCacheKey(bytes('k')), row('a'));
      door.send({ op: KvOp.get, key: bytes('k') });
      await door.rig.run();
      rowCache.set(rowCacheKey(bytes('k')), row('b'));
      await door.run();
      expect(Buffer.from(door.session.responses[0]?.value ?? []).equals(row('a').value)).toBe(true);
    },
  );

  const answer = (sequence: number, length: number): KvResponse => ({
    ...newKvResponse(sequence, KvOp.get),
    found: true,
    value: Buffer.alloc(length),
  });

  it.each([
    ['100 gets of 1 MiB', 100, MIB],
    ['64 pages of 4 MiB', 64, 4 * MIB],
    ['300 gets of one key of 1 MiB', 300, MIB],
    ['3 values of 32 MiB', 3, 32 * MIB],
    ['100,000 tiny gets', 100_000, 0],
  ])('cuts the answers of a turn into frames that can be sent: %s', async (_, count, length) => {
    const door = await ServiceRig.open();
    for (let sequence = 1; sequence <= count; sequence += 1) door.door.send(answer(sequence, length));
    await door.run();
    expect(door.session.responses.map(({ error }) => error)).toEqual(Array(count).fill(undefined));
    expect(door.session.longestFrame).toBeLessThan(Math.max(FRAME_CUT_BYTES, length) + FRAME_CUT_BYTES + MIB);
  });

  it('answers the caller of an answer that no frame can hold with an error', async () => {
    const door = await ServiceRig.open();
    door.door.send(answer(1, MESSAGE_BYTES_MAX + 1));
    door.door.send(answer(2, 10));
    await door.run();
    expect(door.codes).toEqual(['INVALID_ARGUMENT', undefined]);
    expect(door.session.responses[0]?.error?.message).toContain(String(MESSAGE_BYTES_MAX));
  });

  it('refuses large answers that pile up for a connection, and sends small ones all the same', async () => {
    const door = await ServiceRig.open({ answerBytesMax: 3 * MIB });
    door.session.isSlow = true;
    door.session.queuedBytes = 2 * MIB;
    door.door.send(answer(1, MIB / 2));
    door.door.send(answer(2, MIB));
    door.door.send(answer(3, 100));
    await door.run();
    expect(door.codes).toEqual([undefined, 'RESOURCE_EXHAUSTED', undefined]);
    expect(door.session.responses[1]?.error?.retryAfterMs).toBeGreaterThan(0);
    door.session.queuedBytes = 0;
    door.door.send(answer(4, 8 * MIB));
    await door.run();
    expect(door.codes.at(-1)).toBeUndefined();
  });

  it('says of a refused answer whether a command behind it is in the log', async () => {
    const door = await ServiceRig.open({ answerBytesMax: MIB });
    door.session.queuedBytes = 2 * MIB;
    door.door.send(answer(1, MIB / 2));
    door.door.send({ ...answer(2, MIB / 2), op: KvOp.compareAndSet });
    await door.run();
    const { responses } = door.session;
    expect(door.codes).toEqual(['RESOURCE_EXHAUSTED', 'RESOURCE_EXHAUSTED']);
    expect(responses.map(({ error }) => error?.isUnclear)).toEqual([false, true]);
  });

  it('hands a connection few large answers at a time, so that small ones pass them', async () => {
    const door = await ServiceRig.open();
    door.session.isSlow = true;
    for (let sequence = 1; sequence <= 20; sequence += 1) door.door.send(answer(sequence, MIB));
    door.door.send(answer(21, 100));
    await door.run();
    const sequences = (): number[] => door.session.responses.map(({ sequence }) => sequence);
    expect(sequences()).toEqual([1, 2, 3, 4, 21]);
    expect(door.door.waitingBytes).toBeGreaterThan(20 * MIB);
    // What nobody waits for any more is not sent, and takes no room.
    door.cancel(6, 7);
    expect(door.door.waitingBytes).toBeLessThan(19 * MIB);
    await door.rig.clock.advance(50);
    expect(sequences()).toHaveLength(5);
    door.session.queuedBytes = 0;
    await door.rig.clock.advance(10);
    expect(sequences().slice(5)).toEqual([5, 8, 9, 10]);
    door.session.isSlow = false;
    door.session.queuedBytes = 0;
    await door.rig.clock.advance(10);
    expect(sequences()).toHaveLength(19);
    expect(door.door.waitingBytes).toBe(0);
    expect(door.codes.every((code) => code === undefined)).toBe(true);
  });

  it('refuses large answers that pile up for all connections together', async () => {
    const door = await ServiceRig.open({ allAnswerBytesMax: 4 * MIB });
    const others = [new FakeSession(), new FakeSession()];
    for (const other of others) {
      door.service.accept(other);
      other.queuedBytes = 2 * MIB;
    }
    door.session.queuedBytes = 1;
    door.door.send(answer(1, MIB));
    others.forEach((other) => (other.queuedBytes = 0));
    door.door.send(answer(2, MIB));
    await door.run();
    expect(door.codes).toEqual(['RESOURCE_EXHAUSTED', undefined]);
  });

  it('says when it has no replica of the range', async () => {
    const door = await ServiceRig.open();
    door.send({ ...put('a', '1'), rangeId: rangeId(4711) });
    await door.run();
    expect(door.codes).toEqual(['RANGE_NOT_FOUND']);
    expect(door.open).toEqual([0, 0]);
  });

  it('frees cancelled requests without an answer and without their effect', async () => {
    const door = await ServiceRig.open();
    const [first] = door.send(put('a', '1'), put('b', '2'));
    door.cancel(first ?? 0, 4711);
    await door.run();
    expect(door.session.responses).toHaveLength(1);
    expect(await door.rig.get('a')).toBeUndefined();
    expect(await door.rig.get('b')).toBe('2');
    expect(door.open).toEqual([0, 0]);
  });

  it('reads no pages for sessions that take none, and those of others at once', async () => {
    const door = await ServiceRig.open();
    await door.rig.put('a', '1');
    const scan = {
      ...{ op: KvOp.scan, key: bytes(''), limit: 10, pageBytes: 4 * MIB, timeoutMs: 30_000 },
      consistency: ReadConsistency.stale,
    };
    const deaf = Array.from({ length: 10 }, () => {
      const session = new FakeSession();
      session.queuedBytes = 5 * MIB;
      return { session, door: door.service.accept(session) };
    });
    const iterate = jest.spyOn(door.rig.engine, 'iterate');
    for (const each of deaf) door.sendBy(each.door, ...Array.from({ length: 20 }, () => scan));
    await door.run();
    expect(iterate).toHaveBeenCalledTimes(0);
    door.send(scan);
    await door.run();
    expect(door.codes).toEqual([undefined]);
    expect(door.open[0]).toBe(200);
    for (const each of deaf.slice(1)) door.service.closed(each.door);
    expect(door.open[0]).toBe(20);
    const [first] = deaf;
    if (first !== undefined) first.session.queuedBytes = 0;
    await door.rig.clock.advance(100);
    await door.run();
    expect(first?.session.responses.map(({ error }) => error)).toEqual(Array(20).fill(undefined));
    expect(door.open[0]).toBe(0);
  });

  it('ends sessions that take no answers where others find no place, and none that takes them', async () => {
    const door = await ServiceRig.open({ callsMax: 128, pagesAheadBytesMax: 1 });
    await door.rig.put('a', '1');
    const scan = {
      ...{ op: KvOp.scan, key: bytes(''), limit: 10, pageBytes: 4 * MIB, timeoutMs: 3_600_000 },
      consistency: ReadConsistency.stale,
    };
    // Each takes nothing of a first page, so the second one keeps its place.
    const holders = Array.from({ length: 128 }, () => {
      const session = new FakeSession();
      session.isSlow = true;
      const accepted = door.service.accept(session);
      session.whenClosed = () => {
        door.service.closed(accepted);
      };
      return { session, door: accepted };
    });
    for (const holder of holders) {
      door.sendBy(holder.door, scan);
      await door.run();
      door.sendBy(holder.door, scan);
    }
    await door.run();
    const taking = new FakeSession();
    door.service.accept(taking).send(answer(1, 10));
    let refused = 0;
    for (let waitedMs = 0; waitedMs <= 1_200; waitedMs += 100) {
      door.session.responses.length = 0;
      door.send(put('b', '2'));
      await door.run();
      if (door.codes[0] === undefined) break;
      refused += 1;
      await door.rig.clock.advance(100);
    }
    expect(door.codes).toEqual([undefined]);
    expect(refused).toBeGreaterThanOrEqual(9);
    expect(taking.isClosed).toBe(false);
    expect(holders.filter(({ session }) => session.isClosed)).toHaveLength(door.rig.lagging.ended);
    expect(door.rig.lagging.ended).toBeGreaterThan(0);
  });

  it('reads a page for a connection also while values wait for it, and no second one before that is taken', async () => {
    const door = await ServiceRig.open({ pagesAheadBytesMax: 2 * MIB });
    await door.rig.put('k', 'v'.repeat(MIB / 8));
    door.session.isSlow = true;
    const scan: Partial<KvRequest> & { op: KvOp } = {
      ...{ op: KvOp.scan, key: bytes(''), limit: 10, pageBytes: MIB / 4, timeoutMs: 30_000 },
      consistency: ReadConsistency.stale,
    };
    let sequence = 1_000;
    const values = (count: number): void => {
      for (let each = 0; each < count; each += 1) door.door.send(answer((sequence += 1), MIB));
    };
    const pages = (): number => door.session.responses.filter(({ op }) => op === KvOp.scan).length;
    const wait = async (): Promise<void> => {
      await door.rig.clock.advance(50);
      await door.run();
    };
    values(3);
    door.send(scan, scan);
    await door.run();
    await wait();
    expect(pages()).toBe(1);
    // Some values are taken, and others come: the page still waits.
    door.session.queuedBytes -= 2 * MIB;
    values(2);
    await wait();
    expect(pages()).toBe(1);
    door.session.queuedBytes -= 2 * MIB;
    values(2);
    await wait();
    expect(pages()).toBe(2);
    expect(door.door.waitingBytes).toBeGreaterThan(2 * MIB);
  });

  it('reads no more large rows for a connection than it takes, refuses none, and loses no turn', async () => {
    const limits = { readBytesMax: 4 * MIB, pagesAheadBytesMax: 2 * MIB, answerBytesMax: 4 * MIB };
    const door = await ServiceRig.open(limits, { rowCacheBytes: 1_024 });
    const keys = Array.from({ length: 60 }, (_, at) => `k${at}`);
    for (const key of keys) await door.rig.put(key, 'v'.repeat(MIB / 4));
    door.session.isSlow = true;
    const first = jest.spyOn(door.rig.engine, 'first');
    const sent = door.send(...keys.map((key) => ({ op: KvOp.get, key: bytes(key), timeoutMs: 10_000 })));
    await door.run();
    await door.rig.clock.advance(100);
    expect(first.mock.calls.length).toBeLessThan(12);
    // Commands on large rows and reads of others go on meanwhile.
    const other = new FakeSession();
    door.sendBy(door.service.accept(other), { op: KvOp.get, key: bytes('k0') });
    door.send({ op: KvOp.delete, key: bytes('k59'), timeoutMs: 10_000 });
    await door.run();
    expect(other.responses.map(({ found }) => found)).toEqual([true]);
    for (let round = 0; round < 60; round += 1) {
      door.session.queuedBytes = 0;
      await door.rig.clock.advance(10);
      await door.run();
    }
    const { responses } = door.session;
    expect(responses.map(({ error }) => error)).toEqual(Array(61).fill(undefined));
    expect(responses.map(({ sequence }) => sequence).filter((each) => sent.includes(each))).toEqual(sent);
    expect(door.door.reading.peak).toBeLessThanOrEqual(4 * MIB + MIB / 4 + 128);
    expect(door.rig.environment.readRoom.heldBytes).toBe(0);
    expect(door.open).toEqual([0, 0]);
  });

  it('frees what a closed session held, wherever it waits', async () => {
    const door = await ServiceRig.open();
    const { engine } = door.rig;
    engine.first = (start, end) => firstByWalk(engine.iterate({ start, end }));
    door.send(put('a', '1'));
    await door.rig.turn();
    door.send({ op: KvOp.increment, key: bytes('n'), delta: '1' }, put('b', '2'));
    door.rig.machine.turn(door.rig.clock.nowMs());
    door.send(put('c', '3'));
    expect(door.open[0]).toBe(4);
    door.session.isClosed = true;
    door.service.closed(door.door);
    await door.run();
    expect(door.open).toEqual([0, 0]);
    expect(door.session.responses).toHaveLength(0);
    expect(await door.rig.get('c')).toBeUndefined();
    expect(await door.rig.get('n')).toBeUndefined();
  });

  it('frees what waited for a leader that never came', async () => {
    const door = await ServiceRig.open();
    door.rig.replica.isReadyLeader = false;
    door.send({ ...put('a', '1'), timeoutMs: 100 });
    await door.run();
    expect(door.codes).toEqual([]);
    await door.rig.clock.advance(150);
    await door.run();
    expect(door.codes).toEqual(['DEADLINE_EXCEEDED']);
    expect(door.open).toEqual([0, 0]);
  });

  it('lets a garbled frame out as corruption', async () => {
    const door = await ServiceRig.open();
    expect(() => {
      door.door.onFrame(FrameType.kvRequests, bytes('garbage that is no request'));
    }).toThrow(expect.objectContaining({ code: 'CORRUPTION' }));
  });
});
