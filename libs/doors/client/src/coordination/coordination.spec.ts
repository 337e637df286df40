import { describe, expect, test } from '@jest/globals';
import { CairnError } from '@cairn/base';
import {
  FakeCoordinationCluster,
  NO_FAULTS,
  PausableClock,
  SeededRng,
} from '../../test/fake-coordination.js';
import { VirtualClock } from '../../test/virtual.js';
import { Election, type Leader } from './election.js';
import { coordinationReasonOf } from './errors.js';
import type { CoordinationParts } from './lease.js';
import type { Lock, LockOptions } from './lock.js';
import { acquireLock } from './open.js';
import { leaseKeys } from './record.js';
import { ChangeWaiter } from './waiting.js';

const TTL_MS = 1_000;
const KEYS = leaseKeys('lock', 'x');

interface Scene {
  readonly clock: VirtualClock;
  readonly cluster: FakeCoordinationCluster;
  process(): { readonly clock: PausableClock; readonly parts: CoordinationParts };
}

function scene(seed = 1): Scene {
  const clock = new VirtualClock();
  const cluster = new FakeCoordinationCluster(clock, new SeededRng(seed));
  let processes = 0;
  return {
    clock,
    cluster,
    process: () => {
      processes += 1;
      const own = new PausableClock(clock);
      const rng = new SeededRng(seed * 1_000 + processes);
      const store = cluster.storeOf(own);
      const waiter = new ChangeWaiter(store, own, rng);
      return { clock: own, parts: { store, waiter, clock: own, rng } };
    },
  };
}

/** The result of a call for which time has to pass. */
async function after<Result>(clock: VirtualClock, ms: number, promise: Promise<Result>): Promise<Result> {
  const settled = promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
  await clock.advance(ms);
  const result = await settled;
  if ('error' in result) throw result.error;
  return result.value;
}

function take(parts: CoordinationParts, options: LockOptions = {}): Promise<Lock> {
  return acquireLock(parts, 'x', { ttlMs: TTL_MS, ...options });
}

async function errorOf(promise: Promise<unknown>): Promise<CairnError> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!CairnError.is(error)) throw new Error(`no such error: ${String(error)}`);
  return error;
}

