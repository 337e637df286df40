import { checkKey, History, orderingFaults, type Action } from '@cairn/checkers';

import type { Caller, Outcome } from './caller.js';
import type { LoadClient, LoadIsolation, LoadTransaction, LoadWrite } from './load-client.js';
import type { Fault, Load, LoadOptions } from './load.js';
import { processAfter, returnOf, whereOf } from './recorded.js';
import { padded, spanOf, unpadded, unpaddedOrNone } from './text.js';

/** Keys in use at a time, in several ranges where these are cut. */
const SLOTS = 6;
/** A key is left for a new one after so many operations: the search for an order of them stays short. */
const OPERATIONS_PER_KEY = 120;
const SPAN = spanOf('w/mixed/');
/** Of steps, where transactions rest. */
const RESTING_SHARE = 0.004;
const SHOWN_MAX = 20;
const REMEMBERED_MAX = 50;

/** What a transaction found and left, by key; undefined = absent. */
interface Footprint {
  readonly reads: Map<string, string | undefined>;
  readonly writes: Map<string, string | undefined>;
}

/** How an operation ended, and where it committed, as far as that was told. */
interface Ended {
  readonly outcome: Outcome<unknown>;
  readonly timestamp?: number | undefined;
}

/**
 * Plain reads, writes and compare-and-sets beside transactions on the same keys. What each transaction
 * did to a key counts as one operation on it: a read, a write, or a compare-and-set of what it found. Per
 * key one order explains all, and snapshots show what was committed at or before their timestamp.
 */
export class MixedLoad implements Load {
  readonly name = 'mixed';
  readonly splitKeys = Array.from({ length: SLOTS }, (_, at) => `w/mixed/${at}`);
  readonly history = new History();
  readonly #isolation: LoadIsolation;
  readonly #paddingBytes: number;
  readonly #restMs: number;
  readonly #keys = Array.from({ length: SLOTS }, (_, at) => [keyOf(at, 0)]);
  readonly #counts = new Map<string, number>();
  readonly #timestamps: number[] = [];
  /** Keys of transactions that rested. */
  readonly #resting: string[] = [];
  /** Writes that their own transaction did not see. */
  readonly #ownWriteFaults: string[] = [];

  constructor({ isolation = 'serializable', paddingBytes = 0, restMs = 0 }: LoadOptions = {}) {
    this.#isolation = isolation;
    this.#paddingBytes = paddingBytes;
    this.#restMs = restMs;
  }

  async layOut(_client: LoadClient): Promise<void> {
    // Keys begin absent.
  }

