import { describe, expect, it } from '@jest/globals';
import { CairnError, timestamp, type Timestamp } from '@cairn/base';
import { SimRng } from '@cairn/runtime-sim';

import { FakeShards, key } from './fake-shards.testing.js';
import { mapKey } from './keys.js';
import { CoordinatorRig, writesOf, type Changes } from './rig.testing.js';
import type { Isolation } from './types.js';

const KEYS = ['k0', 'k1', 'k2', 'k3', 'k4', 'k5', 'k6', 'k7'];
const EDGES = ['k2', 'k3x', 'k5', 'k7'];

/** What became of one transaction, as its caller knows it. */
interface Run {
  readonly id: string;
  readonly start: Timestamp;
  readonly isolation: Isolation;
  readonly reads: ReadonlyMap<string, string | undefined>;
  readonly spans: readonly (readonly [string, string])[];
  readonly changes: Changes;
  readonly outcome: string;
  readonly commitMs: number;
}

/** Transactions of random reads and writes on few keys, over routers that fail, before shards that fail. */
class Workload {
  readonly shards: FakeShards;
  readonly rng: SimRng;
  readonly runs: Run[] = [];
  readonly routers: CoordinatorRig[] = [];
  /** What a commit may take. */
  commitMs = (): number => 5_000;
  #count = 0;

  constructor(seed: number) {
    this.shards = new FakeShards(`shards ${seed}`);
    this.rng = new SimRng(`workload ${seed}`);
    this.shards.split(...EDGES.filter(() => this.rng.chance(0.7)));
  }

  async addRouter(): Promise<CoordinatorRig> {
    const rig = await new CoordinatorRig(this.shards, `router ${this.routers.length}`, {
      backgroundTasksMax: 1 + this.rng.integer(8),
    }).ready();
    this.routers.push(rig);
    return rig;
  }

  /** One caller: transactions one after the other. A caller whose router dies hears nothing any more. */
  async caller(rig: CoordinatorRig, transactions: number): Promise<void> {
    for (let at = 0; at < transactions; at += 1) {
      await this.#transaction(rig);
      await new Promise<void>((resolve) => rig.clock.setTimer(this.rng.integer(30), resolve));
    }
  }

  async #transaction(rig: CoordinatorRig): Promise<void> {
    this.#count += 1;
    const id = `t${this.#count}`;
    const isolation: Isolation = this.rng.chance(0.8) ? 'serializable' : 'snapshot';
    const names = KEYS.filter(() => this.rng.chance(0.4));
    const isBlind = this.rng.chance(0.15);
    const reads = new Map<string, string | undefined>();
    let start = timestamp(0);
    if (!isBlind) {
      const read = await rig.coordinator
        .snapshotGet(names.length === 0 ? [key('k0')] : names.map(key), undefined, rig.times(3_000))
        .catch(unlessFailed);
      if (read === undefined) return;
      start = read.timestamp;
      for (const [index, name] of names.entries()) {
        const row = read.rows[index];
        reads.set(name, row?.found === true ? Buffer.from(row.value).toString() : undefined);
      }
    }
    const spans = !isBlind && this.rng.chance(0.2) ? [['k1', 'k4'] as const] : [];
    const written = KEYS.filter(() => this.rng.chance(0.25));
    const changes: Record<string, string | undefined> = {};
    for (const name of written) changes[name] = this.rng.chance(0.1) ? undefined : `${id} ${name}`;
    const request = {
      ...{ start, isolation, reads: isBlind ? [] : names.map(key) },
      spans: spans.map(([from, to]) => ({ start: key(from), end: key(to) })),
      writes: writesOf(changes),
    };
    const commitMs = this.commitMs();
    const record = (outcome: string): void => {
      this.runs.push({ id, start, isolation, reads, spans, changes, outcome, commitMs });
    };
    try {
      await rig.coordinator.commit(request, rig.times(commitMs));
      record('OK');
    } catch (error) {
      if (!CairnError.is(error)) throw error;
      record(error.code);
    }
  }

  /** Which of the writes of a transaction there are. */
  #appliedOf({ id, changes }: Run): boolean[] {
    return Object.entries(changes)
      .filter(([, value]) => value !== undefined)
      .map(([name]) =>
        (this.shards.rows.versions.get(name) ?? []).some(
          ({ value }) => value !== undefined && Buffer.from(value).toString() === `${id} ${name}`,
        ),
      );
  }

  check(): void {
    const { rows } = this.shards;
    expect([...rows.locks.keys()]).toEqual([]);
    for (const run of this.runs) {
      const applied = this.#appliedOf(run);
      const wanted = new Set(applied);
      expect({ run, isWhole: wanted.size <= 1 }).toMatchObject({ isWhole: true });
      if (applied.length > 0) {
        if (run.outcome === 'OK')
          expect({ run, applied }).toMatchObject({ applied: applied.map(() => true) });
        else if (run.outcome !== 'OUTCOME_UNKNOWN') {
          expect({ run, applied }).toMatchObject({ applied: applied.map(() => false) });
        }
      }
      if (run.start > 0 && (run.outcome === 'OK' || applied[0] === true)) this.#checkReads(run);
    }
  }

  /** What it read is what there is right before its place in the order of all. */
  #checkReads(run: Run): void {
    const position = this.shards.rows.positions.get(String(run.start));
    const isReadOnly = Object.keys(run.changes).length === 0;
    const place = isReadOnly || run.isolation === 'snapshot' ? { ts: run.start, seq: Infinity } : position;
    expect({ run, place }).toMatchObject({ place: expect.anything() });
    if (place === undefined) return;
    const isBefore = ({ ts, seq }: { ts: number; seq: number }): boolean =>
      ts < place.ts || (ts === place.ts && seq < place.seq);
    for (const [name, seen] of run.reads) {
      const before = (this.shards.rows.versions.get(mapKey(key(name))) ?? []).filter(
        (version) => version.start !== run.start && isBefore(version),
      );
      const value = before[before.length - 1]?.value;
      const there = value === undefined ? undefined : Buffer.from(value).toString();
      expect({ run, name, seen: seen ?? 'nothing' }).toEqual({ run, name, seen: there ?? 'nothing' });
    }
    for (const [from, to] of isReadOnly || run.isolation === 'snapshot' ? [] : run.spans) {
      for (const [name, versions] of this.shards.rows.versions) {
        if (name < from || name >= to) continue;
        const since = versions.filter(
          (each) => each.ts > run.start && each.start !== run.start && isBefore(each),
        );
        expect({ run, name, since }).toEqual({ run, name, since: [] });
      }
    }
  }

  /** Lets everything end; what dead routers left is resolved by another. */
  async settleDown(): Promise<void> {
    Object.assign(this.shards.faults, {
      loseAnswer: 0,
      loseRequest: 0,
      duplicate: 0,
      refuse: 0,
      split: 0,
      failover: 0,
    });
    await this.shards.scheduler.runFor(16_000);
    const last = await this.addRouter();
    await last.read(KEYS);
    for (const name of KEYS) await last.settle(last.get(name));
    await this.shards.scheduler.runFor(2_000);
  }
}

