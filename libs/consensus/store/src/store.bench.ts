import {
  CLUSTER_VERSIONS,
  Gates,
  rangeId,
  replicaId,
  storeId,
  type MicroBenchmark,
  type RangeDescriptor,
  type RangeId,
  type StoreId,
} from '@cairn/base';
import { MemoryEngine, type EngineBatch } from '@cairn/engine';
import { noopLogger, noopMetrics, type Clock, type Disk, type DiskFile } from '@cairn/ports';
import type { Entry, Message } from '@cairn/raft';
import { RaftMessageEncoder } from '@cairn/raft-wire';

import { ENTRY_FORMAT } from './entry-format.js';
import type { InboundSource } from './inbound.js';
import type { PeerLinks, RangeHint } from './peer-links.js';
import type { ReplicaHandle, StateMachine } from './state-machine.js';
import { DEFAULT_STORE_CONFIG } from './store-config.js';
import { Store } from './store.js';

/** Entries under way at a time, as 256 clients have. */
const ENTRIES = 256;
/** Time that so many entries take a real cluster. */
const ROUND_MS = 15;
const PAYLOAD = Buffer.alloc(330, 7);
const STORES = [1, 2, 3].map(storeId);

/** Time stands still unless it is told to go on. */
class StillClock implements Clock {
  #nowMs = 1_000;
  #deferred: (() => void)[] = [];
  #timers: { readonly atMs: number; callback: (() => void) | undefined }[] = [];

  nowMs(): number {
    return this.#nowMs;
  }

  unixMs(): number {
    return this.#nowMs;
  }

  setTimer(delayMs: number, callback: () => void): { cancel(): void } {
    const timer: { readonly atMs: number; callback: (() => void) | undefined } = {
      atMs: this.#nowMs + delayMs,
      callback,
    };
    this.#timers.push(timer);
    return {
      cancel: () => {
        timer.callback = undefined;
      },
    };
  }

  defer(callback: () => void): void {
    this.#deferred.push(callback);
  }

  /** Runs what was deferred; answers whether there was anything. */
  turn(): boolean {
    const deferred = this.#deferred;
    this.#deferred = [];
    for (const callback of deferred) callback();
    return deferred.length > 0;
  }

  advance(byMs: number): void {
    this.#nowMs += byMs;
    const due = this.#timers.filter((timer) => timer.atMs <= this.#nowMs);
    this.#timers = this.#timers.filter((timer) => timer.atMs > this.#nowMs);
    for (const { callback } of due) callback?.();
  }
}

/** A disk that takes everything at once and keeps nothing. */
const NO_FILE: DiskFile = {
  path: '',
  write: () => Promise.resolve(),
  read: () => Promise.resolve(Buffer.alloc(0)),
  readNow: () => 0,
  sync: () => Promise.resolve(),
  truncate: () => Promise.resolve(),
  size: () => Promise.resolve(0),
  close: () => Promise.resolve(),
};
const NO_DISK: Disk = {
  open: () => Promise.resolve(NO_FILE),
  makeDirectory: () => Promise.resolve(),
  list: () => Promise.resolve([]),
  rename: () => Promise.resolve(),
  remove: () => Promise.resolve(),
  exists: () => Promise.resolve(false),
  syncDirectory: () => Promise.resolve(),
  freeBytes: () => Promise.resolve(2 ** 40),
};

/** An engine that takes everything at once and keeps nothing: what is measured is the way to it. */
class NoEngine extends MemoryEngine {
  readonly #batch = { put: () => undefined, delete: () => undefined, length: 1, bytes: 1 };

  override get gathersWrites(): boolean {
    return false;
  }

  override newBatch(): EngineBatch {
    return this.#batch;
  }

  override write(): Promise<void> | undefined {
    return undefined;
  }

  override flush(): Promise<void> {
    return Promise.resolve();
  }
}

class CountingMachine implements StateMachine {
  readonly #onApplied: () => void;
  replica: ReplicaHandle | undefined;

  constructor(onApplied: () => void) {
    this.#onApplied = onApplied;
  }

  attach(replica: ReplicaHandle): void {
    this.replica = replica;
  }

  open(): Promise<void> {
    return Promise.resolve();
  }

  apply(entry: Entry, batch: EngineBatch): void {
    this.#onApplied();
    batch.put(entry.payload, entry.payload);
  }

  published(): void {
    // Nobody reads.
  }

  leadershipGained(): void {
    // Nobody asks.
  }

  leadershipLost(): void {
    // Nobody asks.
  }

  spans(): [] {
    return [];
  }

  volatileState(): Uint8Array {
    return Buffer.alloc(0);
  }

  restored(): Promise<void> {
    return Promise.resolve();
  }
}

/** Three stores in one process whose frames arrive in the next round. */
class ThreeStores {
  readonly #sources = new Map<string, InboundSource>();
  readonly #clock = new StillClock();
  readonly #stores = new Map<StoreId, Store>();
  readonly #frames: { readonly from: StoreId; readonly to: StoreId; readonly body: Buffer }[] = [];
  /** Entries that each store has applied. */
  readonly #applied: [number, number, number] = [0, 0, 0];
  readonly #ranges: RangeId[] = [];
  #next = 0;

