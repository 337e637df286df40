import { describe, expect, it } from '@jest/globals';
import { CairnError } from '@cairn/base';
import { SimRng } from '@cairn/runtime-sim';

import type { ChangeStreams } from './change-streams.js';
import { FakeRanges, type FakeTransaction } from './fake-ranges.testing.js';
import type { StreamLimits } from './limits.js';
import { comparePositions } from './positions.js';
import { fromTimestamp, fromToken, optionsOf, streamsOf, toldBy, type Told } from './rig.testing.js';
import { textOf } from './spans.js';
import type { Watch, WatchFrom } from './types.js';

const KEYS = Array.from({ length: 24 }, (_, at) => `k${String(at).padStart(2, '0')}`);
const EDGES = ['k03', 'k07x', 'k11', 'k15', 'k18', 'k21'];

/** A caller that reads slowly, breaks off, and comes back with its token, to whatever router there is. */
class Caller {
  readonly told: Told[] = [];
  readonly start: string;
  readonly end: string;
  readonly isFromNow: boolean;
  startedAt = 0;
  /** What there was when it knew that it had begun. */
  #before = Infinity;
  resets = 0;
  isDone = false;
  #from: WatchFrom;
  readonly #rng: SimRng;
  readonly #ranges: FakeRanges;
  readonly #router: () => ChangeStreams;

  constructor(rng: SimRng, ranges: FakeRanges, router: () => ChangeStreams) {
    this.#rng = rng;
    this.#ranges = ranges;
    this.#router = router;
    const at = rng.integer(KEYS.length);
    this.start = KEYS[at] as string;
    this.end = rng.chance(0.25) ? `${this.start}\0` : (KEYS[at + 1 + rng.integer(KEYS.length)] ?? 'l');
    this.#from = { type: 'now' };
    this.isFromNow = rng.chance(0.6);
    if (!this.isFromNow) this.#from = fromTimestamp(ranges.readableSince + 1_000);
  }

  async run(): Promise<void> {
    let isFirst = true;
    while (!this.isDone) {
      try {
        const options = optionsOf(this.start, this.end, {
          ...{ from: this.#from, progressMs: 500, withPrevious: this.#rng.chance(0.3) },
        });
        const watch = await this.#router().watch(options);
        if (isFirst) {
          this.startedAt = watch.started;
          this.#before = this.#ranges.history.length;
          this.#from = fromTimestamp(watch.started);
        }
        isFirst = false;
        await this.#read(watch);
      } catch (error) {
        if (!CairnError.is(error)) throw error;
        expect(['UNAVAILABLE', 'CANCELLED', 'RESOURCE_EXHAUSTED']).toContain(error.code);
      }
      await this.#sleep(this.#rng.integer(200));
    }
  }

  async #read(watch: Watch): Promise<void> {
    for (let count = 1 + this.#rng.integer(40); count > 0 && !this.isDone; count -= 1) {
      const output = await watch.read();
      if (output.type === 'reset') {
        expect(output.reason).toBe('backlog');
        this.resets += 1;
        return;
      }
      const told = toldBy(output);
      this.told.push(...told);
      const token = output.type === 'progress' ? output.token : told[told.length - 1]?.token;
      if (token !== undefined) this.#from = fromToken(token);
      if (this.#rng.chance(0.2)) await this.#sleep(this.#rng.integer(400));
    }
    watch.close();
  }

  #sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.#ranges.process.clock.setTimer(delayMs, resolve));
  }

