import { counterFaults, monotonicViolations, type CounterSight, type Operation } from '@cairn/checkers';

import type { Caller, Outcome } from './caller.js';
import type { LoadClient, LoadIsolation } from './load-client.js';
import type { Fault, Load, LoadOptions } from './load.js';
import { faultOf, processAfter, returnOf, whereOf } from './recorded.js';

const COUNTERS = Array.from({ length: 3 }, (_, at) => `w/mono/${at}`);

/**
 * Counters that are read and written back with one more, in transactions that tell where they committed;
 * read with the instant of the reading. In the order of these timestamps no value goes back, and none is
 * given twice.
 */
export class MonotonicLoad implements Load {
  readonly name = 'monotonic';
  readonly splitKeys = [...COUNTERS];
  readonly #isolation: LoadIsolation;
  readonly #sights: CounterSight[] = [];
  readonly #operations: Operation[] = [];
  readonly #finals = new Map<string, number>();

  constructor({ isolation = 'serializable' }: LoadOptions = {}) {
    this.#isolation = isolation;
  }

  async layOut(_client: LoadClient): Promise<void> {
    // What is absent counts as 0.
  }

  async step(caller: Caller): Promise<void> {
    const dice = caller.rng.integer(100);
    if (dice < 65) return this.#add(caller, caller.rng.pick(COUNTERS));
    if (dice < 80) return this.#addTwo(caller);
    await this.#read(caller);
  }

  async #add(caller: Caller, key: string): Promise<void> {
    const isShort = caller.rng.chance(0.3);
    const outcome = await caller.attempt('transaction', () =>
      caller.client.transaction(this.#isolation, async (tx) => {
        if (isShort) return [await tx.increment(key, 1)];
        const value = Number((await tx.get(key)) ?? '0') + 1;
        tx.put(key, String(value));
        return [value];
      }),
    );
    this.#record(caller, [key], outcome);
  }

  /** Two counters of different ranges. */
  async #addTwo(caller: Caller): Promise<void> {
    const first = caller.rng.integer(COUNTERS.length);
    const keys = [COUNTERS[first], COUNTERS[(first + 1) % COUNTERS.length]] as string[];
    const outcome = await caller.attempt('transaction', () =>
      caller.client.transaction(this.#isolation, async (tx) => {
        const values = (await tx.getMany(keys)).map((text) => Number(text ?? '0') + 1);
        for (const [at, key] of keys.entries()) tx.put(key, String(values[at]));
        return values;
      }),
    );
    this.#record(caller, keys, outcome);
  }

  #record(
    caller: Caller,
    keys: readonly string[],
    outcome: Outcome<{ readonly value: readonly number[]; readonly commit: number | undefined }>,
  ): void {
    if (outcome.type === 'failed') return;
    const { invokedMs } = outcome;
    for (const [at, key] of keys.entries()) {
      const value = outcome.type === 'ok' ? (outcome.value.value[at] ?? 0) : 0;
      const result = outcome.type === 'ok' ? String(value) : '';
      const action = { f: 'add', delta: 1, result } as const;
      this.#operations.push({
        process: caller.process,
        key,
        action,
        invokedMs,
        returnedMs: returnOf(outcome),
      });
      if (outcome.type !== 'ok' || outcome.value.commit === undefined) continue;
      this.#sights.push({
        key,
        f: 'inc',
        value,
        timestamp: outcome.value.commit,
        where: whereOf(caller, outcome),
      });
    }
    processAfter(caller, outcome);
  }

  async #read(caller: Caller): Promise<boolean> {
    const outcome = await caller.read(() => caller.client.snapshot(COUNTERS));
    if (outcome.type !== 'ok') return false;
    const { rows, timestamp } = outcome.value;
    const where = whereOf(caller, outcome);
    for (const key of COUNTERS) {
      const value = Number(rows.get(key) ?? '0');
      this.#sights.push({ key, f: 'read', value, timestamp, where });
      this.#finals.set(key, value);
    }
    return true;
  }

  async finalReads(caller: Caller): Promise<readonly string[]> {
    return (await this.#read(caller)) ? [] : COUNTERS;
  }

  judge(): readonly Fault[] {
    const faults = monotonicViolations(this.#sights).map(faultOf);
    for (const [key, final] of this.#finals) {
      const operations = this.#operations.filter((operation) => operation.key === key);
      faults.push(...counterFaults(key, operations, final).map((message) => ({ name: 'counters', message })));
    }
    return faults;
  }
}
