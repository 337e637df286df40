import { timestamp } from '@cairn/base';
import { sleep } from '@cairn/ports';
import type { SimRng } from '@cairn/runtime-sim';
import { KvMachine } from '@cairn/shard-node';
import {
  cairnLoadClient,
  Caller,
  LOAD_PREFIX,
  LOADS,
  newLoad,
  type Load,
  type LoadName,
} from '@cairn/workloads';

import type { SimCluster } from '../cluster.js';
import { startClient } from '../sim-client.js';

const CLIENTS = 4;
const PADDING_BYTES = 200;
/** Some scans get pages so small that they take several. */
const PAGE_BYTES = [0, 0, 300] as const;
/** Of the keys that are worth being the first of a range: transactions in one range, in several, or now this, now that. */
const CUT_SHARES = [0, 0.2, 0.5, 0.8] as const;
/** Locks of those who are gone are over by then, and routers have ended them, though nobody visits their keys. */
const LOCKS_SWEPT_MS = 30_000;
/** In runs that are so long, some transactions rest so long: that is more than old versions may be kept. */
const RESTS_MS = [
  [50_000, 25_000],
  [20_000, 12_000],
] as const;
const ENOUGH_MS = 600_000;

export interface LoadRunnerOptions {
  readonly name: LoadName;
  readonly timeoutMs: number;
  readonly thinkMs: number;
  /** Virtual time under faults. */
  readonly durationMs: number;
  /** False: finish the step under way and end. */
  readonly isOn: () => boolean;
}

/** One load of `@cairn/workloads` under the faults of a run, and its judgement. */
export class LoadRunner {
  readonly load: Load;
  /** Of the processes that do it. */
  readonly clientNames = Array.from({ length: CLIENTS }, (_, at) => `load-${at + 1}`);
  /** A step may take so much longer than a call. */
  readonly restMs: number;
  readonly #cluster: SimCluster;
  readonly #options: LoadRunnerOptions;
  readonly #rng: SimRng;
  readonly #callers: Caller[] = [];

  constructor(cluster: SimCluster, options: LoadRunnerOptions) {
    this.#cluster = cluster;
    this.#options = options;
    this.#rng = cluster.rng.fork('load');
    this.restMs = RESTS_MS.find(([fromMs]) => options.durationMs >= fromMs)?.[1] ?? 0;
    this.load = newLoad(options.name, {
      // Most promises are made at the default; what is weaker has fewer ways to be broken.
      isolation: this.#rng.chance(0.8) ? 'serializable' : 'snapshot',
      paddingBytes: PADDING_BYTES,
      restMs: this.restMs,
    });
  }

  get operations(): number {
    return this.#callers.reduce((sum, { operations }) => sum + operations, 0);
  }

  get succeeded(): number {
    return this.#callers.reduce((sum, { succeeded }) => sum + succeeded, 0);
  }

  /** Before anything breaks: some of its ranges are cut, and what it needs is there. */
  async layOut(): Promise<void> {
    const { client, timeoutMs } = this.#start('load-founder');
    const share = this.#rng.pick(CUT_SHARES);
    const cuts = this.load.splitKeys.filter(() => this.#rng.chance(share));
    if (cuts.length > 0) await client.splitRanges(cuts);
    await this.load.layOut(cairnLoadClient(client, { timeoutMs }));
  }

  /** One for each of its clients; they resolve when the load is off. */
  runs(): readonly (readonly [name: string, run: () => Promise<void>])[] {
    return this.clientNames.map((name) => [name, () => this.#run(name)]);
  }

  async #run(name: string): Promise<void> {
    const { caller, clock } = this.#caller(name);
    this.#callers.push(caller);
    const { isOn, thinkMs } = this.#options;
    while (isOn()) {
      await this.load.step(caller);
      await sleep(clock, caller.rng.next() * 2 * thinkMs);
    }
  }

  #start(name: string): ReturnType<typeof startClient> & { readonly timeoutMs: number } {
    const { timeoutMs } = this.#options;
    return { ...startClient(this.#cluster, name, timeoutMs), timeoutMs };
  }

  #caller(name: string): {
    readonly caller: Caller;
    readonly clock: ReturnType<typeof startClient>['clock'];
  } {
    const { scheduler, rng, observer } = this.#cluster;
    const { client, clock, timeoutMs } = this.#start(name);
    const own = rng.fork(`${name}/work`);
    const caller = new Caller({
      ...{ name, rng: own, nowMs: () => scheduler.nowMs, sleep: (ms) => sleep(clock, ms) },
      client: cairnLoadClient(client, { timeoutMs, pageBytes: own.pick(PAGE_BYTES) }),
      violate: (message) => {
        observer.violate('client', `${name}: ${message}`);
      },
    });
    return { caller, clock };
  }

  /**
   * With everything healed and all clients gone: whatever was left undecided is ended without anybody meeting
   * it; then the last reads.
   */
  async finish(): Promise<void> {
    const { scheduler, observer } = this.#cluster;
    const { caller } = this.#caller('load-reader');
    await scheduler.runFor(LOCKS_SWEPT_MS);
    for (const lock of this.#locksLeft()) observer.violate('lock-left', lock);
    const unread = await scheduler.settle(this.load.finalReads(caller), ENOUGH_MS);
    if (unread.length > 0) observer.violate('liveness', `not readable after healing: ${unread.join()}`);
  }

  /** As leaders know of them. */
  #locksLeft(): string[] {
    const never = timestamp(Number.MAX_SAFE_INTEGER);
    const machines = this.#cluster.shards.flatMap((node) =>
      [...node.replicas()].flatMap(({ isLeader, machine }) =>
        isLeader && machine instanceof KvMachine ? [machine] : [],
      ),
    );
    return machines.flatMap((machine) =>
      machine.overdueLocks(never, []).flatMap(({ key, start }) => {
        const name = Buffer.from(key).toString('latin1');
        const rangeId = machine.descriptor.rangeId;
        return name.startsWith(LOAD_PREFIX)
          ? [`range ${rangeId}: transaction ${start} has still locked ${name}`]
          : [];
      }),
    );
  }

  judge(): void {
    const { observer } = this.#cluster;
    for (const { name, message } of this.load.judge()) {
      observer.violate(`${this.load.name}: ${name}`, message);
    }
  }
}

/** Which load a seed has beside the ordinary one; undefined = none. Drawn apart from everything else. */
export function drawLoad(rng: SimRng, share: number): LoadName | undefined {
  const own = rng.fork('load-at-all');
  return own.chance(share) ? own.pick(LOADS) : undefined;
}
