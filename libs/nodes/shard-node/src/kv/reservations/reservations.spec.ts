/**
 * Goal: no two owners have a key that exclude each other, whoever waits is served in order and told when it
 * is its turn, and nothing is left over. Method: examples, and random commands that are compared with a model
 * that looks at everything each time.
 */
import { describe, expect, it } from '@jest/globals';
import { timestamp, type Timestamp } from '@cairn/base';
import { rowCacheKey, type RowCacheKey } from '@cairn/mvcc';
import { LockPolicy, LockStrength, WAITS_FOR_OWNERS_MAX, type ReserveCommand } from '@cairn/wire';
import fc from 'fast-check';

import { ReservationBudget, type ReservationLimits } from './reservation-budget.js';
import { excludes, PLACE_KEPT_MS, Reservations, type ReserveOutcome } from './reservations.js';

const { exclusive, keyShare, share } = LockStrength;
const { nowait, skipLocked, wait } = LockPolicy;
const LIMITS: ReservationLimits = {
  ...{ reservationsMax: 1_000, reservationWaitersMax: 1_000, reservationBytesMax: 10_000_000 },
};

const bytes = (text: string): Buffer => Buffer.from(text);
const keyOf = (text: string): RowCacheKey => rowCacheKey(bytes(text));

class Rig {
  nowMs = 0;
  readonly told: string[] = [];
  readonly budget: ReservationBudget;
  readonly state: Reservations;

  constructor(limits: Partial<ReservationLimits> = {}) {
    this.budget = new ReservationBudget({ ...LIMITS, ...limits });
    this.state = new Reservations(this.budget, {
      mayTake: (key, owner) => this.told.push(`${key}${owner}`),
    });
  }

  reserve(owner: number, keys: string, more: Partial<ReserveCommand> & { isHeld?: boolean } = {}): string {
    return textOf(this.ask(owner, keys, more));
  }

  ask(
    owner: number,
    keys: string,
    { isHeld = true, ...more }: Partial<ReserveCommand> & { isHeld?: boolean },
  ): ReserveOutcome {
    const command: ReserveCommand = {
      ...{ type: 'reserve', owner: timestamp(owner), strength: exclusive, keys: [...keys].map(bytes) },
      ...{ waitMs: 100, policy: wait, ttlMs: 10_000 },
      ...more,
    };
    return this.state.reserve(command, isHeld, this.nowMs);
  }

  release(owner: number, keys: string): string[] {
    this.state.release(timestamp(owner), [...keys].map(keyOf), this.nowMs);
    return this.told.splice(0);
  }

  after(ms: number): string[] {
    this.nowMs += ms;
    this.state.expire(this.nowMs);
    return this.told.splice(0);
  }

  get held(): readonly [reservations: number, waiters: number, bytes: number] {
    return [this.budget.reservations, this.budget.waiters, this.budget.bytes];
  }
}

/** `++-`: which keys are reserved; `+b:1,2`: one is, and b is not because of owners 1 and 2. */
function textOf(outcome: ReserveOutcome): string {
  switch (outcome.type) {
    case 'reserved':
      return outcome.isReserved.map((is) => (is ? '+' : '-')).join('');
    case 'waits':
      return `${'+'.repeat(outcome.kept)}${Buffer.from(outcome.key).toString()}:${outcome.owners.join()}`;
    case 'full':
      return `full of ${outcome.what}`;
  }
}

