import type { Counter, Gauge, Histogram, Logger, Metrics, Span, Tracer } from './telemetry.js';

const ignore = (): void => undefined;
const counter: Counter = { add: ignore };
const gauge: Gauge = { set: ignore };
const histogram: Histogram = { observe: ignore };

/** Telemetry that goes nowhere: for embedded use and tests. */
export const noopLogger: Logger = {
  debug: ignore,
  info: ignore,
  warn: ignore,
  error: ignore,
  with: () => noopLogger,
};

export const noopMetrics: Metrics = {
  counter: () => counter,
  gauge: () => gauge,
  histogram: () => histogram,
  onCollect: ignore,
};

const noopSpan: Span = {
  context: { traceId: new Uint8Array(16), spanId: new Uint8Array(8) },
  setAttribute: ignore,
  end: ignore,
};

export const noopTracer: Tracer = {
  startSpan: () => noopSpan,
  startRootSpan: () => undefined,
};
