import {
  rangeId,
  replicaId,
  storeId,
  type CairnError,
  type RangeDescriptor,
  type RangeId,
  type StoreId,
} from '@cairn/base';
import { MemoryEngine, type EngineBatch } from '@cairn/engine';
import { noopLogger, noopMetrics, type Logger } from '@cairn/ports';
import type { Entry, Message } from '@cairn/raft';
import { SimDisk, SimRng, SimScheduler, type SimProcess } from '@cairn/runtime-sim';
import { RaftMessageEncoder } from '@cairn/wire';

import { ENTRY_FORMAT } from './entry-format.js';
import type { InboundSource } from './inbound.js';
import type { PeerLinks, RangeHint } from './peer-links.js';
import type { Replica } from './replica.js';
import type { IncomingSnapshot } from './snapshot-receive.js';
import type { SnapshotChannel } from './snapshot-send.js';
import type { ReplicaHandle, StateMachine } from './state-machine.js';
import { DEFAULT_STORE_CONFIG, type StoreConfig } from './store-config.js';
import { Store } from './store.js';

const FRAME_MS = 1;
const LOG_SEGMENT_BYTES = 256 * 1024;

/** Rows are what commands say: the key is the command, and so is the value. */
export class RowsMachine implements StateMachine {
  readonly applied: string[] = [];
  replica: ReplicaHandle | undefined;
  /** The next openings fail, so many. */
  failuresLeft = 0;

  attach(replica: ReplicaHandle): void {
    this.replica = replica;
  }

  open(): Promise<void> {
    this.failuresLeft -= 1;
    return this.failuresLeft < 0 ? Promise.resolve() : Promise.reject(new Error('the engine cannot read'));
  }

  apply(entry: Entry, batch: EngineBatch): void {
    this.applied.push(Buffer.from(entry.payload).toString('latin1'));
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

  split(_left: RangeDescriptor, children: readonly RangeDescriptor[]): StateMachine[] {
    return children.map(() => new RowsMachine());
  }

  volatileState(): Uint8Array {
    return Buffer.alloc(0);
  }

  restored(): Promise<void> {
    return Promise.resolve();
  }
}

/** One store of the rig, and what a test may do to it. */
export interface RigStore {
  readonly id: StoreId;
  readonly store: Store;
  readonly machines: Map<RangeId, RowsMachine>;
  readonly fatal: CairnError[];
  readonly process: SimProcess;
  readonly engine: MemoryEngine;
  readonly warnings: string[];
  /** Sessions of other stores to this one, and what those were closed with that did not behave. */
  readonly sources: Map<StoreId, InboundSource>;
  readonly refusals: CairnError[];
}

interface CreateOptions {
  /** Members that are told; the others find out. */
  readonly createdAt?: number;
  readonly range?: RangeId;
  readonly endKey?: string;
}

interface SendOptions {
  readonly hint?: RangeHint;
  readonly range?: RangeId;
}

export interface RigOptions {
  readonly config?: Partial<StoreConfig>;
  /** What the engine of a store waits for before it takes a batch. */
  readonly engineDelay?: (id: StoreId) => Promise<void>;
  /** Called for each new machine before it is opened. */
  readonly prepare?: (id: StoreId, machine: RowsMachine) => void;
}

/** Stores in one process on virtual time, with frames that take a millisecond, or are lost. */
export class StoresRig {
  readonly scheduler = new SimScheduler();
  readonly stores: RigStore[] = [];
  /** Which frames arrive. */
  passes: (from: StoreId, to: StoreId) => boolean = () => true;
  /** Snapshots are refused. */
  hasSnapshots = true;
  readonly #options: RigOptions;

  constructor(options: RigOptions = {}) {
    this.#options = options;
  }

  static async open(count: number, options: RigOptions = {}): Promise<StoresRig> {
    const rig = new StoresRig(options);
    await rig.openStores(count);
    return rig;
  }

  async openStores(count: number): Promise<void> {
    for (let at = 1; at <= count; at += 1) await this.#openStore(storeId(at));
  }

  async #openStore(id: StoreId): Promise<void> {
    const { scheduler } = this;
    const process = scheduler.startProcess(`store-${id}`);
    const { clock } = process;
    const disk = new SimDisk(new SimRng(`disk-${id}`)).attach();
    const delay = this.#options.engineDelay;
    const engine = new MemoryEngine(delay === undefined ? {} : { delay: () => delay(id) });
    const machines = new Map<RangeId, RowsMachine>();
    const fatal: CairnError[] = [];
    const warnings: string[] = [];
    const logger: Logger = { ...noopLogger, warn: (message) => void warnings.push(message) };
    const opening = Store.open({
      storeId: id,
      directory: '/data',
      ...{ disk, clock, logger, engine },
      metrics: noopMetrics,
      rng: new SimRng(`rng-${id}`),
      config: { ...DEFAULT_STORE_CONFIG, ...this.#options.config },
      links: this.#linksOf(id),
      logSegmentBytes: LOG_SEGMENT_BYTES,
      openSnapshotChannel: (to) => this.#channelTo(id, to),
      machineFor: (descriptor) => {
        const machine = new RowsMachine();
        machines.set(descriptor.rangeId, machine);
        this.#options.prepare?.(id, machine);
        return machine;
      },
      spansOf: () => [],
      onFatal: (error) => void fatal.push(error),
    });
    const store = await scheduler.settle(opening);
    this.stores.push({
      ...{ id, store, process, machines, fatal, engine, warnings },
      ...{ sources: new Map(), refusals: [] },
    });
  }

