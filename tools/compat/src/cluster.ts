import { connect, type CairnClient } from '@cairn/client';
import { startLocalCluster, type LocalCluster } from '@cairn/local-cluster';

const MIB = String(1024 * 1024);
/** The smallest files that may be configured. */
const SMALL = ['--raft-log-segment-bytes', MIB];
const SMALL_SHARD = [...SMALL, '--write-buffer-bytes', MIB];

/** Nodes whose data is put away. */
export const NODES = { metadata: 1, shards: 3 } as const;

export interface Opened {
  readonly cluster: LocalCluster;
  readonly client: CairnClient;
  /** Ends the processes in order; nothing is lost that was not told to be. */
  close(): Promise<void>;
}

/** Starts this build on the data of a cluster, or on an empty directory. */
export async function open(
  dataDirectory: string,
  nodes: { readonly metadata: number; readonly shards: number },
  shardFlags: readonly string[] = [],
): Promise<Opened> {
  const flagsByKind = { metadata: SMALL, shard: [...SMALL_SHARD, ...shardFlags] };
  const cluster = await startLocalCluster({ dataDirectory, ...nodes, routers: 1, flagsByKind });
  const client = connect({ endpoints: cluster.endpoints.routers });
  return {
    cluster,
    client,
    close: async () => {
      client.close();
      await cluster.stop();
    },
  };
}
