import { CairnError } from '@cairn/base';
import { sleep, type Clock } from '@cairn/ports';
import type { SimRng } from '@cairn/runtime-sim';

import type { LoadChange, LoadWatch, LoadWatchOptions } from '../src/index.js';

/** Promises that the watches of a store may break. */
export type WatchBreak =
  /** Some changes are not told. */
  | 'change-lost'
  /** Some are told once more. */
  | 'change-twice'
  /** Some come before the one that they are behind. */
  | 'change-overtakes'
  /** A watch says that it is further than it is. */
  | 'early-mark'
  /** Who goes on with a token misses one. */
  | 'late-resume'
  /** What was replaced is what was there before that. */
  | 'older-previous'
  /** A watch is said to have begun too far back, and has not. */
  | 'needless-reset';

export interface LoggedChange {
  readonly key: string;
  readonly at: number;
  readonly value: string | undefined;
  readonly transaction: number | undefined;
}

const LOOK_MS = 2;

export interface FakeChangesParts {
  readonly clock: Clock;
  readonly rng: SimRng;
  readonly breaks: WatchBreak | undefined;
  readonly now: () => number;
}

/** All changes of a store in the order in which they happened, and those who watch them. */
export class FakeChanges {
  readonly log: LoggedChange[] = [];
  readonly #parts: FakeChangesParts;

  constructor(parts: FakeChangesParts) {
    this.#parts = parts;
  }

  watch(options: LoadWatchOptions): LoadWatch {
    return new FakeWatch(this.log, this.#parts, options);
  }
}

class FakeWatch implements LoadWatch {
  readonly #log: readonly LoggedChange[];
  readonly #parts: FakeChangesParts;
  readonly #options: LoadWatchOptions;
  readonly #late: LoggedChange[] = [];
  #at = 0;
  #started = 0;
  #told = 0;
  #isClosed = false;

  constructor(log: readonly LoggedChange[], parts: FakeChangesParts, options: LoadWatchOptions) {
    this.#log = log;
    this.#parts = parts;
    this.#options = options;
  }

  get token(): string | undefined {
    return this.#started === 0 ? undefined : String(this.#at);
  }

  get resolved(): number {
    const { breaks, now } = this.#parts;
    const isThere = this.#next() === undefined && this.#late.length === 0;
    return this.#started > 0 && (isThere || breaks === 'early-mark') ? now() : 0;
  }

  async start(): Promise<number> {
    const { clock, now, breaks } = this.#parts;
    await sleep(clock, LOOK_MS);
    if (this.#isClosed) throw closed();
    const { from } = this.#options;
    if (from !== undefined && breaks === 'needless-reset')
      throw new CairnError('WATCH_RESET', 'that is gone', { details: { oldest: now() } });
    if (typeof from === 'string') this.#at = Number(from) + (breaks === 'late-resume' ? 1 : 0);
    else if (from === undefined) this.#at = this.#log.length;
    else this.#at = this.#log.findIndex(({ at }) => at > from);
    if (this.#at < 0) this.#at = this.#log.length;
    this.#started = from === undefined ? now() : typeof from === 'number' ? from : this.#before(this.#at);
    return this.#started;
  }

  #before(at: number): number {
    return this.#log[at - 1]?.at ?? 1;
  }

  /** Where the next change in the span is. */
  #next(): number | undefined {
    const { start, end } = this.#options.span;
    for (let at = this.#at; at < this.#log.length; at += 1) {
      const { key } = this.#log[at] as LoggedChange;
      if (key >= start && key < end) return at;
    }
    return undefined;
  }

  async next(): Promise<LoadChange> {
    const { clock, rng, breaks } = this.#parts;
    for (;;) {
      if (breaks === 'early-mark') await sleep(clock, rng.between(0, 30));
      const at = this.#next();
      if (this.#isClosed) throw closed();
      if (at === undefined) {
        await sleep(clock, LOOK_MS);
        continue;
      }
      const change = this.#log[at] as LoggedChange;
      this.#at = breaks === 'change-twice' && rng.chance(0.1) ? at : at + 1;
      if (breaks === 'change-lost' && rng.chance(0.1)) continue;
      if (breaks === 'change-overtakes' && this.#late.length === 0 && rng.chance(0.1)) {
        this.#late.push(change);
        continue;
      }
      const late = this.#told % 2 === 0 ? this.#late.pop() : undefined;
      if (late !== undefined) this.#at = at;
      this.#told += 1;
      return this.#tell(late ?? change);
    }
  }

  #tell(change: LoggedChange): LoadChange {
    const { key, value, at, transaction } = change;
    const index = this.#log.indexOf(change);
    const previous = this.#options.withPrevious ? this.#previousOf(key, index) : undefined;
    return { key, value, timestamp: at, transaction, previous, token: String(index + 1) };
  }

  #previousOf(key: string, index: number): LoadChange['previous'] {
    const before = this.#log.slice(0, index).filter((each) => each.key === key);
    const found = before.at(this.#parts.breaks === 'older-previous' ? -2 : -1);
    return found?.value === undefined ? undefined : { value: found.value, timestamp: found.at };
  }

  close(): void {
    this.#isClosed = true;
  }
}

function closed(): CairnError {
  return new CairnError('CANCELLED', 'the watch was closed');
}
