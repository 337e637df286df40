import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CairnError } from '@cairn/base';
import { connect, type CairnClient } from '@cairn/client';
import { startLocalCluster, type LocalCluster } from '@cairn/local-cluster';
import type { Children } from './children.js';
import { keyAt } from './data-set.js';
import { kvloadRun } from './kvload.js';
import { LoadProcess } from './load-process.js';
import { residentBytes } from './process-stats.js';
import { sampleOf, type BenchSystem, type RunSpec, type Sample } from './system.js';
import type { WorkName } from './works.js';

const PRELOAD_OUTSTANDING = 256;
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

  preload(): Promise<void> {
    return this.#load.preload(PRELOAD_OUTSTANDING);
  }

  async run(spec: RunSpec): Promise<Sample> {
    const roles = await this.#roles();
    const processIds = [...roles.keys()];
    const { work } = spec;
    if (work !== 'unary') {
      return sampleOf(await this.#load.run({ kind: 'run', ...spec, work, processIds }), roles);
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
    this.#observer.close();
    await this.#load.stop();
    await this.#cluster?.stop();
  }

  #processes(): (readonly [name: string, processId: number | undefined])[] {
    const cluster = this.#cluster;
    return (cluster?.nodes ?? []).map(({ name }) => [name, cluster?.processId(name)]);
  }

  /** Role by process id; empty for a cluster that somebody else started. */
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

  /** Names of the nodes that lead a range of the data set. */
  async #leaders(): Promise<Set<string>> {
    const first = keyAt(0);
    const end = keyAt(this.#options.keys);
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
