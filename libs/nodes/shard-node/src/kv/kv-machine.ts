import {
  assert,
  rethrowInvariant,
  timestamp,
  type LogIndex,
  type RangeDescriptor,
  type RangeId,
  type Term,
  type Timestamp,
} from '@cairn/base';
import type { EngineBatch } from '@cairn/engine';
import { asBuffer, checkRow, isRowKey, readWriteBatch, RequestWindow, rowSpansOf } from '@cairn/mvcc';
import type { Entry } from '@cairn/raft';
import type { EngineSpan, ReplicaHandle, StateMachine } from '@cairn/store';
import { KvOp, type TxnReadCommand } from '@cairn/wire';

import { CallQueue } from './call-queue.js';
import { RangeChanges } from './changes/range-changes.js';
import { ColdReads } from './cold-reads.js';
import { DeleteRanges } from './delete-ranges.js';
import { GarbageEstimate } from './garbage-estimate.js';
import { proposePurge, type Purge, type PurgeResult } from './garbage-purges.js';
import { isStaleRead, type KvCall } from './kv-call.js';
import type { KvEnvironment } from './kv-environment.js';
import { keyText, lineOf, type KvMachineView } from './kv-machine-view.js';
import { Leadership } from './leadership.js';
import { PendingWrites } from './pending-writes.js';
import { PointReads } from './point-reads.js';
import { PublishWaiters } from './publish-waiters.js';
import { RangeLoad } from './range-load.js';
import { RangeTime } from './range-time.js';
import { RememberedOutcomes } from './remembered-outcomes.js';
import { rowBytesOf } from './row-bytes.js';
import { RangeReservations } from './reservations/range-reservations.js';
import { ReserveCalls } from './reservations/reserve-calls.js';
import { ScanCache } from './scan-cache.js';
import { ScanPages } from './scan-pages.js';
import { ServedRange } from './served-range.js';
import { BatchReads } from './txn/batch-reads.js';
import { Executes } from './txn/executes.js';
import { loadLocks } from './txn/load-locks.js';
import { TxnState } from './txn/txn-state.js';
import { TxnWrites } from './txn/txn-writes.js';
import { Validations } from './txn/validations.js';
import { UnpublishedRows } from './unpublished-rows.js';
import { decodeVolatileState, encodeVolatileState } from './volatile-state.js';
import { WriteEvaluator } from './write-evaluator.js';

/** A store, as its machines know it. */
export interface KvMachineHost extends KvEnvironment {
  /** The machines that are attached to a replica: requests for their ranges come here. */
  readonly machines: Map<RangeId, KvMachine>;
}

/** What a machine begins with, besides the rows. */
interface InitialState {
  /** undefined = nobody knows what was remembered. */
  readonly window: RequestWindow | undefined;
  readonly readableSince: Timestamp;
  readonly appliedTimestamp: number;
}

/**
 * One key range as a state machine. On the leader it evaluates commands against the newest rows, including
 * those still on their way through the log, and puts the outcome, plain puts and deletes, into one log entry
 * per turn; every replica then applies the same bytes. Reads never touch the log: they are served from the
 * row cache or the engine under the lease.
 *
 * The parts are wired bottom-up: each knows those below it, by what it needs of them, and none the machine.
 *
 * Timeline: docs/timelines/write.md
 */
export class KvMachine implements StateMachine {
  readonly #host: KvMachineHost;
  readonly load = new RangeLoad();
  readonly garbage: GarbageEstimate;
  readonly #range: ServedRange;
  readonly #queue: CallQueue;
  readonly #time: RangeTime;
  readonly #leadership: Leadership;
  readonly #outcomes: RememberedOutcomes;
  readonly #pending = new PendingWrites();
  readonly #txn = new TxnState();
  readonly #coldReads: ColdReads;
  readonly #scanCache: ScanCache;
  readonly #unpublished: UnpublishedRows;
  readonly #writes: WriteEvaluator;
  readonly #waiters: PublishWaiters;
  readonly #reads: PointReads;
  readonly #scans: ScanPages;
  readonly #deleteRanges: DeleteRanges;
  readonly #txnWrites: TxnWrites;
  readonly #executes: Executes;
  readonly #batchReads: BatchReads;
  readonly #validations: Validations;
  readonly #changes: RangeChanges;
  readonly #reservations: RangeReservations;
  readonly #reserves: ReserveCalls;