describe('Reservations', () => {
  it('give a key to one owner, and then to those that wait in the order in which they came', () => {
    const rig = new Rig();
    expect(rig.reserve(1, 'ab')).toBe('++');
    expect(rig.reserve(2, 'b')).toBe('b:1');
    expect(rig.reserve(3, 'cb')).toBe('+b:1,2');
    expect(rig.release(1, 'a')).toEqual([]);
    expect(rig.release(1, 'b')).toEqual(['b2']);
    expect(rig.reserve(3, 'b')).toBe('b:2');
    expect(rig.reserve(4, 'b', { policy: nowait })).toBe('b:3');
    expect(rig.reserve(2, 'b')).toBe('+');
    expect(rig.release(2, 'b')).toEqual(['b3']);
    expect(rig.reserve(3, 'cb')).toBe('++');
    expect(rig.release(3, 'bc')).toEqual([]);
    expect(rig.held).toEqual([0, 0, 0]);
    expect([rig.state.size, rig.state.waiting, rig.state.dueMs]).toEqual([0, 0, Infinity]);
  });

  it('share a key among those that do not change it, and let nobody past one that waits', () => {
    const rig = new Rig();
    expect(rig.reserve(1, 'a', { strength: share })).toBe('+');
    expect(rig.reserve(2, 'a', { strength: keyShare })).toBe('+');
    expect(rig.reserve(3, 'a')).toBe('a:1,2');
    expect(rig.reserve(4, 'a', { strength: share })).toBe('a:3');
    expect(rig.reserve(5, 'a', { strength: keyShare })).toBe('a:3');
    expect(rig.release(1, 'a')).toEqual([]);
    expect(rig.release(2, 'a')).toEqual(['a3']);
    expect(rig.reserve(3, 'a')).toBe('+');
    expect(rig.release(3, 'a')).toEqual(['a4', 'a5']);
    expect(rig.reserve(5, 'a', { strength: share })).toBe('+');
    expect(rig.reserve(4, 'a', { strength: share })).toBe('+');
  });

  it('let those go first that have a key and want more of it', () => {
    const rig = new Rig();
    for (const owner of [1, 2]) expect(rig.reserve(owner, 'a', { strength: share })).toBe('+');
    expect(rig.reserve(3, 'a')).toBe('a:1,2');
    expect(rig.reserve(2, 'a')).toBe('a:1');
    expect(rig.release(1, 'a')).toEqual(['a2']);
    expect(rig.reserve(2, 'a')).toBe('+');
    expect(rig.reserve(2, 'a', { strength: share })).toBe('+');
    expect(rig.reserve(4, 'a', { strength: share, policy: nowait })).toBe('a:2,3');
    expect(rig.release(2, 'a')).toEqual(['a3']);
    // Two that have it and want more: each in the way of the other, which only an abort ends.
    const both = new Rig();
    for (const owner of [1, 2]) both.reserve(owner, 'a', { strength: share });
    expect([both.reserve(1, 'a'), both.reserve(2, 'a')]).toEqual(['a:2', 'a:1']);
    expect(both.release(2, 'a')).toEqual(['a1']);
  });

  it('keep nothing that nowait took, and leave out what others have where that is asked', () => {
    const rig = new Rig();
    expect(rig.reserve(1, 'b', { strength: share })).toBe('+');
    expect(rig.reserve(2, 'b', { strength: share })).toBe('+');
    expect(rig.reserve(2, 'abc', { policy: nowait })).toBe('b:1');
    expect(rig.held[0]).toBe(2);
    expect(rig.reserve(3, 'a', { policy: nowait })).toBe('+');
    expect(rig.reserve(2, 'abc', { policy: skipLocked })).toBe('--+');
    expect(rig.held.slice(0, 2)).toEqual([4, 0]);
    // What it had before is as it was.
    expect(rig.release(1, 'b')).toEqual([]);
    expect(rig.reserve(3, 'b', { strength: share, policy: nowait })).toBe('+');
  });

  it('end by themselves, all of an owner at once, unless it comes again', () => {
    const rig = new Rig();
    rig.reserve(1, 'ab', { ttlMs: 100 });
    expect(rig.reserve(2, 'b')).toBe('b:1');
    expect(rig.after(90)).toEqual([]);
    rig.reserve(1, 'a', { ttlMs: 100 });
    expect(rig.after(90)).toEqual([]);
    expect(rig.state.inTheWay(keyOf('b'), 'update', timestamp(2), rig.nowMs)).toMatchObject({ owner: 1 });
    expect(rig.after(20)).toEqual(['b2']);
    expect(rig.state.inTheWay(keyOf('b'), 'update', timestamp(3), rig.nowMs)).toBeUndefined();
    expect(rig.held.slice(0, 2)).toEqual([0, 1]);
  });

  it('keep the place of a question that was answered, for a while', () => {
    const rig = new Rig();
    rig.reserve(1, 'a');
    rig.reserve(2, 'a', { isHeld: false });
    rig.reserve(3, 'a');
    rig.after(PLACE_KEPT_MS - 20);
    expect(rig.reserve(2, 'a', { isHeld: false })).toBe('a:1');
    rig.after(PLACE_KEPT_MS - 20);
    expect(rig.release(1, 'a')).toEqual(['a2']);
    expect(rig.reserve(3, 'a')).toBe('a:2');
    expect(rig.after(40)).toEqual(['a3']);
    rig.state.keepPlace(keyOf('a'), timestamp(3), rig.nowMs + PLACE_KEPT_MS);
    rig.state.keepPlace(keyOf('a'), timestamp(9), rig.nowMs + PLACE_KEPT_MS);
    expect(rig.after(PLACE_KEPT_MS)).toEqual([]);
    expect(rig.held).toEqual([0, 0, 0]);
  });

  it('are left by those that wait no more', () => {
    const rig = new Rig();
    rig.reserve(1, 'a', { strength: share });
    rig.reserve(2, 'a');
    rig.reserve(3, 'a', { strength: share });
    rig.state.keepPlace(keyOf('a'), timestamp(2), rig.nowMs);
    expect(rig.after(0)).toEqual(['a3']);
    rig.state.keepPlace(keyOf('b'), timestamp(2), rig.nowMs);
  });

  it('are in the way of the writes of others', () => {
    const rig = new Rig();
    const { state } = rig;
    const meets = (key: string, change: 'update' | 'delete', owner = 0): Timestamp | undefined =>
      state.inTheWay(keyOf(key), change, timestamp(owner), rig.nowMs)?.owner;
    rig.reserve(1, 'k', { strength: keyShare });
    rig.reserve(1, 's', { strength: share });
    rig.reserve(1, 'x');
    rig.reserve(2, 'k', { strength: keyShare });
    expect(['k', 's', 'x', 'n'].map((key) => meets(key, 'update'))).toEqual([undefined, 1, 1, undefined]);
    expect(['k', 's', 'x', 'n'].map((key) => meets(key, 'delete'))).toEqual([1, 1, 1, undefined]);
    expect(['k', 's', 'x', 'n'].map((key) => meets(key, 'delete', 1))).toEqual([
      ...[2, undefined, undefined, undefined],
    ]);
    const within = (start: string, end?: string): string[] =>
      state.inTheWayIn(keyOf(start), end === undefined ? undefined : keyOf(end), 0).map(({ key }) => key);
    expect([within('a'), within('l', 'x'), within('y')]).toEqual([['k', 's', 'x'], ['s'], []]);
    for (let at = 0; at < 100; at += 1) rig.reserve(3, `${String.fromCharCode(200 + at)}`);
    expect(within('a')).toHaveLength(64);
  });

  it('are bounded, and take nothing where there is no room', () => {
    const rig = new Rig({ reservationsMax: 3, reservationWaitersMax: 2 });
    expect(rig.reserve(1, 'ab')).toBe('++');
    expect(rig.reserve(2, 'cde')).toBe('full of reservations');
    expect(rig.held.slice(0, 2)).toEqual([2, 0]);
    expect(rig.reserve(2, 'ca')).toBe('+a:1');
    expect(rig.reserve(3, 'a')).toBe('a:1,2');
    expect(rig.reserve(4, 'a')).toBe('full of waiters');
    expect(rig.reserve(3, 'a')).toBe('a:1,2');
    rig.state.clear();
    expect(rig.held).toEqual([0, 0, 0]);
    const small = new Rig({ reservationBytesMax: 1_000 });
    expect(small.reserve(1, 'a')).toBe('+');
    expect(small.reserve(1, 'b')).toBe('full of reservations');
    expect(small.reserve(2, 'a')).toBe('a:1');
  });

  it('name no more owners than an answer has room for, the nearest in front among them', () => {
    const rig = new Rig();
    for (let owner = 1; owner <= 100; owner += 1) rig.reserve(owner, 'a', { strength: share });
    const outcome = rig.ask(200, 'a', {});
    expect(outcome.type === 'waits' && outcome.owners).toHaveLength(WAITS_FOR_OWNERS_MAX);
    rig.reserve(201, 'b');
    for (let owner = 300; owner < 400; owner += 1) rig.reserve(owner, 'b');
    expect(rig.reserve(500, 'b')).toBe('b:201,399');
  });

  it('forget the keys that went elsewhere', () => {
    const rig = new Rig();
    rig.reserve(1, 'amz');
    rig.reserve(2, 'm');
    rig.state.keepOnly(keyOf('b'), keyOf('n'));
    expect(rig.held.slice(0, 2)).toEqual([1, 1]);
    rig.state.keepOnly(keyOf('b'), keyOf('c'));
    expect(rig.held).toEqual([0, 0, 0]);
    expect(rig.told).toEqual([]);
    rig.reserve(1, 'z');
    rig.state.keepOnly(keyOf('a'), undefined);
    expect(rig.held[0]).toBe(1);
  });
});

