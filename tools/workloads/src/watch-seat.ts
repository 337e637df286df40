import { CairnError } from '@cairn/base';
import type { WatchEvent, WatchRecord } from '@cairn/checkers';

import type { Caller } from './caller.js';
import type { KeySpan, LoadChange, LoadWatch } from './load-client.js';
import { whereOf } from './recorded.js';
import { unpadded, unpaddedOrNone } from './text.js';

/** How often somebody looks how far a watch is. */
const LOOK_MS = 20;
/** Of changes, so many leave their token behind. */
const KEPT_SHARE = 0.2;
const POINTS_MAX = 20;

/** Where a watcher may go on. */
export interface WatchPoint {
  readonly token: string;
  readonly after: number;
  /** The token is that of this event. */
  readonly behind: WatchEvent | undefined;
}

/** What one watcher was told, from one start on, however often it went on. */
export interface WatcherHistory {
  readonly name: string;
  readonly span: KeySpan;
  readonly records: WatchRecord[];
}

/** A watch that was told that changes may be forgotten. */
export interface WatchReset {
  /** Where it had begun. */
  readonly after: number;
  readonly oldest: number;
  readonly where: string;
}

/** A watch that has begun from now on. */
export interface WatchStart {
  readonly after: number;
  readonly atMs: number;
  readonly span: KeySpan;
  readonly where: string;
}

export type WatchBeginning =
  | { readonly type: 'now' }
  | { readonly type: 'timestamp'; readonly after: number }
  | { readonly type: 'point'; readonly point: WatchPoint };

/** When a watch was followed far enough, as it is now. */
export type FollowsUntil = (watch: LoadWatch) => boolean;

/**
 * A watcher of a load: somebody sits there now and then, follows the changes of its span for a while, and
 * leaves tokens for whoever comes next.
 */
export class WatchSeat {
  readonly name: string;
  readonly span: KeySpan;
  readonly withPrevious: boolean;
  readonly histories: WatcherHistory[] = [];
  readonly resets: WatchReset[] = [];
  readonly starts: WatchStart[] = [];
  isTaken = false;
  #points: WatchPoint[] = [];

  constructor(name: string, span: KeySpan, withPrevious: boolean) {
    this.name = name;
    this.span = span;
    this.withPrevious = withPrevious;
  }

  /** Where it may go on, the last one last. */
  get points(): readonly WatchPoint[] {
    return this.#points;
  }

  /** Follows the changes; answers whether the watch began and nobody ended it. */
  async follow(caller: Caller, beginning: WatchBeginning, isFollowed: FollowsUntil): Promise<boolean> {
    this.isTaken = true;
    const sitting = new Sitting(this, caller, beginning);
    const outcome = await caller.read(() => sitting.sit(isFollowed));
    this.isTaken = false;
    const { reset } = sitting;
    if (reset !== undefined) {
      this.resets.push({ ...reset, where: whereOf(caller, outcome) });
      // Whoever comes next begins anew.
      this.#points = [];
    }
    return outcome.type === 'ok' && reset === undefined;
  }

  keep(point: WatchPoint): void {
    this.#points.push(point);
    if (this.#points.length > POINTS_MAX) this.#points.shift();
  }

  /** What is told from now on goes on from `beginning`, or begins anew. */
  begin(beginning: WatchBeginning, after: number, where: string): WatcherHistory {
    const last = this.histories.at(-1);
    if (beginning.type === 'point' && last !== undefined) {
      last.records.push({ type: 'resume', after, behind: beginning.point.behind, where });
      return last;
    }
    this.#points = [];
    const name = `${this.name}.${this.histories.length}`;
    const history = { name, span: this.span, records: [{ type: 'start', after, where } as const] };
    this.histories.push(history);
    return history;
  }
}

/** One watch, from when it is opened until it is closed. */
class Sitting {
  reset: Omit<WatchReset, 'where'> | undefined;
  readonly #seat: WatchSeat;
  readonly #caller: Caller;
  readonly #beginning: WatchBeginning;
  readonly #watch: LoadWatch;
  #history: WatcherHistory | undefined;
  #after = 0;
  #resolved = 0;
  #last: { readonly event: WatchEvent; readonly token: string } | undefined;
  /** What ended it, unless that was its caller, or a reset. */
  #error: Error | undefined;
  #isOver = false;

