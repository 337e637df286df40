import { History } from '@cairn/checkers';
import { SimRng } from '@cairn/runtime-sim';

import { Ambush } from './ambush.js';
import { BoundLooker, watchLines } from './checkers/alarms.js';
import { checkLeases, watchLeaderTerms } from './checkers/leadership.js';
import { LogLooker } from './checkers/logs.js';
import { MemberLooker, strangers, watchRemovals, type HeldReplica } from './checkers/members.js';
import { checkSpans } from './checkers/spans.js';
import { watchUncaught } from './checkers/uncaught.js';
import { SimCluster } from './cluster.js';
import { CutBreaker } from './cut-breaker.js';
import { MORE_FAULT_KINDS } from './faults/more-strikes.js';
import { Judge } from './judge.js';
import { drawLoad, LoadRunner } from './loads/load-runner.js';
import { FAULT_KINDS, Nemesis, type FaultKind } from './nemesis.js';
import { Operator } from './operator.js';
import { Planter, PLANTED } from './planter.js';
import type { ScenarioOptions, ScenarioResult } from './scenario-options.js';
import { startClient } from './sim-client.js';
import { COUNTERS, REGISTERS, Worker } from './workload.js';

const REPLICA_CHECK_MS = 7;
/** Logs take longer to look at, and keep what they hold. */
const LOOKS_PER_LOG_LOOK = 3;
const LOOK_EVERY_MS = 100;
const BOOT_LIMIT_MS = 30_000;
/** After everything is healed the cluster must serve every key within this. */
const HEAL_LIMIT_MS = 30_000;
/** Many short runs find more than few long ones; some must be long for what takes time to go wrong. */
const DURATIONS_MS = [
  ...([1_500, 1_500, 2_000, 2_000, 2_000, 3_000, 3_000, 3_000, 3_000, 3_000] as const),
  ...([4_000, 4_000, 4_000, 4_000, 4_000, 6_000, 6_000, 6_000, 8_000, 20_000] as const),
];
/** Of seeds that name no load, so many have one. */
const LOADED_SHARE = 0.25;
/** Clients go on for so long when all is healed. */
const AFTERMATH_MS = 600;
const CLIENT_TIMEOUT_MS = 4_000;
/** Room for a large value in one segment. */
const BIG_SEGMENT_BYTES = 4 * 1024 * 1024;

/** One run of one seed: boot, load with faults, heal, and judge. */
export async function runScenario(options: ScenarioOptions): Promise<ScenarioResult> {
  const run = new ScenarioRun(options);
  const over = watchUncaught(run.cluster.observer, process);
  try {
    await run.play();
  } catch (error) {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    run.cluster.observer.violate('exception', text);
  } finally {
    over();
  }
  const result = run.result();
  await run.end();
  return result;
}

function drawFaults(cluster: SimCluster): FaultKind[] {
  const rng = cluster.rng.fork('kinds');
  const share = rng.pick([0.2, 0.4, 0.7]);
  const first = FAULT_KINDS.filter(() => rng.chance(share));
  const drawn: FaultKind[] = first.length === 0 ? [rng.pick(FAULT_KINDS)] : first;
  // Apart from the others, and not in all runs: what is slow or deaf leaves less time for the rest.
  const more = cluster.rng.fork('more-kinds');
  if (more.chance(0.5)) drawn.push(...MORE_FAULT_KINDS.filter(() => more.chance(0.4)));
  // Of two nodes that lose what they have, one would have been needed.
  if (drawn.includes('bit-rot')) return drawn.filter((kind) => kind !== 'lost-directory');
  return drawn;
}

class ScenarioRun {
  readonly cluster: SimCluster;
  readonly #options: ScenarioOptions;
  readonly #kinds: readonly FaultKind[];
  readonly #history = new History();
  readonly #workers: Worker[] = [];
  readonly #nemesis: Nemesis;
  readonly #ambush: Ambush | undefined;
  readonly #cutBreaker: CutBreaker | undefined;
  readonly #clientNames: string[];
  readonly #restPeriodMs: number;
  readonly #thinkMs: number;
  readonly #bigKeys: number;
  readonly #isPlanted: boolean;
  readonly #load: LoadRunner | undefined;
  #planter: Planter | undefined;
  #isLoadOn = true;
  #running = 0;
  #leaderships = 0;
  #snapshots = 0;
  #moves = 0;
  #isOver = false;

