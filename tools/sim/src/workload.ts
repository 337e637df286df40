import type { Action, History, Operation } from '@cairn/checkers';
import { sleep, type Clock } from '@cairn/ports';
import type { SimRng } from '@cairn/runtime-sim';
import { timestamp } from '@cairn/base';
import { Expectation, KvOp, newKvRequest, ReadConsistency, type KvRequest } from '@cairn/wire';

import type { KvClient, Outcome } from './kv-client.js';

/** Registers: any value, never the same twice. Counters: only increments. */
export const REGISTERS = Array.from({ length: 12 }, (_, at) => `r${String(at).padStart(2, '0')}`);
export const COUNTERS = Array.from({ length: 6 }, (_, at) => `c${String(at).padStart(2, '0')}`);
/** Sub-span of the registers that range deletions empty. */
const DELETED = { from: 'r09', to: 'r12' } as const;
const YOUNG_KEY_MS = 400;
/** Pages so small that scans and deletions take several. */
const PAGE_ROWS = 5;
const PAGE_BYTES = 64 * 1024;

export interface WorkerOptions {
  readonly name: string;
  readonly client: KvClient;
  readonly clock: Clock;
  readonly rng: SimRng;
  readonly history: History;
  /** Virtual milliseconds, the same for all processes. */
  nowMs(): number;
  /** False: finish the operation under way and end. */
  isOn(): boolean;
  readonly timeoutMs: number;
  /** Mean pause between operations. */
  readonly thinkMs: number;
  /** Bytes that make values larger, so that logs and checkpoints turn over. */
  readonly paddingBytes: number;
}

function request(op: KvOp, key: string): KvRequest {
  const made = newKvRequest();
  made.op = op;
  made.key = Buffer.from(key);
  return made;
}

function textOf(bytes: Uint8Array | undefined): string | undefined {
  // The padding is the same everywhere; leaving it out keeps histories small.
  return bytes === undefined ? undefined : Buffer.from(bytes).toString('latin1').split('|', 1)[0];
}

/** One client of the cluster: one operation after the other, at random, each written into the history. */
export class Worker {
  readonly #options: WorkerOptions;
  #values = 0;
  operations = 0;
  succeeded = 0;

  constructor(options: WorkerOptions) {
    this.#options = options;
  }

  /** A read that finds out where a key is. */
  static probe(key: string): KvRequest {
    return request(KvOp.get, key);
  }

  async run(): Promise<void> {
    const { clock, rng, thinkMs } = this.#options;
    while (this.#options.isOn()) {
      await this.#one();
      await sleep(clock, rng.next() * 2 * thinkMs);
    }
  }

