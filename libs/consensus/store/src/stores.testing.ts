import {
  CLUSTER_VERSIONS,
  Gates,
  messageOf,
  rangeId,
  replicaId,
  storeId,
  type CairnError,
  type RangeDescriptor,
  type RangeId,
  type StoreId,
} from '@cairn/base';
import { MemoryEngine, type EngineBatch } from '@cairn/engine';
import { noopLogger, type Logger, type Metrics } from '@cairn/ports';
import type { Entry, Message } from '@cairn/raft';
import { SimDisk, SimRng, SimScheduler, type SimProcess } from '@cairn/runtime-sim';
import { RaftMessageEncoder } from '@cairn/raft-wire';
import type { Session, SessionHandlers } from '@cairn/wire';

import { ENTRY_FORMAT } from './entry-format.js';
import type { InboundSource } from './inbound.js';
import type { PeerLinks, RangeHint } from './peer-links.js';
import type { Replica } from './replica.js';
import { SessionSnapshotChannel, snapshotReceiverHandlers } from './snapshot-channel.js';
import type { SnapshotChannel } from './snapshot-send.js';
import type { EngineSpan, ReplicaHandle, StateMachine } from './state-machine.js';
import { DEFAULT_STORE_CONFIG, type StoreConfig } from './store-config.js';
import type { StoreOptions } from './store-options.js';
import { Store } from './store.js';

/** The range of most tests. */
export const RIG_RANGE = rangeId(1);
const FRAME_MS = 0.5;
const LOG_SEGMENT_BYTES = 256 * 1024;
/** Longer commands are known by their length. */
const TEXT_BYTES_MAX = 64;

/** Every range has rows below its own prefix. */
function spanOf(range: RangeId): EngineSpan {
  return { start: Buffer.from(`range-${range}/`), end: Buffer.from(`range-${range}0`) };
}

/** Puts every command under a key that says its index. */
export class RowsMachine implements StateMachine {
  readonly #engine: MemoryEngine;
  readonly #range: RangeId;
  /** What the commands said. */
  readonly applied: string[] = [];
  replica: ReplicaHandle | undefined;
  /** The next openings fail, so many. */
  failuresLeft = 0;

  constructor(engine: MemoryEngine, range: RangeId) {
    this.#engine = engine;
    this.#range = range;
  }

  attach(replica: ReplicaHandle): void {
    this.replica = replica;
  }

  open(): Promise<void> {
    this.failuresLeft -= 1;
    return this.failuresLeft < 0 ? Promise.resolve() : Promise.reject(new Error('the engine cannot read'));
  }

