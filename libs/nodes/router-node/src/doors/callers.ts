import { assert, BoundedBytes, CairnError, FairShare, Holders, type Holder } from '@cairn/base';
import type { AnswerRoom } from '@cairn/routing';

/**
 * What every caller may have open on its streams while there are not too many callers: what is not read
 * cannot be cancelled either, so ordinary clients should never get there.
 */
const STREAMED_OPS_FLOOR = 1_024;
/** Operations that every caller may have, however many callers there are. */
const STREAMED_OPS_MIN = 16;
const CALL_OPS_MIN = 64;
const CALL_BYTES_MIN = 4 * 1024 * 1024;
const SCAN_BYTES_MIN = 8 * 1024 * 1024;
/**
 * That of all callers together, in parts of what scans are meant to take: floors of many callers add up to no
 * more. Whoever comes beyond it is refused, also with the first scan, unless another's client takes nothing.
 */
const ALL_SCAN_BYTES_FACTOR = 2;
/** The part of the router that calls may fill; the rest is for whoever comes next. */
const CALLS_SHARE = 3 / 4;
const RETRY_AFTER_MS = 25;

export interface CallersBounds {
  /** Open operations of all streams together, about. */
  readonly streamedOpsMax: number;
  /** Operations and bytes that the router takes from all callers together. */
  readonly openOpsMax: number;
  readonly openBytesMax: number;
  /** Pages of all scans together that are read ahead or not taken by their clients, about. */
  readonly scanBytesMax: number;
  /** Values that were read and that their clients have not taken, of all calls and streams together. */
  readonly answerBytesMax: number;
}

/**
 * Shares out what the router has among those who call it, so that no caller is refused for want of room
 * that others have. A caller is a connection. Shares follow the number of callers that have something open:
 * whoever has more than the share when others come gets nothing more until it is below.
 */
export class Callers implements AnswerRoom {
  readonly #bounds: CallersBounds;
  readonly #callers = new Map<string, Caller>();
  /** Values that clients have asked for and not taken, … */
  readonly answers: BoundedBytes;
  readonly #answerShare: FairShare;
  /** … and the calls and streams that have some. */
  readonly answerHolders: Holders;
  /** Pages of all scans that are open, … */
  readonly #scans: BoundedBytes;
  readonly #scanShare: FairShare;
  /** … and those scans. */
  readonly scanHolders: Holders;
  #busy = 0;
  #refusals = 0;

  constructor(bounds: CallersBounds, nowMs: () => number) {
    this.#bounds = bounds;
    this.answers = new BoundedBytes({ name: 'values not taken by clients', limit: bounds.answerBytesMax });
    this.#answerShare = new FairShare(bounds.answerBytesMax);
    this.answerHolders = new Holders(nowMs);
    const limit = bounds.scanBytesMax * ALL_SCAN_BYTES_FACTOR;
    this.#scans = new BoundedBytes({ name: 'pages of the scans of all clients', limit });
    this.#scanShare = new FairShare(limit);
    this.scanHolders = new Holders(nowMs);
  }

  /** Callers that have something open. */
  get busy(): number {
    return this.#busy;
  }
  /** What pages of scans may take by now, bytes. */
  get scanBytes(): number {
    return this.#scans.used;
  }
  /** Values that came for a caller and that it has not taken. */
  heldBy(peer: string): number {
    return this.#callers.get(peer)?.answerBytes ?? 0;
  }
  /** Whether a value more may be asked for; clients that take nothing are in nobody's way for long. */
  allowsAnswer(own: number, bytes: number, underWay: number): boolean {
    const share = this.#answerShare;
    if (share.allows(own, bytes, this.answers.used + underWay)) return true;
    // What is under way comes and goes; and one that has its share waits for its own client.
    if (this.answers.used + bytes <= share.openMax) return false;
    const isEnded = this.answerHolders.endLaggard(share.isBelowFloor(own, bytes), undefined);
    return isEnded && share.allows(own, bytes, this.answers.used + underWay);
  }
  /** How often a caller was above its share. */
  get refusals(): number {
    return this.#refusals;
  }
  /** Calls and streams that were ended because they took nothing while others had no room. */
  get ended(): number {
    return this.answerHolders.ended + this.scanHolders.ended;
  }

