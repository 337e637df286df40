/** Structured fields of a log line: plain values only. */
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

/** Where libs log. `event` is a stable lower-case phrase; what varies goes into the fields. */
export interface Logger {
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
  /** A logger that adds these fields to every line. */
  with(fields: LogFields): Logger;
}

export interface Counter {
  add(value: number, labels?: Readonly<Record<string, string>>): void;
}
export interface Gauge {
  set(value: number, labels?: Readonly<Record<string, string>>): void;
}
export interface Histogram {
  observe(value: number, labels?: Readonly<Record<string, string>>): void;
}

/**
 * Where libs measure. Names follow Prometheus: `cairn_<what>_<unit>[_total]`; label values are bounded sets.
 */
export interface Metrics {
  counter(name: string, help: string, labels?: readonly string[]): Counter;
  gauge(name: string, help: string, labels?: readonly string[]): Gauge;
  histogram(name: string, help: string, buckets: readonly number[], labels?: readonly string[]): Histogram;
  /** Runs before each scrape, to set gauges from live state. */
  onCollect(callback: () => void): void;
}

/**
 * For a count that somebody keeps already: what it has become, told before each scrape (`onCollect`), is what
 * the counter shows. A count that fell began anew.
 */
export function followCount(counter: Counter): (count: number) => void {
  let told = 0;
  return (count) => {
    counter.add(count < told ? count : count - told);
    told = count;
  };
}

/** W3C trace context of a sampled request: 16 bytes trace id, 8 bytes span id. Absent = not sampled. */
export interface TraceContext {
  readonly traceId: Uint8Array;
  readonly spanId: Uint8Array;
}

export interface Span {
  /** What a child span, here or in another process, continues from. */
  readonly context: TraceContext;
  setAttribute(name: string, value: string | number | boolean): void;
  /** Ends the span; an error marks it failed. Idempotent. */
  end(error?: unknown): void;
}

/** Where libs trace. Only sampled requests cost anything: without a parent context, libs start no span. */
export interface Tracer {
  startSpan(name: string, parent: TraceContext, attributes?: LogFields): Span;
  /** At a door: decides by sampling whether a new trace starts; continues a given parent always. */
  startRootSpan(name: string, parent: TraceContext | undefined, attributes?: LogFields): Span | undefined;
}
