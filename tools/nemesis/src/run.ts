import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '@cairn/base';
import { connect, type CairnClient } from '@cairn/client';
import { startLocalCluster, type LocalCluster } from '@cairn/local-cluster';
import { TransactionLoads } from './loads.js';
import { judgeLockWaits, measureLockWaits, type LockWaits } from './lock-waits.js';
import { NetnsNetwork } from './netns-network.js';
import { soundNetwork, type FaultyNetwork } from './network.js';
import type { EngineName, NemesisOptions, NetworkKind } from './options.js';
import { ProxyNetwork } from './proxy-network.js';
import { historyLines, Recorder, type Silence } from './recorder.js';
import { differences, readRows } from './replicas.js';
import { planFaults } from './schedule.js';
import { SmallDisk } from './small-disk.js';
import { Striker } from './striker.js';
import { judgeCounters, judgeKeys, verdictOf, type Verdict } from './verdict.js';
import { SPLIT_KEYS, Workload } from './workload.js';

/** What a run has around it. */
export interface Surroundings {
  /** Empty, and ours. */
  readonly directory: string;
  readonly network: NetworkKind;
  /** In a sandbox, where mounts are nobody else's business. */
  readonly hasMounts: boolean;
  readonly say: (text: string) => void;
  readonly signal: AbortSignal;
}

/** What a run found. */
export interface RunResult {
  readonly seed: string;
  readonly network: NetworkKind;
  readonly engine: EngineName;
  readonly isComplete: boolean;
  readonly verdicts: readonly Verdict[];
  readonly operations: number;
  readonly failed: number;
  readonly unknown: number;
  /** Times in which nothing succeeded for anybody, from the first operation on; the longest first. */
  readonly silences: readonly Silence[];
  readonly longestWaitMs: number;
  /** From the end of the faults until everything served again. */
  readonly recoveredMs: number;
  readonly faults: Readonly<Record<string, number>>;
}

/** Small files and buffers: engine tables and log segments come and go within minutes. */
const SHARD_FLAGS = [
  ...['--raft-log-segment-bytes', '1MiB', '--write-buffer-bytes', '1MiB', '--disk-reserve-bytes', '12MiB'],
];
const CLIENT_TIMEOUT_MS = 3_000;
/** Of all loads of transactions together: two of those that watch may do so at a time, and one has to write. */
const LOAD_CLIENTS = 9;
/** Once all faults are over, everything has to serve within this. */
const RECOVERY_LIMIT_MS = 30_000;
const RECOVERY_POLL_MS = 100;
/** Load before the first fault and after the last. */
const QUIET_MS = 1_000;
/** Nothing is written: followers hear of the last commits. */
const SETTLE_MS = 2_000;

function namesOf(kind: string, count: number): string[] {
  return Array.from({ length: count }, (_, at) => `${kind}-${at + 1}`);
}

async function openNetwork(kind: NetworkKind, nodes: readonly string[]): Promise<FaultyNetwork> {
  switch (kind) {
    case 'netns':
      return NetnsNetwork.create(nodes);
    case 'proxy':
      return ProxyNetwork.create(nodes);
    case 'none':
      return soundNetwork();
  }
}

/** One run, with all that it holds. */
class Run {
  readonly #options: NemesisOptions;
  readonly #around: Surroundings;
  /** Its time begins when the cluster serves. */
  #recorder = new Recorder();
  readonly #clients: CairnClient[] = [];
  #cluster: LocalCluster | undefined;
  #network: FaultyNetwork | undefined;
  #disk: SmallDisk | undefined;
  #striker: Striker | undefined;
  #loads: TransactionLoads | undefined;

  constructor(options: NemesisOptions, around: Surroundings) {
    this.#options = options;
    this.#around = around;
  }

