import {
  assert,
  NOTHING,
  rethrowInvariant,
  timestamp,
  withItem,
  type LogIndex,
  type RangeDescriptor,
  type Term,
  type Timestamp,
} from '@cairn/base';
import type { EngineBatch, KvEngine } from '@cairn/engine';
import {
  asBuffer,
  checkRow,
  isRowKey,
  NO_EXPIRY,
  readWriteBatch,
  readWriteBatchHeader,
  RequestWindow,
  rowSpansOf,
  type RowCache,
} from '@cairn/mvcc';
import type { Clock, Logger, Tracer } from '@cairn/ports';
import type { Entry } from '@cairn/raft';
import type { EngineSpan, ReplicaHandle, StateMachine } from '@cairn/store';
import { KvOp, ReadConsistency } from '@cairn/wire';

import type { AppliedRow } from './apply-visitor.js';
import { ColdReads } from './cold-reads.js';
import type { DamageListener } from './damage.js';
import { DeleteRanges } from './delete-ranges.js';
import { GarbageEstimate } from './garbage-estimate.js';
import type { KvCall } from './kv-call.js';
import type { KvLimits } from './kv-limits.js';
import type { KvScratch } from './kv-scratch.js';
import { PendingWrites } from './pending-writes.js';
import { PointReads } from './point-reads.js';
import { RangeLoad } from './range-load.js';
import type { ReadRoom } from './read-room.js';
import { rowBytesOf } from './row-bytes.js';
import { ScanCache, type ScanCacheBudget } from './scan-cache.js';
import { ScanPages } from './scan-pages.js';
import type { ScanSlots } from './scan-slots.js';
import type { StoreSafePoint } from './store-safe-point.js';
import type { StoreTimestamps } from './store-timestamps.js';
import { decodeVolatileState, encodeVolatileState } from './volatile-state.js';
import { utcText } from './utc-text.js';
import { WriteEvaluator } from './write-evaluator.js';

/** What all key ranges of one store share. */
export interface KvEnvironment extends DamageListener {
  readonly engine: KvEngine;
  readonly rowCache: RowCache;
  readonly scanCache: ScanCacheBudget;
  readonly timestamps: StoreTimestamps;
  readonly safePoint: StoreSafePoint;
  /** The range here that covers a key now, if one does: for callers whose idea of the ranges is old. */
  covering(key: Uint8Array): RangeDescriptor | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly tracer: Tracer;
  readonly limits: KvLimits;
  readonly scanSlots: ScanSlots;
  readonly readRoom: ReadRoom;
  readonly scratch: KvScratch;
  /** The machine exists / is gone: requests for its range come here. */
  registered(machine: KvMachine): void;
  unregistered(machine: KvMachine): void;
}

/** Requests looked at in one turn: some milliseconds of work. */
const CALLS_PER_TURN_MAX = 1_024;

/** After a refused stale read: the next replica is asked nearly at once. */
const STALE_RETRY_MS = 5;

/** Work that waits until the command at `index` is visible. */
interface AfterPublished {
  readonly index: LogIndex;
  readonly run: () => void;
}

/**
 * One key range as a state machine. On the leader it evaluates commands against the newest rows, including
 * those still on their way through the log, and puts the outcome, plain puts and deletes, into one log entry
 * per turn; every replica then applies the same bytes. Reads never touch the log: they are served from the
 * row cache or the engine under the lease.
 */
export class KvMachine implements StateMachine {
  readonly #environment: KvEnvironment;
  #replica: ReplicaHandle | undefined;
  #descriptor: RangeDescriptor;

  /**
   * Outcomes of recent commands. undefined after a restart until the first remembered command tells since
   * when it is complete.
   */
  #window: RequestWindow | undefined;
  readonly pending = new PendingWrites();
  readonly coldReads: ColdReads;
  readonly scanCache: ScanCache;
  readonly load: RangeLoad;
  readonly garbage: GarbageEstimate;
  readonly writes: WriteEvaluator;
  readonly #reads: PointReads;
  readonly #scans: ScanPages;
  readonly #deleteRanges: DeleteRanges;