  async open(ranges: number): Promise<void> {
    for (const id of STORES) {
      const store = await Store.open({
        storeId: id,
        directory: '/',
        mark: { incarnation: Buffer.alloc(16, id), isMade: false, made: () => Promise.resolve() },
        disk: NO_DISK,
        clock: this.#clock,
        rng: { next: () => id / 10, integer: () => 0, bytes: (length) => new Uint8Array(length) },
        logger: noopLogger,
        metrics: noopMetrics,
        engine: new NoEngine(),
        config: DEFAULT_STORE_CONFIG,
        links: this.#linksOf(id),
        gates: new Gates(CLUSTER_VERSIONS.max),
        clusterVersions: CLUSTER_VERSIONS,
        openSnapshotChannel: () => {
          throw new Error('nobody is behind');
        },
        machineFor: () =>
          new CountingMachine(() => {
            this.#applied[id - 1] = (this.#applied[id - 1] ?? 0) + 1;
          }),
        spansOf: () => [],
        onFatal: (error) => {
          throw error;
        },
      });
      this.#stores.set(id, store);
    }
    for (let at = 1; at <= ranges; at += 1) await this.#create(rangeId(at), at === ranges);
    await this.#rest();
  }

  async #create(id: RangeId, isLast: boolean): Promise<void> {
    const key = (number: number): Buffer => Buffer.from(String(number).padStart(8, '0'));
    const descriptor: RangeDescriptor = {
      rangeId: id,
      startKey: key(id),
      endKey: isLast ? Buffer.alloc(0) : key(id + 1),
      epoch: { version: 1, confVersion: 1 },
      replicas: STORES.map((store) => ({
        replicaId: replicaId(id * 10 + store),
        storeId: store,
        role: 'voter' as const,
      })),
    };
    for (const store of this.#stores.values()) await store.createReplica(descriptor);
    await this.#rest();
    this.#ranges.push(id);
  }

  #linksOf(from: StoreId): PeerLinks {
    const encoders = new Map(STORES.map((to) => [to, new RaftMessageEncoder(ENTRY_FORMAT)]));
    return {
      post: (to: StoreId, range: RangeId, message: Message, hint: RangeHint | undefined) => {
        encoders.get(to)?.add(range, message, hint);
      },
      sendHeartbeat: () => true,
      flush: () => {
        for (const [to, encoder] of encoders) {
          if (encoder.count > 0) this.#frames.push({ from, to, body: Buffer.concat(encoder.take()) });
        }
      },
      close: () => undefined,
    };
  }

  #receive(from: StoreId, to: StoreId, body: Buffer): void {
    const store = this.#stores.get(to) as Store;
    const way = `${from} > ${to}`;
    let source = this.#sources.get(way);
    if (source === undefined) {
      source = store.raftSource(from, (error) => {
        throw error;
      });
      this.#sources.set(way, source);
    }
    store.receiveRaftFrame(source, body);
  }

  /** Until nothing is under way. */
  async #rest(): Promise<void> {
    for (let idle = 0; idle < 3;) {
      const frames = this.#frames.splice(0);
      for (const { from, to, body } of frames) this.#receive(from, to, body);
      const hasTurned = this.#clock.turn();
      // Writes of logs and engines end.
      for (let step = 0; step < 8; step += 1) await Promise.resolve();
      idle = hasTurned || frames.length > 0 || this.#frames.length > 0 ? 0 : idle + 1;
    }
  }

  /**
   * So many entries, on as many ranges as there are, until the leader has applied them. Followers hear of the
   * commit with the next append, or with a tick.
   */
  async replicate(entries: number): Promise<void> {
    const leader = this.#stores.get(storeId(1));
    for (let at = 0; at < entries; at += 1) {
      this.#next = (this.#next + 7) % this.#ranges.length;
      const replica = leader?.replica(this.#ranges[this.#next] as RangeId);
      const result = replica?.propose(PAYLOAD);
      if (result?.type !== 'accepted') throw new Error(`refused: ${JSON.stringify(result)}`);
    }
    const wanted = this.#applied[0] + entries;
    await this.#rest();
    if (this.#applied[0] !== wanted) throw new Error('not all is applied');
    this.#clock.advance(ROUND_MS);
  }
}

/**
 * What the store, the core and the log take for an entry on all three replicas, without sockets and disks.
 */
export function benchmarks(): MicroBenchmark[] {
  return [1, 1_000].map((ranges) => {
    let stores: ThreeStores | undefined;
    return {
      name: `an entry on three stores, ${ENTRIES} at a time on ${ranges} ranges`,
      operations: ENTRIES,
      run: async (): Promise<void> => {
        if (stores === undefined) {
          stores = new ThreeStores();
          await stores.open(ranges);
        }
        await stores.replicate(ENTRIES);
      },
    };
  });
}
