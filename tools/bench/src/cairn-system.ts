import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { CairnError } from '@cairn/base';
import { connect, type CairnClient, type RangeInfo } from '@cairn/client';
import { startLocalCluster, type LocalCluster } from '@cairn/local-cluster';
import type { Children } from './children.js';
import { keyAt } from './data-set.js';
import type { FailoverSpec } from './failover-campaign.js';
import { FAILOVER_LIMIT_MS, type FailoverResult } from './failover.js';
import { batchesOf, splitPoints } from './growth-plan.js';
import { middleOf, rangeStarts } from './key-places.js';
import { kvloadRun } from './kvload.js';
import type { RunRequest, RunResult } from './load-messages.js';
import { LoadProcess } from './load-process.js';
import { residentBytes } from './process-stats.js';
import { sampleOf, type BenchSystem, type RunSpec, type Sample } from './system.js';
import { isTransactionWork, type WorkName } from './works.js';

const PRELOAD_OUTSTANDING = 256;
const SETTLED_TIMEOUT_MS = 300_000;
const SETTLED_POLL_MS = 500;
/** The metadata service hears of leaders in heartbeats: so many equal answers a second apart are believed. */
const EQUAL_ANSWERS = 3;
const EQUAL_ANSWERS_MS = 1_000;
const LEADER_TIMEOUT_MS = 60_000;
const SPLIT_BATCH = 100;
const SPLIT_TIMEOUT_MS = 120_000;
const METRICS_TIMEOUT_MS = 10_000;
/** Of a run whose ranges changed under it. */
const PLACED_RUNS_MAX = 3;
const ROOT = join(import.meta.dirname, '../../..');

export interface CairnSystemOptions {
  /** A cluster that runs already; empty = one is started. */
  readonly endpoints: readonly string[];
  /** Where a started cluster keeps its data. */
  readonly dataDirectory: string;
  /** Storage engine of the shard nodes of a started cluster. */
  readonly engine: string;
  readonly keys: number;
  readonly valueBytes: number;
  /** Path of the native generator for the work `unary`; empty = none. */
  readonly kvload: string;
  readonly children: Children;
  /** A start that is going on gives up when this resolves. */
  readonly stopRequested: Promise<void>;
}

function ownVersion(): string {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  return version;
}

/** The roles of shard nodes, judged by who leads the ranges of the data set. */
export function shardRoles(names: readonly string[], leaders: ReadonlySet<string>): Map<string, string> {
  const [only] = leaders;
  const isOne = leaders.size === 1 && only !== undefined && names.includes(only);
  return new Map(names.map((name) => [name, !isOne ? 'shard' : leaders.has(name) ? 'leader' : 'follower']));
}

/** Our own cluster, three metadata members, three shard nodes and a router, under the SDK. */
export class CairnSystem implements BenchSystem {
  readonly name = 'cairn';
  readonly version: string;
  readonly #options: CairnSystemOptions;
  readonly #cluster: LocalCluster | undefined;
  readonly #endpoints: readonly string[];
  readonly #load: LoadProcess;
  /** Only asks who leads; idle while anything is measured. */
  readonly #observer: CairnClient;
  #isStopping = false;

  private constructor(options: CairnSystemOptions, cluster: LocalCluster | undefined, load: LoadProcess) {
    this.#options = options;
    this.#cluster = cluster;
    this.#endpoints = cluster?.endpoints.routers ?? options.endpoints;
    this.#load = load;
    this.#observer = connect({ endpoints: this.#endpoints });
    this.version =
      cluster === undefined ? `at ${this.#endpoints.join(', ')}` : `${ownVersion()} with ${options.engine}`;
  }

  /**
   * Starts the cluster, or takes the one that runs, and a load process. On failure nothing is left behind.
   */
  static async start(options: CairnSystemOptions): Promise<CairnSystem> {
    const { dataDirectory, stopRequested, children, keys, valueBytes, engine } = options;
    const isOurs = options.endpoints.length === 0;
    const cluster = isOurs
      ? await startLocalCluster({
          dataDirectory,
          stopRequested,
          flagsByKind: { shard: ['--engine', engine] },
        })
      : undefined;
    try {
      const endpoints = cluster?.endpoints.routers ?? options.endpoints;
      const load = await LoadProcess.start(children, { system: 'cairn', endpoints, keys, valueBytes });
      return new CairnSystem(options, cluster, load);
    } catch (error) {
      await cluster?.stop();
      throw error;
    }
  }

