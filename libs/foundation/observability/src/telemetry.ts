import type { Clock, Logger, Rng } from '@cairn/ports';
import { createLogger, type LogLevel } from './logger.js';
import { createMetrics, type ProcessMetrics } from './metrics.js';
import { startTracer, type ProcessTracer } from './tracer.js';
import type { Environment } from './tracing-settings.js';

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
  /** Whether a setting was given, or has its default; then the variables of OpenTelemetry go before it. */
  isGiven(setting: 'otlpEndpoint' | 'traceSampleRatio'): boolean;
  /** `process.env`: of it the variables of OpenTelemetry. */
  readonly env: Environment;
  readonly rng: Rng;
  readonly clock: Clock;
}

export interface Telemetry {
  readonly logger: Logger;
  readonly metrics: ProcessMetrics;
  readonly tracer: ProcessTracer;
  /** Logs the error as the last line of this process, and writes it out at once. Never throws. */
  fatal(event: string, error: unknown): void;
  /** Sends and writes out what is buffered. The last thing a process does; never rejects. */
  shutdown(): Promise<void>;
}

/**
 * Logger, metrics and tracer of a process, wired to each other: log lines are counted by level.
 *
 * @throws CairnError INVALID_ARGUMENT when the log file cannot be opened.
 */
export async function createTelemetry(options: TelemetryOptions): Promise<Telemetry> {
  const metrics = createMetrics({ labels: { node: options.node }, processMetrics: true });
  const lines = metrics.counter(
    'cairn_log_lines_total',
    'Log lines by level, also those below the set level',
    ['level'],
  );
  const labels = {
    debug: { level: 'debug' },
    info: { level: 'info' },
    warn: { level: 'warn' },
    error: { level: 'error' },
  } as const;
  const lost = metrics.counter('cairn_log_lines_lost_total', 'Log lines that could not be written');
  const { logger, fatal, flush } = createLogger({
    level: options.logLevel,
    file: options.logFile,
    fields: { service: options.service, node: options.node },
    onLine: (level) => lines.add(1, labels[level]),
    onLost: () => lost.add(1),
  });
  const { service, node, rng, clock, env } = options;
  const tracer = await startTracer({
    ...{ service, node, rng, clock, env, logger },
    endpoint: options.isGiven('otlpEndpoint') ? options.otlpEndpoint : undefined,
    sampleRatio: options.traceSampleRatio,
    isSampleRatioDefault: !options.isGiven('traceSampleRatio'),
  });
  return {
    logger,
    metrics,
    tracer,
    fatal,
    shutdown: async () => {
      await tracer.shutdown();
      flush();
    },
  };
}