  constructor(seat: WatchSeat, caller: Caller, beginning: WatchBeginning) {
    this.#seat = seat;
    this.#caller = caller;
    this.#beginning = beginning;
    const { span, withPrevious } = seat;
    this.#watch = caller.client.watch({ span, withPrevious, from: fromOf(beginning) });
  }

  async sit(isFollowed: FollowsUntil): Promise<void> {
    const taking = this.#takeAll();
    // It is looked at when everybody else has had their turn.
    while (!this.#isOver && !isFollowed(this.#watch)) {
      await this.#caller.sleep(LOOK_MS);
      this.#look();
    }
    this.#watch.close();
    await taking;
    this.#leave();
    if (this.#error !== undefined) throw this.#error;
  }

  get #where(): string {
    return `${this.#caller.process} at ${this.#caller.nowMs().toFixed(1)} ms`;
  }

  /** Resolves when the watch has ended, however that was. */
  async #takeAll(): Promise<void> {
    try {
      this.#after = await this.#watch.start();
      if (this.#beginning.type === 'now') {
        const { span } = this.#seat;
        const start = { after: this.#after, atMs: this.#caller.nowMs(), span, where: this.#where };
        this.#seat.starts.push(start);
      }
      this.#history = this.#seat.begin(this.#beginning, this.#after, this.#where);
      for (;;) this.#take(await this.#watch.next());
    } catch (error) {
      if (CairnError.is(error) && error.code === 'WATCH_RESET')
        this.#wasReset(Number(error.details['oldest']));
      else if (!CairnError.is(error) || error.code !== 'CANCELLED')
        this.#error = error instanceof Error ? error : new Error(String(error));
    }
    this.#isOver = true;
  }

  #wasReset(oldest: number): void {
    const { type } = this.#beginning;
    const begun = this.#history === undefined && type !== 'now';
    const after = begun ? afterOf(this.#beginning) : Math.max(this.#after, this.#resolved);
    this.reset = { after: Math.max(after, this.#last?.event.timestamp ?? 0), oldest };
  }

  #take(change: LoadChange): void {
    const { key, timestamp, transaction, previous, token } = change;
    const replaced = previous && { ...previous, value: unpadded(previous.value) };
    const event: WatchEvent = {
      ...{ type: 'event', key, timestamp, value: unpaddedOrNone(change.value), where: this.#where },
      ...(transaction === undefined ? {} : { transaction }),
      ...(this.#seat.withPrevious ? { previous: replaced ?? 'nothing' } : {}),
    };
    this.#history?.records.push(event);
    this.#last = { event, token };
    if (this.#caller.rng.chance(KEPT_SHARE)) this.#seat.keep({ token, after: timestamp, behind: event });
  }

  #look(): void {
    const { resolved } = this.#watch;
    if (this.#history === undefined || resolved <= this.#resolved) return;
    this.#resolved = resolved;
    this.#history.records.push({ type: 'progress', timestamp: resolved, where: this.#where });
  }

  /** Whoever comes next may go on where it was. */
  #leave(): void {
    const { token } = this.#watch;
    if (this.#history === undefined || token === undefined || this.reset !== undefined) return;
    this.#look();
    const [beginning, last] = [this.#beginning, this.#last];
    if (token === last?.token) this.#seat.keep({ token, after: last.event.timestamp, behind: last.event });
    else if (beginning.type === 'point' && token === beginning.point.token) this.#seat.keep(beginning.point);
    else this.#seat.keep({ token, after: Math.max(this.#after, this.#resolved), behind: undefined });
  }
}

function afterOf(beginning: WatchBeginning): number {
  if (beginning.type === 'now') return 0;
  return beginning.type === 'timestamp' ? beginning.after : beginning.point.after;
}

function fromOf(beginning: WatchBeginning): string | number | undefined {
  if (beginning.type === 'now') return undefined;
  return beginning.type === 'timestamp' ? beginning.after : beginning.point.token;
}
