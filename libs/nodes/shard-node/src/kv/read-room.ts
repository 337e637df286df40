import { BoundedBytes, FairShare } from '@cairn/base';
import type { Clock, Timer } from '@cairn/ports';
import { KvOp } from '@cairn/wire';

import type { KvCall, ResponseSink, RowHolder, Submitter } from './kv-call.js';
import type { LaggingSessions } from './lagging-sessions.js';

/** How often reads are looked at again that wait for callers to take answers. */
const RECHECK_MS = 4;
/** How often reads are dropped whose time is up. */
const DROP_ABANDONED_MS = 100;
/** The size that a row is held to have before any was read: the default limit of a value. */
const FIRST_ESTIMATE_BYTES = 1024 * 1024;
/** How fast the estimate falls towards the rows that are read; it rises at once. */
const ESTIMATE_WEIGHT = 1 / 8;
/** A row without its value. */
const ROW_BYTES = 128;
/** Rows up to this wait for nobody while a caller has few of them: their answers are always sent. */
const SMALL_ROW_BYTES = 4 * 1024;
const SMALL_ROWS_BYTES = 256 * 1024;
/**
 * A row that has to be waited for counts with so much at least until it is there: its size is a guess, so
 * that those under way are few enough to be held when all are of megabytes. The disk is kept busy by fewer.
 */
const WAITED_BYTES_MIN = 512 * 1024;

/** A call that waits until it may read its row. */
interface Waiting {
  readonly call: KvCall;
  /** Whose queue it goes back to when its turn has come. */
  readonly submitter: Submitter;
}

/** The waiting calls of one caller; commands do not wait behind gets, whose answers may not be taken. */
interface Lines {
  readonly gets: Waiting[];
  readonly commands: Waiting[];
  /** Whose turn it is if both have room. */
  isCommandNext: boolean;
}

/**
 * Bounds the bytes of rows that point reads and commands have read from the engine and that are not answered
 * yet, of the node and of each caller, and reads no rows for callers that do not take their answers. What has
 * no room waits, callers take turns, and the gets of one keep their order, as do its commands; nothing is
 * read twice and nothing refused. The calls that the door lets in bound the queue. What the row cache
 * has costs nothing here.
 *
 * How large a row is, is known when it is there: before, the node goes by what it has read lately. So the
 * bound may be passed by one row that is read at once, and by those that are waited for.
 */
export class ReadRoom implements RowHolder {
  readonly #clock: Clock;
  readonly #held: BoundedBytes;
  readonly #share: FairShare;
  readonly #lagging: LaggingSessions;
  #estimateBytes = FIRST_ESTIMATE_BYTES;
  /** By caller, in the order of their next turns. */
  readonly #lines = new Map<ResponseSink, Lines>();
  #waitingCount = 0;
  #isBeginning = false;
  #recheck: Timer | undefined;
  #droppedAtMs = 0;

  constructor(clock: Clock, limits: { readonly readBytesMax: number }, lagging: LaggingSessions) {
    this.#clock = clock;
    this.#lagging = lagging;
    this.#held = new BoundedBytes({ name: 'rows read and not answered', limit: limits.readBytesMax });
    this.#share = new FairShare(limits.readBytesMax);
  }

  /** Bytes of rows that are held or being read, for metrics. */
  get heldBytes(): number {
    return this.#held.used;
  }

  /** Calls that wait for room, for metrics. */
  get waitingCount(): number {
    return this.#waitingCount;
  }