interface ModelPlace {
  readonly owner: number;
  readonly strength: LockStrength;
  readonly isUpgrade: boolean;
  untilMs: number;
}

/** The same rules, without any index. */
class Model {
  nowMs = 0;
  readonly holders = new Map<string, Map<number, LockStrength>>();
  readonly queues = new Map<string, ModelPlace[]>();
  readonly untilMs = new Map<number, number>();

  isBlocked(key: string, owner: number, strength: LockStrength): boolean {
    for (const [holder, held] of this.of(key)) {
      if (holder !== owner && excludes(held, strength)) return true;
    }
    return this.inFront(key, owner).some((place) => excludes(place.strength, strength));
  }

  inFront(key: string, owner: number): ModelPlace[] {
    const queue = this.queue(key);
    const at = queue.findIndex((place) => place.owner === owner);
    if (at >= 0) return queue.slice(0, at);
    return this.of(key).has(owner) ? queue.filter(({ isUpgrade }) => isUpgrade) : queue;
  }

  of(key: string): Map<number, LockStrength> {
    const known = this.holders.get(key) ?? new Map<number, LockStrength>();
    this.holders.set(key, known);
    return known;
  }

  queue(key: string): ModelPlace[] {
    const known = this.queues.get(key) ?? [];
    this.queues.set(key, known);
    return known;
  }