  #isWatched(key: Uint8Array): boolean {
    const text = textOf(key);
    return text >= this.start && text < this.end;
  }

  /** All there was in the span behind its beginning, in order. */
  get expected(): string[] {
    return this.#ranges.history
      .filter(({ key, timestamp: at }) => this.#isWatched(key) && at > this.startedAt)
      .sort(comparePositions)
      .map(({ key, timestamp: at, start }) => `${at} ${start} ${textOf(key)}`);
  }

  /** What was written when it had begun, and is not behind its beginning. */
  get missed(): number {
    const since = this.#ranges.history.slice(this.#before);
    return since.filter(({ key, timestamp: at }) => this.#isWatched(key) && at <= this.startedAt).length;
  }

  get actual(): string[] {
    return this.told.map(({ key, timestamp: at, start }) => `${at} ${start} ${key}`);
  }
}

class Run {
  readonly rng: SimRng;
  readonly ranges: FakeRanges;
  readonly callers: Caller[] = [];
  router: ChangeStreams;
  readonly #limits: Partial<StreamLimits>;
  readonly #transactions: FakeTransaction[] = [];
  #count = 0;

  constructor(seed: number) {
    this.rng = new SimRng(`run ${seed}`);
    this.ranges = new FakeRanges(`ranges ${seed}`);
    this.ranges.split(...EDGES.filter(() => this.rng.chance(0.5)));
    this.ranges.pageMax = 1 + this.rng.integer(12);
    this.#limits = {
      backlogBytesMax: this.rng.chance(0.5) ? 3_000 : 100_000,
      batchChangesMax: 1 + this.rng.integer(5),
      unresolvedBytesMax: this.rng.chance(0.3) ? 1_000 : 100_000,
      catchUpsMax: 1 + this.rng.integer(4),
      lingerMs: this.rng.integer(1_000),
    };
    this.router = streamsOf(this.ranges, this.#limits);
  }

  async go(steps: number): Promise<void> {
    const { ranges, rng } = this;
    const { scheduler } = ranges;
    for (let at = 0; at < 30; at += 1) this.#write();
    const running: Promise<void>[] = [];
    for (let at = 0; at < 12; at += 1) {
      const caller = new Caller(rng.fork(`caller ${at}`), ranges, () => this.router);
      this.callers.push(caller);
      running.push(caller.run());
    }
    for (let step = 0; step < steps; step += 1) {
      this.#write();
      if (rng.chance(0.05)) ranges.split(rng.pick(EDGES));
      if (rng.chance(0.05)) ranges.failOver(rng.pick(ranges.leaders));
      if (rng.chance(0.01)) {
        this.router.close();
        this.router = streamsOf(ranges, this.#limits);
      }
      await scheduler.runFor(rng.integer(30));
    }
    ranges.faults = { loseQuestion: 0, loseAnswer: 0, repeat: 0, forget: 0, delayMs: 0 };
    while (this.#carryOut());
    await scheduler.runUntilTrue(
      () => this.callers.every(({ actual, expected }) => actual.length >= expected.length),
      120_000,
    );
    await scheduler.runFor(2_000);
    for (const caller of this.callers) caller.isDone = true;
    await scheduler.settle(Promise.all(running));
  }

  #write(): void {
    const { ranges, rng } = this;
    this.#count += 1;
    const value = `v${this.#count}`;
    if (rng.chance(0.3)) {
      const keys = KEYS.filter(() => rng.chance(0.15));
      if (keys.length > 0)
        this.#transactions.push(ranges.begin(Object.fromEntries(keys.map((key) => [key, value]))));
      return;
    }
    if (rng.chance(0.5) && this.#carryOut()) return;
    ranges.put(rng.pick(KEYS), rng.chance(0.1) ? undefined : value);
  }

  readonly #committed = new Set<FakeTransaction>();

  #carryOut(): boolean {
    const transaction = this.#transactions[0];
    if (transaction === undefined) return false;
    if (!this.#committed.has(transaction)) transaction.commit();
    this.#committed.add(transaction);
    if (!transaction.carryOut()) this.#transactions.shift();
    return true;
  }
}

describe('change streams, whatever fails', () => {
  it.each(Array.from({ length: 12 }, (_, seed) => seed))(
    'tell every caller all there was, once and in order: seed %d',
    async (seed) => {
      const run = new Run(seed);
      if (seed % 3 > 0) {
        run.ranges.faults = { loseQuestion: 0.05, loseAnswer: 0.05, repeat: 0.3, forget: 0.1, delayMs: 20 };
      }
      await run.go(300);
      for (const caller of run.callers) {
        expect(caller.actual).toEqual(caller.expected);
        if (caller.isFromNow) expect(caller.missed).toBe(0);
      }
      expect(run.router.count).toBe(0);
      expect(run.router.backlogBytes).toBe(0);
    },
  );
});
