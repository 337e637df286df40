import { TIMESTAMP_LOGICAL_STEPS } from '@cairn/base';

import type { Caller } from './caller.js';
import type { LoadClient, LoadTransaction } from './load-client.js';
import type { Fault, Load } from './load.js';
import { processAfter, recordedOutcome, whereOf } from './recorded.js';
import { spanOf } from './text.js';

/** Everybody meets at one place for so long: whoever comes first may write, all others must not. */
const PLACE_MS = 250;
/** A place is a span; its keys lie in different ranges where these are cut. */
const SEATS = 3;
const LEASED_SHARE = 0.25;
const LEASED = Array.from({ length: SEATS }, (_, at) => `w/skew/lease/${at}`);
const LEASE_MS = [40, 400] as const;

interface Place {
  readonly name: string;
  /** Two are on call and one must stay, or nobody sits here and one may. */
  readonly kind: 'on-call' | 'empty';
  /** Who was told that it wrote, and whether. */
  readonly takers: { readonly outcome: 'ok' | 'fail' | 'info'; readonly where: string }[];
}

/** Of a seat that is given for a while. */
interface Lease {
  readonly commit: number;
  readonly ttlMs: number;
  readonly where: string;
}

/**
 * What only the whole of what was read forbids. At some places two are on call: each may leave if it sees
 * the other stay. Other places are empty spans: whoever finds one empty takes a seat there. Of those who
 * try at once, each with a key of its own, one may succeed. Whoever only checks what is written lets all
 * of them through; whoever checks keys and not spans misses the seats. A few seats are given for a while:
 * nobody gets one before the last lease has ended, by commit timestamps.
 */
export class WriteSkewLoad implements Load {
  readonly name = 'write-skew';
  readonly splitKeys = [
    'w/skew/empty/',
    ...LEASED,
    ...Array.from({ length: SEATS }, (_, at) => `w/skew/on-call/${at}/`),
  ];
  readonly #places = new Map<string, Place>();
  readonly #leases: Lease[] = [];
  readonly #seen: { readonly place: Place; readonly count: number; readonly where: string }[] = [];

  async layOut(_client: LoadClient): Promise<void> {
    // Who is on call is written down nowhere: it is the absence of a leave.
  }

  async step(caller: Caller): Promise<void> {
    if (caller.rng.chance(LEASED_SHARE)) {
      await this.#lease(caller);
      return;
    }
    const place = this.#placeOf(caller);
    if (caller.rng.chance(0.2)) {
      await this.#look(caller, place);
      return;
    }
    const seat = caller.rng.integer(SEATS);
    const outcome = await caller.attempt('transaction', () =>
      caller.rng.chance(0.75) ? this.#take(caller, place, seat) : this.#takeAtOnce(caller, place, seat),
    );
    if (outcome.type !== 'ok' || outcome.value)
      place.takers.push({ outcome: recordedOutcome(outcome), where: whereOf(caller, outcome) });
    processAfter(caller, outcome);
  }

