import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { CairnError } from '@cairn/base';
import {
  checkNotRunning,
  endpointsOf,
  openDataDirectory,
  writeEndpoints,
  writeProcesses,
  type ClusterEndpoints,
} from './data-directory.js';
import {
  fixedPorts,
  flagsOf,
  KINDS_IN_START_ORDER,
  planNodes,
  type NodeCounts,
  type NodeKind,
  type NodePlan,
  type PlaceNode,
} from './layout.js';
import { lastLines, NodeProcess, type ProcessEnd } from './node-process.js';
import { freePortsFor, takenPorts } from './ports.js';
import { notReady } from './readiness.js';

/** What happens while a cluster starts, runs and stops: for progress and tests. */
export type ClusterEvent =
  | { readonly kind: 'starting'; readonly name: string }
  | { readonly kind: 'waiting'; readonly reasons: ReadonlyMap<string, string> }
  | { readonly kind: 'ready'; readonly seconds: number }
  | {
      readonly kind: 'died';
      readonly name: string;
      readonly end: ProcessEnd;
      readonly lastLines: readonly string[];
      readonly logFile: string;
      /** Undefined: it is not started again. */
      readonly restartInMs: number | undefined;
    }
  | { readonly kind: 'killed-hard'; readonly name: string };

export interface LocalClusterOptions {
  /** Created when absent. */
  readonly dataDirectory: string;
  readonly shards?: number;
  readonly metadata?: number;
  readonly routers?: number;
  /** First of the fixed ports; absent = free ports, for tests. */
  readonly basePort?: number;
  /** Start processes again that end unexpectedly, with growing delays. Default: no. */
  readonly restart?: boolean;
  /** More flags for every process, and for those of one kind. */
  readonly flags?: readonly string[];
  readonly flagsByKind?: Partial<Readonly<Record<NodeKind, readonly string[]>>>;
  /** Programs to run instead of the applications. */
  readonly programs?: Partial<Readonly<Record<NodeKind, string>>>;
  /** Where nodes run. Default: on loopback, reached directly. */
  readonly place?: PlaceNode;
  /** How long all nodes together get to become ready. Default: a minute. */
  readonly readyTimeoutMs?: number;
  /** How long the nodes of one kind get to stop; then they are killed. Default: 10 s. */
  readonly stopTimeoutMs?: number;
  readonly onEvent?: (event: ClusterEvent) => void;
  /** Gives up waiting for readiness when this resolves; the start then rejects with `CANCELLED`. */
  readonly stopRequested?: Promise<void>;
}

/** A running cluster of separate processes. */
export interface LocalCluster {
  readonly endpoints: ClusterEndpoints;
  readonly nodes: readonly NodePlan[];
  /** Operating-system id; undefined while the node does not run. */
  processId(name: string): number | undefined;
  /**
   * Sends a signal and, when it is one that ends a process, waits until it has. It is not started again by
   * itself.
   */
  kill(name: string, signal?: NodeJS.Signals): Promise<void>;
  /** Starts a node that does not run and waits until it is ready. */
  restart(name: string): Promise<void>;
  /** Waits until all running nodes, or the named ones, are ready. */
  waitReady(names?: readonly string[]): Promise<void>;
  /** Stops everything: routers, shards, metadata; those that do not leave in time are killed. */
  stop(): Promise<void>;
  /** Kills everything at once, without waiting: for a second Ctrl-C. */
  killAll(): void;
}

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../../..');
const READY_TIMEOUT_MS = 60_000;
const READY_POLL_MS = 100;
const STOP_TIMEOUT_MS = 10_000;
const LAST_LINES = 10;
const RESTART_DELAY_MIN_MS = 500;
const RESTART_DELAY_MAX_MS = 10_000;
/** A node that ran this long and then died begins again with the shortest delay. */
const RESTART_DELAY_RESET_MS = 30_000;
const ENDING_SIGNALS: readonly NodeJS.Signals[] = ['SIGKILL', 'SIGTERM', 'SIGINT', 'SIGABRT', 'SIGQUIT'];

function programOf(kind: NodeKind, options: LocalClusterOptions): string {
  const program = options.programs?.[kind] ?? join(ROOT, 'apps', kind, 'dist/main.js');
  if (existsSync(program)) return program;
  throw new CairnError('FAILED_PRECONDITION', `${program} does not exist. Build first, with: npm run build`);
}

