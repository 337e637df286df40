import type { Action, History } from '@cairn/checkers';
import {
  CairnError,
  type CairnClient,
  type CompareAndSetOptions,
  type ReadConsistency,
  type StoredValue,
  type WriteOperationInput,
  type WriteOrdering,
  type WriteOutcome,
} from '@cairn/client';
import { sleep, type Clock } from '@cairn/ports';
import type { SimRng } from '@cairn/runtime-sim';

import { detailsOf, fateOf, textOf, valueOf, type Details, type Outcome } from './outcomes.js';

/** Registers: any value, never the same twice. Counters: only increments. */
export const REGISTERS = Array.from({ length: 12 }, (_, at) => `r${String(at).padStart(2, '0')}`);
export const COUNTERS = Array.from({ length: 6 }, (_, at) => `c${String(at).padStart(2, '0')}`);
/** Sub-span of the registers that range deletions empty. */
const DELETED = { start: 'r09', end: 'r12' } as const;
const ALL_REGISTERS = { start: 'r', end: 's' } as const;
/** Written once, before anything happens, and never again: no read may miss one, however stale. */
export const STANDING = ['b-standing', 'k-standing', 's-standing', 'z-standing'] as const;
/** Ten of them are more than one frame may have. */
const BIG_BYTES = 700 * 1024;
/** The longest value that shares a frame with others; asked for so often at once, frames must be cut. */
const WIDE_KEY = 'b-wide';
const WIDE_BYTES = 60 * 1024;
const WIDE_READS = 60;
const WIDE_GROUPS = 3;
const YOUNG_KEY_MS = 400;
/** Some scans get pages so small that they take several. */
const PAGE_BYTES = [0, 64, 600] as const;
const MANY_MAX = 5;
const REST_MS = 2_500;
/** Timestamps that a client remembers, to read at later. */
const REMEMBERED_MAX = 200;

export interface WorkerOptions {
  readonly name: string;
  readonly client: CairnClient;
  readonly clock: Clock;
  readonly rng: SimRng;
  readonly history: History;
  /** Virtual milliseconds, the same for all processes. */
  readonly nowMs: () => number;
  /** False: finish the operation under way and end. */
  readonly isOn: () => boolean;
  /** Something that no client may ever see. */
  readonly violate: (message: string, checker?: string) => void;
  /** Keys with values of hundreds of kilobytes; 0 = none. */
  readonly bigKeys: number;
  /** Mean pause between operations. */
  readonly thinkMs: number;
  /** All clients rest at the end of every period, long enough for ranges to go quiescent. 0 = never. */
  readonly restPeriodMs: number;
  /** Bytes that make values larger, so that logs and checkpoints turn over. */
  readonly paddingBytes: number;
}

/** One client of the cluster: one operation after the other, at random, each written into the history. */
export class Worker {
  readonly #options: WorkerOptions;
  #values = 0;
  /** Timestamps that were answered, oldest first. */
  readonly #timestamps: number[] = [];
  operations = 0;
  succeeded = 0;

  constructor(options: WorkerOptions) {
    this.#options = options;
  }

  async run(): Promise<void> {
    const { clock, rng, thinkMs } = this.#options;
    while (this.#options.isOn()) {
      await this.#one();
      await sleep(clock, rng.next() * 2 * thinkMs + this.#restMs());
    }
  }

  /** How much of the common rest is left; 0 outside of it. */
  #restMs(): number {
    const { restPeriodMs, nowMs } = this.#options;
    if (restPeriodMs === 0) return 0;
    const leftMs = restPeriodMs - (nowMs() % restPeriodMs);
    return leftMs < REST_MS ? leftMs : 0;
  }

  async #one(): Promise<void> {
    const { rng } = this.#options;
    const dice = rng.integer(100);
    const register = rng.chance(0.2) ? this.#youngKey() : rng.pick(REGISTERS);
    if (dice < 24) await this.#put(register);
    else if (dice < 42) await this.read(register);
    else if (dice < 47) await this.read(rng.pick(COUNTERS));
    else if (dice < 60) await this.#increment(rng.pick(COUNTERS));
    else if (dice < 72) await this.#compareAndSet(register);
    else if (dice < 77) await this.#delete(register);
    else if (dice < 81) await this.scan();
    else if (dice < 83) await this.#deleteRange();
    else if (dice < 84) await this.#readAt('stale', [register]);
    else if (dice < 87) await this.#readStanding();
    else if (dice < 91) await this.#readPast();
    else if (dice < 95) await this.#writeMany();
    else if (this.#options.bigKeys > 0 && dice > 97) await this.#readBig();
    else await this.#readMany();
  }

