import { CairnError, NO_BYTES, timestamp, type Timestamp } from '@cairn/base';
import { SimRng, SimScheduler, type SimProcess } from '@cairn/runtime-sim';
import type { Change, ChangesReply, ChangesRequest } from '@cairn/wire';

import { isWithin, textOf } from './spans.js';
import type { Asking, ChangesSource, KeySpan } from './types.js';

export const bytes = (text: string): Buffer => Buffer.from(text);

/** One range with its log, as its leader knows it. */
interface FakeRange {
  id: number;
  start: string;
  /** '' = the end of all. */
  end: string;
  /** Largest timestamp seen. */
  max: number;
  index: number;
  /** What was applied since the ring began. */
  ring: { readonly index: number; readonly changes: readonly Change[] }[];
  /** The ring is complete above it. */
  lowWater: number;
  /** By start: least commits of transactions that are not carried out here. */
  readonly locks: Map<number, number>;
}

/** What goes wrong, by chance; each 0 to 1. */
export interface FakeFaults {
  loseQuestion: number;
  loseAnswer: number;
  /** Something that was told before is told again. */
  repeat: number;
  /** The ring forgets what it had. */
  forget: number;
  delayMs: number;
}

const NO_FAULTS: FakeFaults = { loseQuestion: 0, loseAnswer: 0, repeat: 0, forget: 0, delayMs: 0 };

/** A transaction over several ranges, on its way. */
export interface FakeTransaction {
  readonly start: Timestamp;
  commit(): Timestamp;
  /** Carries it out in the next range that has not got it; answers whether there are more. */
  carryOut(): boolean;
}

/**
 * The leaders of all ranges in one object on virtual time, with the rules of change streams: what was
 * changed by log index, held questions, resolved timestamps, catching up by key, cuts, failovers.
 */
export class FakeRanges implements ChangesSource {
  readonly scheduler = new SimScheduler();
  readonly process: SimProcess;
  readonly rng: SimRng;
  faults: FakeFaults = { ...NO_FAULTS };
  latencyMs = 1;
  /** Changes of one page of a catch-up. */
  pageMax = 1_000;
  /** Versions at or below it are gone. */
  readableSince = 0;
  /** Every version that there is. */
  readonly history: Change[] = [];
  readonly asked: ChangesRequest[] = [];
  /** Instead of an answer. */
  failure: CairnError | undefined;
  leaders: FakeRange[] = [newRange(1, '', '')];
  #issued = 1_000;
  #ids = 1;
  #wakes = new Set<() => void>();

  constructor(seed: number | string = 'ranges') {
    this.rng = new SimRng(seed);
    this.process = this.scheduler.startProcess('router');
  }

