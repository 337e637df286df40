import { storeId } from '@cairn/base';
import { RpcPool, THIS_BUILD, type Hello } from '@cairn/wire';

import type { SimCluster } from './cluster.js';
import type { SimClient } from './sim-client.js';

/** Calls to shard nodes as a tool makes them, from where a client is. */
export function shardCallsOf(cluster: SimCluster, { name, clock, transport }: SimClient): RpcPool {
  const hello: Hello = {
    ...THIS_BUILD,
    ...{ purpose: 'rpc', clusterId: '', kind: 'tool', name, storeId: storeId(0) },
  };
  return new RpcPool({ transport, hello: () => hello, clock, logger: cluster.observer.loggerFor(name) });
}