  async execute(): Promise<RunResult> {
    try {
      return await this.#execute();
    } finally {
      for (const client of this.#clients) client.close();
      await this.#cluster?.stop();
      await this.#network?.close();
    }
  }

  async #execute(): Promise<RunResult> {
    const { seed, clients, minutes } = this.#options;
    const { say, signal } = this.#around;
    const cluster = await this.#startCluster();
    const observer = this.#connect(cluster, 0);
    await observer.ready({ timeoutMs: 20_000 });
    const recorder = new Recorder();
    this.#recorder = recorder;
    const connected = (count: number): CairnClient[] =>
      Array.from({ length: count }, (_, at) => this.#connect(cluster, at));
    const workload = new Workload({ clients: connected(clients), recorder, seed });
    const loads = new TransactionLoads({ clients: connected(LOAD_CLIENTS), recorder, seed });
    this.#loads = loads;
    await observer.splitRanges([...SPLIT_KEYS, ...loads.splitKeys], { timeoutMs: 20_000 });
    await loads.layOut(observer);
    workload.start();
    loads.start();
    await delay(QUIET_MS);
    const striker = this.#newStriker(cluster);
    const lengthMs = minutes * 60_000;
    await striker.run(planFaults(seed, this.#faults(), this.#targets(), lengthMs), lengthMs);
    say('all faults are over');
    const endedMs = performance.now();
    const liveness = await this.#untilServing(cluster, striker);
    const recoveredMs = performance.now() - endedMs;
    say(`everything served again after ${recoveredMs.toFixed(0)} ms`);
    const waits = liveness.length === 0 ? [await this.#judgeLockWaits(cluster, loads)] : [];
    await delay(QUIET_MS, undefined, { signal }).catch(() => undefined);
    await Promise.all([workload.stop(), loads.stop()]);
    const verdicts = [
      verdictOf('liveness', `all nodes and ranges, ${recoveredMs.toFixed(0)} ms after the faults`, liveness),
      verdictOf('processes', 'no process ended by itself', striker.findings),
      ...waits,
      // Without a serving cluster there is nothing to read back; that was said already.
      ...(liveness.length === 0 ? await this.#judge(cluster, workload, loads) : [this.#judgeHistory()]),
    ];
    return this.#result(verdicts, striker, recoveredMs);
  }

  #faults(): NemesisOptions['faults'] {
    const networkFaults = this.#network?.faults ?? [];
    const possible = this.#options.faults.filter((name) => {
      if (name === 'disk-full') return this.#disk !== undefined;
      const isNetwork = ['cut', 'deaf', 'mute', 'partition', 'slow', 'flap'].includes(name);
      return !isNetwork || networkFaults.includes(name);
    });
    const left = this.#options.faults.filter((name) => !possible.includes(name));
    if (left.length > 0) this.#around.say(`not possible here, left out: ${left.join(', ')}`);
    return possible;
  }

  #targets(): Parameters<typeof planFaults>[2] {
    const { metadata, shards, routers } = this.#options;
    return {
      metadata: namesOf('metadata', metadata),
      shards: namesOf('shard', shards),
      routers: namesOf('router', routers),
      smallDisk: this.#disk === undefined ? undefined : `shard-${shards}`,
    };
  }

  async #startCluster(): Promise<LocalCluster> {
    const { metadata, shards, routers, engine } = this.#options;
    const { directory, hasMounts, network: kind } = this.#around;
    const { say } = this.#around;
    const targets = this.#targets();
    const network = await openNetwork(kind, [...targets.metadata, ...targets.shards, ...targets.routers]);
    this.#network = network;
    const disk = hasMounts ? await SmallDisk.mount(join(directory, 'small-disk')) : undefined;
    this.#disk = disk;
    const { smallDisk } = this.#targets();
    const cluster = await startLocalCluster({
      ...{ dataDirectory: join(directory, 'cluster'), metadata, shards, routers },
      flagsByKind: {
        shard: [...SHARD_FLAGS, '--engine', engine],
        metadata: ['--raft-log-segment-bytes', '1MiB'],
      },
      place: (name, address) => {
        const placement = network.place(name, address);
        const isSmall = disk !== undefined && name === smallDisk;
        return isSmall ? { ...placement, dataDirectory: disk.dataDirectory } : placement;
      },
      onEvent: (event) => {
        if (event.kind !== 'died') return;
        const how = event.end.signal ?? `exit code ${String(event.end.code)}`;
        this.#striker?.onDeath(event.name, how, event.lastLines);
      },
    });
    this.#cluster = cluster;
    const around = `network: ${kind}; small disk: ${smallDisk ?? 'none'}`;
    say(`${cluster.nodes.length} processes serve; engine: ${engine}; ${around}`);
    return cluster;
  }

