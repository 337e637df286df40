import { messageOf } from '@cairn/base';
import { noopTracer, type Clock, type Logger, type Rng, type Tracer } from '@cairn/ports';

import { shownEndpoint, tracingSettings, type TracingOptions } from './tracing-settings.js';

export interface TracerOptions extends TracingOptions {
  /** `service.name` where the environment has none: cairn-router, cairn-shard, cairn-metadata. */
  readonly service: string;
  /** `service.instance.id`: the node's name. */
  readonly node: string;
  readonly rng: Rng;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface ProcessTracer extends Tracer {
  /**
   * Sends what has ended, for two seconds at most, and stops; spans ended afterwards are lost. Never rejects:
   * what was lost is logged.
   */
  shutdown(): Promise<void>;
}

const OFF: ProcessTracer = { ...noopTracer, shutdown: () => Promise.resolve() };

/**
 * The tracer of a process: own spans only, no patching of modules. Where traces go nowhere the SDK is not
 * even loaded; a request that is not sampled by our own share costs one random number and no object. Never
 * rejects: with settings that cannot be meant, or an SDK that does not start, there are no traces, and a line
 * in the log.
 */
export async function startTracer(options: TracerOptions): Promise<ProcessTracer> {
  try {
    const settings = tracingSettings(options);
    if (settings === undefined) return OFF;
    const { endpoint, source } = settings;
    const { startSdk } = await import('./tracing-sdk.js');
    const tracer = startSdk({ ...options, settings });
    options.logger.info('traces are exported', { endpoint: shownEndpoint(endpoint), source });
    return tracer;
  } catch (error) {
    options.logger.error('traces cannot be exported', { error: messageOf(error) });
    return OFF;
  }
}
