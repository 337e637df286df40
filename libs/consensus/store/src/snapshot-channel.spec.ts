import { describe, expect, it } from '@jest/globals';
import {
  InvariantError,
  rangeId,
  replicaId,
  storeId,
  term,
  type LogIndex,
  type RangeDescriptor,
} from '@cairn/base';
import { ByteWriter } from '@cairn/codec';
import { noopLogger, noopMetrics } from '@cairn/ports';
import { SimDisk, SimRng, SimScheduler } from '@cairn/runtime-sim';
import { FrameType, type SessionHandlers } from '@cairn/wire';

import { ReceivedSpools } from './received-spools.js';
import { SessionSnapshotChannel, snapshotReceiverHandlers } from './snapshot-channel.js';
import {
  decodeSnapshotAnswer,
  encodeSnapshotAnswer,
  encodeSnapshotHeader,
  encodeSnapshotRows,
  SNAPSHOT_WINDOW_BYTES,
  type SnapshotAnswer,
} from './snapshot-frames.js';
import { SnapshotReceiver, type SnapshotReceiverParts } from './snapshot-receive.js';
import { DEFAULT_STORE_CONFIG, type StoreConfig } from './store-config.js';
import { StoreMetrics } from './store-metrics.js';

const MIB = 1024 * 1024;
const SPAN = { start: Buffer.from('a'), end: Buffer.from('m') };
const DESCRIPTOR: RangeDescriptor = {
  rangeId: rangeId(7),
  startKey: Buffer.from('a'),
  endKey: Buffer.from('m'),
  epoch: { version: 1, confVersion: 1 },
  replicas: [
    { replicaId: replicaId(3), storeId: storeId(1), role: 'voter' },
    { replicaId: replicaId(4), storeId: storeId(2), role: 'voter' },
  ],
};

function headerOf(rowBytes = 100): Buffer {
  return encodeSnapshotHeader({
    rangeId: DESCRIPTOR.rangeId,
    from: replicaId(4),
    to: replicaId(3),
    term: term(2),
    meta: {
      index: 9 as LogIndex,
      term: term(2),
      config: { voters: [replicaId(3), replicaId(4)], outgoing: [], learners: [], learnersNext: [] },
    },
    descriptor: DESCRIPTOR,
    rowBytes,
    namespaces: [],
    volatileState: Buffer.alloc(0),
  });
}

function endOf(chunks: number): Buffer {
  const writer = new ByteWriter(8);
  writer.varint(chunks);
  return writer.take();
}

const ROWS = encodeSnapshotRows([[Buffer.from('b'), Buffer.from('value')]]);

/** The receiving end of one store; streams come by sessions of their own. */
class Receiving {
  readonly scheduler = new SimScheduler();
  readonly medium = new SimDisk(new SimRng(1));
  readonly receiver: SnapshotReceiver;
  /** What the core is offered. */
  offered = 0;
  isTaken = true;
  refusal: string | undefined;
  /** What the core's assertions say. */
  broken: Error | undefined;
  readonly fatal: unknown[] = [];

  constructor(config: Partial<StoreConfig> = {}) {
    const process = this.scheduler.startProcess('store');
    const disk = this.medium.attach(process);
    const parts: Partial<SnapshotReceiverParts> = {
      ...{ directory: '/snapshots', disk, clock: process.clock },
      config: { ...DEFAULT_STORE_CONFIG, ...config },
      metrics: new StoreMetrics(noopMetrics),
      spools: new ReceivedSpools(disk, noopLogger),
      offers: {
        refusalOf: () => this.refusal,
        step: () => {
          this.offered += 1;
          if (this.broken !== undefined) throw this.broken;
          return this.isTaken;
        },
      },
      spansOf: () => [SPAN],
      checkVolatileState: () => undefined,
      fatal: (error) => void this.fatal.push(error),
    };
    this.receiver = new SnapshotReceiver(parts as SnapshotReceiverParts);
  }

  async open(): Promise<this> {
    const process = this.scheduler.startProcess('setup');
    await this.scheduler.settle(this.medium.attach(process).makeDirectory('/snapshots'));
    return this;
  }

  session(): Stream {
    return new Stream(this);
  }
}

class Stream {
  readonly #rig: Receiving;
  readonly #handlers: SessionHandlers;
  readonly answers: SnapshotAnswer[] = [];
  isClosed = false;

  constructor(rig: Receiving) {
    this.#rig = rig;
    const session = {
      send: (_type: FrameType, parts: readonly Uint8Array[]): boolean => {
        this.answers.push(decodeSnapshotAnswer(parts[0] as Uint8Array));
        return true;
      },
      close: (): void => {
        this.end();
      },
    };
    this.#handlers = snapshotReceiverHandlers(session, storeId(2), rig.receiver, () => undefined);
  }

  post(type: FrameType, body: Buffer): void {
    this.#handlers.onFrame(type, body);
  }

