import { assert, CairnError, messageOf } from '@cairn/base';
import {
  noopTracer,
  type LogFields,
  type Logger,
  type Rng,
  type Span,
  type TraceContext,
  type Tracer,
} from '@cairn/ports';
import {
  diag,
  DiagLogLevel,
  ROOT_CONTEXT,
  SpanStatusCode,
  trace,
  TraceFlags,
  type Attributes,
  type Context,
  type Span as OtelSpan,
  type Tracer as OtelTracer,
} from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { AlwaysOnSampler, BatchSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';

export interface TracerOptions {
  /** Where spans go, OTLP over HTTP with protobuf: the whole URL. Empty = tracing is off. */
  readonly endpoint: string;
  /** Share of requests without a trace of their own that start one, 0 .. 1. */
  readonly sampleRatio: number;
  /** `service.name`: cairn-router, cairn-shard, cairn-metadata. */
  readonly service: string;
  /** `service.instance.id`: the node's name. */
  readonly node: string;
  readonly rng: Rng;
  readonly logger: Logger;
}

export interface ProcessTracer extends Tracer {
  /** Sends what has ended; rejects when the collector does not take it. */
  flush(): Promise<void>;
  /** Flushes and stops; spans ended afterwards are lost. Never rejects: what was lost is logged. */
  shutdown(): Promise<void>;
}

/** Ended spans waiting for export; more are dropped, and the drop is logged. */
const QUEUED_SPANS_MAX = 4_096;
const BATCH_SPANS_MAX = 512;
const EXPORT_INTERVAL_MS = 1_000;
const EXPORT_TIMEOUT_MS = 5_000;
/** An error message in a span is cut here. */
const MESSAGE_LENGTH_MAX = 1_024;

function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex');
}

function contextOf(parent: TraceContext): Context {
  assert(parent.traceId.length === 16 && parent.spanId.length === 8, 'a trace context has 16 and 8 bytes');
  return trace.setSpanContext(ROOT_CONTEXT, {
    traceId: toHex(parent.traceId),
    spanId: toHex(parent.spanId),
    traceFlags: TraceFlags.SAMPLED,
    isRemote: true,
  });
}

function attributesOf(fields: LogFields | undefined): Attributes {
  const attributes: Attributes = {};
  if (fields === undefined) return attributes;
  for (const [name, value] of Object.entries(fields)) {
    if (value !== undefined) attributes[name] = value;
  }
  return attributes;
}

/** Of an error, or of one as it goes over the wire: an object with its code and its sentence. */
function failureOf(error: unknown): { readonly message: string; readonly code: string | undefined } {
  const isOnTheWire = typeof error === 'object' && error !== null && !(error instanceof Error);
  const { message, code } = (isOnTheWire ? error : {}) as { message?: unknown; code?: unknown };
  if (typeof message === 'string' && typeof code === 'string') return { message, code };
  return { message: messageOf(error), code: CairnError.is(error) ? error.code : undefined };
}

class ExportedSpan implements Span {
  readonly context: TraceContext;
  readonly #span: OtelSpan;
  #ended = false;

  constructor(span: OtelSpan) {
    const { traceId, spanId } = span.spanContext();
    this.#span = span;
    this.context = { traceId: Buffer.from(traceId, 'hex'), spanId: Buffer.from(spanId, 'hex') };
  }

  setAttribute(name: string, value: string | number | boolean): void {
    this.#span.setAttribute(name, value);
  }

  end(error?: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    if (error !== undefined) {
      const { message, code } = failureOf(error);
      this.#span.setStatus({ code: SpanStatusCode.ERROR, message: message.slice(0, MESSAGE_LENGTH_MAX) });
      if (code !== undefined) this.#span.setAttribute('cairn.error_code', code);
    }
    this.#span.end();
  }
}

class ExportingTracer implements ProcessTracer {
  readonly #provider: TracerProvider;
  readonly #tracer: OtelTracer;
  readonly #rng: Rng;
  readonly #sampleRatio: number;
  readonly #logger: Logger;

  constructor(options: TracerOptions) {
    const exporter = new OTLPTraceExporter({ url: options.endpoint, timeoutMillis: EXPORT_TIMEOUT_MS });
    const { rng } = options;
    this.#rng = rng;
    this.#sampleRatio = options.sampleRatio;
    this.#logger = options.logger;
    this.#provider = new TracerProvider({
      sampler: new AlwaysOnSampler(),
      resource: resourceFromAttributes({
        'service.name': options.service,
        'service.instance.id': options.node,
      }),
      idGenerator: {
        generateTraceId: () => toHex(nonZeroBytes(rng, 16)),
        generateSpanId: () => toHex(nonZeroBytes(rng, 8)),
      },
      spanProcessors: [
        new BatchSpanProcessor({
          exporter,
          maxQueueSize: QUEUED_SPANS_MAX,
          maxExportBatchSize: BATCH_SPANS_MAX,
          scheduledDelayMillis: EXPORT_INTERVAL_MS,
          exportTimeoutMillis: EXPORT_TIMEOUT_MS,
        }),
      ],
    });
    this.#tracer = this.#provider.getTracer('cairn');
  }

  startSpan(name: string, parent: TraceContext, attributes?: LogFields): Span {
    const options = { attributes: attributesOf(attributes) };
    return new ExportedSpan(this.#tracer.startSpan(name, options, contextOf(parent)));
  }

  startRootSpan(name: string, parent: TraceContext | undefined, attributes?: LogFields): Span | undefined {
    if (parent !== undefined) return this.startSpan(name, parent, attributes);
    if (this.#sampleRatio <= 0 || this.#rng.next() >= this.#sampleRatio) return undefined;
    const options = { root: true, attributes: attributesOf(attributes) };
    return new ExportedSpan(this.#tracer.startSpan(name, options, ROOT_CONTEXT));
  }

  async flush(): Promise<void> {
    await this.#provider.forceFlush({ timeoutMillis: EXPORT_TIMEOUT_MS });
  }

  async shutdown(): Promise<void> {
    try {
      await this.#provider.shutdown();
    } catch (error) {
      this.#logger.warn('traces were lost at shutdown', { error: messageOf(error) });
    }
  }
}

/** The all-zero id means "none" on the wire. */
function nonZeroBytes(rng: Rng, length: number): Uint8Array {
  const bytes = rng.bytes(length);
  if (bytes.every((byte) => byte === 0)) bytes[length - 1] = 1;
  return bytes;
}

const OFF: ProcessTracer = {
  startSpan: (name, parent, attributes) => noopTracer.startSpan(name, parent, attributes),
  startRootSpan: () => undefined,
  flush: () => Promise.resolve(),
  shutdown: () => Promise.resolve(),
};

/** OpenTelemetry tells errors as JSON, with their stacks: of it the sentence. */
function reasonIn(text: string): string {
  try {
    const { message } = JSON.parse(text) as { message?: unknown };
    return typeof message === 'string' ? message : text;
  } catch {
    // No JSON: it is the sentence.
    return text;
  }
}

/**
 * The tracer of a process: own spans only, no patching of modules. An unsampled request costs one random
 * number and no object. What goes wrong with exporting reaches the log as warnings.
 */
export function createTracer(options: TracerOptions): ProcessTracer {
  if (options.endpoint === '') return OFF;
  const { endpoint } = options;
  const warn = (text: string): void =>
    options.logger.warn('trace export trouble', { endpoint, reason: reasonIn(text) });
  const drop = (): void => undefined;
  diag.setLogger(
    { error: warn, warn, info: drop, debug: drop, verbose: drop },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  );
  return new ExportingTracer(options);
}