  #placeOf(caller: Caller): Place {
    const number = Math.floor(caller.nowMs() / PLACE_MS);
    const kind = number % 2 === 0 ? 'on-call' : 'empty';
    const name = String(number);
    const known = this.#places.get(name);
    if (known !== undefined) return known;
    const place: Place = { name, kind, takers: [] };
    this.#places.set(name, place);
    return place;
  }

  /** Answers whether it was free. */
  async #take(caller: Caller, place: Place, seat: number): Promise<boolean> {
    const isScanned = caller.rng.chance(0.5);
    const { value } = await caller.client.transaction('serializable', async (tx) => {
      if ((await takenOf(tx, place, isScanned)) > 0) return false;
      tx.put(keyOf(place, seat, caller.process), 'taken');
      return true;
    });
    return value;
  }

  /** The same in one call, which knows keys and no spans: places with fixed keys alone. */
  async #takeAtOnce(caller: Caller, place: Place, seat: number): Promise<boolean> {
    if (place.kind === 'empty') return this.#take(caller, place, seat);
    const { succeeded } = await caller.client.execute({
      conditions: seatKeys(place).map((key) => ({ key, value: undefined })),
      then: [{ f: 'put', key: keyOf(place, seat, caller.process), value: 'taken' }],
      otherwise: [],
    });
    return succeeded;
  }

  /** Takes a seat for a while if all are free. */
  async #lease(caller: Caller): Promise<void> {
    const key = caller.rng.pick(LEASED);
    const ttlMs = Math.ceil(caller.rng.between(...LEASE_MS));
    const isAtOnce = caller.rng.chance(0.4);
    const outcome = await caller.attempt('transaction', async () => {
      if (isAtOnce) {
        const conditions = LEASED.map((each) => ({ key: each, value: undefined }));
        const then = [{ f: 'put', key, value: caller.process, ttlMs } as const];
        const { succeeded, commit } = await caller.client.execute({ conditions, then, otherwise: [] });
        return succeeded ? commit : undefined;
      }
      const { value, commit } = await caller.client.transaction('serializable', async (tx) => {
        if ((await tx.getMany(LEASED)).some((holder) => holder !== undefined)) return false;
        tx.put(key, caller.process, ttlMs);
        return true;
      });
      return value ? commit : undefined;
    });
    if (outcome.type === 'ok' && outcome.value !== undefined)
      this.#leases.push({ commit: outcome.value, ttlMs, where: whereOf(caller, outcome) });
    processAfter(caller, outcome);
  }

  async #look(caller: Caller, place: Place): Promise<boolean> {
    const outcome = await caller.read(async () => {
      if (place.kind === 'empty') return (await caller.client.scan(spanOf(spanPrefixOf(place)))).rows.size;
      return (await caller.client.snapshot(seatKeys(place))).rows.size;
    });
    if (outcome.type !== 'ok') return false;
    this.#seen.push({ place, count: outcome.value, where: whereOf(caller, outcome) });
    return true;
  }

  async finalReads(caller: Caller): Promise<readonly string[]> {
    const failed: string[] = [];
    for (const place of this.#places.values()) {
      if (!(await this.#look(caller, place))) failed.push(place.name);
    }
    return failed;
  }

  judge(): readonly Fault[] {
    const nameOf = ({ kind }: Place): string => (kind === 'empty' ? 'phantom' : 'write-skew');
    const faults = leaseFaults(this.#leases);
    for (const place of this.#places.values()) {
      const succeeded = place.takers.filter(({ outcome }) => outcome === 'ok');
      if (succeeded.length < 2) continue;
      const who = succeeded.map(({ where }) => where).join(' and ');
      faults.push({ name: nameOf(place), message: `${who} both found place ${place.name} free` });
    }
    const last = new Map(this.#seen.map((sight) => [sight.place, sight]));
    for (const { place, count, where } of this.#seen) {
      if (count > 1)
        faults.push({ name: nameOf(place), message: `${where} saw ${count} at place ${place.name}` });
    }
    for (const { place, count } of last.values()) {
      const [taker] = place.takers.filter(({ outcome }) => outcome === 'ok');
      const mayBe = place.takers.some(({ outcome }) => outcome !== 'fail');
      if (taker !== undefined && count === 0)
        faults.push({
          name: 'lost',
          message: `${taker.where} took place ${place.name}, and nobody is there`,
        });
      if (!mayBe && count > 0)
        faults.push({
          name: 'failed-and-there',
          message: `somebody is at place ${place.name}, and all had failed`,
        });
    }
    return faults;
  }
}

function leaseFaults(leases: readonly Lease[]): Fault[] {
  const faults: Fault[] = [];
  let last: Lease | undefined;
  for (const lease of leases.toSorted((a, b) => a.commit - b.commit)) {
    if (last !== undefined && lease.commit < last.commit + last.ttlMs * TIMESTAMP_LOGICAL_STEPS) {
      const ms = (lease.commit - last.commit) / TIMESTAMP_LOGICAL_STEPS;
      const before = `${ms.toFixed(2)} ms after ${last.where} had it for ${last.ttlMs} ms`;
      const message = `${lease.where} took a seat ${before}`;
      faults.push({ name: 'overlapping-leases', message });
    }
    last = lease;
  }
  return faults;
}

function spanPrefixOf({ name }: Place): string {
  return `w/skew/empty/${name}/`;
}

/** Of places with fixed keys. */
function seatKeys({ name }: Place): string[] {
  return Array.from({ length: SEATS }, (_, at) => `w/skew/on-call/${at}/${name}`);
}

function keyOf(place: Place, seat: number, process: string): string {
  if (place.kind === 'on-call') return seatKeys(place)[seat] as string;
  return `${spanPrefixOf(place)}${seat}/${process}`;
}

/** How many have written at the place. */
async function takenOf(tx: LoadTransaction, place: Place, isScanned: boolean): Promise<number> {
  if (place.kind === 'empty') return (await tx.scan(spanOf(spanPrefixOf(place)))).size;
  const keys = seatKeys(place);
  if (!isScanned) return (await tx.getMany(keys)).filter((value) => value !== undefined).length;
  let count = 0;
  for (const key of keys) count += (await tx.scan({ start: key, end: `${key}!` })).size;
  return count;
}
