import type { EngineIterator } from '@cairn/engine';
import {
  checkRow,
  encodeKeyPrefix,
  encodeVersionKey,
  isSameChain,
  seekKeyOf,
  successorOf,
  timestampOfVersionKey,
  userKeyOfVersionKey,
  versionSpanOf,
  type VersionRow,
} from '@cairn/mvcc';
import type { Change, ChangesRequest } from '@cairn/wire';

import type { KvEnvironment } from '../kv-environment.js';
import { looksLeft, PageTurns, ROWS_PER_STEP } from '../scan-pages.js';
import { changeOf, ChangePage } from './change-page.js';
import type { ResumeToken } from './resume-token.js';
import { pastVersionsOf } from './version-spans.js';

/**
 * Versions of one key that are of no interest at the end of a step, after which the rest is skipped by a
 * seek.
 */
const SETTLED_BEFORE_SEEK = 128;

export interface CatchUpPage {
  readonly changes: readonly Change[];
  /** undefined = the span was read to its end. */
  readonly resume: ResumeToken | undefined;
}

/** Asked in every step: the page is for nobody any more. */
export type StopsReading = () => boolean;

/** The versions of one key that are wanted, newest first. */
class Chain {
  /** Of its first row. */
  readonly key: Buffer;
  readonly wanted: VersionRow[] = [];
  /** The newest of those that are not. */
  before: VersionRow | undefined = undefined;
  bytes = 0;
  unwanted = 0;
  readonly #after: number;

  constructor(key: Buffer, after: number) {
    this.key = key;
    this.#after = after;
  }

  /** What is left of it is older. */
  get isSettled(): boolean {
    return this.unwanted > 0;
  }

  push(row: VersionRow): void {
    if (timestampOfVersionKey(row[0]) > this.#after) {
      checkRow(row[0], row[1]);
      this.wanted.push(row);
      this.bytes += row[0].length + row[1].length;
      return;
    }
    if (this.unwanted === 0) this.before = row;
    this.unwanted += 1;
  }
}

/**
 * One page of all versions above a timestamp, as the engine has them now: in the order of keys, those of one
 * key from old to new. A key that has more of them than a page may hold is read by itself, from its oldest
 * on.
 */
export class EngineCatchUp {
  readonly #environment: Pick<KvEnvironment, 'engine' | 'clock' | 'limits'>;
  readonly #asked: ChangesRequest;
  readonly #stops: StopsReading;
  readonly #page: ChangePage;

  constructor(
    environment: Pick<KvEnvironment, 'engine' | 'clock' | 'limits'>,
    asked: ChangesRequest,
    stops: StopsReading,
  ) {
    this.#environment = environment;
    this.#asked = asked;
    this.#stops = stops;
    this.#page = new ChangePage(asked.bytesMax);
  }

  /** The first view of the engine is taken before it returns. undefined = it was stopped. */
  read(from: Exclude<ResumeToken, { type: 'entry' }> | undefined): Promise<CatchUpPage | undefined> {
    if (from?.type === 'versions') return this.#readKey(from.key, from);
    return this.#readSpan(from?.key ?? this.#asked.start);
  }

  #end(resume?: ResumeToken): CatchUpPage {
    return { changes: this.#page.changes, resume };
  }