  #queue: readonly KvCall[] = NOTHING;
  /** The term in which this leader has a fresh timestamp and serves; 0 = not serving. */
  #servingTerm = 0;
  /** A timestamp that the oracle issued when this replica last became leader. */
  #leaderSince: Timestamp = timestamp(0);
  #isClosed = false;
  /** While a range deletion reads, writes wait. */
  isExclusive = false;
  /** Timestamp of the newest write applied here. */
  #appliedTimestamp = 0;
  /** Reads that wait until what is proposed now is visible. */
  #afterPublished: AfterPublished[] = [];
  /** What came up in a turn while writes of the same turn were not proposed yet. */
  #afterTurn: (() => void)[] = [];
  /** Rows that were applied without being ours: the cache must learn of them when they become visible. */
  #appliedRows: AppliedRow[] = [];
  /** Last entry whose rows were not noted because the cache was empty; 0 = all visible. */
  #unnotedIndex = 0;

  /** Snapshots below this are gone: the safe point of the last collection. Only ever rises. */
  #readableSince: Timestamp;

  constructor(environment: KvEnvironment, descriptor: RangeDescriptor, window: RequestWindow | undefined) {
    this.#environment = environment;
    this.#descriptor = descriptor;
    this.#window = window;
    this.coldReads = new ColdReads(environment.engine, environment.rowCache);
    this.scanCache = new ScanCache(environment.scanCache, environment.clock);
    this.load = new RangeLoad();
    this.garbage = new GarbageEstimate(window === undefined);
    this.#readableSince = window === undefined ? environment.safePoint.max : timestamp(0);
    this.writes = new WriteEvaluator(environment, this);
    this.#reads = new PointReads(environment, this);
    this.#scans = new ScanPages(environment, this);
    this.#deleteRanges = new DeleteRanges(environment, this);
  }

  /** `isInitial`: the range begins now, so no command was ever forgotten. */
  static create(environment: KvEnvironment, descriptor: RangeDescriptor, isInitial: boolean): KvMachine {
    return new KvMachine(environment, descriptor, isInitial ? new RequestWindow() : undefined);
  }

  attach(replica: ReplicaHandle): void {
    this.#replica = replica;
    this.#environment.registered(this);
  }