  #newStriker(cluster: LocalCluster): Striker {
    const { say, signal } = this.#around;
    const network = this.#network ?? soundNetwork();
    const timed = (text: string): void => say(this.#timed(text));
    const striker = new Striker({ cluster, network, disk: this.#disk, say: timed, signal });
    this.#striker = striker;
    return striker;
  }

  #timed(text: string): string {
    return `${(this.#recorder.nowMs() / 1_000).toFixed(1).padStart(6)} s  ${text}`;
  }

  /** A client that tries the routers in an order of its own. */
  #connect(cluster: LocalCluster, at: number): CairnClient {
    const { routers } = cluster.endpoints;
    const turn = at % routers.length;
    const endpoints = [...routers.slice(turn), ...routers.slice(0, turn)];
    const client = connect({ endpoints, timeoutMs: CLIENT_TIMEOUT_MS });
    this.#clients.push(client);
    return client;
  }

  /** Heals everything and waits until all of it serves; what does not in time is the finding. */
  async #untilServing(cluster: LocalCluster, striker: Striker): Promise<string[]> {
    const deadlineMs = performance.now() + RECOVERY_LIMIT_MS;
    await striker.heal();
    let missing = ['nothing was asked'];
    while (missing.length > 0 && performance.now() < deadlineMs && !this.#around.signal.aborted) {
      missing = await this.#notServing(cluster).catch((error: unknown) => [messageOf(error)]);
      if (missing.length > 0) await delay(RECOVERY_POLL_MS);
    }
    if (this.#around.signal.aborted) return [];
    return missing.map((each) => `after ${RECOVERY_LIMIT_MS / 1_000} s: ${each}`);
  }

  async #notServing(cluster: LocalCluster): Promise<string[]> {
    const dead = cluster.nodes.filter(({ name }) => cluster.processId(name) === undefined);
    if (dead.length > 0) return dead.map(({ name }) => `${name} does not run`);
    const missing: string[] = [];
    for (const endpoint of cluster.endpoints.routers) {
      const client = connect({ endpoints: [endpoint], timeoutMs: CLIENT_TIMEOUT_MS });
      try {
        const status = await client.status();
        for (const node of status.nodes) if (!node.live) missing.push(`${node.name} is not live`);
        if (status.rangesWithoutLeader > 0) missing.push(`${status.rangesWithoutLeader} without leader`);
        if (status.nodes.length < cluster.nodes.length) missing.push('some nodes are not known');
        for (const key of ['', ...SPLIT_KEYS]) {
          await client.put(`${key}/probe`, endpoint, { ordering: 'strict' });
          await client.get(`${key}/probe`);
        }
        for (const key of this.#loads?.splitKeys ?? []) await client.get(key);
      } finally {
        client.close();
      }
    }
    return missing;
  }

