import { CairnError, Holder, rethrowInvariant, timestamp, type Timestamp } from '@cairn/base';
import type { Clock, Rng } from '@cairn/ports';

import { Backlog } from './backlog.js';
import type { BacklogRoom } from './backlog-room.js';
import { readPass, type PassResult } from './catch-up.js';
import type { CatchUps } from './catch-ups.js';
import { eventOf } from './feed.js';
import type { Feeds } from './feeds.js';
import type { StreamLimits } from './limits.js';
import type { StreamMetrics } from './metrics.js';
import type { Part, PartOwner } from './part.js';
import { comparePositions, endOf, wholeTimestampOf, type Position } from './positions.js';
import { isPassing, pauseBeforeRetry } from './retries.js';
import { encodeToken } from './tokens.js';
import type {
  ChangesSource,
  EncodeChange,
  ResetReason,
  StreamEvent,
  Watch,
  WatchOptions,
  WatchOutput,
} from './types.js';

/** What all watches of a router share. */
export interface WatcherHost {
  readonly source: ChangesSource;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly limits: StreamLimits;
  readonly encode: EncodeChange;
  readonly feeds: Feeds;
  readonly room: BacklogRoom;
  readonly catchUps: CatchUps;
  readonly metrics: StreamMetrics;
  /** It is live, and has changes that are not resolved in all its parts. */
  waits(watcher: Watcher): void;
  ended(watcher: Watcher): void;
}

/**
 * Where a watch is:
 * - `live`: its parts tell everything behind its position.
 * - `behind`: what is behind its position is read, as soon as its caller has taken what there is; its parts
 *   may listen already meanwhile.
 * - `over`: it says its last word, and nothing more.
 */
type Mode = 'live' | 'behind' | 'over';

type PassOutcome = 'joined' | 'advanced' | 'nothing';

/**
 * One watch: puts what its parts tell into the one order, and keeps what its caller has not taken. What its
 * bounds cannot hold it forgets, and reads again when there is room.
 */
export class Watcher extends Holder implements Watch, PartOwner {
  readonly caller: string;
  readonly progressMs: number;
  readonly #host: WatcherHost;
  readonly #options: WatchOptions;
  readonly #backlog: Backlog;
  readonly #over = new AbortController();
  #mode: Mode = 'behind';
  #parts = new Set<Part>();
  /** Its parts tell everything behind it. */
  #listensFrom = 0;
  /** Everything up to there was taken, or is ready. */
  #position: Position;
  #started: Position;
  #whenEnded: () => void = () => undefined;
  /** Resolved when nothing is changed any more up to where it started. */
  #begun: PromiseWithResolvers<void> | undefined;
  #lastWord: WatchOutput | undefined;
  #error: unknown;
  #asked: PromiseWithResolvers<WatchOutput> | undefined;
  #saidAtMs: number;
  /** Resolved when its caller has taken everything. */
  #emptied: PromiseWithResolvers<void> | undefined;

  /** `from`: undefined = from now on. */
  constructor(host: WatcherHost, options: WatchOptions, from: Position | undefined) {
    super();
    this.#host = host;
    this.#options = options;
    this.caller = options.caller;
    this.progressMs = options.progressMs;
    const { clock, limits, room } = host;
    this.#backlog = new Backlog(this, { limits, room, nowMs: () => clock.nowMs() });
    this.#position = from ?? endOf(0);
    this.#started = this.#position;
    this.#saidAtMs = clock.nowMs();
  }

  get started(): Timestamp {
    return this.#started.timestamp;
  }