  get replica(): ReplicaHandle {
    assert(this.#replica !== undefined, 'the machine is not attached to its replica yet');
    return this.#replica;
  }

  get descriptor(): RangeDescriptor {
    return this.#descriptor;
  }

  /** The replica is gone from this store; nothing will be confirmed or visible any more. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  get window(): RequestWindow | undefined {
    return this.#window;
  }

  /** Every command with a timestamp above this is remembered; see `RequestWindow.completeSince`. */
  get outcomesCompleteSince(): Timestamp {
    return this.#window?.completeSince ?? this.#leaderSince;
  }

  /**
   * A timestamp issued when this replica last began to lead; commands stamped before may have been sent to
   * others.
   */
  get leaderSince(): Timestamp {
    return this.#leaderSince;
  }

  /** The oldest timestamp that may be read at. */
  get readableSince(): Timestamp {
    return this.#readableSince;
  }

  /** Old versions below `safePoint` are being removed. */
  raiseReadableSince(safePoint: Timestamp): void {
    if (safePoint > this.#readableSince) this.#readableSince = safePoint;
  }

  /**
   * Refuses a read at a timestamp whose versions may be gone. Asked where the read takes its view, not
   * before.
   */
  refusesAsTooOld(call: KvCall): boolean {
    if (call.request.readTimestamp >= this.#readableSince) return false;
    const oldest = `${utcText(this.#readableSince)} (timestamp ${this.#readableSince})`;
    call.fail(
      'FAILED_PRECONDITION',
      `the snapshot is too old: the oldest time that can still be read at is ${oldest}`,
    );
    return true;
  }

  /**
   * Refuses a read when the range was closed or cut since the call was looked at: its keys are elsewhere now,
   * or some are. Asked where the read takes its view.
   */
  refusesAsMoved(call: KvCall): boolean {
    if (this.#isClosed) call.failNotLeader(this.replica.leaderStoreId);
    else if (call.request.epochVersion !== this.#descriptor.epoch.version) {
      call.failEpoch(this.#descriptor, this.#elsewhere(call.request.key));
    } else return false;
    return true;
  }

  /** Refuses a stale read of a replica that has no state worth showing; another replica is to be asked. */
  refusesAsStale(call: KvCall): boolean {
    const { staleRefusal } = this.replica;
    if (staleRefusal === undefined) return false;
    call.fail('UNAVAILABLE', `this replica serves no stale reads: ${staleRefusal}`, {
      retryAfterMs: STALE_RETRY_MS,
    });
    return true;
  }

  /**
   * Gives back the memory of outcomes that are past their time, in a range where nothing has happened since.
   */
  forgetOldOutcomes(): void {
    if (this.#window !== undefined && this.#window.length > 0)
      this.#window.evictAt(this.#environment.timestamps.max);
  }

  /** Reads of the newest state take the later of these two for now. */
  get readNow(): Timestamp {
    return timestamp(Math.max(this.#environment.timestamps.max, this.#appliedTimestamp));
  }

  /**
   * Whether a row with this expiry can only be judged by a fresh timestamp: then the call is submitted again
   * with it, and sees what is there by then. Where nobody tells the time, it is judged by what is known.
   */
  asksForTheTime(call: KvCall, expiry: Timestamp): boolean {
    if (expiry === NO_EXPIRY || call.isTimeUnknown || isStaleRead(call)) return false;
    const { timestamps } = this.#environment;
    if (!timestamps.mayHaveCome(expiry, this.readNow)) return false;
    timestamps
      .fetch()
      .catch((error: unknown) => {
        rethrowInvariant(error);
        call.isTimeUnknown = true;
      })
      .then(() => {
        this.submit(call);
      })
      .catch(rethrowInvariant);
    return true;
  }

  async open(): Promise<void> {
    const { startKey, endKey } = this.#descriptor;
    this.load.bytes = await rowBytesOf(this.#environment.engine, startKey, endKey);
  }

  /** A request for this range. Looked at in the next turn. */
  submit(call: KvCall): void {
    if (this.#isClosed) {
      call.failNotLeader(this.replica.leaderStoreId);
      return;
    }
    this.#queue = withItem(this.#queue, call);
    this.replica.wake();
  }

  turn(nowMs: number): void {
    if (this.#queue.length === 0) return;
    const waiting = this.#queue;
    const hasMore = waiting.length > CALLS_PER_TURN_MAX;
    const calls = hasMore ? waiting.slice(0, CALLS_PER_TURN_MAX) : waiting;
    this.#queue = hasMore ? waiting.slice(CALLS_PER_TURN_MAX) : NOTHING;
    const version = this.#descriptor.epoch.version;
    const { replica } = this;
    const isServing = replica.isReadyLeader && this.#servingTerm === replica.term && !replica.isFrozen;
    for (const call of calls) {
      if (call.isAbandoned(nowMs)) {
        call.fail('DEADLINE_EXCEEDED', 'the deadline passed on the shard');
      } else if (call.request.epochVersion !== version || !this.#covers(call.request.key)) {
        call.failEpoch(this.#descriptor, this.#elsewhere(call.request.key));
      } else if (isStaleRead(call)) {
        this.#serveStale(call);
      } else if (isServing) {
        this.#serve(call);
      } else if (replica.isLeader) {
        // Serving begins in milliseconds: the term's first entry, the first fresh timestamp, or the end of a
        // split.
        call.readRoom?.giveBack(call);
        this.#queue = withItem(this.#queue, call);
      } else {
        call.failNotLeader(replica.leaderStoreId);
      }
    }
    // The rest comes after whatever else waits for the process; a leader that does not serve yet is woken
    // when it does.
    if (hasMore && (isServing || !replica.isLeader)) replica.wake();
    this.#reads.flush();
    this.writes.flush();
    this.coldReads.turnEnded();
    if (this.#afterTurn.length > 0) for (const run of this.#afterTurn.splice(0)) this.whenPublished(run);
  }

  #serve(call: KvCall): void {
    if (!this.#environment.timestamps.admits(call.request)) {
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
        if (this.isExclusive) this.#deleteRanges.holdWrite(call);
        else this.writes.add(call);
    }
  }

  /**
   * A timestamp that the oracle may not have issued yet: it is asked, and the call begins anew or is refused.
   */
  #confirm(call: KvCall): void {
    this.#environment.timestamps.confirms(call.request).then(
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
    if (this.refusesAsStale(call)) return;
    this.load.countRead();
    if (call.request.op === KvOp.get) this.#reads.addStale(call);
    else this.#scans.addStale(call);
  }

  /** After a split, the half that has the key. */
  #elsewhere(key: Uint8Array): RangeDescriptor[] {
    if (this.#covers(key)) return [];
    const descriptor = this.#environment.covering(key);
    return descriptor === undefined ? [] : [descriptor];
  }

  #covers(key: Uint8Array): boolean {
    const { startKey, endKey } = this.#descriptor;
    return (
      (startKey.length === 0 || Buffer.compare(key, startKey) >= 0) &&
      (endKey.length === 0 || Buffer.compare(key, endKey) < 0)
    );
  }

  /**
   * Runs when everything evaluated so far is visible; at once when nothing is under way. Writes of this turn
   * are in the log only at its end, so whoever comes behind them waits until then.
   */
  whenPublished(run: () => void): void {
    if (this.writes.hasCollected) this.#afterTurn.push(run);
    else if (this.pending.isEmpty) run();
    else this.#afterPublished.push({ index: this.pending.lastIndex, run });
  }

  apply(entry: Entry, batch: EngineBatch): void {
    const isOwn = this.pending.holds(entry.index, entry.term);
    const isCacheEmpty = this.#environment.rowCache.stats().entries === 0;
    const cacheRows = isOwn || isCacheEmpty ? undefined : this.#appliedRows;
    if (!isOwn) this.scanCache.clear();
    // A reader may still fill the cache from before this entry until the entry is visible.
    if (!isOwn && isCacheEmpty) this.#unnotedIndex = entry.index;
    const { visitor } = this.#environment.scratch;
    visitor.begin(entry.index, batch, this.#windowFor(entry), cacheRows);
    const header = readWriteBatch(asBuffer(entry.payload), visitor);
    if (header.maxTimestamp > this.#appliedTimestamp) this.#appliedTimestamp = header.maxTimestamp;
    this.load.countApplied(visitor.bytes);
    this.garbage.applied(visitor.deletedBytes, visitor.bytes - visitor.deletedBytes, visitor.hasExpiring);
    if (visitor.safePoint === 0) return;
    this.raiseReadableSince(visitor.safePoint);
    this.#environment.safePoint.applied(visitor.safePoint, batch);
    this.load.countFreed(visitor.freedBytes);
  }

  remember(entry: Entry): void {
    if (entry.payload.length === 0 || entry.payload[0] === 0xff) return;
    const payload = asBuffer(entry.payload);
    const { visitor } = this.#environment.scratch;
    visitor.begin(entry.index, undefined, this.#windowFor(entry), undefined);
    const header = readWriteBatch(payload, visitor);
    this.raiseReadableSince(visitor.safePoint);
    if (header.maxTimestamp > this.#appliedTimestamp) this.#appliedTimestamp = header.maxTimestamp;
  }

  /** After a restart the window begins with the first command that is still in the log; a purge is none. */
  #windowFor(entry: Entry): RequestWindow | undefined {
    if (this.#window !== undefined) return this.#window;
    const completeSince = readWriteBatchHeader(asBuffer(entry.payload)).maxTimestamp;
    if (completeSince > 0) this.#window = new RequestWindow({ completeSince });
    return this.#window;
  }

  /**
   * What this leader proposed is decided, so it is answered without waiting for the engine: until that holds
   * the rows, point reads find them in the row cache or among the pending writes, and everything else waits
   * for `published`.
   */
  committed(entries: readonly Entry[]): void {
    if (this.pending.isEmpty) return;
    const { rowCache } = this.#environment;
    for (const write of this.pending.committed(entries)) {
      if (write.key !== undefined && write.version !== undefined) {
        this.coldReads.outdate(write.key);
        rowCache.set(write.key, write.version);
      }
      if (write.call !== undefined && write.response !== undefined) write.call.respond(write.response);
      for (const duplicate of write.duplicates ?? []) {
        if (write.response !== undefined) {
          duplicate.respond({ ...write.response, sequence: duplicate.request.sequence });
        }
      }
    }
  }

  published(index: LogIndex): void {
    for (const { key, version } of this.pending.published(index)) {
      if (key !== undefined && version !== undefined) this.scanCache.written(key, version);
    }
    this.#publishAppliedRows(index);
    this.#publishUnnoted(index);
    while (this.#afterPublished.length > 0) {
      const next = this.#afterPublished[0] as AfterPublished;
      if (next.index > index) break;
      this.#afterPublished.shift();
      next.run();
    }
  }

  #publishAppliedRows(index: LogIndex): void {
    const rows = this.#appliedRows;
    if (rows.length === 0) return;
    this.scanCache.clear();
    let count = 0;
    for (; count < rows.length; count += 1) {
      const row = rows[count] as AppliedRow;
      if (row.index > index) break;
      this.coldReads.outdate(row.key);
      this.#environment.rowCache.updateIfPresent(row.key, row.version);
    }
    rows.splice(0, count);
  }

  #publishUnnoted(index: LogIndex): void {
    if (this.#unnotedIndex === 0) return;
    if (index >= this.#unnotedIndex) this.#unnotedIndex = 0;
    this.coldReads.outdateAll();
    const { rowCache } = this.#environment;
    if (rowCache.stats().entries > 0) rowCache.deleteSpan(this.#descriptor.startKey, this.#descriptor.endKey);
  }

  leadershipGained(term: Term): void {
    this.scanCache.clear();
    this.#fetchFirstTimestamp(term);
  }

  /** A new leader serves only with a timestamp above everything that earlier leaders read or wrote at. */
  #fetchFirstTimestamp(term: Term): void {
    this.#environment.timestamps.fetch().then(
      (fresh) => {
        if (this.#isClosed || !this.replica.isReadyLeader || this.replica.term !== term) return;
        this.#servingTerm = term;
        this.#leaderSince = fresh;
        this.replica.wake();
      },
      (error: unknown) => {
        rethrowInvariant(error);
        if (this.#isClosed || !this.replica.isReadyLeader || this.replica.term !== term) return;
        this.#environment.logger.warn('no timestamp for a new leader yet', {
          range: this.#descriptor.rangeId,
          reason: String(error),
        });
        this.#environment.clock.setTimer(50, () => {
          if (!this.#isClosed && this.replica.isReadyLeader && this.replica.term === term) {
            this.#fetchFirstTimestamp(term);
          }
        });
      },
    );
  }

  leadershipLost(): void {
    this.#servingTerm = 0;
    this.scanCache.clear();
    const { leaderStoreId } = this.replica;
    for (const { writes } of this.pending.takeUnacknowledged()) {
      for (const { call, duplicates } of writes) {
        call?.failDeposed(leaderStoreId);
        for (const duplicate of duplicates ?? []) duplicate.failDeposed(leaderStoreId);
      }
    }
    for (const { run } of this.#afterPublished.splice(0)) run();
    this.#deleteRanges.abandon();
  }

  descriptorChanged(descriptor: RangeDescriptor): void {
    this.scanCache.clear();
    this.#descriptor = descriptor;
  }

  split(left: RangeDescriptor, children: readonly RangeDescriptor[]): StateMachine[] {
    assert(left.rangeId === this.#descriptor.rangeId, 'the left part keeps the range');
    // Reads under way here may be of keys that another machine will write from now on.
    this.coldReads.outdateAll();
    this.scanCache.clear();
    const share = 1 / (children.length + 1);
    this.load.bytes *= share;
    return children.map((child) => {
      const machine = new KvMachine(this.#environment, child, this.#window?.split());
      machine.load.bytes = this.load.bytes;
      machine.#appliedTimestamp = this.#appliedTimestamp;
      machine.#readableSince = this.#readableSince;
      return machine;
    });
  }

  spans(): readonly EngineSpan[] {
    return rowSpansOf(this.#descriptor.startKey, this.#descriptor.endKey);
  }

  checkRow(key: Buffer, value: Buffer): void {
    if (isRowKey(key)) checkRow(key, value);
  }

  volatileState(): Uint8Array {
    return encodeVolatileState({ window: this.#window, readableSince: this.#readableSince });
  }

  /** Where old versions are gone is said only here and in the log before the snapshot, which goes. */
  restoring(volatileState: Uint8Array, batch: EngineBatch): void {
    const { readableSince } = decodeVolatileState(volatileState);
    if (readableSince > 0) this.#environment.safePoint.applied(readableSince, batch);
  }

  async restored(volatileState: Uint8Array): Promise<void> {
    this.coldReads.outdateAll();
    this.scanCache.clear();
    this.#environment.rowCache.deleteSpan(this.#descriptor.startKey, this.#descriptor.endKey);
    this.pending.clear();
    this.#appliedRows = [];
    this.#unnotedIndex = 0;
    const { window, readableSince } = decodeVolatileState(volatileState);
    this.#window = window;
    this.raiseReadableSince(readableSince);
    await this.open();
  }

  closed(): void {
    this.#isClosed = true;
    this.#environment.unregistered(this);
    this.coldReads.outdateAll();
    const waiting = this.#queue;
    this.#queue = NOTHING;
    for (const call of waiting) call.failNotLeader(this.replica.leaderStoreId);
    this.leadershipLost();
  }
}

function isStaleRead({ request }: KvCall): boolean {
  return request.consistency === ReadConsistency.stale && isRead(request.op);
}

function isRead(op: KvOp): boolean {
  return op === KvOp.get || op === KvOp.scan;
}