async function checkPorts(nodes: readonly NodePlan[], basePort: number | undefined): Promise<void> {
  const taken = await takenPorts(nodes);
  const [first] = taken;
  if (first === undefined) return;
  const all = taken.map(({ port, name }) => `${port} (${name})`).join(', ');
  const verb = taken.length === 1 ? 'The port' : 'Ports';
  throw new CairnError(
    'FAILED_PRECONDITION',
    `${verb} ${all} ${taken.length === 1 ? 'is' : 'are'} taken, probably by another local cluster or another server. ` +
      `Stop it, or choose other ports, for example with --base-port ${(basePort ?? first.port) + 1_000}.`,
  );
}

class RunningCluster implements LocalCluster {
  readonly endpoints: ClusterEndpoints;
  readonly nodes: readonly NodePlan[];
  readonly #options: LocalClusterOptions;
  readonly #processes = new Map<string, NodeProcess>();
  /** Nodes that somebody stopped on purpose. */
  readonly #stopped = new Set<string>();
  readonly #restartDelaysMs = new Map<string, number>();
  readonly #aborter = new AbortController();
  /** Why the start cannot succeed any more. */
  #failedAtStart: CairnError | undefined;
  #isUp = false;
  /**
   * If this process leaves without `stop`, because of a mistake of its own, the nodes must not stay behind.
   */
  readonly #onExit = (): void => this.killAll();

  constructor(nodes: readonly NodePlan[], options: LocalClusterOptions) {
    this.nodes = nodes;
    this.#options = options;
    this.endpoints = endpointsOf(nodes);
    for (const node of nodes) {
      const more = [...(options.flags ?? []), ...(options.flagsByKind?.[node.kind] ?? [])];
      const flags = [...flagsOf(node, nodes), ...more];
      const program = programOf(node.kind, options);
      this.#processes.set(node.name, new NodeProcess(node, { program, flags, env: childEnvironment() }));
    }
  }

  /** Starts all and waits until they are ready. On failure nothing is left running. */
  async start(): Promise<void> {
    const startedMs = performance.now();
    process.once('exit', this.#onExit);
    void this.#options.stopRequested?.then(() => {
      if (!this.#isUp)
        this.#failedAtStart ??= new CairnError('CANCELLED', 'Stopped before everything was up.');
    });
    try {
      for (const node of this.nodes) this.#start(node.name);
      await this.waitReady();
    } catch (error) {
      await this.stop();
      throw error;
    }
    this.#isUp = true;
    this.#emit({ kind: 'ready', seconds: (performance.now() - startedMs) / 1_000 });
  }

  processId(name: string): number | undefined {
    return this.#process(name).processId;
  }

  async kill(name: string, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const target = this.#process(name);
    const ends = ENDING_SIGNALS.includes(signal);
    if (ends) this.#stopped.add(name);
    target.signal(signal);
    if (ends) await target.ended();
  }

