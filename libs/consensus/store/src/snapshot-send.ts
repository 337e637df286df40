import { assert, CairnError, InvariantError, messageOf, type ReplicaId, type StoreId } from '@cairn/base';
import {
  isReadFailure,
  type EngineIterator,
  type EngineRow,
  type EngineSnapshot,
  type KvEngine,
} from '@cairn/engine';
import { type Clock, LogBudget, type Logger, sleep, type Timer } from '@cairn/ports';
import type { Message } from '@cairn/raft';

import type { ApplyBacklog } from './apply-backlog.js';
import type { Replica } from './replica.js';
import {
  encodeSnapshotHeader,
  encodeSnapshotRows,
  type SnapshotAnswer,
  type SnapshotHeader,
} from './snapshot-frames.js';
import { VOLATILE_STATE_BYTES_MAX, type EngineSpan } from './state-machine.js';
import type { StoreConfig } from './store-config.js';
import type { StoreMetrics } from './store-metrics.js';

/** Requests that wait for a sending slot; more are given up and asked for again by the core. */
const WAITING_MAX = 1024;
const ROWS_PER_STEP = 512;
/**
 * After a snapshot that was refused or broken off the next is begun so much later: each takes a view of the
 * engine and a place here, and who has no room has none a moment later either.
 */
const REST_MS = 1_000;

/** The way to one receiver, for one snapshot. */
export interface SnapshotChannel {
  /**
   * Resolves when the receiver has answered the header; rejects when the connection fails or nothing comes.
   */
  begin(header: Buffer): Promise<SnapshotAnswer>;
  /** Resolves when the receiver can take more. */
  chunk(rows: Buffer): Promise<void>;
  /** Ends the stream; resolves with what became of it. */
  end(chunks: number): Promise<SnapshotAnswer>;
  close(): void;
}

export interface SnapshotSenderParts {
  readonly engine: KvEngine;
  readonly backlog: Pick<ApplyBacklog, 'whenBetweenBatches'>;
  readonly clock: Clock;
  readonly config: StoreConfig;
  readonly logger: Logger;
  readonly metrics: StoreMetrics;
  openChannel(to: StoreId): SnapshotChannel;
  /** The engine holds what nobody wrote, or what cannot happen did: the store must stop. */
  fatal(error: unknown): void;
}

interface SnapshotView {
  readonly header: Omit<SnapshotHeader, 'rowBytes'>;
  readonly spans: readonly EngineSpan[];
  readonly snapshot: EngineSnapshot;
  /** Throws for a row that must not be copied. */
  readonly check: ((key: Buffer, value: Buffer) => void) | undefined;
}

/**
 * Streams the state of a range to a follower that the log can no longer catch up: a bounded number at a time,
 * at a bounded rate. While one is under way the log is not cut above it, so that the follower can go on from
 * where it ends.
 */
export class SnapshotSender {
  readonly #parts: SnapshotSenderParts;
  readonly #active = new Set<string>();
  readonly #waiting = new Map<string, () => void>();
  /** Followers that get none for a while; the cores hear of the failure after it. */
  readonly #resting = new Map<string, Timer>();
  readonly #failures: LogBudget;
  #isStopped = false;

  constructor(parts: SnapshotSenderParts) {
    this.#parts = parts;
    this.#failures = new LogBudget({ ...parts, event: 'snapshot not sent', level: 'info' });
  }

  /** The core wants `message.to` to get a snapshot. One at a time per follower. */
  request(replica: Replica, message: Message & { type: 'snapshot' }): void {
    const key = `${replica.rangeId}/${message.to}`;
    if (this.#isStopped || this.#active.has(key) || this.#waiting.has(key) || this.#resting.has(key)) return;
    const begin = (): void => {
      this.#active.add(key);
      void this.#send(replica, message.to).then((ok) => {
        this.#active.delete(key);
        this.#parts.metrics.snapshot(ok ? 'sent' : 'send-failed');
        if (ok) this.#tell(replica, message.to, true);
        else if (!this.#isStopped) this.#rest(key, replica, message.to);
        this.#next();
      });
    };
    if (this.#active.size < this.#parts.config.snapshotSendsMax) {
      begin();
    } else if (this.#waiting.size < WAITING_MAX) {
      this.#waiting.set(key, begin);
    } else {
      replica.raft.snapshotSent(message.to, false);
    }
  }