describe('a lock', () => {
  test('is kept by heartbeats, and is free at once when it is released', async () => {
    const { clock, cluster, process } = scene();
    const [one, other] = [process(), process()];
    const lock = await after(clock, 20, take(one.parts, { value: 'one' }));
    const waiting = take(other.parts, { waitMs: Infinity });
    await clock.advance(60_000);
    expect([lock.isHeld, lock.signal.aborted, cluster.grants.length]).toEqual([true, false, 1]);
    expect(lock.remainingMs).toBeGreaterThan(TTL_MS / 2);
    expect(await after(clock, 20, lock.release())).toBe(true);
    expect([lock.isHeld, lock.remainingMs, lock.signal.aborted]).toEqual([false, 0, false]);
    // It is heard of: nobody looks at it only now and then.
    const next = await after(clock, 60, waiting);
    expect(next.token).toBe(lock.token + 1n);
    expect(await after(clock, 20, lock.release())).toBe(false);
    expect(next.isHeld).toBe(true);
  });

  test('is refused with who has it when the wait is over', async () => {
    const { clock, process } = scene();
    await after(clock, 20, take(process().parts, { value: 'worker 7' }));
    const error = await errorOf(after(clock, 20, take(process().parts, { waitMs: 0 })));
    expect([error.code, coordinationReasonOf(error)]).toEqual(['LOCKED', 'held']);
    expect(error.message).toContain('"worker 7"');
    const later = await errorOf(after(clock, 3_000, take(process().parts, { waitMs: 2_000 })));
    expect(later.code).toBe('LOCKED');
  });

  test('is waited for by looking, ever more seldom, where changes cannot be heard of', async () => {
    const { clock, cluster, process } = scene();
    cluster.isMute = true;
    const lock = await after(clock, 20, take(process().parts));
    const waiting = take(process().parts, { waitMs: Infinity });
    await clock.advance(60_000);
    expect(cluster.watches).toBeLessThan(100);
    await after(clock, 20, lock.release());
    expect((await after(clock, 1_100, waiting)).token).toBe(lock.token + 1n);
  });

  test('is not asked for while its holder lives and gives signs of life', async () => {
    const { clock, cluster, process } = scene();
    await after(clock, 20, take(process().parts));
    const waiting = errorOf(take(process().parts, { waitMs: 55_000 }));
    await clock.advance(60_000);
    expect((await waiting).code).toBe('LOCKED');
    // Once in each time to live, as nobody is told that it has passed.
    expect(cluster.watches).toBeLessThan(100);
  });

  test('of a holder that is gone is free after its time to live', async () => {
    const { clock, process } = scene();
    const dead = process();
    const lock = await after(clock, 20, take(dead.parts));
    dead.clock.isPaused = true;
    const waiting = take(process().parts, { waitMs: Infinity });
    const next = await after(clock, TTL_MS + 1_100, waiting);
    expect([next.isHeld, lock.isHeld]).toEqual([true, false]);
  });

  test('is lost at once after a pause, before any timer, and cannot be used any more', async () => {
    const { clock, process } = scene();
    const { clock: own, parts } = process();
    const lock = await after(clock, 20, take(parts));
    own.isPaused = true;
    await clock.advance(TTL_MS * 0.95);
    expect([lock.isHeld, lock.signal.aborted]).toEqual([false, true]);
    expect(coordinationReasonOf(lock.signal.reason)).toBe('lost');
    expect(() => lock.check()).toThrow('was lost');
    own.resume();
    await clock.advance(5_000);
    expect(lock.isHeld).toBe(false);
    expect(await after(clock, 20, lock.release())).toBe(false);
  });

  test('is lost when the store cannot be reached, before the store gives it away', async () => {
    const { clock, cluster, process } = scene();
    const lock = await after(clock, 20, take(process().parts));
    let lostAtMs = 0;
    lock.signal.addEventListener('abort', () => (lostAtMs = clock.nowMs()));
    cluster.faults = { ...NO_FAULTS, refused: 1 };
    for (let step = 0; step < 300 && cluster.holding(KEYS).holder !== undefined; step += 1) {
      await clock.advance(10);
    }
    expect(lostAtMs).toBeGreaterThan(0);
    expect(lostAtMs).toBeLessThan(clock.nowMs());
  });

  test('is lost when its row is gone, with the next heartbeat', async () => {
    const { clock, cluster, process } = scene();
    const { parts } = process();
    const lock = await after(clock, 20, take(parts));
    const { holder } = cluster.holding(KEYS);
    if (holder === undefined) throw new Error('somebody holds it');
    await after(clock, 20, parts.store.remove(KEYS, holder, {}));
    await clock.advance(TTL_MS / 3 + 20);
    expect(lock.isHeld).toBe(false);
    expect(() => lock.check()).toThrow('its time was over');
  });

  test('is found to be had when the answer was lost', async () => {
    const { clock, cluster, process } = scene();
    cluster.faults = { ...NO_FAULTS, lostAnswers: 1 };
    const waiting = take(process().parts, { waitMs: 5_000 });
    await clock.advance(50);
    cluster.faults = NO_FAULTS;
    const lock = await after(clock, 2_000, waiting);
    expect([lock.isHeld, lock.token, cluster.grants.length]).toEqual([true, 1n, 1]);
  });

  test('is not waited for after the signal', async () => {
    const { clock, process } = scene();
    await after(clock, 20, take(process().parts));
    const aborter = new AbortController();
    const waiting = errorOf(take(process().parts, { waitMs: Infinity, signal: aborter.signal }));
    await clock.advance(500);
    aborter.abort(new Error('enough'));
    await clock.advance(5);
    expect((await waiting).code).toBe('CANCELLED');
    const late = errorOf(take(process().parts, { signal: aborter.signal }));
    await clock.advance(5);
    expect((await late).code).toBe('CANCELLED');
  });

  test.each([
    ['', {}, 'name'],
    ['a/b', {}, 'name'],
    ['a\nb', {}, 'name'],
    ['x'.repeat(513), {}, 'name'],
    ['\ud800', {}, 'name'],
    ['x', { ttlMs: 499 }, 'ttlMs'],
    ['x', { ttlMs: 1_000.5 }, 'ttlMs'],
    ['x', { ttlMs: 24 * 3_600_000 + 1 }, 'ttlMs'],
    ['x', { waitMs: -1 }, 'waitMs'],
    ['x', { waitMs: NaN }, 'waitMs'],
    ['x', { value: 'v'.repeat(16_385) }, 'value'],
  ])('called %j with %j is refused', async (name, options, field) => {
    const error = await errorOf(acquireLock(scene().process().parts, name, options));
    expect([error.code, error.message.split(' ')[0]]).toEqual(['INVALID_ARGUMENT', field]);
  });
});

