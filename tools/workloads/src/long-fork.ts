import { longForkViolations, type GroupRead, type SingleWrite } from '@cairn/checkers';

import type { Caller, Outcome } from './caller.js';
import type { LoadClient, LoadIsolation } from './load-client.js';
import type { Fault, Load, LoadOptions } from './load.js';
import { faultOf, processAfter, recordedOutcome, returnOf, whereOf } from './recorded.js';

/** Keys of a group, each in a range of its own where ranges are cut. */
const KEYS_PER_GROUP = 4;
/** A group is left for a new one when all its keys were tried, or so many were read of it. */
const READS_PER_GROUP = 40;

interface Group {
  readonly keys: readonly string[];
  untried: string[];
  reads: number;
}

/** When writes were acknowledged, and when reads began. */
interface Timed<Value> {
  readonly value: Value;
  readonly invokedMs: number;
  readonly returnedMs: number;
}

/**
 * Keys that are written once, by whoever comes first, and read together: in snapshots, in transactions,
 * by scans. Two reads must agree about which write came first, and none misses what was acknowledged
 * before it began.
 */
export class LongForkLoad implements Load {
  readonly name = 'long-fork';
  readonly splitKeys = Array.from({ length: KEYS_PER_GROUP }, (_, at) => `w/fork/${at}/`);
  readonly #isolation: LoadIsolation;
  readonly #groups: Group[] = [groupOf(0)];
  readonly #writes: (Timed<SingleWrite> & { readonly isPlain: boolean })[] = [];
  readonly #reads: Timed<GroupRead>[] = [];

  constructor({ isolation = 'serializable' }: LoadOptions = {}) {
    this.#isolation = isolation;
  }

  async layOut(_client: LoadClient): Promise<void> {
    // What nobody has written is absent, which is half of what is looked for.
  }

  step(caller: Caller): Promise<void> {
    const group = this.#group();
    const key = caller.rng.chance(0.35) ? group.untried.shift() : undefined;
    return key === undefined ? this.#read(caller, group) : this.#write(caller, key);
  }

  #group(): Group {
    const last = this.#groups.at(-1) as Group;
    if (last.untried.length > 0 || last.reads < READS_PER_GROUP / 2) {
      if (last.reads < READS_PER_GROUP) return last;
    }
    const next = groupOf(this.#groups.length);
    this.#groups.push(next);
    return next;
  }

  async #write(caller: Caller, key: string): Promise<void> {
    const value = caller.newValue();
    const isPlain = caller.rng.chance(0.3);
    const outcome = await caller.attempt(isPlain ? 'plain' : 'transaction', async () => {
      if (isPlain) return caller.client.put(key, value);
      return caller.client.transaction(this.#isolation, (tx) => Promise.resolve(tx.put(key, value)));
    });
    const where = whereOf(caller, outcome);
    this.#writes.push({
      value: { key, value, outcome: recordedOutcome(outcome), where },
      isPlain,
      invokedMs: outcome.invokedMs,
      returnedMs: returnOf(outcome),
    });
    processAfter(caller, outcome);
  }

  async #read(caller: Caller, group: Group): Promise<void> {
    group.reads += 1;
    const { keys } = group;
    const isInside = caller.rng.chance(0.5);
    const outcome = await caller.read(async () => {
      if (!isInside) return (await caller.client.snapshot(keys)).rows;
      const { value } = await caller.client.transaction(this.#isolation, (tx) => tx.getMany(keys));
      return new Map(keys.flatMap((key, at) => (value[at] === undefined ? [] : [[key, value[at]]])));
    });
    if (outcome.type === 'ok') this.#see(caller, keys, outcome);
  }

  #see(
    caller: Caller,
    keys: readonly string[],
    outcome: Outcome<unknown> & { readonly value: ReadonlyMap<string, string> },
  ): void {
    const values = new Map(keys.map((key) => [key, outcome.value.get(key)]));
    this.#reads.push({ ...outcome, value: { where: whereOf(caller, outcome), values } });
  }

  async finalReads(caller: Caller): Promise<readonly string[]> {
    const failed: string[] = [];
    for (const { keys } of this.#groups) {
      const outcome = await caller.read(async () => (await caller.client.snapshot(keys)).rows);
      if (outcome.type === 'ok') this.#see(caller, keys, outcome);
      else failed.push(...keys);
    }
    return failed;
  }

  judge(): readonly Fault[] {
    const writes = this.#writes.map(({ value }) => value);
    const reads = this.#reads.map(({ value }) => value);
    return [...longForkViolations(writes, reads).map(faultOf), ...this.#staleReads(), ...this.#disorders()];
  }

  /** Whoever sees a transaction sees all that was acknowledged before it began. Plain writes promise less. */
  #disorders(): Fault[] {
    const faults: Fault[] = [];
    const writes = new Map(this.#writes.map((write) => [String(write.value.key), write]));
    for (const { value: read } of this.#reads) {
      for (const [seen, value] of read.values) {
        const later = writes.get(String(seen));
        if (value === undefined || later === undefined || later.isPlain) continue;
        for (const [missed, other] of read.values) {
          const before = writes.get(String(missed));
          if (other !== undefined || before?.value.outcome !== 'ok' || before.returnedMs >= later.invokedMs)
            continue;
          const what = `shows ${seen} and misses ${missed}, which was acknowledged before that began`;
          faults.push({ name: 'out-of-order', message: `${read.where} ${what}` });
        }
      }
    }
    return faults;
  }

  #staleReads(): Fault[] {
    const faults: Fault[] = [];
    const acknowledged = new Map<string, Timed<SingleWrite>>();
    for (const write of this.#writes)
      if (write.value.outcome === 'ok') acknowledged.set(String(write.value.key), write);
    for (const { value: read, invokedMs } of this.#reads) {
      for (const [key, value] of read.values) {
        const write = acknowledged.get(String(key));
        if (value !== undefined || write === undefined || write.returnedMs >= invokedMs) continue;
        const message = `${read.where} misses ${key}, which was acknowledged before (${write.value.where})`;
        faults.push({ name: 'stale-read', message });
      }
    }
    return faults;
  }
}

function groupOf(number: number): Group {
  const keys = Array.from({ length: KEYS_PER_GROUP }, (_, at) => `w/fork/${at}/${number}`);
  return { keys, untried: [...keys], reads: 0 };
}