  leave(key: string, owner: number): void {
    this.queues.set(
      key,
      this.queue(key).filter((place) => place.owner !== owner),
    );
  }

  reserve(step: Extract<Step, { type: 'reserve' }>): string {
    const { isHeld, keys, owner, policy, strength, ttlMs } = step;
    this.untilMs.set(owner, this.nowMs + ttlMs);
    const before = new Map([...keys].map((key) => [key, this.of(key).get(owner)]));
    let text = '';
    for (const key of keys) {
      const has = this.of(key).get(owner) ?? 0;
      if (has >= strength) {
        text += '+';
      } else if (!this.isBlocked(key, owner, strength)) {
        this.of(key).set(owner, strength);
        this.leave(key, owner);
        text += '+';
      } else if (policy === skipLocked) {
        text += '-';
      } else if (policy === wait) {
        this.#wait(key, {
          owner,
          strength,
          isUpgrade: has > 0,
          untilMs: isHeld ? Infinity : this.nowMs + PLACE_KEPT_MS,
        });
        return `${text}${key}:`;
      } else {
        for (const [taken, was] of before) {
          if (was === undefined) this.of(taken).delete(owner);
          else this.of(taken).set(owner, was);
        }
        return `${key}:`;
      }
    }
    return text;
  }

  #wait(key: string, place: ModelPlace): void {
    const queue = this.queue(key);
    const known = queue.find(({ owner }) => owner === place.owner);
    if (known !== undefined && known.strength >= place.strength && known.isUpgrade === place.isUpgrade) {
      known.untilMs = place.untilMs;
      return;
    }
    this.leave(key, place.owner);
    const left = this.queue(key);
    const at = place.isUpgrade ? left.filter(({ isUpgrade }) => isUpgrade).length : left.length;
    left.splice(at, 0, place);
  }

  tick(ms: number): void {
    this.nowMs += ms;
    for (const [owner, untilMs] of this.untilMs) {
      if (untilMs <= this.nowMs) for (const holders of this.holders.values()) holders.delete(owner);
    }
    for (const [key, queue] of this.queues) {
      this.queues.set(
        key,
        queue.filter(({ untilMs }) => untilMs > this.nowMs),
      );
    }
  }
}

type Step =
  | {
      readonly type: 'reserve';
      readonly owner: number;
      readonly keys: readonly string[];
      readonly strength: LockStrength;
      readonly policy: LockPolicy;
      readonly isHeld: boolean;
      readonly ttlMs: number;
    }
  | { readonly type: 'release'; readonly owner: number; readonly keys: readonly string[] }
  | { readonly type: 'keep'; readonly owner: number; readonly key: string }
  | { readonly type: 'tick'; readonly ms: number };

const KEYS = ['a', 'b', 'c'];
const owner = fc.integer({ min: 1, max: 5 });
const keys = fc.uniqueArray(fc.constantFrom(...KEYS), { minLength: 1 });
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        ...{ type: fc.constant('reserve' as const), owner, keys, isHeld: fc.boolean() },
        strength: fc.constantFrom(...Object.values(LockStrength)),
        policy: fc.constantFrom(wait, wait, nowait, skipLocked),
        ttlMs: fc.constantFrom(40, 400, 4_000),
      }),
    },
    { weight: 3, arbitrary: fc.record({ type: fc.constant('release' as const), owner, keys }) },
    {
      weight: 1,
      arbitrary: fc.record({
        ...{ type: fc.constant('keep' as const), owner, key: fc.constantFrom(...KEYS) },
      }),
    },
    // Multiples of twice the step in which what is over is looked for.
    {
      weight: 1,
      arbitrary: fc.record({ type: fc.constant('tick' as const), ms: fc.constantFrom(20, 200, 2_000) }),
    },
  ),
  { maxLength: 80 },
);

