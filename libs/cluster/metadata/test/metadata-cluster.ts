import { CairnError } from '@cairn/base';
import { noopMetrics, type LogFields, type Logger } from '@cairn/ports';
import {
  THIS_BUILD,
  type BuildVersions,
  type RpcClient,
  type RpcHandler,
  type RpcMethod,
  type RpcServer,
} from '@cairn/wire';

import type { MetadataMember } from '../src/leadership.js';
import { MetadataClient, type MetadataConnection } from '../src/metadata-client.js';
import { createMetadataNode, type MetadataNode } from '../src/metadata-node.js';
import { FakeRaft } from './fake-raft.js';
import { KeptMetrics } from './kept-metrics.js';
import { seededRng, VirtualClock } from './virtual-clock.js';

/** 2026-11-20. */
export const START_UNIX_MS = 1_795_132_800_000;

type AnyHandler = (bytes: Uint8Array) => Promise<Uint8Array>;

/** Nodes speak for themselves; whatever has no name comes from the first shard node. */
function remoteOf(request: unknown, as: string | undefined): never {
  const { name = 'shard-1', incarnation } = request as {
    readonly name?: string;
    readonly incarnation?: unknown;
  };
  const speaker = as ?? (incarnation === undefined ? 'shard-1' : name);
  return {
    protocols: { min: 1, max: 1 },
    clusterVersions: { min: 1, max: 1 },
    build: 'test',
    purpose: 'rpc',
    clusterId: '',
    kind: 'shard',
    name: speaker,
    storeId: Number(/-(\d+)$/.exec(speaker)?.[1] ?? 0),
  } as never;
}

/** Requests and responses pass through their encodings, as on a wire. */
class FakeServer implements RpcServer {
  readonly handlers = new Map<string, AnyHandler>();
  readonly #speaker: () => string | undefined;
  readonly #host: () => string;

  constructor(speaker: () => string | undefined, host: () => string) {
    this.#speaker = speaker;
    this.#host = host;
  }

