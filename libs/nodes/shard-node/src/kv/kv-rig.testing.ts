import {
  BoundedBytes,
  type CairnError,
  logIndex,
  rangeId,
  replicaId,
  storeId,
  term,
  timestamp,
  TIMESTAMP_LOGICAL_STEPS,
  type LogIndex,
  type RangeDescriptor,
  type StoreId,
  type Term,
  type Timestamp,
} from '@cairn/base';
import { MemoryEngine, type EngineBatch, type KvEngine } from '@cairn/engine';
import { RowCache } from '@cairn/mvcc';
import { noopLogger, noopTracer, type Clock, type Timer } from '@cairn/ports';
import { EntryKind, type Entry, type ProposeResult } from '@cairn/raft';
import type { ReplicaHandle } from '@cairn/store';
import { KvOp, newKvRequest, type KvRequest, type KvResponse } from '@cairn/wire';

import { StoreChanges } from './changes/store-changes.js';
import { KvCall } from './kv-call.js';
import { DEFAULT_KV_LIMITS, type KvLimits } from './kv-limits.js';
import { KvMachine, type KvMachineHost } from './kv-machine.js';
import { KvScratch } from './kv-scratch.js';
import { LaggingSessions } from './lagging-sessions.js';
import { ReadRoom } from './read-room.js';
import { StoreReservations } from './reservations/store-reservations.js';
import { ScanCacheBudget } from './scan-cache.js';
import { ScanSlots } from './scan-slots.js';
import { StoreSafePoint } from './store-safe-point.js';
import { StoreTimestamps } from './store-timestamps.js';

/** A first timestamp with room below it. */
export const T0 = timestamp(1_000_000_000 * TIMESTAMP_LOGICAL_STEPS);

/** Lets everything run that waits for nothing but promises. */
export async function settle(): Promise<void> {
  for (let step = 0; step < 60; step += 1) await Promise.resolve();
}

/** Time that stands still unless it is told to move. */
export class ManualClock implements Clock {
  #nowMs = 1_000;
  #timers: { atMs: number; callback: () => void; isOff: boolean }[] = [];
  #deferred: (() => void)[] = [];

  nowMs(): number {
    return this.#nowMs;
  }