describe('locks under faults', () => {
  const FAULTS = {
    ...{ latencyMsMax: 120, refused: 0.1, lostRequests: 0.08, lateRequests: 0.05, lostAnswers: 0.1 },
  };

  interface Process {
    readonly clock: PausableClock;
    lock: Lock | undefined;
  }

  /** Acquires, writes under guard, releases, and begins anew. */
  async function live({ cluster, process }: Scene, seed: number, processes: Process[]): Promise<void> {
    const { clock, parts } = process();
    const random = new SeededRng(seed);
    const self: Process = { clock, lock: undefined };
    processes.push(self);
    const rest = (ms: number): Promise<void> => new Promise((resolve) => void clock.setTimer(ms, resolve));
    const attempt = async (): Promise<void> => {
      const lock = await take(parts, { waitMs: 3_000 });
      self.lock = lock;
      try {
        for (let write = 0; write < 10 && lock.isHeld; write += 1) {
          // Between the look at the lock and the write anything may happen.
          await rest(random.next() * 150);
          await cluster.writeGuarded(clock, KEYS, lock.token);
        }
      } finally {
        await lock.release();
      }
    };
    for (;;) {
      await attempt().catch((error: unknown) => {
        if (!CairnError.is(error)) throw error;
      });
      await rest(random.next() * 300);
    }
  }

  test.each(Array.from({ length: 16 }, (_, at) => at + 1))(
    'are held by one at a time, in the order of their tokens: seed %d',
    async (seed) => {
      const all = scene(seed);
      const random = new SeededRng(seed + 77);
      const processes: Process[] = [];
      let failure: unknown;
      all.cluster.rate = 0.95 + random.next() * 0.14;
      all.cluster.faults = FAULTS;
      for (let at = 0; at < 3; at += 1) {
        live(all, seed * 10 + at, processes).catch((error: unknown) => (failure = error));
      }
      for (let step = 0; step < 3_000; step += 1) {
        await all.clock.advance(10);
        const believers = processes.filter(({ lock }) => lock?.isHeld === true);
        expect(believers.length).toBeLessThanOrEqual(1);
        const token = believers[0]?.lock?.token;
        if (token !== undefined) {
          const { holder, token: last } = all.cluster.holding(KEYS);
          expect([last, holder?.session]).toEqual([
            token,
            all.cluster.grants.find((grant) => grant.token === token)?.session,
          ]);
        }
        const one = processes[random.integer(processes.length)];
        if (one === undefined || random.next() > 0.02) continue;
        if (one.clock.isPaused) one.clock.resume();
        else one.clock.isPaused = true;
      }
      expect(failure).toBeUndefined();
      const tokens = all.cluster.grants.map(({ token }) => token);
      expect(tokens.every((token, at) => at === 0 || token > (tokens[at - 1] ?? 0n))).toBe(true);
      const { written } = all.cluster;
      expect(new Set(written).size).toBeGreaterThan(1);
      expect(written.every((token, at) => at === 0 || token >= (written[at - 1] ?? 0n))).toBe(true);
      // When all is well again, somebody gets it.
      all.cluster.faults = NO_FAULTS;
      for (const { clock } of processes) clock.resume();
      const before = all.cluster.grants.length;
      await all.clock.advance(15_000);
      expect(all.cluster.grants.length).toBeGreaterThan(before + 3);
    },
  );
});