  /** One more call or stream of this peer; give it back with `leave`. */
  enter(peer: string): Caller {
    let caller = this.#callers.get(peer);
    if (caller === undefined) {
      caller = new Caller(this, peer);
      this.#callers.set(peer, caller);
    }
    caller.calls += 1;
    return caller;
  }

  leave(caller: Caller): void {
    caller.calls -= 1;
    assert(caller.calls >= 0, 'left more often than entered');
    if (caller.calls > 0) return;
    // What it holds would be forgotten, and its next call would be taken for one of somebody who has nothing.
    assert(caller.answerBytes === 0 && caller.scanBytes === 0, 'left with answers that were not given back');
    this.#callers.delete(caller.peer);
  }

  /** Open operations on the streams of one caller. */
  get streamedOpsPerCaller(): number {
    const { streamedOpsMax, openOpsMax } = this.#bounds;
    const floor = Math.min(STREAMED_OPS_FLOOR, Math.floor(openOpsMax / this.#sharers));
    return Math.max(STREAMED_OPS_MIN, floor, Math.floor(streamedOpsMax / this.#sharers));
  }

  get callOpsPerCaller(): number {
    return Math.max(CALL_OPS_MIN, Math.floor((this.#bounds.openOpsMax * CALLS_SHARE) / this.#sharers));
  }

  get callBytesPerCaller(): number {
    return Math.max(CALL_BYTES_MIN, Math.floor((this.#bounds.openBytesMax * CALLS_SHARE) / this.#sharers));
  }

  get scanBytesPerCaller(): number {
    return Math.max(SCAN_BYTES_MIN, Math.floor(this.#bounds.scanBytesMax / this.#sharers));
  }

  get #sharers(): number {
    return Math.max(1, this.#busy);
  }

  /** For `Caller` alone. */
  becameBusy(by: 1 | -1): void {
    this.#busy += by;
  }

  /** For `Caller` alone. */
  fitsAnswer(caller: Caller, bytes: number): boolean {
    return fits(this.answers, this.#answerShare, caller.answerBytes, bytes);
  }

  /** For `Caller` alone: false when there is no room, also not after somebody was ended for it. */
  takeAnswer(caller: Caller, bytes: number, asking: Holder | undefined): boolean {
    const share = this.#answerShare;
    if (!fits(this.answers, share, caller.answerBytes, bytes)) {
      const isFloor = share.isBelowFloor(caller.answerBytes, bytes);
      const isEnded = this.answerHolders.endLaggard(isFloor, asking);
      if (!isEnded || !fits(this.answers, share, caller.answerBytes, bytes)) {
        this.countRefusal();
        return false;
      }
    }
    this.answers.take(bytes);
    return true;
  }

  /** For `Caller` alone: throws RESOURCE_EXHAUSTED when all have their fill together. */
  takeScan(caller: Caller, bytes: number): void {
    const share = this.#scanShare;
    if (!fits(this.#scans, share, caller.scanBytes, bytes)) {
      const isEnded = this.scanHolders.endLaggard(share.isBelowFloor(caller.scanBytes, bytes), undefined);
      if (!isEnded || !fits(this.#scans, share, caller.scanBytes, bytes)) {
        this.countRefusal();
        throw this.#scans.refusal(bytes, RETRY_AFTER_MS);
      }
    }
    this.#scans.take(bytes);
  }

  /** For `Caller` alone. */
  giveScan(bytes: number): void {
    this.#scans.give(bytes);
  }

  /** One more was refused. */
  countRefusal(): void {
    this.#refusals += 1;
  }

  refusal(what: string): CairnError {
    this.countRefusal();
    return new CairnError('RESOURCE_EXHAUSTED', `this connection has its share of ${what}`, {
      retryAfterMs: RETRY_AFTER_MS,
    });
  }
}

/** Whether who has `own` may have `bytes` more; whoever is alone may have anything. */
function fits(all: BoundedBytes, share: FairShare, own: number, bytes: number): boolean {
  return all.count === 0 || share.allows(own, bytes, all.used);
}

/** What one caller has open. */
export class Caller {
  readonly peer: string;
  readonly #callers: Callers;
  /** Calls and streams that are open, busy or not. */
  calls = 0;
  #things = 0;
  #busyStreams = 0;
  #callOps = 0;
  #callBytes = 0;
  #scanBytes = 0;
  #answerBytes = 0;

  constructor(callers: Callers, peer: string) {
    this.#callers = callers;
    this.peer = peer;
  }

  /** Open operations of one of its streams. */
  get opsPerStream(): number {
    const ops = this.#callers.streamedOpsPerCaller;
    return Math.max(STREAMED_OPS_MIN, Math.floor(ops / Math.max(1, this.#busyStreams)));
  }

  /** Bytes of keys and values that one of its streams may have open. */
  get bytesPerStream(): number {
    return Math.floor(this.#callers.callBytesPerCaller / Math.max(1, this.#busyStreams));
  }

  /** One of its streams has something open now, or nothing any more. */
  streamChanged(isBusy: boolean): void {
    this.#busyStreams += isBusy ? 1 : -1;
    this.#changed(isBusy ? 1 : -1);
  }

  /**
   * A call with so many operations, whose request and answer take so many bytes. Throws RESOURCE_EXHAUSTED
   * above the share; a caller that has nothing open may always have one.
   */
  beginCall(ops: number, bytes: number): void {
    const isAlone = this.#callOps === 0;
    if (!isAlone && this.#callOps + ops > this.#callers.callOpsPerCaller)
      throw this.#callers.refusal('open operations');
    if (!isAlone && this.#callBytes + bytes > this.#callers.callBytesPerCaller)
      throw this.#callers.refusal('bytes of open operations');
    this.#callOps += ops;
    this.#callBytes += bytes;
    this.#changed(1);
  }

  /**
   * Room for a value that was read for this caller, until it has taken it; false: there is none, and the read
   * is to be refused, for later. A caller has the share of `FairShare`. When there is no room, the caller
   * that has held most for longest and not taken it is ended, so that whoever comes next finds room, however
   * many take nothing; never `asking` itself. One value alone gets through, however large.
   */
  takeAnswer(bytes: number, asking?: Holder): boolean {
    if (!this.#callers.takeAnswer(this, bytes, asking)) return false;
    this.#answerBytes += bytes;
    return true;
  }

  /** Whether `takeAnswer` would take them without ending anybody. */
  fitsAnswer(bytes: number): boolean {
    return this.#callers.fitsAnswer(this, bytes);
  }

  get answerBytes(): number {
    return this.#answerBytes;
  }
  get scanBytes(): number {
    return this.#scanBytes;
  }

  /** So many values, which have so many bytes together, were taken or are dropped. */
  giveAnswers(bytes: number, values: number): void {
    if (values === 0) return;
    this.#answerBytes -= bytes;
    this.#callers.answers.give(bytes, values);
  }

  endCall(ops: number, bytes: number): void {
    this.#callOps -= ops;
    this.#callBytes -= bytes;
    this.#changed(-1);
  }

  /**
   * A scan whose pages take so many bytes here. Throws RESOURCE_EXHAUSTED above the share, or when all
   * callers have their fill together.
   */
  beginScan(bytes: number): void {
    if (this.#scanBytes > 0 && this.#scanBytes + bytes > this.#callers.scanBytesPerCaller)
      throw this.#callers.refusal('open scans');
    this.#callers.takeScan(this, bytes);
    this.#scanBytes += bytes;
    this.#changed(1);
  }

  endScan(bytes: number): void {
    this.#scanBytes -= bytes;
    this.#callers.giveScan(bytes);
    this.#changed(-1);
  }

  #changed(by: 1 | -1): void {
    const wasBusy = this.#things > 0;
    this.#things += by;
    assert(this.#things >= 0, 'ended more often than begun');
    if (wasBusy !== this.#things > 0) this.#callers.becameBusy(by);
  }
}