  private constructor(host: KvMachineHost, descriptor: RangeDescriptor, initial: InitialState) {
    this.#host = host;
    this.garbage = new GarbageEstimate(initial.window === undefined);
    const range = new ServedRange(host, descriptor, initial.readableSince);
    const queue = new CallQueue(range);
    const time = new RangeTime(host.timestamps, queue, initial.appliedTimestamp);
    const leadership = new Leadership(host, range);
    const outcomes = new RememberedOutcomes(initial.window, leadership);
    const pending = this.#pending;
    const coldReads = new ColdReads(host.engine, host.rowCache);
    const scanCache = new ScanCache(host.scanCache, host.clock);
    this.#unpublished = new UnpublishedRows(host.rowCache, { range, coldReads, scanCache });
    const txn = this.#txn;
    const reservations = new RangeReservations(host, queue);
    const known = { outcomes, pending, coldReads, scanCache, txn, reservations };
    const below = { range, queue, time, leadership, ...known };
    const writes = new WriteEvaluator(host, below);
    const waiters = new PublishWaiters(pending, writes);
    const parts = { ...below, writes, waiters };
    this.#reads = new PointReads(host, parts);
    this.#scans = new ScanPages(host, parts);
    this.#deleteRanges = new DeleteRanges(host, parts);
    this.#txnWrites = new TxnWrites(host, parts);
    this.#executes = new Executes(host, parts);
    this.#batchReads = new BatchReads(host, parts);
    this.#validations = new Validations(host, parts);
    this.#changes = new RangeChanges(host, parts);
    this.#reserves = new ReserveCalls(host, parts);
    this.#reservations = reservations;
    this.#range = range;
    this.#queue = queue;
    this.#time = time;
    this.#leadership = leadership;
    this.#outcomes = outcomes;
    this.#coldReads = coldReads;
    this.#scanCache = scanCache;
    this.#writes = writes;
    this.#waiters = waiters;
  }

  /** `isInitial`: the range begins now, so no command was ever forgotten. */
  static create(host: KvMachineHost, descriptor: RangeDescriptor, isInitial: boolean): KvMachine {
    return new KvMachine(host, descriptor, {
      window: isInitial ? new RequestWindow() : undefined,
      readableSince: isInitial ? timestamp(0) : host.safePoint.max,
      appliedTimestamp: 0,
    });
  }

  attach(replica: ReplicaHandle): void {
    this.#range.attach(replica);
    this.#host.machines.set(replica.rangeId, this);
  }

  get replica(): ReplicaHandle {
    return this.#range.replica;
  }

  get descriptor(): RangeDescriptor {
    return this.#range.descriptor;
  }

  /** The replica is gone from this store; nothing will be confirmed or visible any more. */
  get isClosed(): boolean {
    return this.#range.isClosed;
  }

  get window(): RequestWindow | undefined {
    return this.#outcomes.window;
  }

  /**
   * Gives back the memory of outcomes that are past their time, in a range where nothing has happened since.
   */
  forgetOldOutcomes(): void {
    this.#outcomes.forgetOld(this.#host.timestamps.max);
  }

