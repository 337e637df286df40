import 'reflect-metadata';

import { loadConfig, type ConfigSchema, type Environment, type LoadedConfig } from '@cairn/config';
import { createTelemetry, type Telemetry } from '@cairn/observability';
import type { Clock, Rng } from '@cairn/ports';
import type { OnUncaught, OnWarning } from '@cairn/runtime-node';
import { NestFactory } from '@nestjs/core';
import type { z } from 'zod';

import type { ProcessKind, ProcessPorts, ShellConfig } from './process-kind.js';
import { ShellLifecycle, type ShellParts } from './shell-lifecycle.js';
import { ShellModule } from './shell.module.js';
import { StoppedWhileStarting, stoppedBy } from './stopped-while-starting.js';

export interface StartOptions {
  /** Arguments without interpreter and script. */
  readonly argv: readonly string[];
  readonly env: Environment;
  readonly ports: ProcessPorts;
  /** Registers who is told of an error that nobody caught; who embeds a process may have a way of its own. */
  readonly onUncaught?: OnUncaught;
  /** Registers who is told what Node warns of. */
  readonly onWarning?: OnWarning;
  /**
   * Aborted, with the name of the signal as its reason, when the process is told to stop. It ends a start
   * that is under way, and nothing later: `stop` does that. Default: nobody tells.
   */
  readonly stopping?: AbortSignal;
}

export interface RunningProcess {
  /** `host:port` of /metrics, /healthz and /readyz. */
  readonly healthAddress: string;
  /** Resolves when the process cannot go on: leave with an exit code above 0, without a stop. */
  readonly failed: Promise<Error>;
  /**
   * Idempotent. Rejects with what closing the part threw, and DEADLINE_EXCEEDED when work in flight did not
   * finish within `shutdownTimeoutMs`.
   */
  stop(signal: string): Promise<void>;
}

/**
 * Starts a process of a kind: settings, telemetry, health pages, then the part that does the work.
 *
 * @throws CairnError INVALID_ARGUMENT with every problem of the configuration; what opening the part threw;
 *   or what the part could not go on with while it was being opened: the caller ends the process then.
 * @throws StoppedWhileStarting: the part may go on being opened, and what it held is given back. The caller
 *   ends the process at once.
 */
export async function startProcess<Schema extends ConfigSchema & z.ZodType<ShellConfig>>(
  kind: ProcessKind<Schema>,
  options: StartOptions,
): Promise<RunningProcess> {
  const { what } = kind;
  const { clock, rng } = options.ports;
  const loaded = loadConfig({ ...kind.config, argv: options.argv, env: options.env });
  const config: z.output<Schema> & ShellConfig = loaded.values;
  const telemetry = await openTelemetry(kind.config.name, { config, loaded, rng, clock, env: options.env });
  const { logger, metrics, tracer } = telemetry;
  options.onUncaught?.((error) => telemetry.fatal(`${what} ended by an error`, error));
  options.onWarning?.(({ name, message }) => {
    logger.warn('warning of Node', { kind: name, message });
  });
  for (const warning of loaded.warnings) logger.warn('configuration', { warning });

  const failed = Promise.withResolvers<Error>();
  const { stopping = new AbortController().signal } = options;
  let giveBack = (): Promise<void> => Promise.resolve();
  const parts: ShellParts = {
    ...{ what, telemetry, config, clock },
    closeTimeoutMs: config.shutdownTimeoutMs + (kind.closeGraceMs ?? 0),
    open: (own) => {
      const onFatal = (error: Error): void => {
        telemetry.fatal(`${what} failed`, error);
        failed.resolve(error);
      };
      const endWith = (error: Error): void => failed.resolve(error);
      const onAbandoned = (give: () => Promise<void>): void => {
        giveBack = give;
      };
      const stopped = stoppedBy(stopping);
      if (stopping.aborted) return stopped;
      const told = { ...own, onFatal, endWith, onAbandoned };
      const opening = kind.open({ ...told, config, logger, metrics, tracer }, options.ports);
      // What fails while the part is being opened ends the start at once, however long that would go on.
      const failing = failed.promise.then((error) => {
        throw error;
      });
      return Promise.race([opening, failing, stopped]);
    },
  };
  const app = await NestFactory.createApplicationContext(ShellModule.with(parts), {
    logger: false,
    abortOnError: false,
  }).catch(async (error: unknown) => {
    // Last: the part still runs, and another process may use what it gives back from then on.
    if (error instanceof StoppedWhileStarting) await giveBack();
    throw error;
  });
  const lifecycle = app.get(ShellLifecycle);
  const close = async (signal: string): Promise<void> => {
    logger.info(`${what} was told to stop`, { signal });
    await app.close();
    lifecycle.throwIfNotClosed();
  };
  let closing: Promise<void> | undefined;
  return {
    healthAddress: lifecycle.healthAddress,
    failed: failed.promise,
    stop: (signal) => (closing ??= close(signal)),
  };
}

interface TelemetryParts {
  readonly config: ShellConfig;
  readonly loaded: Pick<LoadedConfig<ConfigSchema>, 'sources'>;
  readonly rng: Rng;
  readonly clock: Clock;
  readonly env: Environment;
}

function openTelemetry(
  service: string,
  { config, loaded, rng, clock, env }: TelemetryParts,
): Promise<Telemetry> {
  const { name: node, logLevel, logFile, otlpEndpoint, traceSampleRatio } = config;
  return createTelemetry({
    ...{ service, node, logLevel, logFile, otlpEndpoint, traceSampleRatio, rng, clock, env },
    isGiven: (setting) => loaded.sources[setting] !== 'default',
  });
}