  async send(type: FrameType, body: Buffer): Promise<void> {
    this.post(type, body);
    await this.#rig.scheduler.runFor(20);
  }

  end(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#handlers.onClose(undefined);
  }

  get last(): string {
    const last = this.answers.at(-1);
    return last?.type === 'refused' ? last.reason : (last?.type ?? 'nothing');
  }
}

describe('the receiving end of a snapshot', () => {
  it('answers every chunk that is on its disk, and hands the whole to the core', async () => {
    const rig = await new Receiving().open();
    const stream = rig.session();
    await stream.send(FrameType.snapshotBegin, headerOf());
    await stream.send(FrameType.snapshotChunk, ROWS);
    await stream.send(FrameType.snapshotEnd, endOf(1));
    expect(stream.answers.map(({ type }) => type)).toEqual(['accepted', 'written', 'received']);
    expect(rig.offered).toBe(1);
    stream.end();
    await rig.scheduler.runFor(20);
    expect(rig.medium.paths()).toHaveLength(1);
  });

  it('ends the store when an assertion of the core fails, and not only the session', async () => {
    const rig = await new Receiving().open();
    rig.broken = new InvariantError('commits are lost');
    const stream = rig.session();
    await stream.send(FrameType.snapshotBegin, headerOf());
    await stream.send(FrameType.snapshotEnd, endOf(0));
    expect(rig.fatal).toEqual([rig.broken]);
    expect(stream.last).toContain('commits are lost');
  });

  it('removes what the core does not take', async () => {
    const rig = await new Receiving().open();
    rig.isTaken = false;
    const stream = rig.session();
    await stream.send(FrameType.snapshotBegin, headerOf());
    await stream.send(FrameType.snapshotEnd, endOf(0));
    expect(rig.medium.paths()).toEqual([]);
  });

  const ways: [string, (stream: Stream, rig: Receiving) => Promise<void>, string][] = [
    [
      'a second header',
      (stream) => stream.send(FrameType.snapshotBegin, headerOf()),
      'a second snapshot on one session',
    ],
    [
      'a garbled chunk',
      (stream) => stream.send(FrameType.snapshotChunk, Buffer.alloc(40, 1)),
      'does not match its checksum',
    ],
    [
      'a row of another range',
      (stream) =>
        stream.send(FrameType.snapshotChunk, encodeSnapshotRows([[Buffer.from('m'), Buffer.alloc(1)]])),
      'a row outside range 7',
    ],
    ['a wrong count', (stream) => stream.send(FrameType.snapshotEnd, endOf(3)), '3 chunks arrived with 0'],
    [
      'silence',
      (_, rig) => rig.scheduler.runFor(DEFAULT_STORE_CONFIG.snapshotProgressMs + 100),
      '4194304 are the least',
    ],
    [
      'a disk without space',
      async (stream, rig) => {
        rig.medium.setBytesMax(rig.medium.usedBytes);
        await stream.send(FrameType.snapshotChunk, ROWS);
      },
      'no space left',
    ],
    [
      'a sender that was deposed meanwhile',
      async (stream, rig) => {
        rig.refusal = 'store 2 does not lead range 7 in term 3';
        await stream.send(FrameType.snapshotChunk, ROWS);
      },
      'does not lead range 7',
    ],
    [
      'a replica that is gone at the end',
      async (stream, rig) => {
        rig.refusal = 'replica 3 of range 7 was removed';
        await stream.send(FrameType.snapshotEnd, endOf(0));
      },
      'was removed',
    ],
    [
      'more than the window',
      async (stream, rig) => {
        rig.medium.stallUntil(rig.scheduler.nowMs + 1_000);
        const rows = encodeSnapshotRows([[Buffer.from('b'), Buffer.alloc(MIB)]]);
        for (let sent = 0; sent <= SNAPSHOT_WINDOW_BYTES; sent += rows.length) {
          stream.post(FrameType.snapshotChunk, rows);
        }
        await rig.scheduler.runFor(2_000);
      },
      'chunks of a snapshot: ',
    ],
  ];

  it.each(ways)('refuses %s, removes the spool and frees the place', async (_name, spoil, reason) => {
    const rig = await new Receiving().open();
    const stream = rig.session();
    await stream.send(FrameType.snapshotBegin, headerOf());
    expect(stream.last).toBe('accepted');
    await spoil(stream, rig);
    expect(stream.last).toContain(reason);
    expect(stream.isClosed).toBe(true);
    expect(rig.medium.paths()).toEqual([]);
    rig.refusal = undefined;
    rig.medium.setBytesMax(Number.MAX_SAFE_INTEGER);
    const next = rig.session();
    await next.send(FrameType.snapshotBegin, headerOf());
    expect(next.last).toBe('accepted');
  });

  it('has one place, and frees it when the session ends', async () => {
    const rig = await new Receiving().open();
    const first = rig.session();
    await first.send(FrameType.snapshotBegin, headerOf());
    await first.send(FrameType.snapshotChunk, ROWS);
    const second = rig.session();
    await second.send(FrameType.snapshotBegin, headerOf());
    expect(second.last).toBe('another snapshot is being received');
    first.end();
    await rig.scheduler.runFor(20);
    expect(rig.medium.paths()).toEqual([]);
    const third = rig.session();
    await third.send(FrameType.snapshotBegin, headerOf());
    expect(third.last).toBe('accepted');
  });

  it('takes no more than the disk and the limit allow', async () => {
    const rig = await new Receiving({ snapshotBytesMax: 8 * MIB }).open();
    const long = rig.session();
    await long.send(FrameType.snapshotBegin, headerOf(8 * MIB + 1));
    expect(long.last).toBe('a snapshot of 8388609 bytes is longer than 8388608');
    rig.medium.setBytesMax(70 * MIB);
    const large = rig.session();
    await large.send(FrameType.snapshotBegin, headerOf(7 * MIB));
    expect(large.last).toContain('would leave less than 67108864');
    // It announced little, and sends a lot.
    rig.medium.setBytesMax(Number.MAX_SAFE_INTEGER);
    const liar = rig.session();
    await liar.send(FrameType.snapshotBegin, headerOf(10));
    const rows = encodeSnapshotRows([[Buffer.from('b'), Buffer.alloc(3 * MIB)]]);
    for (let chunk = 0; chunk < 3; chunk += 1) await liar.send(FrameType.snapshotChunk, rows);
    expect(liar.last).toContain('is longer than 8388608');
    expect(rig.medium.paths()).toEqual([]);
  });

  it('takes one only when its rows have room beside the spool', async () => {
    const rig = await new Receiving().open();
    const { snapshotFreeBytesMin } = DEFAULT_STORE_CONFIG;
    rig.medium.setBytesMax(snapshotFreeBytesMin + 15 * MIB);
    const honest = rig.session();
    await honest.send(FrameType.snapshotBegin, headerOf(8 * MIB));
    expect(honest.last).toContain('16777216 are still to be written');
    // It announced half of what it sends.
    const more = rig.session();
    await more.send(FrameType.snapshotBegin, headerOf(4 * MIB));
    const rows = encodeSnapshotRows([[Buffer.from('b'), Buffer.alloc(2 * MIB)]]);
    for (let chunk = 0; chunk < 4; chunk += 1) await more.send(FrameType.snapshotChunk, rows);
    expect(more.last).toBe('written');
    await more.send(FrameType.snapshotEnd, endOf(4));
    expect(more.last).toContain('would leave less than 67108864');
    expect([rig.offered, rig.medium.paths()]).toEqual([0, []]);
  });

  it('goes on with a sender that is slow but makes progress', async () => {
    const rig = await new Receiving().open();
    const stream = rig.session();
    await stream.send(FrameType.snapshotBegin, headerOf());
    const rows = encodeSnapshotRows([[Buffer.from('b'), Buffer.alloc(3 * MIB)]]);
    for (let chunk = 0; chunk < 8; chunk += 1) {
      await stream.send(FrameType.snapshotChunk, rows);
      await rig.scheduler.runFor(DEFAULT_STORE_CONFIG.snapshotProgressMs / 2);
    }
    await stream.send(FrameType.snapshotEnd, endOf(8));
    expect(stream.last).toBe('received');
  });

  it('refuses rows before the header', async () => {
    const rig = await new Receiving().open();
    const stream = rig.session();
    await stream.send(FrameType.snapshotChunk, ROWS);
    expect(stream.last).toBe('rows before the header of a snapshot');
  });
});

describe('the sending end', () => {
  it('ends the stream when the last chunk is written: one above the window leaves no room for the end', async () => {
    const { clock } = new SimScheduler().startProcess('sender');
    const sent: FrameType[] = [];
    let handlers: SessionHandlers | undefined;
    const channel = new SessionSnapshotChannel(clock, (given) => {
      handlers = given;
      return { send: (type) => sent.push(type) > 0, close: () => undefined };
    });
    const answer = (what: SnapshotAnswer): void => {
      handlers?.onFrame(FrameType.snapshotAnswer, encodeSnapshotAnswer(what));
    };
    await channel.chunk(Buffer.alloc(SNAPSHOT_WINDOW_BYTES + 1));
    const ended = channel.end(1);
    await Promise.resolve();
    expect(sent).toEqual([FrameType.snapshotChunk]);
    answer({ type: 'written' });
    // The end leaves in a later step.
    while (sent.length < 2) await Promise.resolve();
    answer({ type: 'received' });
    expect(await ended).toEqual({ type: 'received' });
    expect(sent).toEqual([FrameType.snapshotChunk, FrameType.snapshotEnd]);
  });
});
