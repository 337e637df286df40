import type { ChildProcess } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { assert, CairnError } from '@cairn/base';
import { findFreePorts } from '@cairn/local-cluster';
import type { Children } from './children.js';
import type { EtcdBinary } from './etcd-binary.js';
import { agreedLeader, areCaughtUp, etcdStatus } from './etcd-status.js';
import type { FailoverSpec } from './failover-campaign.js';
import { FAILOVER_LIMIT_MS, type FailoverResult } from './failover.js';
import { kvloadMix, kvloadPreload, kvloadRun, type KvloadTarget } from './kvload.js';
import { LoadProcess } from './load-process.js';
import { residentBytes } from './process-stats.js';
import { sampleOf, type BenchSystem, type RunSpec, type Sample } from './system.js';
import type { WorkName } from './works.js';

const MEMBERS = 3;
const READY_TIMEOUT_MS = 30_000;
const READY_POLL_MS = 100;
const PRELOAD_OUTSTANDING = 64;
const CAUGHT_UP_TIMEOUT_MS = 60_000;

export interface EtcdSystemOptions {
  readonly binary: EtcdBinary;
  /** The directory of the members, which does not exist yet. */
  readonly dataDirectory: string;
  readonly keys: number;
  readonly valueBytes: number;
  /** Path of the native generator; empty = a Node client drives it. */
  readonly kvload: string;
  readonly children: Children;
  readonly stopRequested: AbortSignal;
}

interface Member {
  readonly name: string;
  readonly endpoint: string;
  readonly child: ChildProcess;
}

/** A member with etcd's own defaults: what is acknowledged is synced on two of three. */
function startMember(options: EtcdSystemOptions, at: number, ports: readonly number[]): Member {
  const client = `http://127.0.0.1:${ports[at]}`;
  const peerOf = (member: number): string => `http://127.0.0.1:${ports[MEMBERS + member]}`;
  const all = Array.from({ length: MEMBERS }, (_, member) => `etcd-${member + 1}=${peerOf(member)}`);
  const name = `etcd-${at + 1}`;
  const log = openSync(join(options.dataDirectory, `${name}.log`), 'a');
  const args = [
    ...['--name', name, '--data-dir', join(options.dataDirectory, name)],
    ...['--listen-client-urls', client, '--advertise-client-urls', client],
    ...['--listen-peer-urls', peerOf(at), '--initial-advertise-peer-urls', peerOf(at)],
    ...['--initial-cluster', all.join(','), '--initial-cluster-state', 'new'],
  ];
  // Variables would count as settings.
  const env = Object.fromEntries(Object.entries(process.env).filter(([key]) => !key.startsWith('ETCD_')));
  const child = options.children.start(options.binary.path, args, { stdio: ['ignore', log, log], env });
  closeSync(log);
  return { name, endpoint: `127.0.0.1:${ports[at]}`, child };
}

async function isHealthy(member: Member): Promise<boolean> {
  try {
    const answer = await fetch(`http://${member.endpoint}/health`, { signal: AbortSignal.timeout(1_000) });
    const { health } = (await answer.json()) as { health?: unknown };
    return health === 'true' || health === true;
  } catch {
    // Not yet: the caller asks again until its time is over, and then says so.
    return false;
  }
}

async function waitHealthy(members: readonly Member[], options: EtcdSystemOptions): Promise<void> {
  const deadlineMs = performance.now() + READY_TIMEOUT_MS;
  for (;;) {
    const healthy = await Promise.all(members.map(isHealthy));
    if (healthy.every(Boolean)) return;
    const ended = members.find(({ child }) => child.exitCode !== null || child.pid === undefined);
    if (ended !== undefined || performance.now() > deadlineMs) {
      const what = ended === undefined ? 'did not become ready' : `ended: ${ended.name}`;
      throw new CairnError('UNAVAILABLE', `etcd ${what}; its logs are in ${options.dataDirectory}.`);
    }
    await delay(READY_POLL_MS, undefined, { signal: options.stopRequested });
  }
}

/** Three members of etcd on loopback. */
export class EtcdSystem implements BenchSystem {
  readonly name = 'etcd';
  readonly version: string;
  readonly #options: EtcdSystemOptions;
  readonly #members: Member[];
  readonly #ports: readonly number[];
  readonly #load: LoadProcess;

  private constructor(
    options: EtcdSystemOptions,
    members: Member[],
    ports: readonly number[],
    load: LoadProcess,
  ) {
    this.version = options.binary.version;
    this.#options = options;
    this.#members = members;
    this.#ports = ports;
    this.#load = load;
  }

