import { messageOf } from '@cairn/base';
import type { ShardConfig } from '@cairn/config';
import { createHealthServer, type HealthServer, type Readiness, type Telemetry } from '@cairn/observability';
import { Inject, Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';

import type { OpenNode, RunningNode } from './open-node.js';

export const LIFECYCLE_PARTS = Symbol('shard lifecycle parts');

export interface LifecycleParts {
  readonly config: ShardConfig;
  readonly telemetry: Telemetry;
  readonly openNode: OpenNode;
  onFatal(error: Error): void;
}

/**
 * Starts and stops the parts in order. Health is up first and down last, so that probes see a node that
 * recovers as alive and not ready, instead of as dead.
 */
@Injectable()
export class ShardLifecycle implements OnApplicationBootstrap, OnApplicationShutdown {
  readonly #parts: LifecycleParts;
  #health: HealthServer | undefined;
  #node: RunningNode | undefined;
  #isStopping = false;

  constructor(@Inject(LIFECYCLE_PARTS) parts: LifecycleParts) {
    this.#parts = parts;
  }

  /** Where /metrics, /healthz and /readyz are; empty before the start. */
  get healthAddress(): string {
    return this.#health?.address ?? '';
  }

  async onApplicationBootstrap(): Promise<void> {
    const { config, telemetry, openNode } = this.#parts;
    const { logger, metrics, tracer } = telemetry;
    this.#health = await createHealthServer({
      listen: config.httpListen,
      metrics,
      readiness: () => this.#readiness(),
      logger,
    });
    logger.info('shard node starts', {
      http: this.#health.address,
      dataDirectory: config.dataDirectory,
    });
    try {
      this.#node = await openNode({
        config,
        logger,
        metrics,
        tracer,
        publicAddress: this.#health.address,
        onFatal: (error) => {
          this.#parts.onFatal(error);
        },
      });
    } catch (error) {
      logger.error('shard node could not start', { error: messageOf(error) });
      // Nest does not shut down what failed to start.
      await this.#closeHealth();
      throw error;
    }
    logger.info('shard node listens', { address: this.#node.address });
  }

  async onApplicationShutdown(): Promise<void> {
    const { logger } = this.#parts.telemetry;
    this.#isStopping = true;
    try {
      await this.#node?.close();
      logger.info('shard node stopped');
    } finally {
      await this.#closeHealth();
    }
  }

  #readiness(): Readiness {
    if (this.#isStopping) return { ready: false, reasons: ['the node is stopping'] };
    return this.#node?.readiness() ?? { ready: false, reasons: ['the node is starting'] };
  }

  async #closeHealth(): Promise<void> {
    await this.#health?.close();
    await this.#parts.telemetry.shutdown();
  }
}
