import { fileURLToPath } from 'node:url';

import { CairnError, messageOf } from '@cairn/base';
import type { KvHandlers } from '@cairn/router-node';
import { kvServiceDefinition } from '@cairn/wire';
import type { Server } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { ReflectionService } from '@grpc/reflection';
import { NestFactory } from '@nestjs/core';
import type { INestMicroservice } from '@nestjs/common';
import { Transport, type GrpcOptions } from '@nestjs/microservices';
import { HealthImplementation } from 'grpc-health-check';

import { RouterModule, type RouterModuleParts } from './router.module.js';

const PROTO_ROOT = fileURLToPath(new URL('../../../proto', import.meta.url));
const LOADER = { includeDirs: [PROTO_ROOT], longs: Number, defaults: true, oneofs: true };
const MESSAGE_BYTES_MAX = 16 * 1024 * 1024;
const SERVICES = ['', 'cairn.v1.KV', 'cairn.v1.Cluster'] as const;

export interface RouterServer {
  setServing(isServing: boolean): void;
  close(): Promise<void>;
}

/**
 * The gRPC port: `Cluster` through Nest's controller, and on the same server, as plain grpc-js services, the
 * hot ones: `KV`, health and reflection. Throws FAILED_PRECONDITION when the address cannot be had.
 */
export async function startRouterServer(
  parts: RouterModuleParts & { readonly listen: string; readonly kv: KvHandlers },
): Promise<RouterServer> {
  const health = new HealthImplementation(Object.fromEntries(SERVICES.map((name) => [name, 'NOT_SERVING'])));
  const options: GrpcOptions = {
    transport: Transport.GRPC,
    options: {
      url: parts.listen,
      package: 'cairn.v1',
      // Nest claims every service of what it loads, so it gets only the file whose service it serves.
      protoPath: 'cairn/v1/cluster.proto',
      loader: LOADER,
      maxReceiveMessageLength: MESSAGE_BYTES_MAX,
      maxSendMessageLength: MESSAGE_BYTES_MAX,
      onLoadPackageDefinition: (_definition: object, server: Server) => {
        server.addService(kvServiceDefinition, { ...parts.kv });
        health.addToServer(server);
        const all = loadSync(['cairn/v1/cluster.proto', 'cairn/v1/kv.proto'], LOADER);
        new ReflectionService(all).addToServer(server);
      },
    },
  };
  const app: INestMicroservice = await NestFactory.createMicroservice(RouterModule.with(parts), {
    ...options,
    logger: false,
    abortOnError: false,
  });
  try {
    await app.listen();
  } catch (error) {
    throw cannotListen(parts.listen, error);
  }
  return {
    setServing: (isServing) => {
      for (const name of SERVICES) health.setStatus(name, isServing ? 'SERVING' : 'NOT_SERVING');
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
