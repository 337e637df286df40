import { describe, expect, it } from '@jest/globals';
import { storeId } from '@cairn/base';
import { SimRng } from '@cairn/runtime-sim';
import fc from 'fast-check';

import { descriptorOf, errorOf, FakeCluster, RouterRig, type Interception } from './fake-cluster.testing.js';
import type { RoutedOperation } from './operation.js';
import { isWrite } from './operation.js';

const OPERATIONS = 300;
const KEYS = 'abcdefghijklmnopqrstuvwxyz';

/** Kills, hangs, leader changes, splits and a lost metadata service, in an order that the seed decides. */
class Chaos {
  readonly #rig: RouterRig;
  readonly #rng: SimRng;
  #nextRange = 10;

  constructor(rig: RouterRig, rng: SimRng) {
    this.#rig = rig;
    this.#rng = rng;
    rig.cluster.intercept = () => this.#answer();
  }

  step(): void {
    const { cluster } = this.#rig;
    const rng = this.#rng;
    const store = cluster.store(1 + rng.integer(3));
    const range = rng.pick(cluster.ranges);
    switch (rng.integer(8)) {
      case 0:
        store.kill();
        break;
      case 1:
        store.restart();
        break;
      case 2:
        store.hang();
        break;
      case 3:
        store.resume();
        break;
      case 4:
      case 5:
        range.leader = storeId(rng.integer(4));
        break;
      case 6:
        this.#split();
        break;
      default:
        cluster.isMetadataDown = rng.chance(0.3);
    }
  }

  /** Everything works again. */
  heal(): void {
    const { cluster } = this.#rig;
    cluster.isMetadataDown = false;
    cluster.intercept = () => undefined;
    for (const id of [1, 2, 3]) {
      cluster.store(id).restart();
      cluster.store(id).resume();
    }
    for (const range of cluster.ranges) range.leader = storeId(1 + this.#rng.integer(3));
  }

  #split(): void {
    const { cluster } = this.#rig;
    if (cluster.ranges.length >= 8) return;
    const at = KEYS[this.#rng.integer(KEYS.length)] as string;
    const holder = cluster.ranges.find(
      ({ descriptor }) =>
        Buffer.from(descriptor.startKey).toString() < at &&
        (descriptor.endKey.length === 0 || at < Buffer.from(descriptor.endKey).toString()),
    );
    if (holder === undefined) return;
    this.#nextRange += 1;
    cluster.split(holder.descriptor.rangeId, at, this.#nextRange);
  }

  #answer(): Interception {
    const rng = this.#rng;
    if (rng.chance(0.9)) return undefined;
    switch (rng.integer(5)) {
      case 0:
        return 'silent';
      case 1:
        return {
          error: errorOf('NOT_LEADER', { leaderStoreId: storeId(rng.integer(4)) }),
          applied: rng.chance(0.5),
        };
      case 2:
        return { error: errorOf('UNAVAILABLE', { retryAfterMs: rng.integer(30) }) };
      case 3:
        return { error: errorOf('RESOURCE_EXHAUSTED', { retryAfterMs: 5 }) };
      default:
        return { error: errorOf('RANGE_NOT_FOUND') };
    }
  }
}

interface Run {
  readonly rig: RouterRig;
  readonly started: RoutedOperation[];
  readonly cancelled: Set<RoutedOperation>;
}

async function runChaos(seed: number): Promise<Run> {
  const rng = new SimRng(seed);
  const cluster = new FakeCluster([descriptorOf(1, ['', 'm']), descriptorOf(2, ['m', ''])]);
  const rig = new RouterRig(cluster, { outstandingOpsPerStoreMax: 60 }, `router ${seed}`);
  await rig.ready();
  const chaos = new Chaos(rig, rng.fork('chaos'));
  const started: RoutedOperation[] = [];
  const cancelled = new Set<RoutedOperation>();
  while (started.length < OPERATIONS) {
    for (let burst = 1 + rng.integer(12); burst > 0; burst -= 1) {
      const name = `${KEYS[rng.integer(KEYS.length)] as string}${started.length}`;
      const timeoutMs = 50 + rng.integer(3_000);
      started.push(rng.chance(0.7) ? rig.put(name, timeoutMs) : rig.get(name, timeoutMs));
    }
    const victim = rng.pick(started);
    if (rng.chance(0.2) && victim.state !== 'done') {
      cancelled.add(victim);
      rig.router.cancel(victim);
    }
    if (rng.chance(0.5)) chaos.step();
    await rig.run(rng.integer(40));
  }
  await rig.run(1_000);
  chaos.heal();
  await rig.run(4_000);
  return { rig, started, cancelled };
}

describe('RequestRouter among random faults', () => {
  it('tells every operation once and in time, and has no write carried out twice', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 2 ** 31 - 1 }), async (seed) => {
        const { rig, started, cancelled } = await runChaos(seed);
        for (const operation of started) {
          if (cancelled.has(operation)) {
            expect(rig.told.some((each) => each.operation === operation)).toBe(false);
            continue;
          }
          const { error, atMs } = rig.outcomeOf(operation);
          // Deadlines are looked at every 25 ms.
          expect(atMs).toBeLessThanOrEqual(operation.deadlineMs + 25);
          const id = operation.request.requestId;
          const times = rig.cluster.applied.get(`${String(id?.client)}/${String(id?.sequence)}`) ?? 0;
          if (!isWrite(operation.request.op)) continue;
          expect(times).toBeLessThanOrEqual(1);
          if (error === undefined) expect(times).toBe(1);
          else if (error.code !== 'OUTCOME_UNKNOWN') expect([error.code, times]).toEqual([error.code, 0]);
        }
        expect([rig.router.openOperations, rig.router.leaderSearches]).toEqual([0, 0]);
        // Nothing is broken for good: the next operation of every range succeeds.
        const after = [...KEYS].map((name) => rig.put(name));
        await rig.run(1_500);
        expect(after.map((each) => rig.outcomeOf(each).error)).toEqual(after.map(() => undefined));
      }),
      { numRuns: 40, seed: 1 },
    );
  }, 60_000);
});