  split(...edges: string[]): void {
    for (const edge of edges) {
      const range = this.leaders.find(({ start, end }) => start < edge && (end === '' || edge < end));
      if (range === undefined) continue;
      this.#ids += 1;
      this.leaders.push({
        ...newRange(this.#ids, edge, range.end),
        max: range.max,
        locks: new Map(range.locks),
      });
      range.end = edge;
      forget(range);
    }
    this.leaders.sort((one, other) => (one.start < other.start ? -1 : 1));
    this.#wake();
  }

  /** Another leader: it has no ring, and knows of all that was issued. */
  failOver(range: FakeRange): void {
    range.max = this.issue();
    forget(range);
    this.#wake();
  }

  issue(): Timestamp {
    this.#issued = Math.max(this.#issued, ...this.leaders.map(({ max }) => max)) + 1;
    return timestamp(this.#issued);
  }

  /** A plain write: one above all that its range has seen. */
  put(key: string, value: string | undefined): Change {
    const range = this.#rangeOf(key);
    range.max += 1;
    const change = this.#changeOf(key, value, { timestamp: timestamp(range.max), start: timestamp(0) });
    this.#apply(range, [change]);
    return change;
  }

  /** Locks all keys. */
  begin(values: Readonly<Record<string, string>>): FakeTransaction {
    const start = this.issue();
    const keys = Object.keys(values);
    for (const range of this.#rangesOf(keys)) {
      range.max = Math.max(range.max, start);
      range.locks.set(start, range.max + 1);
    }
    let at = timestamp(0);
    const left = new Set(keys);
    return {
      start,
      commit: () => (at = this.issue()),
      carryOut: () => {
        const [first] = left;
        if (first === undefined) return false;
        const range = this.#rangeOf(first);
        const here = [...left].filter((key) => this.#rangeOf(key) === range);
        for (const key of here) left.delete(key);
        range.max = Math.max(range.max, at);
        const locked = this.#rangesOf([...left]);
        for (const leader of this.leaders) if (!locked.has(leader)) leader.locks.delete(start);
        this.#apply(
          range,
          here.map((key) => this.#changeOf(key, values[key], { timestamp: at, start })),
        );
        return left.size > 0;
      },
    };
  }

  async timestamp(): Promise<Timestamp> {
    await this.#travel();
    const issued = this.issue();
    await this.#travel();
    return issued;
  }

  /** As a router that always knows. */
  ranges(span: KeySpan): KeySpan[] {
    return this.leaders
      .map(({ start, end }) => ({ start: bytes(start), end: bytes(end) }))
      .filter(
        (range) =>
          (span.end.length === 0 || Buffer.compare(range.start, span.end) < 0) &&
          (range.end.length === 0 || Buffer.compare(span.start, range.end) < 0),
      );
  }

  async ask(request: ChangesRequest, { readTimestamp, signal }: Asking): Promise<ChangesReply> {
    this.asked.push(request);
    await this.#travel(signal);
    if (this.failure !== undefined) throw this.failure;
    this.#lose(this.faults.loseQuestion);
    const reply = await this.#answer(request, readTimestamp, signal);
    await this.#travel(signal);
    this.#lose(this.faults.loseAnswer);
    return reply;
  }

  async #answer(
    request: ChangesRequest,
    readTimestamp: Timestamp,
    signal: AbortSignal,
  ): Promise<ChangesReply> {
    const untilMs = this.scheduler.nowMs + request.waitMs;
    for (;;) {
      const range = this.#rangeOf(textOf(request.start));
      const end = textOf(request.end);
      if (range.end !== '' && (end === '' || end > range.end)) return { type: 'regroup' };
      if (request.after < this.readableSince) {
        return { type: 'reset', oldest: timestamp(this.readableSince) };
      }
      if (readTimestamp > range.max) range.max = readTimestamp;
      const resolved = Math.min(range.max, ...[...range.locks.values()].map((least) => least - 1));
      if (this.rng.chance(this.faults.forget)) forget(range);
      if (!isInRing(range, request)) {
        if (range.lowWater === Infinity) range.lowWater = range.index;
        return { type: 'page', rangeId: range.id, ...this.#catchUp(range, request, resolved) };
      }
      const page = this.#fromRing(range, request, resolved);
      const isNews = page.changes.length > 0;
      const isTimeTold = readTimestamp > request.after && resolved >= readTimestamp;
      const isResolved = resolved > request.after && this.#hasUnresolved(range, request, resolved);
      if (isNews || isTimeTold || isResolved || this.scheduler.nowMs >= untilMs) return page;
      await this.#news(untilMs - this.scheduler.nowMs, signal);
    }
  }

  /** Whether changes between `after` and what is resolved were told before. */
  #hasUnresolved(range: FakeRange, { after, index }: ChangesRequest, resolved: number): boolean {
    return range.ring.some(
      (entry) =>
        entry.index <= index && entry.changes.some(({ timestamp: at }) => at > after && at <= resolved),
    );
  }

  #fromRing(
    range: FakeRange,
    asked: ChangesRequest,
    resolved: number,
  ): Extract<ChangesReply, { type: 'page' }> {
    const rows = range.ring.filter(({ index }) => index > asked.index);
    const told = rows.slice(0, this.pageMax);
    const isCut = told.length < rows.length;
    const changes = told.flatMap((entry) => entry.changes).filter(({ key }) => isWithin(key, asked));
    return {
      ...{ type: 'page', rangeId: range.id },
      index: isCut ? (told[told.length - 1]?.index ?? 0) : range.index,
      resolved: timestamp(isCut ? 0 : resolved),
      resume: NO_BYTES,
      changes: this.#withRepeats(
        changes.map((change) => shown(change, asked)),
        asked,
      ),
    };
  }