  driverOf(work: WorkName): string {
    return work === 'unary' ? 'native generator' : 'Node SDK';
  }

  canRun(): boolean {
    return true;
  }

  preload(): Promise<void> {
    return this.#load.preload(PRELOAD_OUTSTANDING);
  }

  async run(spec: RunSpec): Promise<Sample> {
    const roles = await this.#roles();
    const processIds = [...roles.keys()];
    const { work } = spec;
    if (work !== 'unary') {
      const request = { kind: 'run', ...spec, work, processIds } as const;
      if (!isTransactionWork(work)) return sampleOf(await this.#load.run(request), roles);
      return sampleOf(await this.#runPlaced(request), roles);
    }
    const { kvload, keys, valueBytes, children } = this.#options;
    if (kvload === '') throw new CairnError('INVALID_ARGUMENT', 'The work unary needs --kvload.');
    const endpoints = this.#endpoints;
    const target = { path: kvload, adapter: 'cairn', endpoints, processIds, keys, valueBytes } as const;
    const sample = await kvloadRun(children, target, spec);
    // The generator knows only the sum of all our processes, and those have different roles.
    const { client = 0, total = 0 } = sample.cpuUsPerOp;
    return { ...sample, cpuUsPerOp: { client, total } };
  }

  async failover(spec: FailoverSpec): Promise<FailoverResult> {
    const cluster = this.#cluster;
    if (cluster === undefined) {
      throw new CairnError('INVALID_ARGUMENT', 'A cluster that somebody else started is not killed.');
    }
    await this.waitSettled();
    const name = await this.#believedLeader();
    const processId = cluster.processId(name);
    if (processId === undefined) throw new CairnError('UNAVAILABLE', `${name} does not run.`);
    const result = await this.#load.failover({
      kind: 'failover',
      ...spec,
      processId,
      limitMs: FAILOVER_LIMIT_MS,
    });
    // It was killed by the load process; this waits until it is gone.
    await cluster.kill(name);
    if (this.#isStopping) throw new CairnError('CANCELLED', 'The cluster is being stopped.');
    await cluster.restart(name);
    await this.waitSettled();
    return result;
  }

  /** Answers where clients connect. */
  get endpoints(): readonly string[] {
    return this.#endpoints;
  }

  /** Splits the key space of the data set into so many ranges of equal size. */
  async splitEvenly(ranges: number, onProgress: (done: number) => void): Promise<void> {
    const points = splitPoints(this.#options.keys, ranges).map(keyAt);
    let done = 1;
    for (const batch of batchesOf(points, SPLIT_BATCH)) {
      await this.#observer.splitRanges(batch, { timeoutMs: SPLIT_TIMEOUT_MS });
      done += batch.length;
      onProgress(done);
    }
  }

  /**
   * Cuts the data set into two ranges in its middle, wherever else it is cut, and waits until both are whole.
   */
  async splitInTwo(): Promise<void> {
    const middle = middleOf(this.#options.keys);
    await this.#observer.splitRanges([keyAt(middle)], { timeoutMs: SPLIT_TIMEOUT_MS });
    await this.waitSettled();
    const starts = await this.#rangeStarts();
    if (!starts.includes(middle)) throw new CairnError('UNAVAILABLE', 'The data set is not cut in two.');
  }

  /** Waits until every range has a leader and all its replicas. @throws CairnError `UNAVAILABLE`. */
  async waitSettled(): Promise<void> {
    const deadlineMs = performance.now() + SETTLED_TIMEOUT_MS;
    for (;;) {
      const { rangesWithoutLeader, rangesUnderReplicated } = await this.#observer.status();
      if (rangesWithoutLeader === 0 && rangesUnderReplicated === 0) return;
      if (performance.now() > deadlineMs) {
        throw new CairnError(
          'UNAVAILABLE',
          `After ${SETTLED_TIMEOUT_MS / 1_000} s there are ${rangesWithoutLeader} ranges without leader and ` +
            `${rangesUnderReplicated} short of replicas.`,
        );
      }
      await delay(SETTLED_POLL_MS);
    }
  }

  /** Lists all ranges of the cluster. */
  ranges(): Promise<RangeInfo[]> {
    return this.#observer.ranges();
  }

  /** Answers the process ids of the servers, by name. */
  processIds(): Map<string, number> {
    const running = this.#processes().filter((each): each is [string, number] => each[1] !== undefined);
    return new Map(running);
  }

  /** The metrics of each server, as text. A server that does not answer in time is missing. */
  async metrics(): Promise<Map<string, string>> {
    const pages = new Map<string, string>();
    for (const { name, httpAddress } of this.#cluster?.nodes ?? []) {
      const signal = AbortSignal.timeout(METRICS_TIMEOUT_MS);
      const page = await fetch(`http://${httpAddress}/metrics`, { signal })
        .then((answer) => answer.text())
        .catch(() => undefined);
      if (page !== undefined) pages.set(name, page);
    }
    return pages;
  }

  residentBytes(): Record<string, number> {
    const bytes: Record<string, number> = {};
    const processes = [...this.#processes(), ['client', this.#load.processId] as const];
    for (const [name, processId] of processes) {
      const resident = processId === undefined ? undefined : residentBytes(processId);
      if (resident !== undefined) bytes[name] = resident;
    }
    return bytes;
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#observer.close();
    await this.#load.stop();
    await this.#cluster?.stop();
  }

  #processes(): (readonly [name: string, processId: number | undefined])[] {
    const cluster = this.#cluster;
    return (cluster?.nodes ?? []).map(({ name }) => [name, cluster?.processId(name)]);
  }

  /**
   * One run in ranges that stay as they are: keys that are drawn as lying in one range, or in two, do so. A
   * range that was cut meanwhile costs a further run.
   *
   * @throws CairnError `UNAVAILABLE` when they do not stay.
   */
  async #runPlaced(request: RunRequest): Promise<RunResult> {
    for (let run = 0; run < PLACED_RUNS_MAX; run += 1) {
      const ranges = await this.#rangeStarts();
      const result = await this.#load.run({ ...request, ranges });
      if (String(await this.#rangeStarts()) === String(ranges)) return result;
    }
    throw new CairnError('UNAVAILABLE', `Ranges were cut in each of ${PLACED_RUNS_MAX} runs.`);
  }

  async #rangeStarts(): Promise<number[]> {
    const ranges = await this.#observer.ranges({ start: keyAt(0) });
    return rangeStarts(
      this.#options.keys,
      ranges.map(({ start }) => start),
    );
  }

  /** Answers the role of each process id; nothing of a cluster that somebody else started. */
  async #roles(): Promise<Map<number, string>> {
    const roles = new Map<number, string>();
    if (this.#cluster === undefined) return roles;
    const names = this.#cluster.nodes.filter(({ kind }) => kind === 'shard').map(({ name }) => name);
    const shards = shardRoles(names, await this.#leaders());
    for (const { name, kind } of this.#cluster.nodes) {
      const processId = this.#cluster.processId(name);
      if (processId === undefined) {
        throw new CairnError(
          'UNAVAILABLE',
          `${name} has ended; its log is in ${this.#options.dataDirectory}/logs.`,
        );
      }
      roles.set(processId, shards.get(name) ?? kind);
    }
    return roles;
  }

  /** Who leads the first key. Asked repeatedly: killing a follower would measure nothing. */
  async #believedLeader(): Promise<string> {
    const deadlineMs = performance.now() + LEADER_TIMEOUT_MS;
    let leader: string | undefined;
    let answers = 0;
    while (answers < EQUAL_ANSWERS || leader === undefined) {
      if (performance.now() > deadlineMs) throw new CairnError('UNAVAILABLE', 'The first key has no leader.');
      const [found] = await this.#leaders(1);
      answers = found === leader ? answers + 1 : 1;
      leader = found;
      await delay(EQUAL_ANSWERS_MS);
    }
    return leader;
  }

  /** Names of the nodes that lead a range of the first so many keys of the data set. */
  async #leaders(keys = this.#options.keys): Promise<Set<string>> {
    const first = keyAt(0);
    const end = keyAt(keys);
    const ranges = (await this.#observer.ranges({ start: first })).filter(
      (range) =>
        Buffer.compare(range.start, end) < 0 &&
        (range.end.length === 0 || Buffer.compare(range.end, first) > 0),
    );
    const leading = new Set(ranges.map((range) => range.leaderStoreId));
    const nodes = await this.#observer.nodes();
    return new Set(
      nodes.filter(({ storeId }) => storeId > 0 && leading.has(storeId)).map(({ name }) => name),
    );
  }
}
