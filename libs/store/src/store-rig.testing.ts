import {
  messageOf,
  rangeId,
  replicaId,
  storeId,
  type CairnError,
  type RangeDescriptor,
  type StoreId,
} from '@cairn/base';
import { MemoryEngine, type EngineBatch } from '@cairn/engine';
import { noopLogger, type Metrics } from '@cairn/ports';
import type { Entry } from '@cairn/raft';
import { RaftMessageEncoder, type Session, type SessionHandlers } from '@cairn/wire';
import { SimDisk, SimRng, SimScheduler, type SimProcess } from '@cairn/runtime-sim';

import { ENTRY_FORMAT } from './entry-format.js';
import type { InboundSource } from './inbound.js';
import type { PeerLinks } from './peer-links.js';
import { SessionSnapshotChannel, snapshotReceiverHandlers } from './snapshot-channel.js';
import type { SnapshotChannel } from './snapshot-send.js';
import type { EngineSpan, ReplicaHandle, StateMachine } from './state-machine.js';
import { DEFAULT_STORE_CONFIG, type StoreConfig } from './store-config.js';
import { Store, type StoreOptions } from './store.js';

export const RIG_RANGE = rangeId(1);
const SPAN: EngineSpan = { start: Buffer.from('a'), end: Buffer.from('z') };
const DELIVERY_MS = 0.5;

/** Puts every command under a key that says its index. */
export class RigMachine implements StateMachine {
  readonly #engine: MemoryEngine;
  replica: ReplicaHandle | undefined;
  applied = 0;

  constructor(engine: MemoryEngine) {
    this.#engine = engine;
  }

