import { messageOf, printable, rethrowInvariant } from '@cairn/base';
import { routerConfig, type RouterConfig, type routerConfigSchema } from '@cairn/config';
import type { ProcessKind, ProcessPorts, RunningPart, ShellContext } from '@cairn/process-shell';
import { openRouter, type RunningRouter } from '@cairn/router-node';
import { LogBudget } from '@cairn/ports';
import { setLogger } from '@grpc/grpc-js';

import { cutOff } from './door-server.js';
import { startRouterServer, type RouterServer } from './router-server.js';
import { ServingStatus } from './serving-status.js';

type Context = ShellContext<RouterConfig>;

/** One router as a process. */
export const routerProcess: ProcessKind<typeof routerConfigSchema> = {
  config: routerConfig,
  what: 'router',
  // Operations get `shutdownTimeoutMs` to finish; then those who wait are told, and the cluster that it
  // leaves.
  closeGraceMs: 5_000,
  open,
};

/**
 * The gRPC port answers NOT_SERVING until the cluster is joined. Throws FAILED_PRECONDITION for a taken port.
 */
async function open(context: Context, ports: ProcessPorts): Promise<RunningPart> {
  const { config, logger } = context;
  const { clock } = ports;
  logGrpcTo(new LogBudget({ clock, logger, event: 'grpc library' }));
  const router = openRouter({ ...ports, cutOff }, context);
  let server: RouterServer;
  try {
    server = await startServer(router, context, ports);
  } catch (error) {
    await router.close(0);
    throw error;
  }
  router.join(server.address).catch((error: unknown) => {
    rethrowInvariant(error);
    logger.error('router cannot join the cluster', { error: messageOf(error) });
    context.endWith(error instanceof Error ? error : new Error(String(error)));
  });
  const serving = new ServingStatus(
    clock,
    () => router.readiness().ready,
    (isServing) => {
      server.setServing(isServing);
    },
  );
  return {
    listens: { grpc: server.address },
    readiness: () => router.readiness().reasons,
    close: async () => {
      serving.stop();
      await router.close(config.shutdownTimeoutMs);
      await server.close();
    },
  };
}

function startServer(
  router: RunningRouter,
  { config, logger, metrics }: Context,
  { clock, transport }: ProcessPorts,
): Promise<RouterServer> {
  const { kv, txn, watch, cluster } = router;
  const { grpcListen, grpcConnectionsMax: configured } = config;
  const grpcConnectionsMax = Math.min(configured, transport.connectionsMax ?? Infinity);
  if (grpcConnectionsMax < configured) {
    logger.warn('few files may be open (ulimit -n), so fewer clients are taken than configured', {
      ...{ grpcConnectionsMax, configured },
    });
  }
  return startRouterServer({
    ...{ kv, txn, watch, cluster, listen: grpcListen },
    callerGone: (peer) => {
      router.callerGone(peer);
    },
    limits: { ...config, grpcConnectionsMax },
    context: { clock, logger, metrics },
  });
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
