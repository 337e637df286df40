import 'reflect-metadata';

import { CairnError } from '@cairn/base';
import { loadConfig, shardConfig, type Environment } from '@cairn/config';
import { createTelemetry } from '@cairn/observability';
import type { Clock, Rng } from '@cairn/ports';
import type { OnUncaught, OnWarning } from '@cairn/runtime-node';
import { NestFactory } from '@nestjs/core';

import type { OpenNode } from './open-node.js';
import { ShardLifecycle } from './shard-lifecycle.js';
import { ShardModule } from './shard.module.js';

export interface ShardProcessOptions {
  /** Arguments without interpreter and script. */
  readonly argv: readonly string[];
  readonly env: Environment;
  /** Registers who is told of an error that nobody caught; who embeds a process may have a way of its own. */
  readonly onUncaught?: OnUncaught;
  /** Registers who is told what Node warns of. */
  readonly onWarning?: OnWarning;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly openNode: OpenNode;
}

export interface ShardProcess {
  /** `host:port` of /metrics, /healthz and /readyz. */
  readonly healthAddress: string;
  /** Resolves when the node cannot go on: leave with an exit code above 0, without a stop. */
  readonly failed: Promise<Error>;
  /** Idempotent. Rejects DEADLINE_EXCEEDED when work in flight did not finish within `shutdownTimeoutMs`. */
  stop(signal: string): Promise<void>;
}

/**
 * Starts a shard node.
 *
 * @throws CairnError INVALID_ARGUMENT with every problem of the configuration; or what opening the node
 *   threw.
 */
export async function startShardProcess(options: ShardProcessOptions): Promise<ShardProcess> {
  const loaded = loadConfig({ ...shardConfig, argv: options.argv, env: options.env });
  const config = loaded.values;
  const telemetry = createTelemetry({
    ...config,
    service: 'cairn-shard',
    node: config.name,
    rng: options.rng,
  });
  options.onUncaught?.((error) => telemetry.fatal('shard node ended by an error', error));
  options.onWarning?.(({ name, message }) => {
    telemetry.logger.warn('warning of Node', { kind: name, message });
  });
  for (const warning of loaded.warnings) telemetry.logger.warn('configuration', { warning });

  let onFatal: (error: Error) => void = () => undefined;
  const failed = new Promise<Error>((resolve) => {
    onFatal = (error) => {
      telemetry.fatal('shard node failed', error);
      resolve(error);
    };
  });
  const parts = { config, telemetry, openNode: options.openNode, onFatal };
  const app = await NestFactory.createApplicationContext(ShardModule.forProcess(parts), {
    logger: false,
    abortOnError: false,
  });
  let stopping: Promise<void> | undefined;
  return {
    healthAddress: app.get(ShardLifecycle).healthAddress,
    failed,
    stop: (signal) => {
      if (stopping === undefined) {
        telemetry.logger.info('shard node was told to stop', { signal });
        stopping = withTimeout(options.clock, config.shutdownTimeoutMs, app.close());
      }
      return stopping;
    },
  };
}

function withTimeout(clock: Clock, timeoutMs: number, work: Promise<void>): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = clock.setTimer(timeoutMs, () => {
      reject(new CairnError('DEADLINE_EXCEEDED', `the node did not stop within ${timeoutMs} ms`));
    });
    work.then(resolve, reject).finally(() => {
      timer.cancel();
    });
  });
}