  async #judgeLockWaits(cluster: LocalCluster, loads: TransactionLoads): Promise<Verdict> {
    const { say, signal } = this.#around;
    const timed = (text: string): void => say(this.#timed(text));
    let [waits, failure]: [LockWaits | undefined, unknown] = [undefined, undefined];
    try {
      waits = await measureLockWaits({ cluster, loads, minutes: this.#options.minutes, say: timed, signal });
    } catch (error) {
      failure = error;
    }
    return judgeLockWaits(waits, failure);
  }

  async #judge(cluster: LocalCluster, workload: Workload, loads: TransactionLoads): Promise<Verdict[]> {
    const finals = new Map<string, number>();
    for (const [at] of cluster.endpoints.routers.entries()) {
      const client = this.#connect(cluster, at);
      await workload.readBack(client);
      const entries = await client.getMany(workload.counterKeys);
      workload.counterKeys.forEach((key, index) => finals.set(key, Number(entries[index]?.text() ?? '0')));
    }
    await loads.readBack(this.#connect(cluster, 0));
    const looks = workload.ladders.reduce((sum, ladder) => sum + ladder.looks, 0);
    const ladderFaults = workload.ladders.flatMap(({ faults }) => faults);
    return [
      this.#judgeHistory(),
      judgeCounters(this.#recorder.history.byKey(), finals),
      verdictOf('snapshots', `${looks} snapshots of ladders of STRICT writes`, ladderFaults),
      ...loads.verdicts(),
      await this.#judgeReplicas(cluster),
    ];
  }

  #judgeHistory(): Verdict {
    return judgeKeys(this.#recorder.history.byKey());
  }

  /** Stops the cluster and compares what the shard nodes have on disk. */
  async #judgeReplicas(cluster: LocalCluster): Promise<Verdict> {
    await delay(SETTLE_MS);
    await cluster.stop();
    const { engine } = this.#options;
    const shards = cluster.nodes.filter(({ kind }) => kind === 'shard');
    // With more shard nodes than replicas, each has a part only.
    if (shards.length > 3) return verdictOf('replicas', 'not compared: more shard nodes than replicas', []);
    const [first, ...others] = await Promise.all(
      shards.map(async ({ name, dataDirectory }) => [name, await readRows(dataDirectory, engine)] as const),
    );
    if (first === undefined) return verdictOf('replicas', 'there are none', []);
    const found = others.flatMap((other) => differences(first, other));
    return verdictOf('replicas', `${first[1].size} rows on each of ${shards.length} nodes`, found);
  }

  #result(verdicts: readonly Verdict[], striker: Striker, recoveredMs: number): RunResult {
    const { stats, errors, silences, longestWait, history } = this.#recorder;
    const unexplained = [...errors].flatMap(([text, code]) => {
      const isExplained = code === 'CORRUPTION' && striker.struck.has('flip-engine');
      return isExplained ? [] : [text];
    });
    const all = [...verdicts, verdictOf('errors', 'none that no fault explains', unexplained)];
    if (this.#options.keep || all.some(({ holds }) => !holds)) this.#keep(history.operations);
    return {
      seed: this.#options.seed,
      network: this.#around.network,
      engine: this.#options.engine,
      isComplete: !this.#around.signal.aborted,
      verdicts: all,
      operations: stats.succeeded + stats.failed + stats.unknown,
      failed: stats.failed,
      unknown: stats.unknown,
      silences: silences.map(({ fromMs, lengthMs }) => ({
        fromMs: Math.round(fromMs),
        lengthMs: Math.round(lengthMs),
      })),
      longestWaitMs: Math.round(longestWait.lengthMs),
      recoveredMs: Math.round(recoveredMs),
      faults: Object.fromEntries(striker.struck),
    };
  }

  #keep(operations: Parameters<typeof historyLines>[0]): void {
    const { directory } = this.#around;
    writeFileSync(join(directory, 'history.jsonl'), `${historyLines(operations).join('\n')}\n`);
    const adds = operations.filter(({ action }) => action.f === 'add').map((each) => JSON.stringify(each));
    writeFileSync(join(directory, 'counters.jsonl'), `${adds.join('\n')}\n`);
    this.#loads?.keep(directory);
    // The disk goes with the sandbox.
    if (this.#disk === undefined) return;
    cpSync(this.#disk.dataDirectory, join(directory, 'small-disk-copy'), { recursive: true });
  }
}

/** Runs a cluster under faults and judges it. Rejects when the run itself could not be made. */
export function runNemesis(options: NemesisOptions, around: Surroundings): Promise<RunResult> {
  return new Run(options, around).execute();
}
