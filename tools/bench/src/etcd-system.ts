import type { ChildProcess } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { CairnError } from '@cairn/base';
import { findFreePorts } from '@cairn/local-cluster';
import type { Children } from './children.js';
import type { EtcdBinary } from './etcd-binary.js';
import { kvloadMix, kvloadPreload, kvloadRun, type KvloadTarget } from './kvload.js';
import { LoadProcess } from './load-process.js';
import { residentBytes } from './process-stats.js';
import { sampleOf, type BenchSystem, type RunSpec, type Sample } from './system.js';
import type { WorkName } from './works.js';

const MEMBERS = 3;
const READY_TIMEOUT_MS = 30_000;
const READY_POLL_MS = 100;
const PRELOAD_OUTSTANDING = 64;

export interface EtcdSystemOptions {
  readonly binary: EtcdBinary;
  /** Does not exist yet. */
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
  readonly #members: readonly Member[];
  readonly #load: LoadProcess;

  private constructor(options: EtcdSystemOptions, members: readonly Member[], load: LoadProcess) {
    this.version = options.binary.version;
    this.#options = options;
    this.#members = members;
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
      return new EtcdSystem(options, members, load);
    } catch (error) {
      await children.stop(members.map(({ child }) => child));
      throw error;
    }
  }

  driverOf(work: WorkName): string {
    return this.#isNative(work) ? 'native generator' : 'Node client';
  }

  preload(): Promise<void> {
    if (this.#options.kvload === '') return this.#load.preload(PRELOAD_OUTSTANDING);
    return kvloadPreload(this.#options.children, this.#target());
  }

  async run(spec: RunSpec): Promise<Sample> {
    const { work } = spec;
    if (work === 'unary' || this.#isNative(work)) {
      return kvloadRun(this.#options.children, this.#target(), spec);
    }
    const roles = new Map(this.#processIds().map((processId) => [processId, 'member']));
    const processIds = [...roles.keys()];
    return sampleOf(await this.#load.run({ kind: 'run', ...spec, work, processIds }), roles);
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

  #target(): KvloadTarget {
    const { kvload, keys, valueBytes } = this.#options;
    const endpoints = this.#members.map(({ endpoint }) => endpoint);
    return { path: kvload, adapter: 'etcd', endpoints, processIds: this.#processIds(), keys, valueBytes };
  }
}
