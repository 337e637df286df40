import { messageOf } from '@cairn/base';
import { createHealthServer, type HealthServer, type Readiness, type Telemetry } from '@cairn/observability';
import { Inject, Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';

import type { RunningPart, ShellConfig, ShellContext } from './process-kind.js';

export const SHELL_PARTS = Symbol('parts of the shell');

export interface ShellParts {
  readonly what: string;
  readonly config: ShellConfig;
  readonly telemetry: Telemetry;
  open(own: Pick<ShellContext<never>, 'publicAddress' | 'onWaiting'>): Promise<RunningPart>;
}

/**
 * Starts and stops the parts in order. Health is up first and down last, so that probes see a process that
 * recovers as alive and not ready, instead of as dead.
 */
@Injectable()
export class ShellLifecycle implements OnApplicationBootstrap, OnApplicationShutdown {
  readonly #parts: ShellParts;
  #health: HealthServer | undefined;
  #part: RunningPart | undefined;
  #isStopping = false;
  /** Why it is not open yet, as far as it knows. */
  #waiting: readonly string[] = [];

  constructor(@Inject(SHELL_PARTS) parts: ShellParts) {
    this.#parts = parts;
  }

  /** Where /metrics, /healthz and /readyz are; empty before the start. */
  get healthAddress(): string {
    return this.#health?.address ?? '';
  }

  async onApplicationBootstrap(): Promise<void> {
    const { what, config, telemetry } = this.#parts;
    const { logger, metrics } = telemetry;
    try {
      const readiness = (): Readiness => this.#readiness();
      this.#health = await createHealthServer({ listen: config.httpListen, metrics, readiness, logger });
      const http = this.#health.address;
      logger.info(`${what} starts`, { http, dataDirectory: config.dataDirectory });
      this.#part = await this.#parts.open({
        publicAddress: http,
        onWaiting: (reasons) => {
          this.#waiting = reasons;
        },
      });
      logger.info(`${what} listens`, { ...this.#part.listens, http });
    } catch (error) {
      logger.error(`${what} could not start`, { error: messageOf(error) });
      // Nest does not shut down what failed to start.
      await this.#closeShell();
      throw error;
    }
  }

  async onApplicationShutdown(): Promise<void> {
    const { what, telemetry } = this.#parts;
    this.#isStopping = true;
    try {
      await this.#part?.close();
      telemetry.logger.info(`${what} stopped`);
    } finally {
      await this.#closeShell();
    }
  }

  #readiness(): Readiness {
    const { what } = this.#parts;
    const reasons = this.#isStopping
      ? [`the ${what} is stopping`]
      : (this.#part?.readiness() ?? [`the ${what} is starting`, ...this.#waiting]);
    return { ready: reasons.length === 0, reasons };
  }

  async #closeShell(): Promise<void> {
    await this.#health?.close();
    await this.#parts.telemetry.shutdown();
  }
}
