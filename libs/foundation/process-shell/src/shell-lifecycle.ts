import { CairnError, messageOf } from '@cairn/base';
import { createHealthServer, type HealthServer, type Readiness, type Telemetry } from '@cairn/observability';
import type { Clock } from '@cairn/ports';
import { Inject, Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';

import type { RunningPart, ShellConfig, ShellContext } from './process-kind.js';
import { StoppedWhileStarting } from './stopped-while-starting.js';

export const SHELL_PARTS = Symbol('parts of the shell');

export interface ShellParts {
  readonly what: string;
  readonly config: ShellConfig;
  readonly telemetry: Telemetry;
  readonly clock: Clock;
  /** The part gets this long to close; telemetry is written out in any case. */
  readonly closeTimeoutMs: number;
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
  #failure: Error | undefined;
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
      if (error instanceof StoppedWhileStarting) {
        this.#isStopping = true;
        logger.info(`${what} was told to stop`, { signal: error.signal });
        logger.info(`${what} stopped before it had started`);
      } else logger.error(`${what} could not start`, { error: messageOf(error) });
      // Nest does not shut down what failed to start.
      await this.#closeShell();
      throw error;
    }
  }

  /** Throws why the part did not close: Nest keeps what its hooks throw to itself. */
  throwIfNotClosed(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  async onApplicationShutdown(): Promise<void> {
    const { what, telemetry } = this.#parts;
    this.#isStopping = true;
    try {
      if (this.#part !== undefined) await this.#withinTimeout(this.#part.close());
      telemetry.logger.info(`${what} stopped`);
    } catch (error) {
      this.#failure = error instanceof Error ? error : new Error(messageOf(error));
      telemetry.logger.error(`${what} did not stop`, { error: messageOf(error) });
    }
    await this.#closeShell();
  }

  #readiness(): Readiness {
    const { what } = this.#parts;
    const reasons = this.#isStopping
      ? [`the ${what} is stopping`]
      : (this.#part?.readiness() ?? [`the ${what} is starting`, ...this.#waiting]);
    return { ready: reasons.length === 0, reasons };
  }

  #withinTimeout(closing: Promise<void>): Promise<void> {
    const { clock, what, closeTimeoutMs } = this.#parts;
    return new Promise((resolve, reject) => {
      const timer = clock.setTimer(closeTimeoutMs, () => {
        reject(new CairnError('DEADLINE_EXCEEDED', `the ${what} did not stop within ${closeTimeoutMs} ms`));
      });
      closing.then(resolve, reject).finally(() => {
        timer.cancel();
      });
    });
  }

  async #closeShell(): Promise<void> {
    await this.#health?.close();
    await this.#parts.telemetry.shutdown();
  }
}