  unixMs(): number {
    return 1_800_000_000_000 + this.#nowMs;
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    const timer = { atMs: this.#nowMs + delayMs, callback, isOff: false };
    this.#timers.push(timer);
    return {
      cancel: () => {
        timer.isOff = true;
      },
    };
  }

  defer(callback: () => void): void {
    this.#deferred.push(callback);
  }

  runDeferred(): void {
    for (const callback of this.#deferred.splice(0)) callback();
  }

  async advance(byMs: number): Promise<void> {
    const untilMs = this.#nowMs + byMs;
    for (;;) {
      const due = this.#timers.filter((timer) => timer.atMs <= untilMs).sort((a, b) => a.atMs - b.atMs)[0];
      if (due === undefined) break;
      this.#timers = this.#timers.filter((timer) => timer !== due);
      this.#nowMs = Math.max(this.#nowMs, due.atMs);
      if (!due.isOff) due.callback();
      await settle();
    }
    this.#nowMs = untilMs;
  }
}

/** A replica whose log commits and applies when the test says so, into an engine that tests can look at. */
export class FakeReplica implements ReplicaHandle {
  readonly rangeId: RangeDescriptor['rangeId'];
  readonly replicaId = replicaId(1);
  readonly engine: KvEngine;
  machine!: KvMachine;
  isLeader = true;
  isReadyLeader = true;
  term: Term = term(5);
  leaderStoreId: StoreId = storeId(1);
  isFrozen = false;
  staleRefusal: string | undefined;
  hasLeaseNow = true;
  /** What the next proposals are refused with. */
  refusal: Extract<ProposeResult, { type: 'refused' }>['reason'] | undefined;
  /** Entries proposed and not applied. */
  readonly log: Entry[] = [];
  /** All entries ever applied. */
  readonly history: Entry[] = [];
  readonly readIndexes: ((confirmed: boolean) => void)[] = [];
  appliedIndex: LogIndex = logIndex(10);
  wakes = 0;
  #lastIndex = 10;
  #batch: { batch: EngineBatch; lastIndex: LogIndex } | undefined;

  constructor(engine: KvEngine, id: RangeDescriptor['rangeId']) {
    this.engine = engine;
    this.rangeId = id;
  }

  get descriptor(): RangeDescriptor {
    return this.machine.descriptor;
  }

  hasLease(): boolean {
    return this.isReadyLeader && !this.isFrozen && this.hasLeaseNow;
  }

  propose(command: Uint8Array): ProposeResult {
    if (!this.isLeader) return { type: 'refused', reason: 'not-leader' };
    if (this.refusal !== undefined) return { type: 'refused', reason: this.refusal };
    this.#lastIndex += 1;
    const index = logIndex(this.#lastIndex);
    this.log.push({ index, term: this.term, kind: EntryKind.command, payload: command });
    return { type: 'accepted', index, term: this.term };
  }

  readIndex(callback: (confirmed: boolean) => void): void {
    this.readIndexes.push(callback);
  }

  confirmLeadership(callback: (confirmed: boolean) => void): void {
    if (this.isLeader) this.readIndexes.push(callback);
    else callback(false);
  }

  answerReads(confirmed: boolean): void {
    for (const callback of this.readIndexes.splice(0)) callback(confirmed);
  }

  wake(): void {
    this.wakes += 1;
  }

  /** Commits the entries of the log and hands them to the machine; the engine does not hold them yet. */
  apply(count = this.log.length): void {
    const entries = this.log.splice(0, count);
    const last = entries.at(-1);
    if (last === undefined) return;
    const batch = this.#batch?.batch ?? this.engine.newBatch();
    this.machine.committed(entries);
    for (const entry of entries) this.machine.apply(entry, batch);
    this.history.push(...entries);
    this.#batch = { batch, lastIndex: last.index };
  }

  /** Writes what was applied and tells the machine that it is visible. */
  async publish(): Promise<void> {
    const applied = this.#batch;
    if (applied === undefined) return;
    this.#batch = undefined;
    await this.engine.write(applied.batch);
    this.appliedIndex = applied.lastIndex;
    this.machine.published(applied.lastIndex);
  }

  async commit(count?: number): Promise<void> {
    this.apply(count);
    await this.publish();
  }

  /** Replicates what another replica applied. */
  async follow(entries: readonly Entry[]): Promise<void> {
    this.log.push(...entries);
    await this.commit();
  }

  stepDown(): void {
    this.isLeader = false;
    this.isReadyLeader = false;
    this.leaderStoreId = storeId(2);
    this.term = term(this.term + 1);
    for (const callback of this.readIndexes.splice(0)) callback(false);
    this.machine.leadershipLost();
  }

  async lead(): Promise<void> {
    this.term = term(this.term + 1);
    this.isLeader = true;
    this.isReadyLeader = true;
    this.leaderStoreId = storeId(1);
    this.machine.leadershipGained(this.term);
    await settle();
  }
}

/** The oracle of a test: what it issues next is what the test says. */
export class FakeOracle {
  next: number = T0;
  isDown = false;

  fetch(): Promise<Timestamp> {
    if (this.isDown) return Promise.reject(new Error('no metadata leader'));
    this.next += TIMESTAMP_LOGICAL_STEPS;
    return Promise.resolve(timestamp(this.next));
  }
}

export type RequestFields = Partial<KvRequest> & { readonly op: KvOp };

/** A call and, once it was answered, the answer. */
export interface Sent {
  readonly call: KvCall;
  readonly answers: KvResponse[];
}

export const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');

export function descriptorOf(startKey: string, endKey: string, version = 1, id = 7): RangeDescriptor {
  return {
    rangeId: rangeId(id),
    startKey: bytes(startKey),
    endKey: bytes(endKey),
    epoch: { version, confVersion: 1 },
    replicas: [{ replicaId: replicaId(1), storeId: storeId(1), role: 'voter' }],
  };
}

export interface RigOptions {
  readonly limits?: Partial<KvLimits>;
  readonly isInitial?: boolean;
  readonly rowCacheBytes?: number;
  readonly descriptor?: RangeDescriptor;
  readonly delay?: () => Promise<void>;
  /** Default: one in memory. */
  readonly engine?: KvEngine;
}

/** One key range machine, everything around it in the hands of the test. */
export class KvRig {
  readonly clock = new ManualClock();
  readonly oracle = new FakeOracle();
  /** Damaged rows that the machine found. */
  readonly damage: CairnError[] = [];
  readonly engine: KvEngine;
  readonly environment: KvMachineHost;
  /** What the node was told that the cluster lets go. */
  gcSafePoint: Timestamp = timestamp(0);
  readonly lagging = new LaggingSessions(this.clock);
  readonly replica: FakeReplica;
  machine: KvMachine;
  readonly reading = new BoundedBytes({ name: 'rows read for one caller', limit: Infinity });
  #sequence = 0;

  constructor(options: RigOptions = {}) {
    this.engine =
      options.engine ?? new MemoryEngine(options.delay === undefined ? {} : { delay: options.delay });
    const timestamps = new StoreTimestamps(this.oracle, this.clock);
    timestamps.observe(T0);
    const limits = { ...DEFAULT_KV_LIMITS, ...options.limits };
    this.environment = {
      engine: this.engine,
      rowCache: new RowCache(options.rowCacheBytes ?? 1024 * 1024),
      scanCache: new ScanCacheBudget(limits.scanCacheBytesMax),
      timestamps,
      safePoint: new StoreSafePoint(this.engine),
      gcSafePoint: () => this.gcSafePoint,
      covering: () => undefined,
      damaged: (error) => this.damage.push(error),
      clock: this.clock,
      logger: noopLogger,
      tracer: noopTracer,
      limits,
      scratch: new KvScratch(),
      changes: new StoreChanges(this.clock, timestamps, limits),
      reservations: new StoreReservations(limits),
      scanSlots: new ScanSlots(this.clock, limits, this.lagging),
      readRoom: new ReadRoom(this.clock, limits, this.lagging),
      machines: new Map(),
    };
    const descriptor = options.descriptor ?? descriptorOf('', '');
    this.replica = new FakeReplica(this.engine, descriptor.rangeId);
    this.machine = KvMachine.create(this.environment, descriptor, options.isInitial ?? true);
    this.replica.machine = this.machine;
    this.machine.attach(this.replica);
  }

  static async leading(options: RigOptions = {}): Promise<KvRig> {
    const rig = new KvRig(options);
    await rig.machine.open();
    await rig.replica.lead();
    return rig;
  }

  get max(): Timestamp {
    return this.environment.timestamps.max;
  }

  /** What the machine takes for now. */
  get readNow(): Timestamp {
    return timestamp(Math.max(this.max, this.machine.debugView().appliedTimestamp));
  }

  /** A process that restarts over the same engine: a fresh machine, fed the entries the log still holds. */
  async restart(remembered: readonly Entry[]): Promise<void> {
    this.machine.closed();
    this.environment.rowCache.clear();
    this.machine = KvMachine.create(this.environment, this.replica.descriptor, false);
    this.replica.machine = this.machine;
    this.machine.attach(this.replica);
    await this.machine.open();
    for (const entry of remembered) this.machine.remember(entry);
  }

  call(fields: RequestFields): Sent {
    this.#sequence += 1;
    const request: KvRequest = {
      ...newKvRequest(),
      sequence: this.#sequence,
      rangeId: this.machine.descriptor.rangeId,
      epochVersion: this.machine.descriptor.epoch.version,
      timeoutMs: 10_000,
      limit: 100,
      pageBytes: 100_000,
      ...fields,
    };
    const answers: KvResponse[] = [];
    const sink = {
      // Short values are memory of the cache.
      send: (response: KvResponse): void =>
        void answers.push({ ...response, value: response.value && Buffer.from(response.value) }),
      reading: this.reading,
      hasRoomFor: () => true,
      hasRoomForPage: () => true,
    };
    return { call: new KvCall(request, sink, this.clock.nowMs() + request.timeoutMs), answers };
  }

  /** Puts a request into the machine's queue. */
  send(fields: RequestFields): Sent {
    const sent = this.call(fields);
    this.machine.submit(sent.call);
    return sent;
  }

  /** One turn, and what promises make of it. */
  async turn(): Promise<void> {
    this.machine.turn(this.clock.nowMs());
    await settle();
  }

  /** Turns and commits until nothing is left to do. */
  async run(): Promise<void> {
    for (let round = 0; round < 8; round += 1) {
      await this.turn();
      await this.replica.commit();
      await settle();
    }
  }

  /** Sends, runs everything and answers the only answer. */
  async ask(fields: RequestFields): Promise<KvResponse> {
    const sent = this.send(fields);
    await this.run();
    return answerOf(sent);
  }

  async put(key: string, value: string): Promise<KvResponse> {
    return this.ask({ op: KvOp.put, key: bytes(key), value: bytes(value) });
  }

  async get(key: string): Promise<string | undefined> {
    const response = await this.ask({ op: KvOp.get, key: bytes(key) });
    if (response.error !== undefined) throw new Error(`${response.error.code}: ${response.error.message}`);
    return response.found ? Buffer.from(response.value ?? []).toString('latin1') : undefined;
  }

  identity(
    sequence: number,
    more: { isRetry?: boolean; stamp?: Timestamp } = {},
  ): NonNullable<KvRequest['requestId']> {
    return { client: 99, sequence, stamp: more.stamp ?? this.max, isRetry: more.isRetry ?? false };
  }
}

/** The one answer of a call; throws when there is none or more than one. */
export function answerOf(sent: Sent): KvResponse {
  if (sent.answers.length !== 1) throw new Error(`${sent.answers.length} answers instead of one`);
  return sent.answers[0] as KvResponse;
}

export function codeOf(sent: Sent): string | undefined {
  return answerOf(sent).error?.code;
}