  attach(replica: ReplicaHandle): void {
    this.replica = replica;
  }
  open(): Promise<void> {
    return Promise.resolve();
  }
  apply(entry: Entry, batch: EngineBatch): void {
    batch.put(Buffer.from(`k${String(entry.index).padStart(12, '0')}`), entry.payload);
    this.applied = entry.index;
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
    return [SPAN];
  }
  volatileState(): Uint8Array {
    return Buffer.from('volatile');
  }
  restored(): Promise<void> {
    return Promise.resolve();
  }
  async rows(): Promise<string[]> {
    const iterator = this.#engine.iterate(SPAN);
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

export interface RigStore {
  readonly id: StoreId;
  readonly disk: SimDisk;
  readonly process: SimProcess;
  readonly engine: MemoryEngine;
  readonly store: Store;
  readonly metrics: RigMetrics;
  machine: RigMachine | undefined;
  /** Why snapshots to it came to nothing. */
  readonly notReceived: string[];
  /** What ended it. */
  fatal: CairnError | undefined;
}

/**
 * A session between two stores that ends at once with both sides; frames take the time that they always do.
 */
export function sessionChannel(rig: StoreRig, from: RigStore, to: RigStore): SnapshotChannel {
  const sides: { sender?: SessionHandlers; receiver?: SessionHandlers } = {};
  const end = (side: keyof typeof sides): Pick<Session, 'send' | 'close'> => ({
    send: (type, parts) => {
      const body = Buffer.concat(parts);
      rig.scheduler.schedule(DELIVERY_MS, () => sides[side]?.onFrame(type, body));
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

/** Three stores with one range on virtual time; frames take half a millisecond and none is lost. */
export class StoreRig {
  readonly scheduler = new SimScheduler();
  readonly stores: RigStore[] = [];
  readonly #config: StoreConfig;
  readonly #options: Partial<StoreOptions>;
  /** Frames to and from these stores are lost. */
  readonly cut = new Set<StoreId>();
  readonly #sources = new Map<Store, Map<StoreId, InboundSource>>();
  openChannel: (from: RigStore, to: StoreId) => SnapshotChannel = (from, to) =>
    sessionChannel(this, from, this.at(to));

  constructor(config: Partial<StoreConfig> = {}, options: Partial<StoreOptions> = {}) {
    this.#config = { ...DEFAULT_STORE_CONFIG, ...config };
    this.#options = options;
  }

  async open(count = 3): Promise<void> {
    for (let id = 1; id <= count; id += 1) {
      this.stores.push(await this.openOne(storeId(id), new SimDisk(new SimRng(id)), new MemoryEngine()));
    }
    const descriptor: RangeDescriptor = {
      rangeId: RIG_RANGE,
      startKey: Buffer.from('a'),
      endKey: Buffer.from('z'),
      epoch: { version: 1, confVersion: 1 },
      replicas: this.stores.map(({ id }) => ({
        replicaId: replicaId(id),
        storeId: id,
        role: 'voter' as const,
      })),
    };
    for (const { store } of this.stores) {
      await this.scheduler.settle(store.createReplica(descriptor));
    }
    await this.scheduler.runFor(3000);
  }

  async openOne(id: StoreId, disk: SimDisk, engine: MemoryEngine): Promise<RigStore> {
    const process = this.scheduler.startProcess(`store-${id}`);
    const rig: { -readonly [Key in keyof RigStore]: RigStore[Key] } = {
      ...{ id, disk, process, engine, machine: undefined, fatal: undefined, metrics: new RigMetrics() },
      notReceived: [],
      store: undefined as unknown as Store,
    };
    rig.store = await this.scheduler.settle(
      Store.open({
        storeId: id,
        directory: '/data',
        disk: disk.attach(process),
        clock: process.clock,
        rng: new SimRng(`store-${id}`),
        logger: noopLogger,
        metrics: rig.metrics.port,
        engine,
        config: this.#config,
        links: this.#linksOf(rig),
        openSnapshotChannel: (to) => this.openChannel(rig, to),
        machineFor: () => {
          rig.machine = new RigMachine(engine);
          return rig.machine;
        },
        spansOf: () => [SPAN],
        onFatal: (error) => {
          rig.fatal = error;
        },
        ...this.#options,
      }),
    );
    return rig;
  }

  #linksOf(from: { readonly id: StoreId }): PeerLinks {
    const encoders = new Map<StoreId, RaftMessageEncoder>();
    const deliver = (to: StoreId, how: (store: Store) => void): void => {
      this.scheduler.schedule(DELIVERY_MS, () => {
        if (this.cut.has(to) || this.cut.has(from.id)) return;
        const rig = this.stores.find((one) => one.id === to);
        if (rig !== undefined && rig.process.state !== 'dead') how(rig.store);
      });
    };
    return {
      post: (to, range, message, hint) => {
        let encoder = encoders.get(to);
        if (encoder === undefined) {
          encoder = new RaftMessageEncoder(ENTRY_FORMAT);
          encoders.set(to, encoder);
        }
        encoder.add(range, message, hint);
      },
      sendHeartbeat: (to, frame) => {
        deliver(to, (store) => {
          store.receiveHeartbeat(from.id, frame);
        });
        return true;
      },
      flush: () => {
        for (const [to, encoder] of encoders) {
          if (encoder.count === 0) continue;
          const body = Buffer.concat(encoder.take());
          deliver(to, (store) => {
            store.receiveRaftFrame(this.#sourceOf(store, from.id), body);
          });
        }
      },
      close: () => undefined,
    };
  }

  #sourceOf(store: Store, from: StoreId): InboundSource {
    const sources = this.#sources.get(store) ?? new Map<StoreId, InboundSource>();
    this.#sources.set(store, sources);
    const source =
      sources.get(from) ??
      store.raftSource(from, (error) => {
        throw error;
      });
    sources.set(from, source);
    return source;
  }

  at(id: number): RigStore {
    const found = this.stores.find((one) => one.id === id);
    if (found === undefined) throw new Error(`no store ${id}`);
    return found;
  }

  /** The process dies and comes back on the same disk; its engine loses what it has not flushed. */
  async restart(id: number): Promise<void> {
    const { disk, engine, process } = this.at(id);
    process.kill();
    disk.crash();
    this.stores[id - 1] = await this.openOne(storeId(id), disk, engine.crash(new SimRng(`crash-${id}`)));
  }

  get leader(): RigStore {
    const leader = this.stores.find(({ store }) => store.replica(RIG_RANGE)?.isReadyLeader === true);
    if (leader === undefined) throw new Error('nobody leads');
    return leader;
  }

  /** Proposes at the leader; answers whether it was taken. */
  propose(bytes: number, fill = 7): boolean {
    const replica = this.leader.store.replica(RIG_RANGE);
    const result = replica?.propose(Buffer.alloc(bytes, fill));
    return result?.type === 'accepted';
  }
}
