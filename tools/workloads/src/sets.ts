import { setViolations, type SetAdd } from '@cairn/checkers';

import type { Caller, Outcome } from './caller.js';
import type { LoadClient, LoadIsolation, LoadWrite } from './load-client.js';
import type { Fault, Load, LoadOptions } from './load.js';
import { faultOf, processAfter, recordedOutcome, returnOf, whereOf } from './recorded.js';
import { padded, spanOf } from './text.js';

/** Parts of the set, each in a range of its own where ranges are cut. */
const PARTS = 12;
const GROUP_MAX = 4;
/** That are looked for in most looks. */
const RECENT_GROUPS = 8;
const SET = spanOf('w/set/');

/** Elements that were added together. */
interface Group {
  readonly keys: readonly string[];
  /** `info` also while it is under way. */
  outcome: 'ok' | 'fail' | 'info';
  /** Infinity where the outcome is unknown. */
  returnedMs: number;
  readonly where: string;
}

interface Sight {
  /** Those that were looked for; undefined = all that there ever were. */
  readonly groups: readonly Group[] | undefined;
  readonly there: ReadonlySet<string>;
  readonly invokedMs: number;
  readonly where: string;
}

/**
 * Every client adds elements of its own, alone or several together in different ranges: in a transaction,
 * in one call, in an atomic batch. Whoever looks sees all that was acknowledged before, nothing that
 * failed, and of what was added together all or nothing.
 */
export class SetsLoad implements Load {
  readonly name = 'sets';
  readonly splitKeys = Array.from({ length: PARTS }, (_, at) => partOf(at));
  readonly #isolation: LoadIsolation;
  readonly #paddingBytes: number;
  readonly #groups: Group[] = [];
  readonly #sights: Sight[] = [];
  /** What the last scan showed. */
  #final: ReadonlySet<string> | undefined;

  constructor({ isolation = 'serializable', paddingBytes = 0 }: LoadOptions = {}) {
    this.#isolation = isolation;
    this.#paddingBytes = paddingBytes;
  }

  async layOut(_client: LoadClient): Promise<void> {
    // The set begins empty.
  }

  async step(caller: Caller): Promise<void> {
    const dice = caller.rng.integer(100);
    if (dice < 82) await this.#add(caller);
    else if (dice < 98) await this.#lookAtRecent(caller);
    else await this.#look(caller);
  }

  async #add(caller: Caller): Promise<void> {
    const writes = this.#elements(caller);
    const group: Group = {
      keys: writes.map(({ key }) => key),
      outcome: 'info',
      returnedMs: Number.POSITIVE_INFINITY,
      where: `${caller.process} at ${caller.nowMs().toFixed(1)} ms`,
    };
    this.#groups.push(group);
    const outcome = await caller.attempt('transaction', () => this.#write(caller, writes));
    group.outcome = recordedOutcome(outcome);
    group.returnedMs = returnOf(outcome);
    processAfter(caller, outcome);
  }

  #elements(caller: Caller): LoadWrite[] {
    const { rng } = caller;
    return Array.from({ length: 1 + rng.integer(GROUP_MAX) }, () => {
      const element = caller.newValue();
      return { key: `${partOf(rng.integer(PARTS))}/${element}`, value: padded(element, this.#paddingBytes) };
    });
  }

  #write({ client, rng }: Caller, writes: readonly LoadWrite[]): Promise<unknown> {
    const way = rng.integer(4);
    if (way === 0) return client.writeAtomically(writes);
    if (way === 1) {
      const then = writes.map(({ key, value = '' }) => ({ f: 'put', key, value }) as const);
      return client.execute({ conditions: [], then, otherwise: [] });
    }
    // Some look first whether anything is there: then what nobody has written yet is read and checked.
    return client.transaction(this.#isolation, async (tx) => {
      for (const { key, value = '' } of writes) {
        if (way === 2) await tx.get(key);
        tx.put(key, value);
      }
    });
  }

  async #look(caller: Caller): Promise<boolean> {
    const outcome = await caller.read(() => caller.client.scan(SET));
    if (outcome.type !== 'ok') return false;
    this.#final = new Set(outcome.value.rows.keys());
    this.#see(caller, outcome, undefined);
    return true;
  }

  /** What was added lately, so that looking costs the same however long it goes on. */
  async #lookAtRecent(caller: Caller): Promise<void> {
    const groups = this.#groups.slice(-RECENT_GROUPS);
    if (groups.length === 0) return;
    const keys = groups.flatMap((group) => group.keys);
    const outcome = await caller.read(() => caller.client.snapshot(keys));
    if (outcome.type !== 'ok') return;
    this.#see(caller, outcome, groups);
  }

  #see(
    caller: Caller,
    outcome: Outcome<unknown> & { readonly value: { readonly rows: ReadonlyMap<string, string> } },
    groups: readonly Group[] | undefined,
  ): void {
    const there = new Set(outcome.value.rows.keys());
    this.#sights.push({ groups, there, invokedMs: outcome.invokedMs, where: whereOf(caller, outcome) });
  }

  async finalReads(caller: Caller): Promise<readonly string[]> {
    return (await this.#look(caller)) ? [] : [SET.start];
  }

  judge(): readonly Fault[] {
    const adds = this.#groups.flatMap(({ keys, outcome, where }) =>
      keys.map((element): SetAdd => ({ element, outcome, where })),
    );
    const faults = this.#final === undefined ? [] : setViolations(adds, [...this.#final]).map(faultOf);
    return [...faults, ...this.#sights.flatMap((sight) => this.#sightFaults(sight))];
  }

  #sightFaults({ groups = this.#groups, there, invokedMs, where }: Sight): Fault[] {
    const faults: Fault[] = [];
    for (const group of groups) {
      const missing = group.keys.filter((key) => !there.has(key));
      if (missing.length > 0 && missing.length < group.keys.length) {
        const part = `a part of what was added together (${group.where})`;
        const message = `${where} shows ${part}, but not ${missing.join()}`;
        faults.push({ name: 'partial-commit', message });
      }
      if (missing.length === 0 || group.outcome !== 'ok' || group.returnedMs >= invokedMs) continue;
      const message = `${where} misses ${missing.join()}, which was acknowledged before (${group.where})`;
      faults.push({ name: 'stale-scan', message });
    }
    return faults;
  }
}

function partOf(at: number): string {
  return `w/set/${String(at).padStart(2, '0')}`;
}
