import { TIMESTAMP_LOGICAL_STEPS } from '@cairn/base';
import { watchViolations, type WatchedWrite, type WatchEvent } from '@cairn/checkers';

import type { Caller, Outcome } from './caller.js';
import type { LoadClient, LoadIsolation, LoadTransaction, LoadWatch, Snapshot } from './load-client.js';
import type { Fault, Load, LoadOptions } from './load.js';
import { processAfter, recordedOutcome, whereOf } from './recorded.js';
import { padded, spanOf, unpaddedOrNone } from './text.js';
import { watchLines } from './watch-lines.js';
import { WatchSeat, type WatchBeginning, type WatcherHistory } from './watch-seat.js';

const SLOTS = 6;
const KEYS_PER_SLOT = 2;
const PREFIX = 'w/watch/';
const KEYS = Array.from({ length: SLOTS * KEYS_PER_SLOT }, (_, at) => {
  return `${PREFIX}${Math.floor(at / KEYS_PER_SLOT)}/${at % KEYS_PER_SLOT}`;
});
/** Part of the keys, which begins and ends in the middle of what may be a range. */
const PART = { start: KEYS[3] as string, end: KEYS[8] as string };
/** Somebody has to write meanwhile. */
const SEATS_TAKEN_MAX = 2;
const FOLLOW_MS = [30, 200, 600, 1_500] as const;
const REMEMBERED_MAX = 50;
/** Histories are kept for so long at least, whatever else is set. */
const KEPT_MS = 10_000;
/** In the end everything is told within this: locks of those who are gone hold it back. */
const LAST_WATCH_MS = 30_000;

interface Written {
  readonly key: string;
  readonly value: string | undefined;
}

/** A write as the history has it, and when it began. */
interface RecordedWrite extends WatchedWrite {
  readonly invokedMs: number;
}

/**
 * Plain writes, deletions and transactions over ranges, and watchers that follow them: for a while, then
 * somebody else goes on with a token, of the last change or of an earlier one, mostly at another router.
 * In the end every change that was acknowledged was told, once and in order, transactions whole.
 */