  at(id: number): RigStore {
    const found = this.stores[id - 1];
    if (found === undefined) throw new Error(`no store ${id}`);
    return found;
  }

  replicaAt(id: number, range = rangeId(1)): Replica {
    const replica = this.at(id).store.replica(range);
    if (replica === undefined) throw new Error(`store ${id} has no replica`);
    return replica;
  }

  /**
   * A range with a voter on each of the first stores; store 1 leads. Replica ids are 11, 12, … Only the first
   * `createdAt` members are told.
   */
  async create(
    members = this.stores.length,
    { createdAt = members, range = rangeId(1), endKey = '' }: CreateOptions = {},
  ): Promise<RangeDescriptor> {
    const descriptor: RangeDescriptor = {
      rangeId: range,
      startKey: Buffer.alloc(0),
      endKey: Buffer.from(endKey),
      epoch: { version: 1, confVersion: 1 },
      replicas: this.stores.slice(0, members).map(({ id }) => ({
        replicaId: replicaId(range * 10 + id),
        storeId: id,
        role: 'voter' as const,
      })),
    };
    for (const { store } of this.stores.slice(0, createdAt)) {
      await this.scheduler.settle(store.createReplica(descriptor));
    }
    await this.scheduler.runUntilTrue(() => this.replicaAt(1, range).isReadyLeader, 10_000);
    return descriptor;
  }

  async run(forMs: number): Promise<void> {
    await this.scheduler.runFor(forMs);
  }

  /** A frame with one message, as a session of the store `from` would bring it. */
  send(from: number, to: number, message: Message, { hint, range = rangeId(1) }: SendOptions = {}): void {
    const encoder = new RaftMessageEncoder(ENTRY_FORMAT);
    encoder.add(range, message, hint);
    this.#receive(storeId(from), this.at(to), Buffer.concat(encoder.take()));
  }

  /** A session lives until the store closes it; then what comes by the next one begins anew. */
  #receive(from: StoreId, target: RigStore, body: Buffer): void {
    let source = target.sources.get(from);
    if (source === undefined) {
      source = target.store.raftSource(from, (error) => {
        target.refusals.push(error);
        target.sources.delete(from);
      });
      target.sources.set(from, source);
    }
    target.store.receiveRaftFrame(source, body);
  }

  /** Snapshots go from one store's sender straight to the other's receiver. */
  #channelTo(from: StoreId, to: StoreId): SnapshotChannel {
    const { store } = this.at(to);
    let incoming: IncomingSnapshot | undefined;
    return {
      begin: async (header) => {
        if (!this.hasSnapshots) return { type: 'refused', reason: 'not in this test' };
        incoming = await store.snapshotReceiver.begin(header, from, (error) => {
          throw error;
        });
        return { type: 'accepted' };
      },
      chunk: async (rows) => {
        await incoming?.chunk(rows);
      },
      end: async (chunks) => {
        if (incoming === undefined) throw new Error('no header');
        await incoming.finish(chunks);
        return { type: 'received' };
      },
      close: () => undefined,
    };
  }

  #linksOf(from: StoreId): PeerLinks {
    const encoders = new Map<StoreId, RaftMessageEncoder>();
    const deliver = (to: StoreId, receive: (target: RigStore) => void): void => {
      this.scheduler.schedule(FRAME_MS, () => {
        const target = this.stores.find(({ id }) => id === to);
        if (target !== undefined && this.passes(from, to)) receive(target);
      });
    };
    return {
      post: (to, range, message, hint) => {
        const encoder = encoders.get(to) ?? new RaftMessageEncoder(ENTRY_FORMAT);
        encoders.set(to, encoder);
        encoder.add(range, message, hint);
      },
      sendHeartbeat: (to, frame) => {
        deliver(to, ({ store }) => {
          store.receiveHeartbeat(from, frame);
        });
        return true;
      },
      flush: () => {
        for (const [to, encoder] of encoders) {
          if (encoder.count === 0) continue;
          const body = Buffer.concat(encoder.take());
          deliver(to, (target) => {
            this.#receive(from, target, body);
          });
        }
      },
      close: () => undefined,
    };
  }
}