  step(caller: Caller): Promise<void> {
    const { rng } = caller;
    if (this.#restMs > 0 && rng.chance(RESTING_SHARE)) return this.#rest(caller);
    const dice = rng.integer(100);
    if (dice < 12) return this.#put(caller, this.#key(caller));
    if (dice < 24) return this.#read(caller, this.#key(caller));
    if (dice < 34) return this.#compareAndSet(caller);
    if (dice < 38) return this.#delete(caller, this.#key(caller));
    if (dice < 66) return this.#transact(caller);
    if (dice < 78) return this.#execute(caller);
    if (dice < 86) return this.#writeAtomically(caller);
    if (dice < 92) return this.#scan(caller);
    return this.#readPast(caller);
  }

  #key({ rng }: Caller): string {
    const slot = rng.integer(SLOTS);
    const keys = this.#keys[slot] as string[];
    const key = keys.at(-1) as string;
    const count = (this.#counts.get(key) ?? 0) + 1;
    this.#counts.set(key, count);
    if (count >= OPERATIONS_PER_KEY) keys.push(keyOf(slot, keys.length));
    return key;
  }

  #someKeys(caller: Caller): string[] {
    return [...new Set(Array.from({ length: 1 + caller.rng.integer(3) }, () => this.#key(caller)))];
  }

  #padded(value: string): string {
    return padded(value, this.#paddingBytes);
  }

  #record(caller: Caller, key: string, action: Action, { outcome, timestamp }: Ended): void {
    if (outcome.type === 'failed') return;
    if (timestamp !== undefined && timestamp > 0) {
      this.#timestamps.push(timestamp);
      if (this.#timestamps.length > REMEMBERED_MAX) this.#timestamps.shift();
    }
    this.history.add({
      ...{
        process: caller.process,
        key,
        action,
        invokedMs: outcome.invokedMs,
        returnedMs: returnOf(outcome),
      },
      ...(timestamp === undefined ? {} : { timestamp }),
    });
  }

  async #put(caller: Caller, key: string): Promise<void> {
    const value = caller.newValue();
    const outcome = await caller.attempt('plain', () => caller.client.put(key, this.#padded(value)));
    const timestamp = outcome.type === 'ok' ? outcome.value : undefined;
    this.#record(caller, key, { f: 'write', value }, { outcome, timestamp });
    processAfter(caller, outcome);
  }

  async #delete(caller: Caller, key: string): Promise<void> {
    const outcome = await caller.attempt('plain', () => caller.client.delete(key));
    const timestamp = outcome.type === 'ok' ? outcome.value.commit : undefined;
    this.#record(caller, key, { f: 'write', value: undefined }, { outcome, timestamp });
    processAfter(caller, outcome);
  }

  async #read(caller: Caller, key: string): Promise<void> {
    const outcome = await caller.read(() => caller.client.get(key));
    if (outcome.type === 'ok')
      this.#record(caller, key, { f: 'read', value: unpaddedOrNone(outcome.value) }, { outcome });
  }

  async #compareAndSet(caller: Caller): Promise<void> {
    const key = this.#key(caller);
    const seen = await caller.read(() => caller.client.get(key));
    if (seen.type !== 'ok') return;
    const expected = unpaddedOrNone(seen.value);
    const value = caller.newValue();
    const outcome = await caller.attempt('plain', () =>
      caller.client.compareAndSet(key, seen.value, this.#padded(value)),
    );
    const answer = outcome.type === 'ok' ? outcome.value : undefined;
    const succeeded = answer?.succeeded !== false;
    const found = succeeded ? undefined : unpaddedOrNone(answer?.found);
    const timestamp = succeeded ? answer?.commit : undefined;
    this.#record(caller, key, { f: 'cas', expected, value, succeeded, found }, { outcome, timestamp });
    processAfter(caller, outcome);
  }

  /** Reads some keys, sees some of them in a scan, writes some, reads what it wrote. */
  async #transact(caller: Caller): Promise<void> {
    const [looked, written] = [this.#someKeys(caller), caller.rng.chance(0.15) ? [] : this.#someKeys(caller)];
    const values = new Map(
      written.map((key) => [key, caller.rng.chance(0.15) ? undefined : caller.newValue()]),
    );
    const isScanned = caller.rng.chance(0.3);
    let footprint = footprintOf(values);
    const outcome = await caller.attempt('transaction', () =>
      caller.client.transaction(this.#isolation, (tx) => {
        footprint = footprintOf(values);
        return this.#carryOut(tx, looked, isScanned, footprint);
      }),
    );
    // The attempt that may have happened is the last one.
    const timestamp = outcome.type === 'ok' ? outcome.value.commit : undefined;
    this.#recordFootprint(caller, footprint, { outcome, timestamp });
    if (outcome.type === 'ok')
      this.#ownWriteFaults.push(...outcome.value.value.map((key) => `${key} (${whereOf(caller, outcome)})`));
    processAfter(caller, outcome);
  }

  /** Answers the keys of which the transaction did not see what it had written. */
  async #carryOut(
    tx: LoadTransaction,
    looked: readonly string[],
    isScanned: boolean,
    { reads, writes }: Footprint,
  ): Promise<string[]> {
    if (isScanned) {
      const rows = await tx.scan(SPAN);
      for (const key of looked) reads.set(key, unpaddedOrNone(rows.get(key)));
    } else {
      const found = await tx.getMany(looked);
      for (const [at, key] of looked.entries()) reads.set(key, unpaddedOrNone(found[at]));
    }
    for (const [key, value] of writes) {
      if (value === undefined) tx.delete(key);
      else tx.put(key, this.#padded(value));
    }
    const missed: string[] = [];
    const after = isScanned ? await tx.scan(SPAN) : undefined;
    for (const [key, value] of writes) {
      const seen = after === undefined ? await tx.get(key) : after.get(key);
      if (unpaddedOrNone(seen) !== value) missed.push(key);
    }
    return missed;
  }

  /**
   * Reads a key that nobody else knows, which then goes; and writes it much later, when that it went may
   * be forgotten.
   */
  async #rest(caller: Caller): Promise<void> {
    const key = `w/mixed/rest/${caller.newValue()}`;
    this.#resting.push(key);
    await this.#put(caller, key);
    const value = caller.newValue();
    let isFirst = true;
    let footprint = footprintOf(new Map([[key, value]]));
    const outcome = await caller.attempt('transaction', () =>
      caller.client.transaction(
        this.#isolation,
        async (tx) => {
          footprint = footprintOf(new Map([[key, value]]));
          footprint.reads.set(key, unpaddedOrNone(await tx.get(key)));
          if (isFirst) await this.#delete(caller, key);
          if (isFirst) await caller.sleep(this.#restMs);
          isFirst = false;
          tx.put(key, value);
        },
        this.#restMs,
      ),
    );
    const timestamp = outcome.type === 'ok' ? outcome.value.commit : undefined;
    this.#recordFootprint(caller, footprint, { outcome, timestamp });
    processAfter(caller, outcome);
  }

  #recordFootprint(caller: Caller, { reads, writes }: Footprint, ended: Ended): void {
    const { outcome } = ended;
    for (const [key, value] of writes) {
      // At any isolation nobody else has written meanwhile what was read and is written.
      const action: Action = reads.has(key)
        ? { f: 'cas', expected: reads.get(key), value, succeeded: true, found: undefined }
        : { f: 'write', value };
      this.#record(caller, key, action, ended);
    }
    // Not serializable, what was only read may have changed before the commit.
    if (outcome.type !== 'ok' || (writes.size > 0 && this.#isolation !== 'serializable')) return;
    for (const [key, value] of reads)
      if (!writes.has(key)) this.#record(caller, key, { f: 'read', value }, { outcome });
  }

  /** On the condition that a key holds what was seen, some are written; or else they are read. */
  async #execute(caller: Caller): Promise<void> {
    const [key = '', ...others] = this.#someKeys(caller);
    const seen = await caller.read(() => caller.client.get(key));
    if (seen.type !== 'ok') return;
    const values = new Map([key, ...others].map((each) => [each, caller.newValue()]));
    const outcome = await caller.attempt('transaction', () =>
      caller.client.execute({
        conditions: [{ key, value: seen.value }],
        then: [...values].map(([each, value]) => ({ f: 'put', key: each, value: this.#padded(value) })),
        otherwise: [...values.keys()].map((each) => ({ f: 'get', key: each })),
      }),
    );
    const answer = outcome.type === 'ok' ? outcome.value : undefined;
    if (answer?.succeeded === false) {
      for (const [at, each] of [...values.keys()].entries()) {
        if (answer.results === undefined) continue;
        this.#record(caller, each, { f: 'read', value: unpaddedOrNone(answer.results[at]) }, { outcome });
      }
      return;
    }
    for (const [each, value] of values) {
      const expected = unpaddedOrNone(seen.value);
      const action: Action =
        each === key
          ? { f: 'cas', expected, value, succeeded: true, found: undefined }
          : { f: 'write', value };
      this.#record(caller, each, action, { outcome, timestamp: answer?.commit });
    }
    processAfter(caller, outcome);
  }

  async #writeAtomically(caller: Caller): Promise<void> {
    const writes = this.#someKeys(caller).map((key): LoadWrite => {
      return { key, value: caller.rng.chance(0.2) ? undefined : caller.newValue() };
    });
    const outcome = await caller.attempt('transaction', () =>
      caller.client.writeAtomically(
        writes.map(({ key, value }) => ({
          key,
          value: value === undefined ? undefined : this.#padded(value),
        })),
      ),
    );
    const timestamp = outcome.type === 'ok' ? outcome.value : undefined;
    for (const { key, value } of writes)
      this.#record(caller, key, { f: 'write', value }, { outcome, timestamp });
    processAfter(caller, outcome);
  }

  async #scan(caller: Caller): Promise<void> {
    const keys = this.#keys.map((all) => all.at(-1) as string);
    const outcome = await caller.read(() => caller.client.scan(SPAN));
    if (outcome.type !== 'ok') return;
    const { rows, timestamp } = outcome.value;
    for (const key of keys) {
      this.#record(caller, key, { f: 'read', value: unpaddedOrNone(rows.get(key)) }, { outcome, timestamp });
    }
    this.#see(caller, keys, outcome);
  }