  /**
   * Whether the call may read its row now. Otherwise it waits, and is submitted again when its turn comes.
   */
  admits(call: KvCall, submitter: Submitter): boolean {
    if (call.readRoom !== undefined) return true;
    let lines = this.#waitingCount === 0 ? undefined : this.#lines.get(call.caller);
    const isWaitedFor = lines !== undefined && lineOf(lines, call).length > 0;
    if (!isWaitedFor && this.#hasRoom(call)) return true;
    if (lines === undefined) {
      lines = { gets: [], commands: [], isCommandNext: false };
      this.#lines.set(call.caller, lines);
    }
    this.#waitingCount += 1;
    call.detach();
    lineOf(lines, call).push({ call, submitter });
    this.#recheckLater();
    return false;
  }

  /** The row of an admitted call is on its way. */
  reading(call: KvCall): void {
    this.#hold(call, Math.max(this.#estimateBytes, WAITED_BYTES_MIN));
  }

  /** The row of an admitted call is there. Its bytes are held until the call is answered. */
  read(call: KvCall, valueBytes: number): void {
    const bytes = ROW_BYTES + valueBytes;
    if (bytes >= this.#estimateBytes) this.#estimateBytes = bytes;
    else this.#estimateBytes += (bytes - this.#estimateBytes) * ESTIMATE_WEIGHT;
    this.#hold(call, bytes);
  }

  /** The rows of an admitted call are there, many small ones or few large: they say little of the next. */
  readAll(call: KvCall, count: number, valueBytes: number): void {
    this.#hold(call, count * ROW_BYTES + valueBytes);
  }

  /** The call does not go on for now: what was kept free for it is for others. */
  giveBack(call: KvCall): void {
    if (call.readRoom === undefined) return;
    call.readRoom = undefined;
    this.#held.give(call.readBytes);
    call.caller.reading.give(call.readBytes);
    if (this.#waitingCount > 0) this.#beginNext();
  }

  /** Nobody waits for answers to this caller any more: its calls leave the line. */
  forget(caller: ResponseSink): void {
    const lines = this.#lines.get(caller);
    if (lines === undefined) return;
    this.#lines.delete(caller);
    const all = [...lines.gets, ...lines.commands];
    this.#waitingCount -= all.length;
    for (const { call } of all) call.fail('UNAVAILABLE', 'the connection closed');
  }

  #hold(call: KvCall, bytes: number): void {
    if (call.isDone) return;
    const { reading } = call.caller;
    const whole = Math.ceil(bytes);
    if (call.readRoom === undefined) {
      this.#held.take(whole);
      reading.take(whole);
      call.readRoom = this;
    } else {
      this.#held.resize(call.readBytes, whole);
      reading.resize(call.readBytes, whole);
    }
    call.readBytes = whole;
  }

  /** Callers have the shares of `FairShare`; while nothing is held, one row in any case. */
  #hasRoom(call: KvCall): boolean {
    const held = this.#held;
    const own = call.caller.reading;
    const bytes = this.#estimateBytes;
    if (bytes <= SMALL_ROW_BYTES && own.used + bytes <= SMALL_ROWS_BYTES) return true;
    if (held.count > 0 && !this.#share.allows(own.used, bytes, held.used)) return false;
    // Commands are not held up by answers that are not taken: theirs have no values, or show one.
    if (!isRead(call)) return true;
    return call.caller.hasRoomFor(own.used + bytes, own.count > 0);
  }

  /** Lets those begin whose turn it is; who takes no answers is passed over and keeps its turn. */
  #beginNext(): void {
    // A call may be answered by being submitted, and give back what was kept for it.
    if (this.#isBeginning) return;
    this.#isBeginning = true;
    for (const [caller, lines] of this.#lines) {
      const next = this.#takeNext(lines);
      if (next === undefined) continue;
      const { call, submitter } = next;
      this.#waitingCount -= 1;
      this.#lines.delete(caller);
      // Behind all others: this walk comes to it again only after them.
      if (lines.gets.length + lines.commands.length > 0) this.#lines.set(caller, lines);
      // Kept free until it reads, so that nobody takes it meanwhile.
      this.#hold(call, this.#estimateBytes);
      submitter.submit(call);
    }
    this.#isBeginning = false;
  }

  #takeNext(lines: Lines): Waiting | undefined {
    const { gets, commands, isCommandNext } = lines;
    for (const line of isCommandNext ? [commands, gets] : [gets, commands]) {
      const [first] = line;
      if (first === undefined || !this.#hasRoom(first.call)) continue;
      line.shift();
      lines.isCommandNext = line === gets;
      return first;
    }
    return undefined;
  }

  /** Calls past their deadline leave the queue, and callers that take answers again get their turns. */
  #recheckLater(): void {
    if (this.#recheck !== undefined || this.#waitingCount === 0) return;
    this.#recheck = this.#clock.setTimer(RECHECK_MS, () => {
      this.#recheck = undefined;
      const nowMs = this.#clock.nowMs();
      if (nowMs - this.#droppedAtMs >= DROP_ABANDONED_MS) this.#dropAbandoned(nowMs);
      this.#beginNext();
      this.#endLaggard();
      this.#recheckLater();
    });
  }

  /** Rows are held for answers that are not taken: where others wait for that room, it comes back. */
  #endLaggard(): void {
    const bytes = this.#estimateBytes;
    for (const { reading } of this.#lines.keys()) {
      if (this.#share.allows(reading.used, bytes, this.#held.used)) continue;
      this.#lagging.makeRoom(undefined, this.#share.isBelowFloor(reading.used, bytes));
      return;
    }
  }

  #dropAbandoned(nowMs: number): void {
    this.#droppedAtMs = nowMs;
    for (const [caller, { gets, commands, isCommandNext }] of this.#lines) {
      const isLate = ({ call }: Waiting): boolean => call.isAbandoned(nowMs);
      const late = [...gets.filter(isLate), ...commands.filter(isLate)];
      if (late.length === 0) continue;
      this.#waitingCount -= late.length;
      const kept = {
        gets: gets.filter((one) => !isLate(one)),
        commands: commands.filter((one) => !isLate(one)),
      };
      if (kept.gets.length + kept.commands.length === 0) this.#lines.delete(caller);
      else this.#lines.set(caller, { ...kept, isCommandNext });
      for (const { call } of late)
        call.fail('DEADLINE_EXCEEDED', 'the deadline passed while the read waited for room');
    }
  }
}

function lineOf({ gets, commands }: Lines, call: KvCall): Waiting[] {
  return isRead(call) ? gets : commands;
}

function isRead({ request }: KvCall): boolean {
  return request.op === KvOp.get || request.op === KvOp.txnRead;
}