  #rest(key: string, replica: Replica, to: ReplicaId): void {
    const timer = this.#parts.clock.setTimer(REST_MS, () => {
      this.#resting.delete(key);
      this.#tell(replica, to, false);
    });
    this.#resting.set(key, timer);
  }

  #tell(replica: Replica, to: ReplicaId, ok: boolean): void {
    if (replica.isClosed) return;
    replica.raft.snapshotSent(to, ok);
    replica.wake();
  }

  stop(): void {
    this.#isStopped = true;
    this.#waiting.clear();
    for (const timer of this.#resting.values()) timer.cancel();
    this.#resting.clear();
  }

  #next(): void {
    const first = this.#waiting.entries().next();
    if (first.done === true) return;
    const [key, begin] = first.value;
    this.#waiting.delete(key);
    begin();
  }

  /** Answers whether the receiver has it all. */
  async #send(replica: Replica, to: ReplicaId): Promise<boolean> {
    const store = replica.storeOf(to);
    if (store === 0 || !replica.isInitialised || replica.isClosed) return false;
    let channel: SnapshotChannel | undefined;
    let view: SnapshotView | undefined;
    try {
      channel = this.#parts.openChannel(store);
      view = await this.#takeView(replica, to);
      replica.snapshotHolds.add(view.header.meta);
      const header = { ...view.header, rowBytes: await this.#rowBytesOf(view.spans) };
      const answer = await channel.begin(encodeSnapshotHeader(header));
      if (answer.type === 'refused') {
        this.#failures.write({ range: replica.rangeId, store, reason: answer.reason });
        return false;
      }
      const chunks = await this.#stream(replica, view, channel);
      const last = await channel.end(chunks);
      return last.type === 'received';
    } catch (error) {
      if (error instanceof InvariantError) this.#parts.fatal(error);
      this.#failures.write({ range: replica.rangeId, store, reason: messageOf(error) });
      return false;
    } finally {
      channel?.close();
      if (view !== undefined) {
        replica.snapshotHolds.delete(view.header.meta);
        view.snapshot.close();
      }
    }
  }

  async #rowBytesOf(spans: readonly EngineSpan[]): Promise<number> {
    let bytes = 0;
    for (const { start, end } of spans) bytes += await this.#parts.engine.approximateBytes(start, end);
    return Math.round(bytes);
  }

  /** The state exactly as of the applied index: taken when no batch is on its way into the engine. */
  #takeView(replica: Replica, to: ReplicaId): Promise<SnapshotView> {
    return new Promise((resolve, reject) => {
      this.#parts.backlog.whenBetweenBatches(() => {
        const { machine } = replica;
        if (machine === undefined || replica.isClosed || replica.isApplyBlocked) {
          reject(new CairnError('UNAVAILABLE', 'the replica cannot be copied right now'));
          return;
        }
        const { descriptor } = replica;
        const volatileState = machine.volatileState();
        const bytes = volatileState.length;
        assert(bytes <= VOLATILE_STATE_BYTES_MAX, 'a state that no snapshot can carry', { bytes });
        resolve({
          header: {
            rangeId: replica.rangeId,
            from: replica.replicaId,
            to,
            term: replica.term,
            meta: {
              index: replica.appliedIndex,
              term: replica.appliedTerm,
              config: replica.raft.configState,
            },
            descriptor,
            namespaces: machine.spans().map(({ start }) => start[0] ?? 0),
            volatileState,
          },
          spans: machine.spans(),
          snapshot: this.#parts.engine.snapshot(),
          check: machine.checkRow?.bind(machine),
        });
      });
    });
  }

  async #stream(replica: Replica, view: SnapshotView, channel: SnapshotChannel): Promise<number> {
    let chunks = 0;
    for (const span of view.spans) {
      const iterator = this.#parts.engine.iterate(span, view.snapshot);
      try {
        // Nobody takes the snapshot of a leadership that is over, and it would hold the receiver's place.
        const throwIfDeposed = (): void => {
          if (replica.isLeader && replica.term === view.header.term) return;
          throw new CairnError('NOT_LEADER', 'the range has another leader, or none');
        };
        chunks += await this.#streamSpan({ ...view, throwIfDeposed }, iterator, channel);
      } finally {
        await iterator.close();
      }
    }
    return chunks;
  }

  async #streamSpan(
    view: SnapshotView & { throwIfDeposed(): void },
    iterator: EngineIterator,
    channel: SnapshotChannel,
  ): Promise<number> {
    const { clock, config } = this.#parts;
    const startedMs = clock.nowMs();
    const progress = new Progress(config, startedMs);
    let sentBytes = 0;
    let chunks = 0;
    let rows: (readonly [Buffer, Buffer])[] = [];
    let bytes = 0;
    for (;;) {
      const more = await this.#read(iterator);
      for (const row of more) {
        this.#check(view, row);
        rows.push(row);
        bytes += row[0].length + row[1].length;
      }
      const isEnd = more.length === 0;
      if (rows.length > 0 && (isEnd || bytes >= config.snapshotChunkBytes)) {
        view.throwIfDeposed();
        await channel.chunk(encodeSnapshotRows(rows));
        chunks += 1;
        sentBytes += bytes;
        progress.check(sentBytes, clock.nowMs());
        rows = [];
        bytes = 0;
        const dueMs = startedMs + (sentBytes * 1000) / config.snapshotBytesPerSecond;
        const waitMs = dueMs - clock.nowMs();
        if (waitMs > 1) await sleep(clock, waitMs);
      }
      if (isEnd) return chunks;
    }
  }

  #check(view: SnapshotView, [key, value]: EngineRow): void {
    try {
      view.check?.(key, value);
    } catch (error) {
      if (CairnError.is(error) && error.code === 'CORRUPTION') this.#parts.fatal(error);
      throw error;
    }
  }

  /** What another store says about its own disk must not end this one, so this failure is told apart here. */
  async #read(iterator: EngineIterator): Promise<readonly EngineRow[]> {
    try {
      return await iterator.next(ROWS_PER_STEP);
    } catch (error) {
      if (isReadFailure(error)) this.#parts.fatal(error);
      throw error;
    }
  }
}

/**
 * The log is not cut while a snapshot is sent: a receiver that takes it by drops is given up, by the rule
 * that receivers have for senders.
 */
class Progress {
  readonly #config: StoreConfig;
  #lookMs: number;
  #lookBytes = 0;

  constructor(config: StoreConfig, nowMs: number) {
    this.#config = config;
    this.#lookMs = nowMs;
  }

  check(sentBytes: number, nowMs: number): void {
    const { snapshotProgressBytes, snapshotProgressMs } = this.#config;
    const passedMs = nowMs - this.#lookMs;
    if (passedMs < snapshotProgressMs) return;
    const bytes = sentBytes - this.#lookBytes;
    if (bytes < snapshotProgressBytes) {
      throw new CairnError(
        'DEADLINE_EXCEEDED',
        `the receiver took ${bytes} bytes in ${Math.round(passedMs)} ms`,
      );
    }
    this.#lookMs = nowMs;
    this.#lookBytes = sentBytes;
  }
}