function carryOut(step: Step, rig: Rig, model: Model): void {
  switch (step.type) {
    case 'reserve': {
      const outcome = rig.ask(step.owner, step.keys.join(''), {
        ...{ strength: step.strength, policy: step.policy, isHeld: step.isHeld, ttlMs: step.ttlMs },
      });
      const wanted = model.reserve(step);
      expect(textOf(outcome).replace(/:.*/, ':')).toBe(wanted);
      if (outcome.type === 'waits') expectInTheWay(outcome, step, model);
      return;
    }
    case 'release':
      rig.state.release(timestamp(step.owner), step.keys.map(keyOf), rig.nowMs);
      for (const key of step.keys) {
        model.of(key).delete(step.owner);
        model.leave(key, step.owner);
      }
      return;
    case 'keep': {
      const keptUntilMs = rig.nowMs + PLACE_KEPT_MS;
      rig.state.keepPlace(keyOf(step.key), timestamp(step.owner), keptUntilMs);
      const place = model.queue(step.key).find((one) => one.owner === step.owner);
      if (place !== undefined) place.untilMs = keptUntilMs;
      return;
    }
    case 'tick':
      rig.nowMs += step.ms;
      rig.state.expire(rig.nowMs);
      model.tick(step.ms);
  }
}

/** Somebody is named, and nobody who is not in the way. */
function expectInTheWay(
  outcome: Extract<ReserveOutcome, { type: 'waits' }>,
  step: Extract<Step, { type: 'reserve' }>,
  model: Model,
): void {
  const key = Buffer.from(outcome.key).toString();
  const inTheWay = new Set<number>();
  for (const [holder, held] of model.of(key)) {
    if (holder !== step.owner && excludes(held, step.strength)) inTheWay.add(holder);
  }
  for (const place of model.inFront(key, step.owner)) {
    if (excludes(place.strength, step.strength)) inTheWay.add(place.owner);
  }
  expect(outcome.owners.length).toBeGreaterThan(0);
  for (const one of outcome.owners) expect(inTheWay).toContain(one);
}

function expectTheSame(rig: Rig, model: Model): void {
  let [reservations, waiters] = [0, 0];
  for (const key of KEYS) {
    const holders = [...model.of(key)];
    reservations += holders.length;
    for (const [one, held] of holders) {
      for (const [other, also] of holders) expect(one !== other && excludes(held, also)).toBe(false);
    }
    const queue = model.queue(key);
    waiters += queue.length;
    for (const place of queue) {
      if (model.isBlocked(key, place.owner, place.strength)) continue;
      expect(rig.told).toContain(`${key}${place.owner}`);
    }
  }
  expect(rig.held.slice(0, 2)).toEqual([reservations, waiters]);
  expect([rig.state.size, rig.state.waiting]).toEqual([reservations, waiters]);
  expect(rig.held[2] > 0).toBe(reservations + waiters > 0);
}

describe('random commands to reserve keys', () => {
  it('come to what the rules say, and whoever may have a key is told', () => {
    fc.assert(
      fc.property(steps, (list) => {
        const [rig, model] = [new Rig(), new Model()];
        for (const step of list) {
          carryOut(step, rig, model);
          expectTheSame(rig, model);
        }
        rig.state.clear();
        expect(rig.held).toEqual([0, 0, 0]);
      }),
      { numRuns: 1_000 },
    );
  });

  it('leave nobody waiting for ever where those that have the keys give them back', () => {
    fc.assert(
      fc.property(steps, (list) => {
        const [rig, model] = [new Rig(), new Model()];
        for (const step of list) carryOut(step, rig, model);
        // Who waits asks for that key only: what stands for an abort of all that has keys.
        const waiting = KEYS.flatMap((key) => model.queue(key).map((place) => ({ key, ...place })));
        for (const one of [1, 2, 3, 4, 5]) {
          const held = KEYS.filter((key) => model.of(key).has(one));
          rig.state.release(timestamp(one), held.map(keyOf), rig.nowMs);
          for (const { key, owner: other, strength } of waiting) {
            if (other === one && held.includes(key)) rig.ask(one, key, { strength });
          }
        }
        let rounds = 0;
        while (rig.state.waiting > 0) {
          rounds += 1;
          expect(rounds).toBeLessThan(20);
          for (const { key, owner: one, strength } of waiting) {
            if (rig.reserve(one, key, { strength, policy: wait }) === '+') rig.release(one, key);
          }
        }
      }),
    );
  });
});