  /** Logs the removal of old versions; see `proposePurge`. */
  purge(purge: Purge): Promise<PurgeResult> {
    const parts = { range: this.#range, pending: this.#pending, waiters: this.#waiters };
    return proposePurge({ ...parts, locks: this.#txn.locks }, purge);
  }

  /** The smallest start of a transaction that has a lock here; undefined = nothing is locked. */
  get oldestLockStart(): Timestamp | undefined {
    const { locks } = this.#txn;
    return locks.size === 0 ? undefined : locks.oldestStart;
  }

  /** What it is and holds now; see `KvMachineView`. Only of a machine that is attached. */
  debugView(): KvMachineView {
    const { descriptor, isClosed, readableSince, replica } = this.#range;
    const { window } = this;
    return {
      rangeId: descriptor.rangeId,
      startKey: keyText(descriptor.startKey),
      endKey: keyText(descriptor.endKey),
      version: descriptor.epoch.version,
      isClosed,
      appliedIndex: replica.appliedIndex,
      term: replica.term,
      appliedTimestamp: this.#time.appliedTimestamp,
      readableSince,
      locks: this.#txn.locks.size,
      lockBytes: this.#txn.locks.bytes,
      window: window && {
        outcomes: window.length,
        detailBytes: window.detailBytes,
        completeSince: window.completeSince,
      },
      estimatedBytes: Math.round(this.load.bytes),
      isServing: this.#leadership.isServing,
      leaderSince: this.#leadership.since,
      reservations: this.#reservations.size,
      reservationWaiters: this.#reservations.waiting,
      isExclusive: this.#deleteRanges.isExclusive,
      queuedCalls: this.#queue.length,
      publishWaiters: this.#waiters.length,
      pendingEntries: this.#pending.entries,
      uncommittedEntries: this.#pending.uncommittedEntries,
      unpublishedRows: this.#unpublished.length,
      coldReads: this.#coldReads.length,
      scanCacheBytes: this.#scanCache.bytes,
    };
  }

  /** The view as one line. */
  toString(): string {
    return lineOf(this.debugView());
  }

  async open(): Promise<void> {
    const { startKey, endKey } = this.#range.descriptor;
    this.load.bytes = await rowBytesOf(this.#host.engine, startKey, endKey);
    await loadLocks(this.#host.engine, this.#range.descriptor, this.#txn.locks);
  }

  /** A request for this range. Looked at in the next turn. */
  submit(call: KvCall): void {
    this.#queue.submit(call);
  }

  turn(nowMs: number): void {
    const queue = this.#queue;
    if (queue.length === 0) return;
    const calls = queue.take();
    const hasMore = queue.length > 0;
    const range = this.#range;
    const { replica } = range;
    const { version } = range.descriptor.epoch;
    const { isServing } = this.#leadership;
    for (const call of calls) {
      if (call.isAbandoned(nowMs)) {
        call.fail('DEADLINE_EXCEEDED', 'the deadline passed on the shard');
      } else if (call.request.epochVersion !== version || !range.covers(call.request.key)) {
        range.failEpoch(call);
      } else if (isStaleRead(call)) {
        this.#serveStale(call);
      } else if (isServing) {
        this.#serve(call);
      } else if (replica.isLeader) {
        // Serving begins in milliseconds: the term's first entry, the first fresh timestamp, or the end of a
        // split.
        call.readRoom?.giveBack(call);
        queue.putBack(call);
      } else {
        call.failNotLeader(replica.leaderStoreId);
      }
    }
    // The rest comes after whatever else waits for the process; a leader that does not serve yet is woken
    // when it does.
    if (hasMore && (isServing || !replica.isLeader)) replica.wake();
    this.#reads.flush();
    this.#executes.flush();
    this.#writes.flush();
    this.#changes.flush();
    this.#coldReads.turnEnded();
    this.#waiters.turnEnded();
  }

  #serve(call: KvCall): void {
    if (!this.#host.timestamps.admits(call.request)) {
      this.#confirm(call);
      return;
    }
    switch (call.request.op) {
      case KvOp.get:
        this.load.countRead();
        this.#reads.add(call);
        return;
      case KvOp.scan:
        this.load.countRead();
        this.#scans.add(call);
        return;
      case KvOp.deleteRange:
        this.load.countWrite();
        this.#deleteRanges.add(call);
        return;
      case KvOp.put:
      case KvOp.delete:
      case KvOp.compareAndSet:
      case KvOp.increment:
      case KvOp.expire:
        this.load.countWrite();
        if (this.#deleteRanges.isExclusive) this.#deleteRanges.holdWrite(call);
        else this.#writes.add(call);
        return;
      case KvOp.txnWrite:
        this.load.countWrite();
        if (this.#deleteRanges.isExclusive) this.#deleteRanges.holdWrite(call);
        else this.#txnWrites.add(call);
        return;
      case KvOp.execute:
        this.load.countWrite();
        if (this.#deleteRanges.isExclusive) this.#deleteRanges.holdWrite(call);
        else this.#executes.add(call);
        return;
      case KvOp.txnRead:
        this.load.countRead();
        this.#serveTxnRead(call);
        return;
      case KvOp.changes:
        this.load.countRead();
        this.#changes.add(call);
        return;
      case KvOp.reserve:
        this.load.countRead();
        this.#reserves.add(call);
    }
  }

  #serveTxnRead(call: KvCall): void {
    const command = call.command as TxnReadCommand;
    if (command.type === 'batchGet') this.#batchReads.add(call, command);
    else this.#validations.add(call, command);
  }

  /**
   * A timestamp that the oracle may not have issued yet: it is asked, and the call begins anew or is refused.
   */
  #confirm(call: KvCall): void {
    this.#host.timestamps.confirms(call.request).then(
      (isIssued) => {
        if (isIssued) this.submit(call);
        else
          call.fail('INVALID_ARGUMENT', 'a timestamp of the request lies in the future: it was not issued');
      },
      (error: unknown) => {
        rethrowInvariant(error);
        call.fail('UNAVAILABLE', 'whether a timestamp was issued cannot be asked now', { retryAfterMs: 50 });
      },
    );
  }

  #serveStale(call: KvCall): void {
    if (this.#range.refusesAsStale(call)) return;
    this.load.countRead();
    if (call.request.op === KvOp.get) this.#reads.addStale(call);
    else this.#scans.addStale(call);
  }

  apply(entry: Entry, batch: EngineBatch): void {
    const isOwn = this.#pending.holds(entry.index, entry.term);
    this.#unpublished.begin(entry.index, isOwn);
    const { visitor } = this.#host.scratch;
    // What was proposed here is among the locks since it was evaluated.
    const locks = isOwn ? undefined : this.#txn.locks;
    visitor.begin(batch, this.#outcomes.windowFor(entry), this.#unpublished, locks);
    const header = readWriteBatch(asBuffer(entry.payload), visitor);
    this.#time.applied(header.maxTimestamp);
    this.#time.applied(visitor.newestPut);
    this.#changes.applied(
      entry,
      visitor.newestPut > header.maxTimestamp ? visitor.newestPut : header.maxTimestamp,
    );
    this.load.countApplied(visitor.bytes);
    this.garbage.applied(visitor.deletedBytes, visitor.bytes - visitor.deletedBytes, visitor.hasExpiring);
    if (visitor.freedBytes > 0) this.load.countFreed(visitor.freedBytes);
    if (visitor.safePoint === 0) return;
    this.#range.raiseReadableSince(visitor.safePoint);
    this.#host.safePoint.applied(visitor.safePoint, batch);
  }

  remember(entry: Entry): void {
    if (entry.payload.length === 0 || entry.payload[0] === 0xff) return;
    const payload = asBuffer(entry.payload);
    const { visitor } = this.#host.scratch;
    visitor.begin(undefined, this.#outcomes.windowFor(entry), undefined, undefined);
    const header = readWriteBatch(payload, visitor);
    this.#range.raiseReadableSince(visitor.safePoint);
    this.#time.applied(header.maxTimestamp);
    this.#time.applied(visitor.newestPut);
  }

  /**
   * What this leader proposed is decided, so it is answered without waiting for the engine: until that holds
   * the rows, point reads find them in the row cache or among the pending writes, and everything else waits
   * for `published`.
   */
  committed(entries: readonly Entry[]): void {
    if (this.#pending.isEmpty) return;
    const { rowCache } = this.#host;
    for (const write of this.#pending.committed(entries)) {
      if (write.key !== undefined && write.version !== undefined) {
        this.#coldReads.outdate(write.key);
        rowCache.set(write.key, write.version);
      }
      if (write.effect !== undefined) this.#txn.committed(write.effect);
      if (write.call !== undefined && write.response !== undefined) write.call.respond(write.response);
      for (const duplicate of write.duplicates ?? []) {
        if (write.response !== undefined) {
          duplicate.respond({ ...write.response, sequence: duplicate.request.sequence });
        }
      }
    }
  }

  published(index: LogIndex): void {
    for (const { key, version, effect, ended } of this.#pending.published(index)) {
      if (key !== undefined && version !== undefined) this.#scanCache.written(key, version);
      if (effect !== undefined) this.#txn.published(effect);
      if (ended !== undefined) this.#reservations.ended(ended);
    }
    this.#unpublished.published(index);
    this.#changes.published(index);
    this.#waiters.published(index);
  }

  leadershipGained(term: Term): void {
    this.#scanCache.clear();
    this.#leadership.gained(term);
  }

  leadershipLost(): void {
    this.#leadership.lost();
    this.#scanCache.clear();
    const { leaderStoreId } = this.#range.replica;
    for (const { writes } of this.#pending.takeUnacknowledged()) {
      for (const { call, duplicates, effect } of writes) {
        if (effect !== undefined) this.#txn.withdrawn(effect);
        call?.failDeposed(leaderStoreId);
        for (const duplicate of duplicates ?? []) duplicate.failDeposed(leaderStoreId);
      }
    }
    this.#waiters.abandon();
    this.#deleteRanges.abandon();
    this.#changes.lost();
    this.#reservations.lost();
  }

  descriptorChanged(descriptor: RangeDescriptor): void {
    this.#scanCache.clear();
    this.#range.descriptorChanged(descriptor);
    this.#changes.moved();
    this.#reservations.moved(descriptor);
  }

  split(left: RangeDescriptor, children: readonly RangeDescriptor[]): StateMachine[] {
    assert(left.rangeId === this.#range.descriptor.rangeId, 'the left part keeps the range');
    // Reads under way here may be of keys that another machine will write from now on.
    this.#coldReads.outdateAll();
    this.#scanCache.clear();
    const share = 1 / (children.length + 1);
    this.load.bytes *= share;
    return children.map((child) => {
      const machine = new KvMachine(this.#host, child, {
        window: this.#outcomes.window?.split(),
        readableSince: this.#range.purgedBelow,
        appliedTimestamp: this.#time.appliedTimestamp,
      });
      machine.load.bytes = this.load.bytes;
      machine.#txn.locks.takeFrom(this.#txn.locks, child.startKey, child.endKey);
      return machine;
    });
  }

  spans(): readonly EngineSpan[] {
    return rowSpansOf(this.#range.descriptor.startKey, this.#range.descriptor.endKey);
  }

  checkRow(key: Buffer, value: Buffer): void {
    if (isRowKey(key)) checkRow(key, value);
  }

  volatileState(): Uint8Array {
    return encodeVolatileState({ window: this.#outcomes.window, readableSince: this.#range.purgedBelow });
  }

  /** Where old versions are gone is said only here and in the log before the snapshot, which goes. */
  restoring(volatileState: Uint8Array, batch: EngineBatch): void {
    const { readableSince } = decodeVolatileState(volatileState);
    if (readableSince > 0) this.#host.safePoint.applied(readableSince, batch);
  }

  async restored(volatileState: Uint8Array): Promise<void> {
    this.#coldReads.outdateAll();
    this.#scanCache.clear();
    this.#host.rowCache.deleteSpan(this.#range.descriptor.startKey, this.#range.descriptor.endKey);
    this.#pending.clear();
    this.#unpublished.clear();
    this.#txn.clear();
    const { window, readableSince } = decodeVolatileState(volatileState);
    this.#outcomes.restored(window);
    this.#range.raiseReadableSince(readableSince);
    await this.open();
  }

  closed(): void {
    this.#range.close();
    this.#host.machines.delete(this.#range.replica.rangeId);
    this.#coldReads.outdateAll();
    this.#queue.close();
    this.leadershipLost();
  }
}