  async restart(name: string): Promise<void> {
    this.#stopped.delete(name);
    if (this.#process(name).processId === undefined) this.#start(name);
    await this.waitReady([name]);
  }

  async waitReady(names?: readonly string[]): Promise<void> {
    const wanted = this.nodes.filter(({ name }) => names?.includes(name) ?? !this.#stopped.has(name));
    const timeoutMs = this.#options.readyTimeoutMs ?? READY_TIMEOUT_MS;
    const deadlineMs = performance.now() + timeoutMs;
    for (;;) {
      const reasons = await notReady(wanted);
      if (this.#failedAtStart !== undefined) throw this.#failedAtStart;
      if (reasons.size === 0) return;
      if (performance.now() > deadlineMs) {
        const list = [...reasons].map(([name, reason]) => `${name} (${reason})`).join(', ');
        throw new CairnError(
          'UNAVAILABLE',
          `After ${Math.round(timeoutMs / 1_000)} s these are not ready: ${list}. Their logs are in ` +
            `${join(this.#options.dataDirectory, 'logs')}.`,
        );
      }
      this.#emit({ kind: 'waiting', reasons });
      await delay(READY_POLL_MS);
    }
  }

  async stop(): Promise<void> {
    this.#aborter.abort();
    for (const { name } of this.nodes) this.#stopped.add(name);
    for (const kind of [...KINDS_IN_START_ORDER].reverse()) {
      const deadlineMs = performance.now() + (this.#options.stopTimeoutMs ?? STOP_TIMEOUT_MS);
      const group = this.nodes.filter((node) => node.kind === kind).map(({ name }) => this.#process(name));
      for (const each of group) {
        // A paused process takes the signal to end only once it goes on.
        each.signal('SIGTERM');
        each.signal('SIGCONT');
      }
      await Promise.all(group.map((each) => this.#awaitEnd(each, deadlineMs)));
    }
    this.#recordProcesses();
    process.off('exit', this.#onExit);
  }

  killAll(): void {
    this.#aborter.abort();
    for (const { name } of this.nodes) this.#stopped.add(name);
    for (const each of this.#processes.values()) each.signal('SIGKILL');
  }

  async #awaitEnd(target: NodeProcess, deadlineMs: number): Promise<void> {
    const waiting = new AbortController();
    const late = delay(Math.max(0, deadlineMs - performance.now()), 'late', { signal: waiting.signal });
    const first = await Promise.race([target.ended().then(() => 'ended'), late.catch(() => 'ended')]);
    waiting.abort();
    if (first === 'ended') return;
    this.#emit({ kind: 'killed-hard', name: target.plan.name });
    target.signal('SIGKILL');
    await target.ended();
  }

  #process(name: string): NodeProcess {
    const found = this.#processes.get(name);
    if (found !== undefined) return found;
    const names = this.nodes.map((node) => node.name).join(', ');
    throw new CairnError('INVALID_ARGUMENT', `there is no node ${name}; there are ${names}`);
  }

  #start(name: string): void {
    this.#emit({ kind: 'starting', name });
    const startedMs = performance.now();
    const ended = this.#process(name).start();
    this.#recordProcesses();
    void ended.then((end) => this.#onEnd(name, end, performance.now() - startedMs));
  }

  #onEnd(name: string, end: ProcessEnd, ranMs: number): void {
    if (this.#stopped.has(name)) return;
    const { logFile } = this.#process(name).plan;
    const lines = lastLines(logFile, LAST_LINES);
    const willRestart = this.#isUp && this.#options.restart === true;
    const restartInMs = willRestart ? this.#nextDelayMs(name, ranMs) : undefined;
    this.#emit({ kind: 'died', name, end, lastLines: lines, logFile, restartInMs });
    if (!this.#isUp) {
      const how = end.signal === null ? `with exit code ${end.code}` : `by ${end.signal}`;
      this.#failedAtStart ??= new CairnError(
        'UNAVAILABLE',
        `${name} ended ${how} while the cluster started. Its log, ${logFile}, ends with:\n${lines.join('\n')}`,
      );
    }
    if (restartInMs !== undefined) void this.#startLater(name, restartInMs);
  }

  #nextDelayMs(name: string, ranMs: number): number {
    const before = ranMs > RESTART_DELAY_RESET_MS ? undefined : this.#restartDelaysMs.get(name);
    const delayMs = Math.min(before === undefined ? RESTART_DELAY_MIN_MS : before * 2, RESTART_DELAY_MAX_MS);
    this.#restartDelaysMs.set(name, delayMs);
    return delayMs;
  }

  async #startLater(name: string, delayMs: number): Promise<void> {
    const { signal } = this.#aborter;
    const isAborted = await delay(delayMs, false, { signal }).catch(() => true);
    const isWanted = !isAborted && !this.#stopped.has(name) && this.#process(name).processId === undefined;
    if (isWanted) this.#start(name);
  }

  #recordProcesses(): void {
    const running: Record<string, number> = {};
    for (const [name, { processId }] of this.#processes) {
      if (processId !== undefined) running[name] = processId;
    }
    writeProcesses(this.#options.dataDirectory, running);
  }

  #emit(event: ClusterEvent): void {
    this.#options.onEvent?.(event);
  }
}

/**
 * What this tool was configured with must not configure the nodes as well: they take everything from flags.
 */
function childEnvironment(): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !name.startsWith('CAIRN_') && name !== 'NODE_OPTIONS' && !name.startsWith('JEST_'),
  );
  return { ...Object.fromEntries(inherited), NODE_ENV: 'production' };
}

/**
 * Starts a cluster and resolves when all of it is ready. Rejects with a sentence that says what to do, and
 * leaves nothing running, when a port is taken, the data directory does not fit, or a process ends or does
 * not become ready.
 *
 * @throws CairnError `FAILED_PRECONDITION` or `UNAVAILABLE`.
 */
export async function startLocalCluster(options: LocalClusterOptions): Promise<LocalCluster> {
  const { metadata = 3, shards = 3, routers = 1, basePort } = options;
  const counts: NodeCounts = { metadata, shards, routers };
  const dataDirectory = resolve(options.dataDirectory);
  await openDataDirectory(dataDirectory, counts);
  checkNotRunning(dataDirectory);
  const portsOf =
    basePort === undefined ? await freePortsFor(metadata + shards + routers) : fixedPorts(basePort);
  const nodes = planNodes(dataDirectory, counts, portsOf, options.place);
  if (basePort !== undefined) await checkPorts(nodes, basePort);
  const cluster = new RunningCluster(nodes, { ...options, dataDirectory });
  writeEndpoints(dataDirectory, cluster.endpoints);
  await cluster.start();
  return cluster;
}