  async #readSpan(startKey: Uint8Array): Promise<CatchUpPage | undefined> {
    const { end } = this.#asked;
    if (end.length > 0 && Buffer.compare(startKey, end) >= 0) return this.#end();
    const iterator = this.#environment.engine.iterate(versionSpanOf(startKey, end));
    let large: Buffer | undefined;
    try {
      const read = await this.#walk(iterator, startKey);
      if (!Buffer.isBuffer(read)) return read;
      large = read;
    } finally {
      await iterator.close();
    }
    return this.#readKey(large, undefined);
  }

  /** Answers the page, or the user key that must be read by itself; undefined = it was stopped. */
  async #walk(iterator: EngineIterator, startKey: Uint8Array): Promise<CatchUpPage | Buffer | undefined> {
    const looksMax = this.#environment.limits.versionsPerPageMax;
    const turns = new PageTurns(this.#environment.clock, iterator);
    let chain: Chain | undefined;
    for (;;) {
      const pausing = turns.pause();
      if (pausing !== undefined) await pausing;
      if (this.#stops()) return undefined;
      const rows = await iterator.next(ROWS_PER_STEP, looksLeft(iterator, looksMax));
      for (const row of rows) {
        if (chain === undefined || !isSameChain(chain.key, row[0])) {
          if (chain !== undefined && !this.#took(chain)) return this.#without(chain);
          chain = new Chain(row[0], this.#asked.after);
        }
        chain.push(row);
        if (chain.bytes > this.#asked.bytesMax && chain.wanted.length > 1) return this.#without(chain);
      }
      if (rows.length === 0 && iterator.cutAt === undefined) {
        return chain === undefined || this.#took(chain) ? this.#end() : this.#without(chain);
      }
      if (iterator.looked >= looksMax) {
        const next = nextAfter(chain, iterator.cutAt);
        if (next.isChainWhole && chain !== undefined && !this.#took(chain)) return this.#without(chain);
        if (next.isChainWhole) chain = undefined;
        // A key that has so many versions is looked at to its end.
        const isProgress = next.key !== undefined && Buffer.compare(next.key, startKey) > 0;
        if (isProgress) return this.#end({ type: 'key', key: next.key });
      }
      if (chain !== undefined && chain.unwanted >= SETTLED_BEFORE_SEEK)
        iterator.seek(pastVersionsOf(chain.key));
    }
  }

  /** Puts what is wanted of a key into the page; false = there is no room for it. */
  #took({ wanted, before }: Chain): boolean {
    const { withPrevious } = this.#asked;
    if (withPrevious && before !== undefined) checkRow(before[0], before[1]);
    const changes: Change[] = [];
    for (let at = wanted.length - 1; at >= 0; at -= 1) {
      const previous = withPrevious ? (wanted[at + 1] ?? before) : undefined;
      changes.push(changeOf(wanted[at] as VersionRow, previous));
    }
    return changes.length === 0 || this.#page.addAll(changes);
  }

  /** The key does not fit: it begins the next page, or is read by itself if it is the first of this one. */
  #without(chain: Chain): CatchUpPage | Buffer {
    const key = userKeyOfVersionKey(chain.key);
    return this.#page.isEmpty ? key : this.#end({ type: 'key', key });
  }

  /** Versions of one key above the one that was told last. */
  async #readKey(
    userKey: Uint8Array,
    told: Extract<ResumeToken, { type: 'versions' }> | undefined,
  ): Promise<CatchUpPage | undefined> {
    const { engine, clock, limits } = this.#environment;
    const end =
      told === undefined
        ? seekKeyOf(userKey, this.#asked.after)
        : encodeVersionKey(userKey, told.timestamp, told.sequence);
    const iterator = engine.iterate({ start: encodeKeyPrefix(userKey), end, reverse: true });
    const turns = new PageTurns(clock, iterator);
    try {
      let before = this.#asked.withPrevious ? await engine.first(end, pastVersionsOf(end)) : undefined;
      if (before !== undefined) checkRow(before[0], before[1]);
      for (;;) {
        const pausing = turns.pause();
        if (pausing !== undefined) await pausing;
        if (this.#stops()) return undefined;
        const rows = await iterator.next(ROWS_PER_STEP, looksLeft(iterator, limits.versionsPerPageMax));
        for (const row of rows) {
          checkRow(row[0], row[1]);
          if (!this.#page.add(changeOf(row, before))) return this.#end(this.#lastTold());
          if (this.#asked.withPrevious) before = row;
        }
        if (rows.length === 0 && iterator.cutAt === undefined) {
          return this.#end({ type: 'key', key: successorOf(userKey) });
        }
        if (iterator.looked >= limits.versionsPerPageMax && !this.#page.isEmpty) {
          return this.#end(this.#lastTold());
        }
      }
    } finally {
      await iterator.close();
    }
  }

  #lastTold(): ResumeToken | undefined {
    const last = this.#page.changes.at(-1);
    return last && { type: 'versions', key: last.key, timestamp: last.timestamp, sequence: last.sequence };
  }
}

/** Where a walk goes on that has looked at enough, and whether it has seen all that is wanted of its key. */
function nextAfter(
  chain: Chain | undefined,
  cutAt: Buffer | undefined,
): { readonly key: Buffer | undefined; readonly isChainWhole: boolean } {
  if (cutAt !== undefined && (chain === undefined || !isSameChain(chain.key, cutAt))) {
    return { key: userKeyOfVersionKey(cutAt), isChainWhole: true };
  }
  if (chain === undefined) return { key: undefined, isChainWhole: false };
  const key = userKeyOfVersionKey(chain.key);
  return chain.isSettled ? { key: successorOf(key), isChainWhole: true } : { key, isChainWhole: false };
}
