import 'reflect-metadata';

import { CairnError } from '@cairn/base';
import { loadConfig, metadataConfig, type Environment } from '@cairn/config';
import { createTelemetry } from '@cairn/observability';
import type { Clock, Rng } from '@cairn/ports';
import type { OnUncaught, OnWarning } from '@cairn/runtime-node';
import { NestFactory } from '@nestjs/core';

import type { OpenMember } from './member.js';
import { MetadataLifecycle } from './metadata-lifecycle.js';
import { MetadataModule } from './metadata.module.js';

export interface MetadataProcessOptions {
  /** Arguments without interpreter and script. */
  readonly argv: readonly string[];
  readonly env: Environment;
  /** Registers who is told of an error that nobody caught; who embeds a process may have a way of its own. */
  readonly onUncaught?: OnUncaught;
  /** Registers who is told what Node warns of. */
  readonly onWarning?: OnWarning;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly openMember: OpenMember;
}

export interface MetadataProcess {
  /** `host:port` of /metrics, /healthz and /readyz. */
  readonly healthAddress: string;
  /** Resolves when the member cannot go on: leave with an exit code above 0, without a stop. */
  readonly failed: Promise<Error>;
  /** Idempotent. Rejects DEADLINE_EXCEEDED when work in flight did not finish within `shutdownTimeoutMs`. */
  stop(signal: string): Promise<void>;
}

/**
 * Starts a member.
 *
 * @throws CairnError INVALID_ARGUMENT with every problem of the configuration; or what opening the member
 *   threw.
 */
export async function startMetadataProcess(options: MetadataProcessOptions): Promise<MetadataProcess> {
  const loaded = loadConfig({ ...metadataConfig, argv: options.argv, env: options.env });
  const config = loaded.values;
  const telemetry = createTelemetry({
    ...config,
    service: 'cairn-metadata',
    node: config.name,
    rng: options.rng,
  });
  options.onUncaught?.((error) => telemetry.fatal('metadata member ended by an error', error));
  options.onWarning?.(({ name, message }) => {
    telemetry.logger.warn('warning of Node', { kind: name, message });
  });
  for (const warning of loaded.warnings) telemetry.logger.warn('configuration', { warning });

  let onFatal: (error: Error) => void = () => undefined;
  const failed = new Promise<Error>((resolve) => {
    onFatal = (error) => {
      telemetry.fatal('metadata member failed', error);
      resolve(error);
    };
  });
  const parts = { config, telemetry, openMember: options.openMember, onFatal };
  const app = await NestFactory.createApplicationContext(MetadataModule.forProcess(parts), {
    logger: false,
    abortOnError: false,
  });
  let stopping: Promise<void> | undefined;
  return {
    healthAddress: app.get(MetadataLifecycle).healthAddress,
    failed,
    stop: (signal) => {
      if (stopping === undefined) {
        telemetry.logger.info('metadata member was told to stop', { signal });
        stopping = withTimeout(options.clock, config.shutdownTimeoutMs, app.close());
      }
      return stopping;
    },
  };
}

function withTimeout(clock: Clock, timeoutMs: number, work: Promise<void>): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = clock.setTimer(timeoutMs, () => {
      reject(new CairnError('DEADLINE_EXCEEDED', `the member did not stop within ${timeoutMs} ms`));
    });
    work.then(resolve, reject).finally(() => {
      timer.cancel();
    });
  });
}