  get startToken(): Buffer {
    return encodeToken(this.#started);
  }

  get parts(): ReadonlySet<Part> {
    return this.#parts;
  }

  /** Of the newest change that waits until all parts are resolved there; 0 = there is none. */
  get newestUnresolved(): Timestamp {
    if (this.#mode !== 'live') return timestamp(0);
    const { newestUnresolved } = this.#backlog;
    return this.#begun === undefined ? newestUnresolved : timestamp(Math.max(newestUnresolved, this.started));
  }

  /**
   * Begins to listen; `fresh` is a timestamp of now. From now on: resolves when whatever is written
   * afterwards comes behind where it started. Rejects with RESOURCE_EXHAUSTED, and with what ends it
   * before. Called once.
   */
  async listen(fresh: Timestamp): Promise<void> {
    if (this.#isOver()) throw this.#error;
    this.#attach(fresh);
    const isFromNow = this.#options.from.type === 'now';
    if (isFromNow) {
      this.#position = endOf(Math.max(fresh, this.#listensFrom));
      this.#started = this.#position;
    }
    if (this.#hearsAllBehind(this.#position)) this.#mode = 'live';
    else this.#fallBehind();
    if (!isFromNow) return;
    this.#begun = Promise.withResolvers();
    this.#host.waits(this);
    await this.#begun.promise;
  }

  read(): Promise<WatchOutput> {
    this.#backlog.handedTaken();
    if (this.#backlog.isEmpty) {
      this.#emptied?.resolve();
      this.#emptied = undefined;
    }
    const asked = Promise.withResolvers<WatchOutput>();
    this.#asked = asked;
    this.#answer();
    return asked.promise;
  }

  onEnd(listener: () => void): void {
    if (this.#mode === 'over') listener();
    else this.#whenEnded = listener;
  }

  close(): void {
    this.fail(new CairnError('CANCELLED', 'the watch is closed'));
  }

  /** Ends it with an error. What its caller has not taken is dropped. */
  fail(error: unknown): void {
    if (this.#mode === 'over') return;
    this.#error = error;
    this.#end(true);
  }

  /** Others need the room, and its caller takes nothing. */
  cutOff(): void {
    this.#reset('backlog', timestamp(0));
  }

  /** Looks at the time; a few times a second. */
  tick(nowMs: number): void {
    const isStalled = this.#mode === 'behind' && nowMs - this.heldSinceMs >= this.#host.limits.stallMs;
    if (isStalled && !this.#backlog.isEmpty) {
      this.#reset('backlog', timestamp(0));
      return;
    }
    if (this.#asked === undefined || nowMs - this.#saidAtMs < this.progressMs) return;
    this.resolve();
    const token = encodeToken(this.#position);
    this.#say({ type: 'progress', token, resolved: wholeTimestampOf(this.#position) });
  }

  /** Takes over what is resolved in all its parts; answers whether nothing waits any more. */
  resolve(): boolean {
    if (this.#mode !== 'live') return true;
    let frontier = Infinity;
    for (const { feed } of this.#parts) frontier = Math.min(frontier, feed.resolved);
    if (frontier > wholeTimestampOf(this.#position) && frontier < Infinity) {
      this.#position = endOf(frontier);
      this.#host.metrics.ready(this.#backlog.resolve(this.#position), this.#host.clock.unixMs());
      this.#answer();
    }
    if (this.#begun !== undefined && [...this.#parts].every(({ feed }) => feed.promised >= this.started))
      this.#begin();
    return this.#begun === undefined && !this.#backlog.hasUnresolved;
  }

  take(event: StreamEvent): void {
    if (this.#mode === 'over' || comparePositions(event, this.#position) <= 0) return;
    if (!this.#backlog.tryAdd(event)) this.interrupted();
    else if (this.#mode === 'live') this.#host.waits(this);
  }

  replaced(part: Part, parts: readonly Part[]): void {
    if (!this.#parts.delete(part)) return;
    for (const each of parts) this.#parts.add(each);
  }

  interrupted(): void {
    if (this.#mode === 'over') return;
    // What is resolved by now is whole.
    this.resolve();
    this.#letGo();
    if (this.#mode === 'live') this.#fallBehind();
  }

  historyGone(oldest: number): void {
    this.#reset('history', timestamp(oldest));
  }

  failed(error: unknown): void {
    this.fail(error);
  }

  #begin(): void {
    this.#begun?.resolve();
    this.#begun = undefined;
  }

  #attach(fresh: Timestamp): void {
    const { withPrevious, span } = this.#options;
    this.#parts = new Set(this.#host.feeds.attach(this, span, { withPrevious, after: fresh }));
    this.#listensFrom = 0;
    for (const { feed } of this.#parts) this.#listensFrom = Math.max(this.#listensFrom, feed.resolved);
  }

  #letGo(): void {
    for (const part of this.#parts) this.#host.feeds.detach(part);
    this.#parts = new Set();
    this.#backlog.forgetUnresolved();
  }

  #hearsAllBehind(position: Position): boolean {
    return this.#parts.size > 0 && this.#listensFrom <= wholeTimestampOf(position);
  }

  #fallBehind(): void {
    this.#mode = 'behind';
    this.#catchUp().catch((error: unknown) => {
      rethrowInvariant(error);
      this.fail(error);
    });
  }

  /** Reads what is behind its position until its parts tell everything from there on. */
  async #catchUp(): Promise<void> {
    const { catchUps, metrics } = this.#host;
    const { signal } = this.#over;
    let attempts = 0;
    while (this.#mode === 'behind') {
      await this.#whenEmptied();
      if (attempts > 0) await pauseBeforeRetry(this.#host, attempts - 1, signal);
      if (signal.aborted) return;
      metrics.catchesUp();
      const outcome = await catchUps.run(() => this.#tryPass(), signal);
      attempts = outcome === 'nothing' ? attempts + 1 : 0;
    }
  }

  async #whenEmptied(): Promise<void> {
    if (this.#backlog.isEmpty || this.#mode !== 'behind') return;
    this.#emptied = Promise.withResolvers();
    await this.#emptied.promise;
  }

  /** One pass. Its parts listen from before it, so that it may be the last. */
  async #tryPass(): Promise<PassOutcome> {
    const { limits, source } = this.#host;
    try {
      if (this.#parts.size === 0) {
        const fresh = await source.timestamp();
        if (this.#isOver()) return 'nothing';
        this.#attach(fresh);
      }
      const { span, withPrevious } = this.#options;
      const result = await readPass(this.#host, {
        ...{ span, withPrevious, from: this.#position, target: await source.timestamp() },
        ...{ bytesMax: limits.backlogBytesMax, countMax: limits.backlogChangesMax },
        signal: this.#over.signal,
      });
      return this.#isOver() ? 'nothing' : this.#took(result);
    } catch (error) {
      rethrowInvariant(error);
      if (!isPassing(error)) throw error;
      this.#letGo();
      return 'nothing';
    }
  }

  #took(result: PassResult): PassOutcome {
    if (result.type === 'reset') this.#reset('history', result.oldest);
    if (result.type === 'interrupted') this.#letGo();
    if (result.type !== 'read') return 'nothing';
    const { changes, bound, isWhole } = result;
    const events = changes.map((change) => eventOf(change, this.#host.encode));
    if (!this.#backlog.tryAddReady(events)) {
      this.#letGo();
      return 'nothing';
    }
    const isAdvanced = comparePositions(bound, this.#position) > 0;
    if (isAdvanced) this.#position = bound;
    if (wholeTimestampOf(bound) >= this.started) this.#begin();
    this.#host.metrics.ready(events, this.#host.clock.unixMs());
    this.#backlog.forgetUnresolved(this.#position);
    const isJoined = isWhole && this.#hearsAllBehind(this.#position);
    if (isJoined) this.#mode = 'live';
    else this.#letGo();
    this.#answer();
    if (!isJoined) return isAdvanced ? 'advanced' : 'nothing';
    if (this.#backlog.hasUnresolved) this.#host.waits(this);
    return 'joined';
  }

  #isOver(): boolean {
    return this.#mode === 'over';
  }

  #reset(reason: ResetReason, oldest: Timestamp): void {
    if (this.#mode === 'over') return;
    this.#host.metrics.reset(reason);
    this.#lastWord = { type: 'reset', reason, oldest };
    // What is ready is good, but it is what others need the room for.
    this.#end(reason === 'backlog');
  }

  #end(dropsReady: boolean): void {
    this.#mode = 'over';
    this.#over.abort();
    this.#letGo();
    if (dropsReady) this.#backlog.clear();
    this.#emptied?.resolve();
    this.#begun?.reject(
      this.#error ?? new CairnError('UNAVAILABLE', 'the watch was reset before it had begun'),
    );
    this.#begun = undefined;
    this.#host.ended(this);
    this.#answer();
    this.#whenEnded();
  }

  /** Answers its caller, if it waits and there is something to say. */
  #answer(): void {
    const asked = this.#asked;
    if (asked === undefined) return;
    if (this.#backlog.hasReady) this.#say({ type: 'changes', events: this.#backlog.hand() });
    else if (this.#lastWord !== undefined) {
      this.#say(this.#lastWord);
      this.#lastWord = undefined;
      this.#error ??= new CairnError('CANCELLED', 'the watch was reset');
    } else if (this.#mode === 'over') {
      this.#asked = undefined;
      asked.reject(this.#error);
    }
  }

  #say(output: WatchOutput): void {
    const asked = this.#asked;
    if (asked === undefined) return;
    this.#asked = undefined;
    this.#saidAtMs = this.#host.clock.nowMs();
    asked.resolve(output);
  }
}