export class WatchLoad implements Load {
  readonly name = 'watch';
  readonly splitKeys = Array.from({ length: SLOTS }, (_, at) => `${PREFIX}${at}`);
  readonly #isolation: LoadIsolation;
  readonly #paddingBytes: number;
  readonly #seats = [
    new WatchSeat('all', spanOf(PREFIX), false),
    new WatchSeat('all-with-previous', spanOf(PREFIX), true),
    new WatchSeat('part', PART, true),
  ];
  readonly #writes: RecordedWrite[] = [];
  readonly #timestamps: number[] = [];
  readonly #faults: Fault[] = [];
  #transactions = 0;
  #beganAt = 0;
  /** What there was when all was healed, and watchers that were told everything up to then. */
  #end: Snapshot | undefined;
  readonly #told: WatcherHistory[] = [];

  constructor({ isolation = 'serializable', paddingBytes = 0 }: LoadOptions = {}) {
    this.#isolation = isolation;
    this.#paddingBytes = paddingBytes;
  }

  async layOut(client: LoadClient): Promise<void> {
    this.#beganAt = (await client.snapshot(KEYS)).timestamp;
  }

  step(caller: Caller): Promise<void> {
    const { rng } = caller;
    const dice = rng.integer(100);
    if (dice < 18 && this.#seats.filter(({ isTaken }) => isTaken).length < SEATS_TAKEN_MAX)
      return this.#watch(caller);
    if (dice < 46) return this.#put(caller);
    if (dice < 55) return this.#delete(caller);
    if (dice < 62) return this.#compareAndSet(caller);
    if (dice < 82) return this.#transact(caller);
    if (dice < 90) return this.#execute(caller);
    return this.#writeAtomically(caller);
  }

  #key({ rng }: Caller): string {
    return rng.pick(KEYS);
  }

  #someKeys(caller: Caller): string[] {
    return [...new Set(Array.from({ length: 1 + caller.rng.integer(4) }, () => this.#key(caller)))];
  }

  #padded(value: string): string {
    return padded(value, this.#paddingBytes);
  }

  #record(
    caller: Caller,
    written: readonly Written[],
    outcome: Outcome<unknown>,
    { commit, isTransactional }: { readonly commit: number | undefined; readonly isTransactional: boolean },
  ): void {
    const timestamp = commit !== undefined && commit > 0 ? commit : undefined;
    this.#transactions += 1;
    for (const { key, value } of written) {
      this.#writes.push({
        ...{ key, value, outcome: recordedOutcome(outcome), timestamp, isTransactional },
        ...(isTransactional ? { transaction: `t${this.#transactions}` } : {}),
        ...{ where: whereOf(caller, outcome), invokedMs: outcome.invokedMs },
      });
    }
    if (timestamp !== undefined) this.#remember(timestamp);
    processAfter(caller, outcome);
  }

  #remember(timestamp: number): void {
    this.#timestamps.push(timestamp);
    if (this.#timestamps.length > REMEMBERED_MAX) this.#timestamps.shift();
  }

  async #put(caller: Caller): Promise<void> {
    const [key, value] = [this.#key(caller), caller.newValue()];
    const outcome = await caller.attempt('plain', () => caller.client.put(key, this.#padded(value)));
    const commit = outcome.type === 'ok' ? outcome.value : undefined;
    this.#record(caller, [{ key, value }], outcome, { commit, isTransactional: false });
  }

  async #delete(caller: Caller): Promise<void> {
    const key = this.#key(caller);
    const outcome = await caller.attempt('plain', () => caller.client.delete(key));
    if (outcome.type === 'ok' && !outcome.value.existed) return;
    const commit = outcome.type === 'ok' ? outcome.value.commit : undefined;
    this.#record(caller, [{ key, value: undefined }], outcome, { commit, isTransactional: false });
  }

  async #compareAndSet(caller: Caller): Promise<void> {
    const [key, value] = [this.#key(caller), caller.newValue()];
    const seen = await caller.read(() => caller.client.get(key));
    if (seen.type !== 'ok') return;
    const outcome = await caller.attempt('plain', () =>
      caller.client.compareAndSet(key, seen.value, this.#padded(value)),
    );
    if (outcome.type === 'ok' && !outcome.value.succeeded) return;
    const commit = outcome.type === 'ok' ? outcome.value.commit : undefined;
    this.#record(caller, [{ key, value }], outcome, { commit, isTransactional: false });
  }

  /** Writes some keys, and deletes those of them that it finds. */
  async #transact(caller: Caller): Promise<void> {
    const keys = this.#someKeys(caller);
    const going = keys.filter(() => caller.rng.chance(0.2));
    const values = new Map(keys.map((key) => [key, caller.newValue()]));
    let written: Written[] = [];
    const outcome = await caller.attempt('transaction', () =>
      caller.client.transaction(this.#isolation, async (tx) => {
        written = [];
        const found = going.length === 0 ? [] : await tx.getMany(going);
        const gone = new Set(going.filter((_, at) => found[at] !== undefined));
        for (const [key, value] of values)
          written.push(this.#writeIn(tx, key, gone.has(key) ? undefined : value));
      }),
    );
    // The attempt that may have happened is the last one.
    const commit = outcome.type === 'ok' ? outcome.value.commit : undefined;
    this.#record(caller, written, outcome, { commit, isTransactional: true });
  }

  #writeIn(tx: LoadTransaction, key: string, value: string | undefined): Written {
    if (value === undefined) tx.delete(key);
    else tx.put(key, this.#padded(value));
    return { key, value };
  }

  async #execute(caller: Caller): Promise<void> {
    const written = this.#someKeys(caller).map((key) => ({ key, value: caller.newValue() }));
    const outcome = await caller.attempt('transaction', () =>
      caller.client.execute({
        conditions: [],
        then: written.map(({ key, value }) => ({ f: 'put', key, value: this.#padded(value) })),
        otherwise: [],
      }),
    );
    const commit = outcome.type === 'ok' ? outcome.value.commit : undefined;
    this.#record(caller, written, outcome, { commit, isTransactional: true });
  }

  async #writeAtomically(caller: Caller): Promise<void> {
    const written = this.#someKeys(caller).map((key) => ({ key, value: caller.newValue() }));
    const outcome = await caller.attempt('transaction', () =>
      caller.client.writeAtomically(written.map(({ key, value }) => ({ key, value: this.#padded(value) }))),
    );
    const commit = outcome.type === 'ok' ? outcome.value : undefined;
    this.#record(caller, written, outcome, { commit, isTransactional: true });
  }

  async #watch(caller: Caller): Promise<void> {
    const seat = caller.rng.pick(this.#seats.filter(({ isTaken }) => !isTaken));
    const endMs = caller.nowMs() + caller.rng.pick(FOLLOW_MS);
    await this.#follow(caller, seat, this.#beginning(caller, seat), () => caller.nowMs() >= endMs);
  }

  #beginning({ rng }: Caller, { points }: WatchSeat): WatchBeginning {
    const dice = rng.integer(100);
    const point =
      dice < 70 ? points.at(-1) : dice < 88 ? points[rng.integer(Math.max(1, points.length))] : undefined;
    if (point !== undefined) return { type: 'point', point };
    const [after] = dice < 94 ? this.#timestamps.slice(-1 - rng.integer(REMEMBERED_MAX)) : [];
    return after === undefined ? { type: 'now' } : { type: 'timestamp', after };
  }

  /** Whoever is reset must have begun in a past that may be forgotten. */
  async #follow(
    caller: Caller,
    seat: WatchSeat,
    beginning: WatchBeginning,
    isFollowed: (watch: LoadWatch) => boolean,
  ): Promise<boolean> {
    const known = seat.resets.length;
    const isWell = await seat.follow(caller, beginning, isFollowed);
    const reset = seat.resets[known];
    if (reset === undefined) return isWell;
    const now = await caller.read(() => caller.client.snapshot(KEYS));
    const isOld = reset.oldest > reset.after;
    const kept = now.type === 'ok' ? now.value.timestamp - KEPT_MS * TIMESTAMP_LOGICAL_STEPS : Infinity;
    if (!isOld || reset.oldest > kept) {
      const message = `${reset.where}: a watch from ${reset.after} was reset: ${reset.oldest} is the oldest`;
      this.#faults.push({ name: 'reset', message });
    }
    return isWell;
  }

  /** Each watcher once more, and one that is told everything from the beginning on. */
  async finalReads(caller: Caller): Promise<readonly string[]> {
    const now = await caller.read(() => caller.client.snapshot(KEYS));
    if (now.type !== 'ok') return ['the keys that are watched'];
    this.#end = now.value;
    const whole = new WatchSeat('whole', spanOf(PREFIX), true);
    const last = await this.#lastWatch(
      caller,
      whole,
      { type: 'timestamp', after: this.#beganAt },
      now.value.timestamp,
    );
    const unread = last ? [] : ['everything that was changed'];
    for (const seat of this.#seats) {
      const point = seat.points.at(-1);
      if (point === undefined) continue;
      if (!(await this.#lastWatch(caller, seat, { type: 'point', point }, now.value.timestamp)))
        unread.push(`what ${seat.name} watches`);
    }
    this.#seats.push(whole);
    return unread;
  }

  /** Answers whether everything up to the timestamp was told, or is not to be had any more. */
  async #lastWatch(
    caller: Caller,
    seat: WatchSeat,
    beginning: WatchBeginning,
    upTo: number,
  ): Promise<boolean> {
    const untilMs = caller.nowMs() + LAST_WATCH_MS;
    let isWhole = false;
    await this.#follow(caller, seat, beginning, ({ resolved }) => {
      isWhole = resolved >= upTo;
      return isWhole || caller.nowMs() >= untilMs;
    });
    const history = seat.histories.at(-1);
    if (isWhole && history !== undefined) this.#told.push(history);
    return isWhole || seat.resets.length > 0;
  }

  get #histories(): readonly WatcherHistory[] {
    return this.#seats.flatMap(({ histories }) => histories);
  }

  lines(): string[] {
    return watchLines(this.#writes, this.#histories);
  }

  judge(): readonly Fault[] {
    const faults = [...this.#faults, ...this.#startFaults(), ...this.#stateFaults()];
    for (const { name, span, records } of this.#histories) {
      const writes = this.#writes.filter(({ key }) => key >= span.start && key < span.end);
      for (const { name: fault, explanation } of watchViolations(writes, records))
        faults.push({ name: fault, message: `watcher ${name}: ${explanation}` });
    }
    return faults;
  }

  /** Who does what it was told, in the order in which it was, has what there is. */
  #stateFaults(): Fault[] {
    const { timestamp, rows } = this.#end ?? { timestamp: 0, rows: new Map<string, string>() };
    return this.#told.flatMap(({ name, records }) => {
      const last = new Map<string, WatchEvent>();
      for (const record of records)
        if (record.type === 'event' && record.timestamp <= timestamp) last.set(record.key, record);
      const wrong = [...last.values()].filter(({ key, value }) => unpaddedOrNone(rows.get(key)) !== value);
      return wrong.map(({ key, value = 'nothing', where }) => ({
        name: 'wrong-state',
        message: `watcher ${name}: ${key} = ${value} is told last (${where}), not ${rows.get(key)}`,
      }));
    });
  }

  /** What begins when a watch says that it has started comes behind where it started. */
  #startFaults(): Fault[] {
    const starts = this.#seats.flatMap((seat) => seat.starts);
    return starts.flatMap(({ after, atMs, span, where }) => {
      const missed = this.#writes.filter(({ key, timestamp, invokedMs }) => {
        const isIn = key >= span.start && key < span.end;
        return isIn && timestamp !== undefined && invokedMs > atMs && timestamp <= after;
      });
      return missed.map(({ key, value = 'nothing', timestamp, where: written }) => ({
        name: 'before-start',
        message: `${key} = ${value} at ${timestamp} (${written}) began behind a start at ${after} (${where})`,
      }));
    });
  }
}
