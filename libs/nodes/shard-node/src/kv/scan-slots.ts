import { FairShare } from '@cairn/base';
import type { Clock, Timer } from '@cairn/ports';
import { detachKvRequest } from '@cairn/wire';

import type { KvCall, ResponseSink } from './kv-call.js';
import type { LaggingSessions } from './lagging-sessions.js';

/** How often scans are looked at again that wait for callers to take answers. */
const RECHECK_MS = 10;

/** A scan that waits for a slot. */
interface Waiting {
  readonly call: KvCall;
  readonly work: () => Promise<void>;
}

/**
 * Bounds how many scans read the engine of one store at once; others wait in line, and beyond that are
 * refused. Callers take turns, and have the shares of `FairShare` of the line: whoever comes later finds room
 * and is not served behind all that came before. A caller that does not take its answers gets no slot until
 * it does: its pages would be made for nobody.
 */
export class ScanSlots {
  readonly #clock: Clock;
  readonly #slotsMax: number;
  readonly #places: FairShare;
  readonly #lagging: LaggingSessions;
  #used = 0;
  #waitingCount = 0;
  /** By caller, in the order of their next turns. */
  readonly #waiting = new Map<ResponseSink, Waiting[]>();
  /** Bytes of the pages that are being read, by caller; their number is that of the slots at most. */
  readonly #reading = new Map<ResponseSink, number>();
  #recheck: Timer | undefined;

  constructor(
    clock: Clock,
    limits: { readonly scansMax: number; readonly waitingScansMax: number },
    lagging: LaggingSessions,
  ) {
    this.#clock = clock;
    this.#lagging = lagging;
    this.#slotsMax = limits.scansMax;
    this.#places = new FairShare(limits.waitingScansMax);
  }

  /** Scans that wait, for metrics. */
  get waitingCount(): number {
    return this.#waitingCount;
  }

  /** Whether the caller takes a page more, with those that are being read for it. */
  isTaking({ caller, request }: KvCall): boolean {
    const reading = this.#reading.get(caller) ?? 0;
    return caller.hasRoomForPage(reading + request.pageBytes, reading > 0);
  }

  /**
   * Runs the work when a slot is free and the caller takes answers. Answers false when too many wait already,
   * in all or of this caller.
   */
  run(call: KvCall, work: () => Promise<void>): boolean {
    const line = this.#waiting.get(call.caller);
    if (line === undefined && this.#used < this.#slotsMax && this.isTaking(call)) {
      this.#begin(call, work);
      return true;
    }
    if (!this.#hasPlace(line?.length ?? 0)) return false;
    this.#waitingCount += 1;
    detachKvRequest(call.request);
    if (line === undefined) this.#waiting.set(call.caller, [{ call, work }]);
    else line.push({ call, work });
    this.#recheckLater();
    return true;
  }

  #hasPlace(own: number): boolean {
    if (this.#places.allows(own, 1, this.#waitingCount)) return true;
    const isEnded = this.#lagging.makeRoom(undefined, this.#places.isBelowFloor(own, 1));
    return isEnded && this.#places.allows(own, 1, this.#waitingCount);
  }

  /** Nobody waits for answers to this caller any more: its scans leave the line. */
  forget(caller: ResponseSink): void {
    const line = this.#waiting.get(caller);
    if (line === undefined) return;
    this.#waiting.delete(caller);
    this.#waitingCount -= line.length;
    for (const { call } of line) call.fail('UNAVAILABLE', 'the connection closed');
  }

  #begin(call: KvCall, work: () => Promise<void>): void {
    const { caller, request } = call;
    this.#used += 1;
    this.#reading.set(caller, (this.#reading.get(caller) ?? 0) + request.pageBytes);
    void work().finally(() => {
      this.#used -= 1;
      const left = (this.#reading.get(caller) ?? 0) - request.pageBytes;
      if (left > 0) this.#reading.set(caller, left);
      else this.#reading.delete(caller);
      this.#beginNext();
    });
  }

  /** Gives free slots to those whose turn it is; who takes no answers is passed over and keeps its turn. */
  #beginNext(): void {
    for (const [caller, line] of this.#waiting) {
      if (this.#used >= this.#slotsMax) return;
      const first = line[0] as Waiting;
      if (!this.isTaking(first.call)) continue;
      line.shift();
      this.#waitingCount -= 1;
      this.#waiting.delete(caller);
      // Behind all others: this walk comes to it again only after them.
      if (line.length > 0) this.#waiting.set(caller, line);
      this.#begin(first.call, first.work);
    }
  }

  /** Scans past their deadline leave the queue, and callers that take answers again get their slots. */
  #recheckLater(): void {
    if (this.#recheck !== undefined || this.#waitingCount === 0) return;
    this.#recheck = this.#clock.setTimer(RECHECK_MS, () => {
      this.#recheck = undefined;
      this.#dropAbandoned(this.#clock.nowMs());
      this.#beginNext();
      this.#recheckLater();
    });
  }

  #dropAbandoned(nowMs: number): void {
    for (const [caller, line] of this.#waiting) {
      const kept = line.filter(({ call }) => {
        if (!call.isAbandoned(nowMs)) return true;
        call.fail('DEADLINE_EXCEEDED', 'the deadline passed while the scan waited its turn');
        return false;
      });
      this.#waitingCount -= line.length - kept.length;
      if (kept.length === 0) this.#waiting.delete(caller);
      else if (kept.length < line.length) this.#waiting.set(caller, kept);
    }
  }
}