  apply({ index, payload }: Entry, batch: EngineBatch): void {
    const isText = payload.length <= TEXT_BYTES_MAX;
    this.applied.push(isText ? Buffer.from(payload).toString('latin1') : `${payload.length} bytes`);
    batch.put(Buffer.from(`range-${this.#range}/${String(index).padStart(12, '0')}`), payload);
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

  spans(): readonly EngineSpan[] {
    return [spanOf(this.#range)];
  }

  split(_left: RangeDescriptor, children: readonly RangeDescriptor[]): StateMachine[] {
    return children.map((child) => new RowsMachine(this.#engine, child.rangeId));
  }

  volatileState(): Uint8Array {
    return Buffer.from('volatile');
  }

  restored(): Promise<void> {
    return Promise.resolve();
  }

  /** Keys and the sizes of their values. */
  async rows(): Promise<string[]> {
    const iterator = this.#engine.iterate(spanOf(this.#range));
    const rows: string[] = [];
    for (let more = await iterator.next(1000); more.length > 0; more = await iterator.next(1000)) {
      for (const [key, value] of more) rows.push(`${key.toString()}=${value.length}`);
    }
    await iterator.close();
    return rows;
  }
}

/** What a store counts, by metric and label values. */
export class RigMetrics {
  readonly #values = new Map<string, number>();
  readonly #collectors: (() => void)[] = [];

  readonly port: Metrics = {
    counter: (name) => ({
      add: (value, labels) => {
        const key = keyOf(name, labels);
        this.#values.set(key, (this.#values.get(key) ?? 0) + value);
      },
    }),
    gauge: (name) => ({
      set: (value, labels) => this.#values.set(keyOf(name, labels), value),
    }),
    histogram: () => ({ observe: () => undefined }),
    onCollect: (callback) => this.#collectors.push(callback),
  };

  valueOf(name: string, ...labels: string[]): number {
    for (const collect of this.#collectors) collect();
    return this.#values.get([name, ...labels].join('/')) ?? 0;
  }
}

function keyOf(name: string, labels: Readonly<Record<string, string>> | undefined): string {
  return [name, ...Object.values(labels ?? {})].join('/');
}

/** One store of the rig in one of its lives, and what a test may do to it. */
export interface RigStore {
  readonly id: StoreId;
  readonly disk: SimDisk;
  readonly process: SimProcess;
  readonly engine: MemoryEngine;
  readonly store: Store;
  readonly metrics: RigMetrics;
  readonly machines: Map<RangeId, RowsMachine>;
  /** What ended it. */
  readonly fatal: CairnError[];
  readonly warnings: string[];
  /** Sessions of other stores to this one, and what those were closed with that did not behave. */
  readonly sources: Map<StoreId, InboundSource>;
  readonly refusals: CairnError[];
  /** Why snapshots to it came to nothing. */
  readonly notReceived: string[];
}

/** What of a store outlives its process. */
type Machine = Pick<RigStore, 'id' | 'disk' | 'engine'>;

interface CreateOptions {
  /** Members that are told; the others find out. */
  readonly createdAt?: number;
  readonly range?: RangeId;
  readonly startKey?: string;
  readonly endKey?: string;
}

interface SendOptions {
  readonly hint?: RangeHint;
  readonly range?: RangeId;
}

export interface RigOptions {
  readonly config?: Partial<StoreConfig>;
  /** Of the disks: how long they take, and what a crash leaves of what was not synced. */
  readonly diskSeed?: number;
  readonly store?: Partial<StoreOptions>;
  /** The same of one of them. */
  readonly storeFor?: (id: StoreId) => Partial<StoreOptions>;
  /** What the engine of a store waits for before it takes a batch. */
  readonly engineDelay?: (id: StoreId) => Promise<void>;
  /** Called for each new machine before it is opened. */
  readonly prepare?: (id: StoreId, machine: RowsMachine) => void;
}

/** Stores in one process on virtual time, with frames that take half a millisecond, or are lost. */
export class StoresRig {
  readonly scheduler = new SimScheduler();
  readonly stores: RigStore[] = [];
  /** Frames to and from these stores are lost. */
  readonly cut = new Set<StoreId>();
  /** Which frames arrive besides. */
  passes: (from: StoreId, to: StoreId) => boolean = () => true;
  openChannel: (from: RigStore, to: StoreId) => SnapshotChannel = (from, to) =>
    sessionChannel(this, from, this.at(to));
  readonly #options: RigOptions;
  readonly #gates = new Map<StoreId, Gates>();

  constructor(options: RigOptions = {}) {
    this.#options = options;
  }

  static async open(count: number, options: RigOptions = {}): Promise<StoresRig> {
    const rig = new StoresRig(options);
    await rig.openStores(count);
    return rig;
  }

  /** With a range on all of them, that one of them leads. */
  static async running(count: number, options: RigOptions = {}): Promise<StoresRig> {
    const rig = await StoresRig.open(count, options);
    await rig.create();
    await rig.run(1_000);
    return rig;
  }

  async openStores(count: number): Promise<void> {
    for (let at = 1; at <= count; at += 1) {
      const delay = this.#options.engineDelay;
      const id = storeId(at);
      const engine = new MemoryEngine(delay === undefined ? {} : { delay: () => delay(id) });
      const { diskSeed } = this.#options;
      const seed = diskSeed === undefined ? `disk-${at}` : `disk-${at}-${diskSeed}`;
      this.stores.push(await this.#openStore({ id, disk: new SimDisk(new SimRng(seed)), engine }));
    }
  }

  async #openStore(machine: Machine): Promise<RigStore> {
    const { id, disk, engine } = machine;
    const process = this.scheduler.startProcess(`store-${id}`);
    const rig: { -readonly [Key in keyof RigStore]: RigStore[Key] } = {
      ...{ id, disk, process, engine, machines: new Map(), metrics: new RigMetrics() },
      ...{ fatal: [], warnings: [], sources: new Map(), refusals: [], notReceived: [] },
      store: undefined as unknown as Store,
    };
    const logger: Logger = { ...noopLogger, warn: (message) => void rig.warnings.push(message) };
    rig.store = await this.scheduler.settle(
      Store.open({
        storeId: id,
        directory: '/data',
        mark: { incarnation: Buffer.alloc(16, id), isMade: false, made: () => Promise.resolve() },
        disk: disk.attach(process),
        ...{ clock: process.clock, logger, engine },
        metrics: rig.metrics.port,
        rng: new SimRng(`rng-${id}`),
        config: { ...DEFAULT_STORE_CONFIG, ...this.#options.config },
        links: this.#linksOf(id),
        gates: this.gatesOf(id),
        clusterVersions: CLUSTER_VERSIONS,
        logSegmentBytes: LOG_SEGMENT_BYTES,
        openSnapshotChannel: (to) => this.openChannel(rig, to),
        machineFor: ({ rangeId: range }) => {
          const made = new RowsMachine(engine, range);
          rig.machines.set(range, made);
          this.#options.prepare?.(id, made);
          return made;
        },
        spansOf: ({ rangeId: range }) => [spanOf(range)],
        onFatal: (error) => void rig.fatal.push(error),
        ...this.#options.store,
        ...this.#options.storeFor?.(id),
      }),
    );
    return rig;
  }

  /** The process dies and comes back on the same disk; its engine loses what it has not flushed. */
  async restart(id: number): Promise<void> {
    const { disk, engine, process } = this.at(id);
    process.kill();
    disk.crash();
    const crashed = engine.crash(new SimRng(`crash-${id}`));
    this.stores[id - 1] = await this.#openStore({ id: storeId(id), disk, engine: crashed });
  }

  /** As long as the test lasts, as if the store had written down what it heard. */
  gatesOf(id: StoreId): Gates {
    const known = this.#gates.get(id);
    if (known !== undefined) return known;
    const gates = new Gates(1);
    this.#gates.set(id, gates);
    return gates;
  }

  at(id: number): RigStore {
    const found = this.stores[id - 1];
    if (found === undefined) throw new Error(`no store ${id}`);
    return found;
  }

  replicaAt(id: number, range = RIG_RANGE): Replica {
    const replica = this.at(id).store.replica(range);
    if (replica === undefined) throw new Error(`store ${id} has no replica`);
    return replica;
  }

  get leader(): RigStore {
    const leader = this.stores.find(({ store }) => store.replica(RIG_RANGE)?.isReadyLeader === true);
    if (leader === undefined) throw new Error('nobody leads');
    return leader;
  }

  /** The last store that does not lead. */
  get follower(): RigStore {
    const { leader } = this;
    return this.stores.findLast((one) => one !== leader) ?? leader;
  }

  /** Applied entries of the range there. */
  appliedAt(id: number): number {
    return this.at(id).store.replica(RIG_RANGE)?.appliedIndex ?? 0;
  }

  /** The store has applied as much as the leader. */
  isCaughtUp(id: number): boolean {
    return this.appliedAt(id) === this.appliedAt(this.leader.id);
  }

  /** Proposes a command of so many bytes at the leader; answers whether it was taken. */
  propose(bytes: number, fill = 7): boolean {
    const replica = this.leader.store.replica(RIG_RANGE);
    return replica?.propose(Buffer.alloc(bytes, fill)).type === 'accepted';
  }

  /** So many commands, one after the other. */
  async fill(count: number, bytes: number): Promise<void> {
    for (let at = 0; at < count; at += 1) {
      while (!this.propose(bytes, at)) await this.run(10);
      await this.run(50);
    }
  }

  /**
   * A range with a voter on each of the first stores; store 1 leads. Replica ids are 11, 12, … Only the first
   * `createdAt` members are told.
   */
  async create(
    members = this.stores.length,
    { createdAt = members, range = RIG_RANGE, startKey = '', endKey = '' }: CreateOptions = {},
  ): Promise<RangeDescriptor> {
    const descriptor: RangeDescriptor = {
      rangeId: range,
      startKey: Buffer.from(startKey),
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
    const leading = (): Replica | undefined =>
      this.stores.map(({ store }) => store.replica(range)).find((replica) => replica?.isReadyLeader === true);
    await this.scheduler.runUntilTrue(() => leading() !== undefined, 10_000);
    const first = this.replicaAt(1, range);
    leading()?.raft.transferLeader(first.replicaId);
    leading()?.wake();
    await this.scheduler.runUntilTrue(() => first.isReadyLeader, 10_000);
    return descriptor;
  }

  async run(forMs: number): Promise<void> {
    await this.scheduler.runFor(forMs);
  }

  /** Snapshots are refused from now on. */
  refuseSnapshots(): void {
    this.openChannel = () => ({
      begin: () => Promise.resolve({ type: 'refused', reason: 'not in this test' }),
      chunk: () => Promise.resolve(),
      end: () => Promise.resolve({ type: 'received' }),
      close: () => undefined,
    });
  }

  /** A frame with one message, as a session of the store `from` would bring it. */
  send(from: number, to: number, message: Message, { hint, range = RIG_RANGE }: SendOptions = {}): void {
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

  #linksOf(from: StoreId): PeerLinks {
    const encoders = new Map<StoreId, RaftMessageEncoder>();
    const deliver = (to: StoreId, receive: (target: RigStore) => void): void => {
      this.scheduler.schedule(FRAME_MS, () => {
        if (this.cut.has(to) || this.cut.has(from) || !this.passes(from, to)) return;
        const target = this.stores.find(({ id }) => id === to);
        if (target !== undefined && target.process.state !== 'dead') receive(target);
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

/**
 * A session between two stores that ends at once with both sides; frames take the time that they always do.
 */
function sessionChannel(rig: StoresRig, from: RigStore, to: RigStore): SnapshotChannel {
  const sides: { sender?: SessionHandlers; receiver?: SessionHandlers } = {};
  const end = (side: keyof typeof sides): Pick<Session, 'send' | 'close'> => ({
    send: (type, parts) => {
      const body = Buffer.concat(parts);
      rig.scheduler.schedule(FRAME_MS, () => sides[side]?.onFrame(type, body));
      return true;
    },
    close: () => sides[side]?.onClose(undefined),
  });
  const { snapshotReceiver } = to.store;
  sides.receiver = snapshotReceiverHandlers(end('sender'), from.id, snapshotReceiver, (error) => {
    to.notReceived.push(messageOf(error));
  });
  return new SessionSnapshotChannel(from.process.clock, (handlers) => {
    sides.sender = handlers;
    return end('receiver');
  });
}