describe('an election', () => {
  function election(parts: CoordinationParts): Election {
    return new Election(parts, 'x', { ttlMs: TTL_MS });
  }

  test('has one leader at a time, who says what it wants', async () => {
    const { clock, process } = scene();
    const [one, other] = [process(), process()];
    expect(await after(clock, 20, election(other.parts).leader())).toBeUndefined();
    const first = await after(clock, 20, election(one.parts).campaign('a:1'));
    const campaign = election(other.parts).campaign('b:2');
    expect(await after(clock, 20, election(other.parts).leader())).toEqual({ value: 'a:1', token: 1n });
    await after(clock, 20, first.proclaim('a:9'));
    expect([first.value, first.isLeader]).toEqual(['a:9', true]);
    await clock.advance(10_000);
    expect(await after(clock, 20, election(other.parts).leader())).toEqual({ value: 'a:9', token: 1n });
    expect(await after(clock, 20, first.resign())).toBe(true);
    const second = await after(clock, 1_100, campaign);
    expect([second.token, second.isLeader, first.isLeader]).toEqual([2n, true, false]);
    await expect(after(clock, 20, first.proclaim('late'))).rejects.toThrow('given back');
    expect(second.guard()).toEqual({ key: 'election/x/token', value: '2' });
  });

  test('is not lost by a proclamation whose answer was lost, and ends with it all the same', async () => {
    const { clock, cluster, process } = scene();
    const leadership = await after(clock, 20, election(process().parts).campaign('old'));
    cluster.faults = { ...NO_FAULTS, lostAnswers: 1 };
    const proclaimed = errorOf(leadership.proclaim('new'));
    await clock.advance(50);
    cluster.faults = NO_FAULTS;
    await clock.advance(600);
    expect((await proclaimed).code).toBe('OUTCOME_UNKNOWN');
    await clock.advance(3_000);
    expect([leadership.isLeader, leadership.value]).toEqual([true, 'new']);
    expect(await after(clock, 20, leadership.resign())).toBe(true);
    expect(cluster.holding(leaseKeys('election', 'x')).holder).toBeUndefined();
  });

  test('refuses more proclamations at a time than it is ready to keep', async () => {
    const { clock, process } = scene();
    const leadership = await after(clock, 20, election(process().parts).campaign('0'));
    const all = Array.from({ length: 70 }, (_, at) =>
      leadership.proclaim(String(at)).then(
        () => 'done',
        (error: unknown) => (CairnError.is(error) ? error.code : 'other'),
      ),
    );
    const results = await after(clock, 2_000, Promise.all(all));
    expect(results.filter((each) => each === 'RESOURCE_EXHAUSTED')).toHaveLength(6);
    expect([leadership.isLeader, leadership.value]).toEqual([true, '63']);
  });

  test('is observed: who leads, what it says, and when nobody does', async () => {
    const { clock, cluster, process } = scene();
    const [one, watcher] = [process(), process()];
    const seen: (Leader | undefined)[] = [];
    const aborter = new AbortController();
    const watching = (async (): Promise<void> => {
      for await (const leader of election(watcher.parts).observe({ signal: aborter.signal }))
        seen.push(leader);
    })();
    const ended = errorOf(watching);
    await clock.advance(1_000);
    const leadership = await after(clock, 20, election(one.parts).campaign('a'));
    await clock.advance(2_000);
    await after(clock, 20, leadership.proclaim('b'));
    await clock.advance(2_000);
    cluster.faults = { ...NO_FAULTS, refused: 1 };
    await clock.advance(300);
    cluster.faults = NO_FAULTS;
    await after(clock, 20, leadership.resign());
    await clock.advance(2_000);
    aborter.abort();
    await clock.advance(10);
    expect((await ended).code).toBe('CANCELLED');
    expect(seen).toEqual([undefined, { value: 'a', token: 1n }, { value: 'b', token: 1n }, undefined]);
  });
});