  /**
   * A key that all clients begin to use at about the same time: what has never been written is a case of its
   * own. Half of them are below all other keys, in ranges that no scan visits.
   */
  #youngKey(): string {
    const number = Math.floor(this.#options.nowMs() / YOUNG_KEY_MS);
    return `${number % 2 === 0 ? 'a' : 'y'}${number}`;
  }

  #value(): string {
    this.#values += 1;
    return `${this.#options.name}.${this.#values}`;
  }

  #bytesOf(value: string): Buffer {
    return Buffer.from(`${value}|${'x'.repeat(this.#options.rng.integer(this.#options.paddingBytes + 1))}`);
  }

  #ordering(): WriteOrdering {
    return this.#options.rng.chance(0.2) ? 'strict' : 'plain';
  }

  async #perform<Value>(call: () => Promise<Value>): Promise<Outcome<Value>> {
    const invokedMs = this.#options.nowMs();
    this.operations += 1;
    try {
      const value = await call();
      this.succeeded += 1;
      return { type: 'ok', value, invokedMs };
    } catch (error) {
      return this.#failed(error, invokedMs);
    }
  }

  #failed(error: unknown, invokedMs: number): Outcome<never> {
    if (!CairnError.is(error)) throw error;
    const fate = fateOf(error);
    if (fate === 'failed') return { type: 'failed' };
    if (fate === undefined) {
      this.#options.violate(`a call failed with ${error.code}: ${error.message}`);
    }
    return { type: 'unknown', invokedMs };
  }

  /** Writes an operation into the history, unless it surely did not happen. */
  #record(key: string, action: Action, outcome: Outcome<unknown>, details: Details = {}): void {
    if (outcome.type === 'failed') return;
    const { name, history, nowMs } = this.#options;
    if (details.timestamp !== undefined && details.timestamp > 0) this.#timestamps.push(details.timestamp);
    if (this.#timestamps.length > REMEMBERED_MAX) this.#timestamps.shift();
    history.add({
      process: name,
      key,
      action,
      invokedMs: outcome.invokedMs,
      returnedMs: outcome.type === 'ok' ? nowMs() : Number.POSITIVE_INFINITY,
      ...details,
    });
  }

  async #put(key: string): Promise<void> {
    const value = this.#value();
    const bytes = this.#bytesOf(value);
    const ordering = this.#ordering();
    const outcome = await this.#perform(() => this.#options.client.put(key, bytes, { ordering }));
    this.#record(key, { f: 'write', value }, outcome, detailsOf(outcome, ordering));
  }

  async #delete(key: string): Promise<void> {
    const ordering = this.#ordering();
    const outcome = await this.#perform(() => this.#options.client.delete(key, { ordering }));
    this.#record(key, { f: 'write', value: undefined }, outcome, detailsOf(outcome, ordering));
  }

  /** A linearizable read; answers whether it was answered. */
  async read(key: string): Promise<boolean> {
    const outcome = await this.#perform(() => this.#options.client.get(key));
    if (outcome.type !== 'ok') return false;
    this.#record(key, { f: 'read', value: valueOf(outcome.value) }, outcome);
    return true;
  }

  /** Many linearizable reads at once; each counts by itself. */
  async #readMany(): Promise<void> {
    const keys = this.#someKeys();
    const outcome = await this.#perform(() => this.#options.client.getMany(keys));
    if (outcome.type !== 'ok') return;
    for (const [at, key] of keys.entries()) {
      this.#record(key, { f: 'read', value: valueOf(outcome.value[at]) }, outcome);
    }
  }

  #someKeys(): string[] {
    const { rng } = this.#options;
    const all = [...REGISTERS, ...COUNTERS];
    const count = 2 + rng.integer(MANY_MAX - 1);
    return [...new Set(Array.from({ length: count }, () => rng.pick(all)))];
  }

  /** Puts the keys that stand for good where every replica has them before anybody looks. */
  async layOut(): Promise<void> {
    for (const key of STANDING) await this.#options.client.put(key, this.#bytesOf(key));
    if (this.#options.bigKeys === 0) return;
    for (const key of this.#bigKeys()) await this.#options.client.put(key, Buffer.alloc(BIG_BYTES, key));
    await this.#options.client.put(WIDE_KEY, Buffer.alloc(WIDE_BYTES, WIDE_KEY));
  }

  #bigKeys(): string[] {
    return Array.from({ length: this.#options.bigKeys }, (_, at) => `b-big-${at}`);
  }

  /** Answers of megabytes: few that are large, or many that are not. */
  async #readBig(): Promise<void> {
    if (this.#options.rng.chance(0.7)) {
      await this.#readWhole(this.#bigKeys(), BIG_BYTES);
      return;
    }
    const keys = Array.from({ length: WIDE_READS }, () => WIDE_KEY);
    await Promise.all(Array.from({ length: WIDE_GROUPS }, () => this.#readWhole(keys, WIDE_BYTES)));
  }

  async #readWhole(keys: readonly string[], bytes: number): Promise<void> {
    const outcome = await this.#perform(() => this.#options.client.getMany(keys));
    if (outcome.type !== 'ok') return;
    for (const [at, key] of keys.entries()) {
      if (outcome.value[at]?.value.length !== bytes)
        this.#options.violate(`${key} is not whole`, 'big-values');
    }
  }

  /** A replica answers stale reads from a state that is old, never from one that is not there. */
  async #readStanding(): Promise<void> {
    const keys = [...STANDING];
    const outcome = await this.#perform(() => this.#options.client.getMany(keys, { consistency: 'stale' }));
    if (outcome.type !== 'ok') return;
    for (const [at, key] of keys.entries()) {
      if (valueOf(outcome.value[at]) !== key)
        this.#options.violate(`a stale read misses ${key}`, 'stale-reads');
    }
  }

  async #readAt(consistency: ReadConsistency, keys: readonly string[]): Promise<Outcome<unknown>> {
    const outcome = await this.#perform(() => this.#options.client.getMany(keys, { consistency }));
    if (typeof consistency === 'string' || outcome.type !== 'ok') return outcome;
    const rows = new Map<string, string>();
    for (const [at, key] of keys.entries()) {
      const value = valueOf(outcome.value[at]);
      if (value !== undefined) rows.set(key, value);
    }
    this.#snapshot(consistency.timestamp, { keys, rows }, outcome.invokedMs);
    return outcome;
  }

  #snapshot(
    timestamp: number,
    seen: { readonly keys: readonly string[]; readonly rows: ReadonlyMap<string, string> },
    invokedMs: number,
  ): void {
    const { name, history, nowMs } = this.#options;
    history.snapshots.push({ process: name, timestamp, ...seen, invokedMs, returnedMs: nowMs() });
  }

  /** What some keys held at a timestamp that this client has seen, lately or a while ago. */
  async #readPast(): Promise<void> {
    const { rng } = this.#options;
    const timestamp = rng.chance(0.3)
      ? this.#timestamps.at(-1)
      : this.#timestamps[rng.integer(REMEMBERED_MAX)];
    if (timestamp !== undefined) await this.#readAt({ timestamp }, this.#someKeys());
  }

  async #increment(key: string): Promise<void> {
    const ordering = this.#ordering();
    const outcome = await this.#perform(() => this.#options.client.increment(key, 1, { ordering }));
    const result = outcome.type === 'ok' ? String(outcome.value) : '';
    this.#record(key, { f: 'add', delta: 1, result }, outcome, { strict: ordering === 'strict' });
  }

  /** Reads, then sets if it is still so; sometimes with an expectation that is old. */
  async #compareAndSet(key: string): Promise<void> {
    const { client, rng } = this.#options;
    const consistency = rng.chance(0.5) ? 'stale' : 'linearizable';
    const seen = await this.#perform(() => client.get(key, { consistency }));
    if (seen.type !== 'ok') return;
    const value = rng.chance(0.2) ? undefined : this.#value();
    const ordering = this.#ordering();
    const options: CompareAndSetOptions = {
      ...this.#expectationOf(seen.value),
      ...(value === undefined ? {} : { value: this.#bytesOf(value) }),
      ordering,
    };
    const outcome = await this.#perform(() => client.compareAndSet(key, options));
    const expected = valueOf(seen.value);
    if (outcome.type === 'ok' && outcome.value.succeeded) {
      const action = { f: 'cas', expected, value, succeeded: true, found: undefined } as const;
      this.#record(key, action, outcome, detailsOf(outcome, ordering));
      return;
    }
    const found = outcome.type === 'ok' ? valueOf(outcome.value.current) : undefined;
    const action = { f: 'cas', expected, value, succeeded: false, found } as const;
    this.#record(key, action, outcome, { strict: ordering === 'strict' });
  }

  #expectationOf(entry: StoredValue | undefined): CompareAndSetOptions {
    if (entry === undefined) return { expectedAbsent: true };
    // No value is ever written twice, so its version stands for it.
    return this.#options.rng.chance(0.3)
      ? { expectedVersion: entry.version }
      : { expectedValue: entry.value };
  }

  /** All registers at one timestamp, page by page: for each key it counts as a read of its own. */
  async scan(): Promise<boolean> {
    const { rng, violate } = this.#options;
    const reverse = rng.chance(0.2);
    const pageBytes = rng.pick(PAGE_BYTES);
    const rows = new Map<string, string>();
    const timestamps = new Set<number>();
    const keys: string[] = [];
    const outcome = await this.#perform(async () => {
      for await (const page of this.#options.client.pages({ start: 'r', end: 's', reverse, pageBytes })) {
        timestamps.add(page.timestamp);
        for (const row of page.rows) {
          keys.push(row.keyText());
          rows.set(row.keyText(), textOf(row.value));
        }
      }
    });
    if (outcome.type !== 'ok') return false;
    const inOrder = [...rows.keys()].sort();
    if (reverse) inOrder.reverse();
    if (keys.join() !== inOrder.join()) violate(`a scan answered keys out of order or twice: ${keys.join()}`);
    if (timestamps.size > 1) violate(`the pages of a scan are of ${[...timestamps].join(' and ')}`);
    const [timestamp] = timestamps;
    const details = timestamp === undefined ? {} : { timestamp };
    for (const key of REGISTERS) this.#record(key, { f: 'read', value: rows.get(key) }, outcome, details);
    if (timestamp !== undefined) this.#snapshot(timestamp, { keys: REGISTERS, rows }, outcome.invokedMs);
    return true;
  }

  async #deleteRange(): Promise<void> {
    const isAll = this.#options.rng.chance(0.2);
    const { start, end } = isAll ? ALL_REGISTERS : DELETED;
    const outcome = await this.#perform(() => this.#options.client.deleteRange({ start, end }));
    for (const key of REGISTERS) {
      if (key < start || key >= end) continue;
      this.#record(key, { f: 'write', value: undefined }, outcome);
    }
    // A page over nothing but deletions.
    if (isAll) await this.scan();
  }

  /** Several writes at once, of different keys. */
  async #writeMany(): Promise<void> {
    const { client, rng } = this.#options;
    const planned = this.#someKeys().map((key): Planned => {
      const ordering = this.#ordering();
      if (COUNTERS.includes(key)) {
        return { key, value: undefined, ordering, input: { increment: { key, delta: 1, ordering } } };
      }
      const value = rng.chance(0.2) ? undefined : this.#value();
      const input: WriteOperationInput =
        value === undefined
          ? { delete: { key, ordering } }
          : { put: { key, value: this.#bytesOf(value), ordering } };
      return { key, value, ordering, input };
    });
    const invokedMs = this.#options.nowMs();
    this.operations += planned.length;
    const outcomes = await client.writeMany(planned.map(({ input }) => input));
    for (const [at, plan] of planned.entries()) {
      const outcome = outcomes[at];
      if (outcome !== undefined) this.#recordOneOfMany(plan, outcome, invokedMs);
    }
  }

  #recordOneOfMany(plan: Planned, result: WriteOutcome, invokedMs: number): void {
    const strict = plan.ordering === 'strict';
    const isAdd = 'increment' in plan.input;
    const action = (sum: string): Action =>
      isAdd ? { f: 'add', delta: 1, result: sum } : { f: 'write', value: plan.value };
    if (result.kind === 'error') {
      this.#record(plan.key, action(''), this.#failed(result.error, invokedMs), { strict });
      return;
    }
    this.succeeded += 1;
    const outcome = { type: 'ok', value: undefined, invokedMs } as const;
    if (result.kind === 'increment') {
      this.#record(plan.key, action(String(result.value)), outcome, { strict });
    } else {
      const { timestamp } = result.kind === 'compareAndSet' ? result.result : result.receipt;
      this.#record(plan.key, action(''), outcome, { strict, timestamp });
    }
  }
}

interface Planned {
  readonly key: string;
  /** undefined: delete, or an increment. */
  readonly value: string | undefined;
  readonly ordering: WriteOrdering;
  readonly input: WriteOperationInput;
}