function unlessFailed(error: unknown): undefined {
  if (!CairnError.is(error)) throw error;
  return undefined;
}

const seeds = (from: number, count: number): number[] => Array.from({ length: count }, (_, at) => from + at);

describe('transactions of several routers', () => {
  it.each(seeds(1, 12))('are whole and in one order while nothing fails: seed %d', async (seed) => {
    const load = new Workload(seed);
    load.shards.faults.delayMs = load.rng.integer(10);
    const rigs = [await load.addRouter(), await load.addRouter()];
    const callers = Array.from({ length: 6 }, (_, at) => load.caller(rigs[at % 2] as CoordinatorRig, 12));
    await load.shards.scheduler.settle(Promise.all(callers));
    await load.settleDown();
    load.check();
    const outcomes = new Set(load.runs.map(({ outcome }) => outcome));
    expect([...outcomes].filter((each) => each !== 'OK' && each !== 'TRANSACTION_ABORTED')).toEqual([]);
    expect(load.runs.filter(({ outcome }) => outcome === 'OK').length).toBeGreaterThan(20);
  });

  it.each(seeds(100, 25))('are whole and in one order whatever fails: seed %d', async (seed) => {
    const load = new Workload(seed);
    const { rng, shards } = load;
    const rigs = [await load.addRouter(), await load.addRouter(), await load.addRouter()];
    Object.assign(shards.faults, {
      ...{ loseAnswer: rng.next() * 0.1, loseRequest: rng.next() * 0.05, duplicate: rng.next() * 0.3 },
      ...{ refuse: rng.next() * 0.1, split: rng.next() * 0.02, failover: rng.next() * 0.05 },
      delayMs: rng.integer(20),
    });
    // Some have little time, and do not hear how it ended.
    load.commitMs = () => rng.pick([30, 60, 120, 2_000, 5_000]);
    // Dies after some command of it was carried out: between any two steps.
    let left = 5 + rng.integer(120);
    const victim = rigs[0] as CoordinatorRig;
    shards.hold = (router) => {
      if (router === victim.name && --left === 0) victim.die();
      return 0;
    };
    const callers = rigs.flatMap((rig) => [load.caller(rig, 15), load.caller(rig, 15)]);
    void Promise.all(callers.slice(0, 2));
    await shards.scheduler.settle(Promise.all(callers.slice(2)));
    await load.settleDown();
    load.check();
    // With time enough nobody says so unless an answer was lost.
    for (const { commitMs, outcome, start } of load.runs) {
      if (outcome !== 'OUTCOME_UNKNOWN' || commitMs < 2_000 || start === 0) continue;
      expect([...shards.lostDecisions]).toContain(start);
    }
    expect(load.runs.filter(({ outcome }) => outcome === 'OK').length).toBeGreaterThan(10);
  });
});
