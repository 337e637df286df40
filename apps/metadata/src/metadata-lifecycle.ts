import { messageOf } from '@cairn/base';
import type { MetadataConfig } from '@cairn/config';
import { createHealthServer, type HealthServer, type Readiness, type Telemetry } from '@cairn/observability';
import { Inject, Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';

import type { OpenMember, RunningMember } from './member.js';

export const LIFECYCLE_PARTS = Symbol('metadata lifecycle parts');

export interface LifecycleParts {
  readonly config: MetadataConfig;
  readonly telemetry: Telemetry;
  readonly openMember: OpenMember;
  onFatal(error: Error): void;
}

/**
 * Starts and stops the parts in order. Health is up first and down last, so that probes see a member that
 * recovers as alive and not ready, instead of as dead.
 */
@Injectable()
export class MetadataLifecycle implements OnApplicationBootstrap, OnApplicationShutdown {
  readonly #parts: LifecycleParts;
  #health: HealthServer | undefined;
  #member: RunningMember | undefined;
  #isStopping = false;
  /** Why it is not open yet, as far as it knows. */
  #waiting: readonly string[] = [];

  constructor(@Inject(LIFECYCLE_PARTS) parts: LifecycleParts) {
    this.#parts = parts;
  }

  /** Where /metrics, /healthz and /readyz are; empty before the start. */
  get healthAddress(): string {
    return this.#health?.address ?? '';
  }

  async onApplicationBootstrap(): Promise<void> {
    const { config, telemetry, openMember } = this.#parts;
    const { logger, metrics } = telemetry;
    this.#health = await createHealthServer({
      listen: config.httpListen,
      metrics,
      readiness: () => this.#readiness(),
      logger,
    });
    logger.info('metadata member starts', {
      http: this.#health.address,
      dataDirectory: config.dataDirectory,
    });
    try {
      this.#member = await openMember({
        config,
        logger,
        metrics,
        onWaiting: (reasons) => {
          this.#waiting = reasons;
        },
        onFatal: (error) => {
          this.#parts.onFatal(error);
        },
      });
    } catch (error) {
      logger.error('metadata member could not start', { error: messageOf(error) });
      // Nest does not shut down what failed to start.
      await this.#closeHealth();
      throw error;
    }
    logger.info('metadata member listens', { address: this.#member.address });
  }

  async onApplicationShutdown(): Promise<void> {
    const { logger } = this.#parts.telemetry;
    this.#isStopping = true;
    try {
      await this.#member?.close();
      logger.info('metadata member stopped');
    } finally {
      await this.#closeHealth();
    }
  }

  #readiness(): Readiness {
    if (this.#isStopping) return { ready: false, reasons: ['the member is stopping'] };
    return (
      this.#member?.readiness() ?? { ready: false, reasons: ['the member is starting', ...this.#waiting] }
    );
  }

  async #closeHealth(): Promise<void> {
    await this.#health?.close();
    await this.#parts.telemetry.shutdown();
  }
}
