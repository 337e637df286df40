import type { Logger, Rng } from '@cairn/ports';
import { createLogger, type LogLevel } from './logger.js';
import { createMetrics, type ProcessMetrics } from './metrics.js';
import { createTracer, type ProcessTracer } from './tracer.js';

export interface TelemetryOptions {
  /** cairn-router, cairn-shard or cairn-metadata. */
  readonly service: string;
  /** The node's name. */
  readonly node: string;
  readonly logLevel: LogLevel;
  /** Empty = standard output. */
  readonly logFile: string;
  /** Empty = no traces. */
  readonly otlpEndpoint: string;
  readonly traceSampleRatio: number;
  readonly rng: Rng;
}

export interface Telemetry {
  readonly logger: Logger;
  readonly metrics: ProcessMetrics;
  readonly tracer: ProcessTracer;
  /** Resolves when log lines can be written; rejects with a sentence when the log file cannot be opened. */
  readonly opened: Promise<void>;
  /** Sends and writes out what is buffered. The last thing a process does; never rejects. */
  shutdown(): Promise<void>;
}

/** Logger, metrics and tracer of a process, wired to each other: log lines are counted by level. */
export function createTelemetry(options: TelemetryOptions): Telemetry {
  const metrics = createMetrics({ labels: { node: options.node }, processMetrics: true });
  const lines = metrics.counter(
    'cairn_log_lines_total',
    'Log lines by level, also those below the set level.',
    ['level'],
  );
  const labels = {
    debug: { level: 'debug' },
    info: { level: 'info' },
    warn: { level: 'warn' },
    error: { level: 'error' },
  } as const;
  const { logger, opened, flush } = createLogger({
    level: options.logLevel,
    file: options.logFile,
    fields: { service: options.service, node: options.node },
    onLine: (level) => lines.add(1, labels[level]),
  });
  const tracer = createTracer({
    endpoint: options.otlpEndpoint,
    sampleRatio: options.traceSampleRatio,
    service: options.service,
    node: options.node,
    rng: options.rng,
    logger,
  });
  return {
    logger,
    metrics,
    tracer,
    opened,
    shutdown: async () => {
      await tracer.shutdown();
      flush();
    },
  };
}