  /** On failure nothing is left running. */
  static async start(options: EtcdSystemOptions): Promise<EtcdSystem> {
    const { children, keys, valueBytes } = options;
    mkdirSync(options.dataDirectory, { recursive: true });
    const ports = await findFreePorts(2 * MEMBERS);
    const members = Array.from({ length: MEMBERS }, (_, at) => startMember(options, at, ports));
    try {
      await waitHealthy(members, options);
      const endpoints = members.map(({ endpoint }) => endpoint);
      const load = await LoadProcess.start(children, { system: 'etcd', endpoints, keys, valueBytes });
      return new EtcdSystem(options, members, ports, load);
    } catch (error) {
      await children.stop(members.map(({ child }) => child));
      throw error;
    }
  }

  driverOf(work: WorkName): string {
    return this.#isNative(work) ? 'native generator' : 'Node client';
  }

  canRun(work: WorkName): boolean {
    return work === 'scan' || kvloadMix(work) !== undefined;
  }

  preload(): Promise<void> {
    if (this.#options.kvload === '') return this.#load.preload(PRELOAD_OUTSTANDING);
    return kvloadPreload(this.#options.children, this.#target());
  }

  async run(spec: RunSpec): Promise<Sample> {
    const { work } = spec;
    if (work === 'unary' || this.#isNative(work)) {
      const isTransaction = work === 'txn-compare' || work === 'txn-compare-2';
      return kvloadRun(this.#options.children, this.#target(isTransaction ? 'etcd-txn' : 'etcd'), spec);
    }
    const roles = new Map(this.#processIds().map((processId) => [processId, 'member']));
    const processIds = [...roles.keys()];
    return sampleOf(await this.#load.run({ kind: 'run', ...spec, work, processIds }), roles);
  }

  async failover(spec: FailoverSpec): Promise<FailoverResult> {
    const at = await this.#whenCaughtUp();
    const member = this.#members[at];
    const processId = this.#processIds()[at];
    assert(member !== undefined && processId !== undefined, 'the leader is one of the members', { at });
    const result = await this.#load.failover({
      kind: 'failover',
      ...spec,
      processId,
      limitMs: FAILOVER_LIMIT_MS,
    });
    // It was killed by the load process; this waits until it is gone.
    await this.#options.children.stop([member.child]);
    this.#members[at] = startMember(this.#options, at, this.#ports);
    await waitHealthy(this.#members, this.#options);
    await this.#whenCaughtUp();
    return result;
  }

  residentBytes(): Record<string, number> {
    const bytes: Record<string, number> = {};
    for (const { name, child } of this.#members) {
      const resident = child.pid === undefined ? undefined : residentBytes(child.pid);
      if (resident !== undefined) bytes[name] = resident;
    }
    return bytes;
  }

  async stop(): Promise<void> {
    await this.#load.stop();
    await this.#options.children.stop(this.#members.map(({ child }) => child));
  }

  /** Waits until all members have applied the same; resolves with the place of the leader. */
  async #whenCaughtUp(): Promise<number> {
    const deadlineMs = performance.now() + CAUGHT_UP_TIMEOUT_MS;
    for (;;) {
      const answers = await Promise.allSettled(this.#members.map(({ endpoint }) => etcdStatus(endpoint)));
      const statuses = answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []));
      const leader = statuses.length === MEMBERS ? agreedLeader(statuses) : undefined;
      if (leader !== undefined && areCaughtUp(statuses)) return leader;
      if (performance.now() > deadlineMs) {
        throw new CairnError(
          'UNAVAILABLE',
          `etcd's members do not agree; see ${this.#options.dataDirectory}.`,
        );
      }
      await delay(READY_POLL_MS, undefined, { signal: this.#options.stopRequested });
    }
  }

  #isNative(work: WorkName): boolean {
    return this.#options.kvload !== '' && kvloadMix(work) !== undefined;
  }

  #processIds(): number[] {
    return this.#members.map(({ name, child }) => {
      if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) {
        const where = this.#options.dataDirectory;
        throw new CairnError('UNAVAILABLE', `${name} has ended; its log is in ${where}.`);
      }
      return child.pid;
    });
  }

  #target(adapter: 'etcd' | 'etcd-txn' = 'etcd'): KvloadTarget {
    const { kvload, keys, valueBytes } = this.#options;
    const endpoints = this.#members.map(({ endpoint }) => endpoint);
    return { path: kvload, adapter, endpoints, processIds: this.#processIds(), keys, valueBytes };
  }
}