  /** What some keys held at a timestamp that was told before. */
  async #readPast(caller: Caller): Promise<void> {
    const at = this.#timestamps[caller.rng.integer(REMEMBERED_MAX)] ?? this.#timestamps.at(-1);
    if (at === undefined) return;
    const keys = this.#someKeys(caller);
    const outcome = await caller.read(() => caller.client.snapshot(keys, at));
    if (outcome.type === 'ok') this.#see(caller, keys, outcome);
  }

  #see(
    caller: Caller,
    keys: readonly string[],
    {
      value,
      invokedMs,
      returnedMs,
    }: Outcome<unknown> & {
      readonly value: { readonly timestamp: number; readonly rows: ReadonlyMap<string, string> };
    },
  ): void {
    const rows = new Map([...value.rows].map(([key, text]) => [key, unpadded(text)]));
    const { timestamp } = value;
    this.history.snapshots.push({ process: caller.process, timestamp, keys, rows, invokedMs, returnedMs });
  }

  async finalReads(caller: Caller): Promise<readonly string[]> {
    const failed: string[] = [];
    for (const key of [...this.#keys.flat(), ...this.#resting]) {
      const outcome = await caller.read(() => caller.client.get(key));
      if (outcome.type !== 'ok') failed.push(key);
      else this.#record(caller, key, { f: 'read', value: unpaddedOrNone(outcome.value) }, { outcome });
    }
    await this.#scan(caller);
    return failed;
  }

  judge(): readonly Fault[] {
    const faults = this.#ownWriteFaults.map((what): Fault => ({
      name: 'own-write',
      message: `a transaction did not see what it wrote to ${what}`,
    }));
    for (const [key, operations] of this.history.byKey()) {
      const verdict = checkKey(key, operations);
      if (verdict.type === 'undecided')
        faults.push({ name: 'linearizability', message: `${key}: too hard to decide` });
      if (verdict.type !== 'violated') continue;
      const shown = verdict.upTo.slice(-SHOWN_MAX).map((operation) => JSON.stringify(operation));
      faults.push({ name: 'linearizability', message: `${key}:\n  ${shown.join('\n  ')}` });
    }
    return [...faults, ...orderingFaults(this.history).map((message) => ({ name: 'ordering', message }))];
  }
}

function footprintOf(values: ReadonlyMap<string, string | undefined>): Footprint {
  return { reads: new Map(), writes: new Map(values) };
}

function keyOf(slot: number, number: number): string {
  return `w/mixed/${slot}/${number}`;
}