  #catchUp(
    range: FakeRange,
    asked: ChangesRequest,
    resolved: number,
  ): Omit<Extract<ChangesReply, { type: 'page' }>, 'type' | 'rangeId'> {
    const going = resumeOf(asked.resume);
    const isGoingOn = going !== undefined && asked.rangeId === range.id;
    const from = isGoingOn ? going.key : '';
    const found = this.history
      .filter((change) => change.timestamp > asked.after && isWithin(change.key, asked))
      .filter((change) => textOf(change.key) >= from)
      .sort((one, other) => Buffer.compare(one.key, other.key) || one.timestamp - other.timestamp);
    const cutAt = found[this.pageMax];
    const cut = cutAt && textOf(cutAt.key);
    const changes = cut === undefined ? found : found.filter(({ key }) => textOf(key) < cut);
    // All of one key, however many.
    const told = changes.length > 0 ? changes : found.filter(({ key }) => textOf(key) === cut);
    const last = told[told.length - 1];
    const next = found.find(({ key }) => last !== undefined && textOf(key) > textOf(last.key));
    const index = isGoingOn ? asked.index : range.index;
    const at = isGoingOn ? going.resolved : resolved;
    const isWhole = cut === undefined || next === undefined;
    return {
      index,
      resolved: timestamp(isWhole ? at : 0),
      resume: isWhole ? NO_BYTES : bytes(JSON.stringify({ key: textOf(next.key), resolved: at })),
      changes: this.#withRepeats(
        told.map((change) => shown(change, asked)),
        asked,
      ),
    };
  }

  #withRepeats(changes: Change[], asked: ChangesRequest): Change[] {
    if (!this.rng.chance(this.faults.repeat)) return changes;
    const before = this.history.filter(({ key }) => isWithin(key, asked));
    const again = before.filter(() => this.rng.chance(0.3)).map((change) => shown(change, asked));
    // In any order.
    return [...again, ...changes].sort(() => this.rng.next() - 0.5);
  }

  #changeOf(
    key: string,
    value: string | undefined,
    at: { readonly timestamp: Timestamp; readonly start: Timestamp },
  ): Change {
    const before = this.history.filter((change) => textOf(change.key) === key).at(-1);
    return {
      ...{ key: bytes(key), ...at, sequence: 1, kind: 0 },
      type: value === undefined ? 'delete' : 'put',
      value: bytes(value ?? ''),
      expiresAt: timestamp(0),
      previous:
        before?.type === 'put'
          ? { value: before.value, timestamp: before.timestamp, expiresAt: timestamp(0) }
          : undefined,
    };
  }

  #apply(range: FakeRange, changes: readonly Change[]): void {
    range.index += 1;
    this.history.push(...changes);
    range.ring.push({ index: range.index, changes });
    this.#wake();
  }

  #rangeOf(key: string): FakeRange {
    return this.leaders.find(({ start, end }) => start <= key && (end === '' || key < end)) as FakeRange;
  }

  #rangesOf(keys: readonly string[]): Set<FakeRange> {
    return new Set(keys.map((key) => this.#rangeOf(key)));
  }

  #wake(): void {
    const wakes = this.#wakes;
    this.#wakes = new Set();
    for (const wake of wakes) wake();
  }

  #news(delayMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = this.process.clock.setTimer(delayMs, resolve);
      this.#wakes.add(() => {
        timer.cancel();
        resolve();
      });
      signal.addEventListener('abort', () => reject(gaveUp()), { once: true });
      if (signal.aborted) reject(gaveUp());
    });
  }

  #lose(chance: number): void {
    if (this.rng.chance(chance)) throw new CairnError('UNAVAILABLE', 'the connection broke');
  }

  #travel(signal?: AbortSignal): Promise<void> {
    const { delayMs } = this.faults;
    return new Promise((resolve, reject) => {
      this.process.clock.setTimer(this.latencyMs + (delayMs > 0 ? this.rng.integer(delayMs) : 0), resolve);
      signal?.addEventListener('abort', () => reject(gaveUp()), { once: true });
      if (signal?.aborted === true) reject(gaveUp());
    });
  }
}

function newRange(id: number, start: string, end: string): FakeRange {
  return { ...{ id, start, end, max: 1_000, index: 1, ring: [], lowWater: Infinity }, locks: new Map() };
}

function forget(range: FakeRange): void {
  range.ring = [];
  range.lowWater = Infinity;
}

function isInRing(range: FakeRange, { index, rangeId, resume }: ChangesRequest): boolean {
  return resume.length === 0 && rangeId === range.id && index > 0 && index >= range.lowWater;
}

function shown(change: Change, { withPrevious }: ChangesRequest): Change {
  return withPrevious ? change : { ...change, previous: undefined };
}

function resumeOf(resume: Uint8Array): { readonly key: string; readonly resolved: number } | undefined {
  if (resume.length === 0) return undefined;
  return JSON.parse(Buffer.from(resume).toString()) as { key: string; resolved: number };
}

function gaveUp(): CairnError {
  return new CairnError('CANCELLED', 'the caller gave up');
}