  async #one(): Promise<void> {
    const { rng } = this.#options;
    const dice = rng.integer(100);
    const register = rng.chance(0.2) ? this.#youngKey() : rng.pick(REGISTERS);
    if (dice < 28) await this.#put(register);
    else if (dice < 50) await this.read(register);
    else if (dice < 56) await this.read(rng.pick(COUNTERS));
    else if (dice < 72) await this.#increment(rng.pick(COUNTERS));
    else if (dice < 84) await this.#compareAndSet(register);
    else if (dice < 89) await this.#delete(register);
    else if (dice < 93) await this.scan();
    else if (dice < 95) await this.#deleteRange();
    else await this.#staleRead(register);
  }

  /**
   * A key that all clients begin to use at about the same time: what has never been written is a case of its
   * own.
   */
  #youngKey(): string {
    return `y${Math.floor(this.#options.nowMs() / YOUNG_KEY_MS)}`;
  }

  #value(): string {
    this.#values += 1;
    return `${this.#options.name}.${this.#values}`;
  }

  #bytesOf(value: string): Buffer {
    return Buffer.from(`${value}|${'x'.repeat(this.#options.rng.integer(this.#options.paddingBytes + 1))}`);
  }

  async #perform(made: KvRequest): Promise<{ invokedMs: number; outcome: Outcome }> {
    const invokedMs = this.#options.nowMs();
    this.operations += 1;
    const outcome = await this.#options.client.perform(made, this.#options.timeoutMs);
    if (outcome.type === 'ok') this.succeeded += 1;
    return { invokedMs, outcome };
  }

  #record(key: string, action: Action, invokedMs: number, isKnown: boolean): void {
    const operation: Operation = {
      process: this.#options.name,
      key,
      action,
      invokedMs,
      returnedMs: isKnown ? this.#options.nowMs() : Number.POSITIVE_INFINITY,
    };
    this.#options.history.add(operation);
  }

  async #put(key: string): Promise<void> {
    const made = request(KvOp.put, key);
    const value = this.#value();
    made.value = this.#bytesOf(value);
    made.strict = this.#options.rng.chance(0.2);
    const { invokedMs, outcome } = await this.#perform(made);
    if (outcome.type === 'failed') return;
    this.#record(key, { f: 'write', value }, invokedMs, outcome.type === 'ok');
  }

  async #delete(key: string): Promise<void> {
    const { invokedMs, outcome } = await this.#perform(request(KvOp.delete, key));
    if (outcome.type === 'failed') return;
    this.#record(key, { f: 'write', value: undefined }, invokedMs, outcome.type === 'ok');
  }

  /** A linearizable read; answers whether it was answered. */
  async read(key: string): Promise<boolean> {
    const { invokedMs, outcome } = await this.#perform(request(KvOp.get, key));
    if (outcome.type !== 'ok') return false;
    const { response } = outcome;
    this.#record(
      key,
      { f: 'read', value: response.found ? textOf(response.value) : undefined },
      invokedMs,
      true,
    );
    return true;
  }

  /** Promises nothing that is checked; it fills caches of followers. */
  async #staleRead(key: string): Promise<void> {
    const made = request(KvOp.get, key);
    made.consistency = ReadConsistency.stale;
    await this.#perform(made);
  }

  async #increment(key: string): Promise<void> {
    const made = request(KvOp.increment, key);
    made.delta = '1';
    made.strict = this.#options.rng.chance(0.1);
    const { invokedMs, outcome } = await this.#perform(made);
    if (outcome.type === 'failed') return;
    const result = outcome.type === 'ok' ? outcome.response.number : '';
    this.#record(key, { f: 'add', delta: 1, result }, invokedMs, outcome.type === 'ok');
  }

  /** Reads, then sets if it is still so; sometimes with an expectation that is old. */
  async #compareAndSet(key: string): Promise<void> {
    const before = request(KvOp.get, key);
    before.consistency = this.#options.rng.chance(0.5) ? ReadConsistency.stale : ReadConsistency.linearizable;
    const seen = await this.#perform(before);
    if (seen.outcome.type !== 'ok') return;
    const current = seen.outcome.response;
    const made = request(KvOp.compareAndSet, key);
    made.expectation = current.found ? Expectation.value : Expectation.absent;
    if (current.found) made.expected = current.value ?? Buffer.alloc(0);
    const isDelete = this.#options.rng.chance(0.2);
    const value = isDelete ? undefined : this.#value();
    if (value !== undefined) made.value = this.#bytesOf(value);
    const { invokedMs, outcome } = await this.#perform(made);
    if (outcome.type === 'failed') return;
    const response = outcome.type === 'ok' ? outcome.response : undefined;
    this.#record(
      key,
      {
        f: 'cas',
        expected: current.found ? textOf(current.value) : undefined,
        value,
        succeeded: response?.succeeded ?? false,
        found: response?.found === true ? textOf(response.value) : undefined,
      },
      invokedMs,
      outcome.type === 'ok',
    );
  }

  /** All registers at one timestamp, page by page: for each key it counts as a read of its own. */
  async scan(): Promise<boolean> {
    const started = this.#options.nowMs();
    const rows = new Map<string, string | undefined>();
    let at: number;
    try {
      at = await this.#options.client.freshTimestamp();
    } catch {
      return false;
    }
    let from: Uint8Array = Buffer.from('r');
    for (;;) {
      const made = request(KvOp.scan, '');
      made.key = from;
      made.endKey = Buffer.from('s');
      made.limit = PAGE_ROWS;
      made.pageBytes = PAGE_BYTES;
      made.consistency = ReadConsistency.timestamp;
      made.readTimestamp = timestamp(at);
      const { outcome } = await this.#perform(made);
      if (outcome.type !== 'ok') return false;
      const { response } = outcome;
      for (const row of response.rows) rows.set(Buffer.from(row.key).toString(), textOf(row.value));
      const next = response.resumeKey ?? endInside(outcome.endKey, made.endKey);
      if (next === undefined) break;
      from = next;
    }
    for (const key of REGISTERS) this.#record(key, { f: 'read', value: rows.get(key) }, started, true);
    return true;
  }

  async #deleteRange(): Promise<void> {
    const started = this.#options.nowMs();
    let from: Uint8Array = Buffer.from(DELETED.from);
    let isKnown: boolean;
    for (;;) {
      const made = request(KvOp.deleteRange, '');
      made.key = from;
      made.endKey = Buffer.from(DELETED.to);
      made.limit = 2;
      const { outcome } = await this.#perform(made);
      isKnown = outcome.type === 'ok';
      if (outcome.type !== 'ok') break;
      const next = outcome.response.resumeKey ?? endInside(outcome.endKey, made.endKey);
      if (next === undefined) break;
      from = next;
    }
    for (const key of REGISTERS) {
      if (key < DELETED.from || key >= DELETED.to) continue;
      this.#record(key, { f: 'write', value: undefined }, started, isKnown);
    }
  }
}

/** Where the range that answered ends, when that is before the end of the span. */
function endInside(rangeEnd: Uint8Array, spanEnd: Uint8Array): Uint8Array | undefined {
  if (rangeEnd.length === 0 || Buffer.compare(rangeEnd, spanEnd) >= 0) return undefined;
  return rangeEnd;
}