  constructor(options: ScenarioOptions) {
    this.#options = options;
    const rng = new SimRng(options.seed);
    const shape = rng.fork('shape');
    const bigs = rng.fork('bigs');
    this.#bigKeys = options.shape?.bigKeys ?? (bigs.chance(1 / 50) ? 10 : 0);
    this.cluster = new SimCluster({
      seed: options.seed,
      ...(this.#bigKeys > 0 ? { logSegmentBytes: BIG_SEGMENT_BYTES } : {}),
      // Little room for what is read back, so that loads of several readers meet.
      logCacheBytes: rng.fork('log-cache').pick([1024 * 1024, 1024 * 1024, 8 * 1024]),
      metadataMembers: shape.pick([3, 3, 3, 1, 5, 2, 7]),
      shardNodes: shape.pick([3, 3, 3, 3, 5, 1, 4, 7]),
      replicationFactor: shape.pick([3, 3, 3, 3, 5, 1, 7]),
      // The least margin between lease and vote hold that a configuration may have, or the usual one.
      storeConfig: { leaseDurationMs: shape.pick([400, 454]) },
      rowCacheBytes: shape.pick([1024 * 1024, 8 * 1024, 1024]),
      engineReadMsMax: shape.pick([0, 5, 100]),
      routers: shape.pick([1, 2, 3]),
      // Flow control seldom matters with the windows of HTTP/2 and the messages here.
      grpcWindowBytes: shape.pick([64 * 1024, 64 * 1024, 512]),
      engine: shape.pick(['memory', 'lsm']),
      ...options.shape,
    });
    this.#kinds = options.faults ?? drawFaults(this.cluster);
    this.#restPeriodMs = options.restPeriodMs ?? this.cluster.rng.fork('rest').pick([0, 0, 5_000]);
    // Busy clients meet each other more often, patient ones leave more time to what goes on behind them.
    this.#thinkMs = options.thinkMs ?? this.cluster.rng.fork('think').pick([8, 25, 60, 60]);
    this.#clientNames = Array.from({ length: options.clients ?? 5 }, (_, at) => `client-${at + 1}`);
    this.#isPlanted = options.isPlanted ?? this.cluster.rng.fork('planted').chance(0.3);
    this.#load = this.#drawnLoad();
    const loadClients = this.#load?.clientNames ?? [];
    this.#nemesis = new Nemesis(this.cluster, {
      kinds: this.#kinds,
      everyMs: options.faultEveryMs ?? this.cluster.rng.fork('pace').pick([300, 900, 2_000]),
      clients: [...this.#clientNames, ...loadClients],
    });
    const isWaylaid = options.faults?.length !== 0 && this.cluster.rng.fork('ambush-at-all').chance(0.5);
    if (options.isWaylaid ?? isWaylaid)
      this.#ambush = new Ambush(this.cluster, [
        ...this.#clientNames,
        ...loadClients,
        ...this.cluster.routers.map(({ name }) => name),
      ]);
    const mayBreak = options.faults?.length !== 0 && this.cluster.rng.fork('cut-breaker-at-all').chance(0.1);
    if (options.breaksCuts ?? mayBreak) this.#cutBreaker = new CutBreaker(this.cluster);
    this.cluster.observer.onLine((_node, event) => {
      if (event === 'snapshot installed' || event === 'snapshot installed after restart')
        this.#snapshots += 1;
    });
  }

  get #durationMs(): number {
    return this.#options.durationMs ?? this.cluster.rng.fork('length').pick(DURATIONS_MS);
  }

  #drawnLoad(): LoadRunner | undefined {
    const { workload } = this.#options;
    const name = workload ?? drawLoad(this.cluster.rng, LOADED_SHARE);
    if (name === undefined || name === 'none') return undefined;
    return new LoadRunner(this.cluster, {
      ...{ name, timeoutMs: CLIENT_TIMEOUT_MS, thinkMs: this.#thinkMs, durationMs: this.#durationMs },
      isOn: () => this.#isLoadOn,
    });
  }

  async play(): Promise<void> {
    const { cluster } = this;
    const { scheduler } = cluster;
    const terms = watchLeaderTerms(cluster);
    watchRemovals(cluster);
    watchLines(cluster, this.#kinds);
    this.#watchReplicas();
    await cluster.boot(BOOT_LIMIT_MS);
    await this.#layOut();
    for (const name of this.#clientNames) {
      const worker = this.#worker(name);
      this.#workers.push(worker);
      this.#run(name, () => worker.run());
    }
    for (const [name, work] of this.#load?.runs() ?? []) this.#run(name, work);
    this.#administer();
    if (this.#isPlanted) this.#plant();
    this.#nemesis.start();
    this.#ambush?.start();
    this.#cutBreaker?.start();
    await this.#underFaults(this.#durationMs);
    if (this.#mayEnd) {
      this.#isOver = true;
      return;
    }
    this.#ambush?.heal();
    this.#cutBreaker?.heal();
    this.#nemesis.heal();
    await this.#expect('healthy after healing', () => cluster.isHealthy, HEAL_LIMIT_MS);
    await scheduler.runFor(AFTERMATH_MS);
    this.#isLoadOn = false;
    const endLimitMs = CLIENT_TIMEOUT_MS * 4 + (this.#load?.restMs ?? 0);
    await this.#expect('clients end', () => this.#running === 0, endLimitMs);
    await this.#readEverything();
    await this.#load?.finish();
    await this.#expect('replicas reach one index', () => this.#isConverged(), HEAL_LIMIT_MS);
    this.#leaderships = terms.count;
    await new Judge(cluster, this.#history).judge(this.#kinds.length === 0);
    this.#load?.judge();
    this.#isOver = true;
  }

  /** Nobody looks any more, and nothing stays behind. */
  end(): Promise<void> {
    this.#isOver = true;
    return this.cluster.close();
  }

  /** Before anything breaks every replica has the keys that stand for good. */
  async #layOut(): Promise<void> {
    await this.cluster.scheduler.settle(this.#worker('founder').layOut(), BOOT_LIMIT_MS);
    if (this.#load !== undefined) await this.cluster.scheduler.settle(this.#load.layOut(), BOOT_LIMIT_MS);
    // Acknowledged is not applied: until then equal indexes say nothing.
    const isApplied = (): boolean =>
      this.cluster.shards.every((node) =>
        [...node.replicas()].every(({ appliedIndex, raft }) => appliedIndex === raft.status().lastIndex),
      );
    const isDone = (): boolean => isApplied() && this.#isConverged();
    await this.#expect('replicas have what was laid out', isDone, HEAL_LIMIT_MS);
  }

  /** A checker has found something, and more is not asked for. What the nodes notice themselves goes on. */
  get #mayEnd(): boolean {
    const { violations } = this.cluster.observer;
    return this.#options.endsAtViolation === true && violations.some(({ checker }) => checker !== 'fatal');
  }

  async #underFaults(durationMs: number): Promise<void> {
    const { scheduler } = this.cluster;
    const untilMs = scheduler.nowMs + durationMs;
    while (scheduler.nowMs < untilMs && !this.#mayEnd) {
      await scheduler.runFor(Math.min(LOOK_EVERY_MS, untilMs - scheduler.nowMs));
    }
  }

  #watchReplicas(): void {
    const logs = new LogLooker(this.cluster);
    const members = new MemberLooker(this.cluster);
    const bounds = new BoundLooker(this.cluster, this.#bigKeys > 0 ? BIG_SEGMENT_BYTES : 0);
    let looks = 0;
    const again = (): void => {
      if (this.#isOver) return;
      checkLeases(this.cluster);
      checkSpans(this.cluster);
      if (looks % LOOKS_PER_LOG_LOOK === 0) {
        logs.look();
        members.look();
        bounds.look();
      }
      looks += 1;
      this.cluster.scheduler.schedule(REPLICA_CHECK_MS, again);
    };
    again();
  }

  async #expect(what: string, isTrue: () => boolean, limitMs: number): Promise<void> {
    const untilMs = this.cluster.scheduler.nowMs + limitMs;
    while (!isTrue()) {
      if (this.cluster.scheduler.nowMs >= untilMs) {
        this.cluster.observer.violate('liveness', `not within ${limitMs} ms: ${what}; ${this.#describe()}`);
        return;
      }
      await this.cluster.scheduler.runFor(20);
    }
  }

  /** Where every replica is, for the report of a cluster that stands still. */
  #describe(): string {
    const parts: string[] = [];
    for (const node of this.cluster.nodes) {
      parts.push(
        `${node.name} ${node.isLost ? 'lost' : node.isAlive ? '' : 'dead'}${node.isPaused ? 'paused' : ''}`,
      );
      for (const replica of node.replicas()) {
        const { term, commitIndex, role, isQuiescent } = replica.raft.status();
        const marks = `${replica.isInitialised ? '' : ' EMPTY'}${isQuiescent ? ' quiescent' : ''}`;
        parts.push(`${replica.rangeId}@${replica.appliedIndex}/${commitIndex} term ${term} ${role}${marks}`);
      }
    }
    return parts.join(', ');
  }

  #worker(name: string): Worker {
    const { scheduler, rng, observer } = this.cluster;
    const { client, clock } = startClient(this.cluster, name, CLIENT_TIMEOUT_MS);
    return new Worker({
      name,
      client,
      clock,
      rng: rng.fork(`${name}/work`),
      history: this.#history,
      nowMs: () => scheduler.nowMs,
      isOn: () => this.#isLoadOn,
      violate: (message, checker = 'client') => {
        observer.violate(checker, `${name}: ${message}`);
      },
      bigKeys: this.#bigKeys,
      thinkMs: this.#thinkMs,
      restPeriodMs: this.#restPeriodMs,
      paddingBytes: 200,
    });
  }

  #administer(): void {
    const scout = this.#worker('scout');
    // Without the ordinary load nobody would notice what becomes of its ranges.
    const isOrdinary = this.#clientNames.length > 0;
    const ordinary = isOrdinary ? [...REGISTERS, ...COUNTERS, ...(this.#isPlanted ? PLANTED : [])] : [];
    const operator = new Operator(this.cluster, startClient(this.cluster, 'admin', CLIENT_TIMEOUT_MS), {
      keys: [...ordinary, ...(this.#load?.load.splitKeys ?? [])],
      // Of few keys that all matter much happens at each change.
      everyMs: isOrdinary ? [200, 3_000] : [100, 800],
      isOn: () => this.#isLoadOn,
      onCut: () => {
        this.#nemesis.rangeWasCut();
      },
      onMove: () => {
        this.#moves += 1;
      },
      look: () => scout.scan(),
    });
    this.#run('admin', () => operator.run());
  }

  #plant(): void {
    const { client, clock } = startClient(this.cluster, 'planter', CLIENT_TIMEOUT_MS);
    const planter = new Planter(this.cluster, {
      ...{ client, clock, rng: this.cluster.rng.fork('planter/work') },
      isOn: () => this.#isLoadOn,
      violate: (checker, message) => {
        this.cluster.observer.violate(checker, message);
      },
    });
    this.#planter = planter;
    this.#run('planter', () => planter.run());
  }

  #run(name: string, work: () => Promise<void>): void {
    this.#running += 1;
    work().then(
      () => {
        this.#running -= 1;
      },
      (error: unknown) => {
        this.cluster.observer.violate(name, error instanceof Error ? (error.stack ?? '') : String(error));
      },
    );
  }

  /** With everything healed, every key is readable: the last reads of the history. */
  async #readEverything(): Promise<void> {
    const reader = this.#worker('reader');
    const { scheduler, observer } = this.cluster;
    const failed: string[] = [];
    const all = (async (): Promise<void> => {
      const keys = new Set([...REGISTERS, ...COUNTERS, ...this.#history.byKey().keys()]);
      for (const key of keys) if (!(await reader.read(key))) failed.push(key);
      if (!(await reader.scan())) failed.push('scan');
    })();
    await scheduler.settle(all, 600_000);
    if (failed.length > 0)
      observer.violate('liveness', `not readable after healing: ${failed.join()}; ${this.#describe()}`);
  }

  #isConverged(): boolean {
    const ranges = new Map<number, { readonly indexes: Set<number>; readonly held: HeldReplica[] }>();
    for (const node of this.cluster.shards) {
      if (node.isLost) continue;
      if (node.store === undefined) return false;
      for (const { rangeId, replicaId, appliedIndex, descriptorOrUndefined: descriptor } of node.replicas()) {
        const range = ranges.get(rangeId) ?? { indexes: new Set(), held: [] };
        range.indexes.add(appliedIndex);
        range.held.push({ node: node.name, replicaId, descriptor });
        ranges.set(rangeId, range);
      }
    }
    return [...ranges.values()].every(
      ({ indexes, held }) => indexes.size === 1 && strangers(held).length === 0,
    );
  }

  #sum(what: 'operations' | 'succeeded'): number {
    return this.#workers.reduce((sum, worker) => sum + worker[what], this.#load?.[what] ?? 0);
  }

  result(): ScenarioResult {
    const { observer, scheduler, shards } = this.cluster;
    return {
      seed: this.#options.seed,
      engine: this.cluster.world.engine,
      violations: observer.violations,
      faults: this.#nemesis.faults,
      faultKinds: this.#kinds,
      operations: this.#sum('operations'),
      workload: this.#load?.load.name,
      planted: this.#planter?.planted ?? 0,
      succeeded: this.#sum('succeeded'),
      ranges: [...(shards[0]?.store?.replicas() ?? [])].length,
      leaderships: this.#leaderships,
      snapshots: this.#snapshots,
      moves: this.#moves,
      events: scheduler.executedEvents,
      virtualMs: scheduler.nowMs,
      digest: observer.digest,
      tail: observer.tail(2_000),
      stores: observer.stores,
    };
  }
}
