import { connect, type CairnClient } from '@cairn/client';
import type { Clock, Transport } from '@cairn/ports';

import type { SimCluster } from './cluster.js';
import { simGrpcConnector } from './grpc/grpc-connector.js';

/** A process that uses the cluster through the client library. */
export interface SimClient {
  readonly name: string;
  readonly client: CairnClient;
  readonly clock: Clock;
  readonly transport: Transport;
}

/** Starts one. Its calls have `timeoutMs` unless they say otherwise. */
export function startClient(cluster: SimCluster, name: string, timeoutMs: number): SimClient {
  const { scheduler, network, rng, observer, grpcWindowBytes } = cluster;
  const process = scheduler.startProcess(name);
  const transport = network.attach(process);
  const client = connect({
    endpoints: cluster.routers.map(({ address }) => address),
    timeoutMs,
    clock: process.clock,
    rng: rng.fork(name),
    logger: observer.loggerFor(name),
    connector: simGrpcConnector(transport, grpcWindowBytes),
  });
  return { name, client, clock: process.clock, transport };
}
