import 'reflect-metadata';

import { messageOf, rethrowInvariant } from '@cairn/base';
import { loadConfig, routerConfig, type Environment } from '@cairn/config';
import { createHealthServer, createTelemetry } from '@cairn/observability';
import { openRouter, type RouterPorts } from '@cairn/router-node';
import { LogBudget, printable } from '@cairn/wire';
import type { OnUncaught, OnWarning } from '@cairn/runtime-node';
import { setLogger } from '@grpc/grpc-js';

import { cutOff } from './door-server.js';
import { startRouterServer } from './router-server.js';
import { ServingStatus } from './serving-status.js';

export interface RouterProcessOptions extends Omit<RouterPorts, 'cutOff'> {
  /** Arguments without interpreter and script. */
  readonly argv: readonly string[];
  readonly env: Environment;
  /** Registers who is told of an error that nobody caught; who embeds a process may have a way of its own. */
  readonly onUncaught?: OnUncaught;
  /** Registers who is told what Node warns of. */
  readonly onWarning?: OnWarning;
}

export interface RouterProcess {
  /** `host:port` of /metrics, /healthz and /readyz. */
  readonly healthAddress: string;
  /** Resolves when the router cannot go on: leave with an exit code above 0. */
  readonly failed: Promise<Error>;
  /** Says NOT_SERVING, lets open operations finish within `shutdownTimeoutMs`, closes. Idempotent. */
  stop(signal: string): Promise<void>;
}

/**
 * Starts a router: health first, then the gRPC port, which answers NOT_SERVING until the cluster is joined.
 *
 * @throws CairnError INVALID_ARGUMENT with every problem of the configuration,
 *   FAILED_PRECONDITION for a taken port.
 */
export async function startRouterProcess(options: RouterProcessOptions): Promise<RouterProcess> {
  const loaded = loadConfig({ ...routerConfig, argv: options.argv, env: options.env });
  const config = loaded.values;
  const telemetry = createTelemetry({
    ...config,
    service: 'cairn-router',
    node: config.name,
    rng: options.rng,
  });
  options.onUncaught?.((error) => telemetry.fatal('router ended by an error', error));
  options.onWarning?.(({ name, message }) => {
    telemetry.logger.warn('warning of Node', { kind: name, message });
  });
  const { logger, metrics, tracer } = telemetry;
  for (const warning of loaded.warnings) logger.warn('configuration', { warning });
  logGrpcTo(new LogBudget({ clock: options.clock, logger, event: 'grpc library' }));
  const router = openRouter({ ...options, cutOff }, { config, logger, metrics, tracer });
  const health = await createHealthServer({
    listen: config.httpListen,
    metrics,
    readiness: () => router.readiness(),
    logger,
  });
  const closeShell = async (): Promise<void> => {
    await health.close();
    await telemetry.shutdown();
  };
  const grpcConnectionsMax = Math.min(
    config.grpcConnectionsMax,
    options.transport.connectionsMax ?? Infinity,
  );
  if (grpcConnectionsMax < config.grpcConnectionsMax) {
    logger.warn('few files may be open (ulimit -n), so fewer clients are taken than configured', {
      ...{ grpcConnectionsMax, configured: config.grpcConnectionsMax },
    });
  }
  try {
    const server = await startRouterServer({
      cluster: router.cluster,
      kv: router.kv,
      listen: config.grpcListen,
      limits: { ...config, grpcConnectionsMax },
      context: { clock: options.clock, logger, metrics },
    });
    logger.info('router listens', { grpc: config.grpcListen, http: health.address });
    const failed = new Promise<Error>((resolve) => {
      router.joined.catch((error: unknown) => {
        rethrowInvariant(error);
        logger.error('router cannot join the cluster', { error: messageOf(error) });
        resolve(error instanceof Error ? error : new Error(String(error)));
      });
    });
    const serving = new ServingStatus(
      options.clock,
      () => router.readiness().ready,
      (isServing) => {
        server.setServing(isServing);
      },
    );
    let stopping: Promise<void> | undefined;
    return {
      healthAddress: health.address,
      failed,
      stop: (signal) => {
        stopping ??= (async () => {
          logger.info('router was told to stop', { signal });
          serving.stop();
          await router.close(config.shutdownTimeoutMs);
          await server.close();
          logger.info('router stopped');
          await closeShell();
        })();
        return stopping;
      },
    };
  } catch (error) {
    logger.error('router could not start', { error: messageOf(error) });
    await router.close(0);
    await closeShell();
    throw error;
  }
}

/**
 * grpc-js would write plain text between the JSON lines; what it calls an error also reaches us as one, or a
 * status.
 */
function logGrpcTo(lines: LogBudget): void {
  const write = (message: unknown): void => {
    lines.write({ message: printable(String(message)) });
  };
  setLogger({ error: write, info: write, debug: write });
}
