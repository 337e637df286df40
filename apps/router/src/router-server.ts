import { fileURLToPath } from 'node:url';

import { CairnError, messageOf } from '@cairn/base';
import type { RouterConfig } from '@cairn/config';
import type { KvHandlers, TxnHandlers, WatchHandlers } from '@cairn/router-node';
import { kvServiceDefinition, txnServiceDefinition, watchServiceDefinition } from '@cairn/wire';
import { ServerCredentials, type Server } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { ReflectionService } from '@grpc/reflection';
import { NestFactory } from '@nestjs/core';
import type { INestMicroservice } from '@nestjs/common';
import { ServerGrpc, type GrpcOptions } from '@nestjs/microservices';

import { ClusterGate } from './cluster-gate.js';
import { Connections, type ConnectionContext } from './connections.js';
import { ControlFrames } from './control-frames.js';
import { DoorServer } from './door-server.js';
import { healthServiceDefinition, HealthService } from './health-service.js';
import { RouterModule, type RouterModuleParts } from './router.module.js';

const PROTO_ROOT = fileURLToPath(new URL('../../../proto', import.meta.url));
const LOADER = { includeDirs: [PROTO_ROOT], longs: Number, defaults: true, oneofs: true };
/** Of a request, unpacked too. */
const REQUEST_BYTES_MAX = 16 * 1024 * 1024;
const SERVICES = ['', 'cairn.v1.KV', 'cairn.v1.Txn', 'cairn.v1.Watch', 'cairn.v1.Cluster'] as const;

/** Bounds on those who connect; `RouterConfig` describes them. */
export type DoorLimits = Pick<
  RouterConfig,
  | 'grpcConnectionsMax'
  | 'grpcStreamsPerConnectionMax'
  | 'grpcHandshakeTimeoutMs'
  | 'grpcIdleTimeoutMs'
  | 'grpcKeepaliveIntervalMs'
  | 'grpcKeepaliveTimeoutMs'
>;

export interface RouterServerParts extends RouterModuleParts {
  readonly listen: string;
  readonly kv: KvHandlers;
  readonly txn: TxnHandlers;
  readonly watch: WatchHandlers;
  /** A connection is over. */
  readonly callerGone: (peer: string) => void;
  readonly limits: DoorLimits;
  readonly context: ConnectionContext;
}

export interface RouterServer {
  /** Where it listens, with the port that was picked where none was named. */
  readonly address: string;
  setServing(isServing: boolean): void;
  close(): Promise<void>;
}

/** Nest's gRPC transport over a server and connections of ours. */
class DoorTransport extends ServerGrpc {
  readonly #parts: RouterServerParts;
  #connections: Connections | undefined;
  #address = '';

  constructor(options: GrpcOptions['options'], parts: RouterServerParts) {
    super(options);
    this.#parts = parts;
  }

  /** Known once it listens. */
  get address(): string {
    return this.#address;
  }

  override async createClient(): Promise<DoorServer> {
    const { limits, context, listen, callerGone } = this.#parts;
    const hosts = new ControlFrames(context);
    const server = new DoorServer(
      {
        'grpc.max_receive_message_length': REQUEST_BYTES_MAX,
        // Answers are bounded where they are made; refused here, they would have been made in vain.
        'grpc.max_send_message_length': -1,
        'grpc.max_concurrent_streams': limits.grpcStreamsPerConnectionMax,
        'grpc.max_connection_idle_ms': limits.grpcIdleTimeoutMs,
        'grpc.keepalive_time_ms': limits.grpcKeepaliveIntervalMs,
        'grpc.keepalive_timeout_ms': limits.grpcKeepaliveTimeoutMs,
      },
      { ...context, controlFrames: hosts, callerGone },
    );
    const connections = new Connections(
      server.createConnectionInjector(ServerCredentials.createInsecure()),
      { connectionsMax: limits.grpcConnectionsMax, handshakeTimeoutMs: limits.grpcHandshakeTimeoutMs },
      { ...context, hosts },
    );
    this.#address = await connections.listen(listen);
    this.#connections = connections;
    return server;
  }

  override async close(): Promise<void> {
    this.#connections?.stop();
    await super.close();
    this.#connections?.close();
  }
}

/**
 * The gRPC port: `Cluster` through Nest's controller, and on the same server, as plain grpc-js services,
 * the hot ones: `KV`, `Txn`, `Watch`, health and reflection. Throws FAILED_PRECONDITION when the address
 * cannot be had.
 */
export async function startRouterServer(parts: RouterServerParts): Promise<RouterServer> {
  const health = new HealthService(SERVICES);
  const strategy = new DoorTransport(
    {
      url: parts.listen,
      package: 'cairn.v1',
      // Nest claims every service of what it loads, so it gets only the file whose service it serves.
      protoPath: 'cairn/v1/cluster.proto',
      loader: LOADER,
      onLoadPackageDefinition: (_definition: object, server: Server) => {
        server.addService(kvServiceDefinition, { ...parts.kv });
        server.addService(txnServiceDefinition, { ...parts.txn });
        server.addService(watchServiceDefinition, { ...parts.watch });
        server.addService(healthServiceDefinition, health.handlers);
        const files = ['cluster', 'kv', 'txn', 'watch'].map((name) => `cairn/v1/${name}.proto`);
        const all = loadSync(files, LOADER);
        new ReflectionService(all).addToServer(server);
      },
    },
    parts,
  );
  const app: INestMicroservice = await NestFactory.createMicroservice(
    RouterModule.with(parts, { gate: new ClusterGate(parts.context.metrics) }),
    {
      strategy,
      logger: false,
      abortOnError: false,
    },
  );
  try {
    await app.listen();
  } catch (error) {
    throw cannotListen(parts.listen, error);
  }
  return {
    address: strategy.address,
    setServing: (isServing) => {
      health.setServing(isServing);
    },
    close: () => app.close(),
  };
}

function cannotListen(address: string, error: unknown): CairnError {
  const reason = messageOf(error);
  const isTaken = reason.includes('EADDRINUSE');
  return new CairnError(
    'FAILED_PRECONDITION',
    isTaken
      ? `${address} is in use by another process: stop it, or choose another address with --grpc-listen`
      : `the gRPC server on ${address} could not start: ${reason}`,
    { cause: error },
  );
}
