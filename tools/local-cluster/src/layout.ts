import { join } from 'node:path';

export type NodeKind = 'metadata' | 'shard' | 'router';

/** How many processes of each kind. */
export interface NodeCounts {
  readonly metadata: number;
  readonly shards: number;
  readonly routers: number;
}

/** One process as it is to be run. */
export interface NodePlan {
  /** `metadata-1`, `shard-1`, `router-1`: its identity in the cluster. */
  readonly name: string;
  readonly kind: NodeKind;
  /** Where it listens: framed for metadata and shards, gRPC for routers. */
  readonly address: string;
  /** Where others are told to reach it; the same, unless something stands in between. */
  readonly advertised: string;
  /** Health and metrics. */
  readonly httpAddress: string;
  /** Empty for routers: they keep nothing. */
  readonly dataDirectory: string;
  readonly logFile: string;
  /** Program and arguments that it is started through; empty = directly. */
  readonly launcher: readonly string[];
}

/** Where a node runs when it is not simply on this machine's loopback. */
export interface NodePlacement {
  /** Address of the node, without a port. */
  readonly host?: string;
  /** Where others are told to reach it instead: `host:port` of something that passes the bytes on. */
  readonly advertised?: string;
  /** Program and arguments before those of the node; must become the node without a new process id. */
  readonly launcher?: readonly string[];
  /** Default: a directory with the node's name in that of the cluster. */
  readonly dataDirectory?: string;
}

/** Decides where a node runs, by its name and the loopback address that it would listen at. */
export type PlaceNode = (name: string, address: string) => NodePlacement;

export interface PortPair {
  readonly port: number;
  readonly httpPort: number;
}

const HOST = '127.0.0.1';

/** The kinds in the order in which they start; they stop the other way round, so that routers can drain. */
export const KINDS_IN_START_ORDER: readonly NodeKind[] = ['metadata', 'shard', 'router'];

const OFFSETS: Readonly<Record<NodeKind, PortPair>> = {
  router: { port: 0, httpPort: 80 },
  metadata: { port: 10, httpPort: 90 },
  shard: { port: 20, httpPort: 100 },
};

/**
 * Ports by formula: the same command gives the same ports every day. `index` counts from 0 within the kind.
 */
export function fixedPorts(basePort: number): (kind: NodeKind, index: number) => PortPair {
  return (kind, index) => ({
    port: basePort + OFFSETS[kind].port + index,
    httpPort: basePort + OFFSETS[kind].httpPort + index,
  });
}

export function countOf(counts: NodeCounts, kind: NodeKind): number {
  switch (kind) {
    case 'metadata':
      return counts.metadata;
    case 'shard':
      return counts.shards;
    case 'router':
      return counts.routers;
  }
}

/** All processes of a cluster. */
export function planNodes(
  directory: string,
  counts: NodeCounts,
  portsOf: (kind: NodeKind, index: number) => PortPair,
  place: PlaceNode = () => ({}),
): NodePlan[] {
  return KINDS_IN_START_ORDER.flatMap((kind) =>
    Array.from({ length: countOf(counts, kind) }, (_, index) => {
      const name = `${kind}-${index + 1}`;
      const { port, httpPort } = portsOf(kind, index);
      const placement = place(name, `${HOST}:${port}`);
      const { host = HOST, advertised, launcher = [], dataDirectory = join(directory, name) } = placement;
      const address = `${host}:${port}`;
      return {
        name,
        kind,
        address,
        advertised: advertised ?? address,
        httpAddress: `${host}:${httpPort}`,
        launcher,
        dataDirectory: kind === 'router' ? '' : dataDirectory,
        logFile: join(directory, 'logs', `${name}.log`),
      };
    }),
  );
}

const REPLICAS_WANTED = 3;

/** The flags that one process is started with. */
export function flagsOf(node: NodePlan, all: readonly NodePlan[]): string[] {
  const members = all.filter((each) => each.kind === 'metadata');
  const metadataAddresses = members.map((member) => member.advertised).join(',');
  const shards = all.filter((each) => each.kind === 'shard').length;
  const advertise = node.advertised === node.address ? [] : ['--advertise', node.advertised];
  const common = ['--name', node.name, '--http-listen', node.httpAddress, ...advertise];
  switch (node.kind) {
    case 'metadata': {
      const peers = members.map((member) => `${member.name}=${member.advertised}`).join(',');
      const expected = String(Math.min(shards, REPLICAS_WANTED));
      return [
        ...[...common, '--listen', node.address, '--peers', peers],
        ...['--data-directory', node.dataDirectory, '--expected-stores', expected],
      ];
    }
    case 'shard':
      return [
        ...[...common, '--listen', node.address, '--metadata-addresses', metadataAddresses],
        ...['--data-directory', node.dataDirectory],
      ];
    case 'router':
      return [...common, '--grpc-listen', node.address, '--metadata-addresses', metadataAddresses];
  }
}