  handle<Request, Response>(
    method: RpcMethod<Request, Response>,
    handler: RpcHandler<Request, Response>,
  ): void {
    this.handlers.set(method.name, async (bytes) => {
      const signal = new AbortController().signal;
      const request = method.decodeRequest(bytes);
      return method.encodeResponse(
        await handler(request, { signal, remote: remoteOf(request, this.#speaker()), host: this.#host() }),
      );
    });
  }
}

/** A line that was logged. */
export interface LogLine {
  readonly level: string;
  readonly event: string;
  readonly fields: LogFields;
}

export function recordingLogger(lines: LogLine[]): Logger {
  const at =
    (level: string) =>
    (event: string, fields: LogFields = {}) => {
      lines.push({ level, event, fields });
    };
  const logger: Logger = {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    with: () => logger,
  };
  return logger;
}

/** A whole metadata service in one process on virtual time. */
export class MetadataCluster {
  readonly clock = new VirtualClock(START_UNIX_MS);
  readonly raft: FakeRaft;
  readonly nodes: MetadataNode[] = [];
  readonly servers: FakeServer[] = [];
  readonly lines: LogLine[] = [];
  readonly members: MetadataMember[];
  /** Of each member. */
  readonly metrics: KeptMetrics[] = [];
  /** Addresses that nobody reaches. */
  readonly unreachable = new Set<string>();
  /** `address method` of every request that arrived. */
  readonly requests: string[] = [];
  /** Who all sessions belong to; undefined = whom the requests name. */
  speaker: string | undefined;
  /** Where all sessions come from. */
  host = '10.0.0.1';
  /** Processes that hold a session, hexadecimal. */
  readonly connected = new Set<string>();
  /** Members that are not connected, and for how long. */
  readonly away = new Map<string, number>();
  /** What the members run. */
  readonly builds = new Map<string, BuildVersions>();
  /** Virtual time a request takes to arrive. */
  latencyMs = 1;
  connections = 0;

  private constructor(size: number) {
    this.raft = new FakeRaft(size);
    this.members = this.raft.members.map(({ storeId }) => ({
      name: `meta-${storeId}`,
      storeId,
      address: `meta-${storeId}:7100`,
    }));
  }

  /** All members run `build` at first. */
  static async start(size = 3, expectedStores = 3, build = THIS_BUILD): Promise<MetadataCluster> {
    const cluster = new MetadataCluster(size);
    for (const { name } of cluster.members) cluster.builds.set(name, build);
    await cluster.raft.open();
    cluster.raft.members.forEach((member, index) => {
      const server = new FakeServer(
        () => cluster.speaker,
        () => cluster.host,
      );
      cluster.servers.push(server);
      const metrics = new KeptMetrics();
      cluster.metrics.push(metrics);
      cluster.nodes.push(
        createMetadataNode({
          machine: member.machine,
          group: member,
          server,
          name: (cluster.members[index] as MetadataMember).name,
          members: cluster.members,
          expectedStores,
          clock: cluster.clock,
          rng: seededRng(index + 7),
          logger: recordingLogger(cluster.lines),
          metrics,
          wallTime: () => ({ unixMs: cluster.clock.unixMs(), isAgreed: true }),
          agreedUnixMs: () => Promise.resolve(cluster.clock.unixMs()),
          build: cluster.#buildOf((cluster.members[index] as MetadataMember).name),
          memberAwayMs: ({ name }) => cluster.away.get(name),
          memberBuild: ({ name }) => (cluster.away.has(name) ? undefined : cluster.builds.get(name)),
          isProcessConnected: (process) => cluster.connected.has(Buffer.from(process).toString('hex')),
        }),
      );
    });
    return cluster;
  }

  /** What the member runs at the moment: a test gives it another build without a new process. */
  #buildOf(name: string): BuildVersions {
    const now = (): BuildVersions => this.builds.get(name) ?? THIS_BUILD;
    return {
      get build() {
        return now().build;
      },
      get protocols() {
        return now().protocols;
      },
      get clusterVersions() {
        return now().clusterVersions;
      },
    };
  }

  client(seed = 1): MetadataClient {
    return new MetadataClient({
      addresses: this.members.map((member) => member.address),
      connect: (address) => this.#connect(address),
      clock: this.clock,
      rng: seededRng(seed),
      logger: recordingLogger(this.lines),
      metrics: noopMetrics,
    });
  }

  /** Log lines of a level. */
  logged(level: string): LogLine[] {
    return this.lines.filter((line) => line.level === level);
  }

  #connect(address: string): MetadataConnection {
    this.connections += 1;
    let isClosed = false;
    const rpc: RpcClient = {
      call: async (method, request, { timeoutMs }) => {
        const { clock } = this;
        const bytes = method.encodeRequest(request);
        await new Promise<void>((resolve) => clock.setTimer(this.latencyMs, resolve));
        if (this.unreachable.has(address) || isClosed) {
          isClosed = true;
          throw new CairnError('UNAVAILABLE', `${address} is not reachable`);
        }
        this.requests.push(`${address} ${method.name.split('/')[1] ?? ''}`);
        const index = this.members.findIndex((member) => member.address === address);
        const handler = this.servers[index]?.handlers.get(method.name);
        if (handler === undefined) throw new CairnError('UNAVAILABLE', `nothing listens at ${address}`);
        const late = new Promise<never>((_, reject) => {
          clock.setTimer(timeoutMs, () => {
            reject(new CairnError('DEADLINE_EXCEEDED', 'no answer in time'));
          });
        });
        return method.decodeResponse(await Promise.race([handler(bytes), late]));
      },
    };
    return {
      rpc,
      get isClosed() {
        return isClosed;
      },
      close: () => {
        isClosed = true;
      },
    };
  }
}
