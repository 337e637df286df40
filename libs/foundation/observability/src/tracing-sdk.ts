import { assert, CairnError, messageOf, printable } from '@cairn/base';
import {
  LogBudget,
  type Clock,
  type LogFields,
  type Logger,
  type Rng,
  type Span,
  type TraceContext,
} from '@cairn/ports';
import {
  context,
  diag,
  DiagLogLevel,
  propagation,
  ROOT_CONTEXT,
  SpanStatusCode,
  trace,
  TraceFlags,
  type Attributes,
  type Context,
  type Span as OtelSpan,
  type Tracer as OtelTracer,
} from '@opentelemetry/api';
import { defaultResource, resourceFromAttributes } from '@opentelemetry/resources';
import { NodeSDK } from '@opentelemetry/sdk-node';

import type { ProcessTracer } from './tracer.js';
import { shownEndpoint, type Environment, type TracingSettings } from './tracing-settings.js';

/** A process that ends waits this long for its last spans to be taken. */
const FLUSH_TIMEOUT_MS = 2_000;
/** An error message in a span is cut here. */
const MESSAGE_LENGTH_MAX = 1_024;
/** And what a collector says, or the SDK, in a line of the log here. */
const REASON_LENGTH_MAX = 300;
/** The header that the doors read; a set of propagators without it means that nothing is continued. */
const TRACEPARENT = 'traceparent';

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

export interface SdkOptions {
  readonly settings: TracingSettings;
  readonly service: string;
  readonly node: string;
  readonly rng: Rng;
  readonly clock: Clock;
  readonly logger: Logger;
}

class ExportingTracer implements ProcessTracer {
  readonly #sdk: NodeSDK;
  readonly #tracer: OtelTracer;
  readonly #isContinuing: boolean;
  readonly #options: SdkOptions;

  constructor(options: SdkOptions) {
    this.#options = options;
    this.#sdk = startedSdk(options);
    this.#tracer = trace.getTracer('cairn');
    this.#isContinuing = propagation.fields().includes(TRACEPARENT);
  }

  startSpan(name: string, parent: TraceContext, attributes?: LogFields): Span {
    const options = { attributes: attributesOf(attributes) };
    return new ExportedSpan(this.#tracer.startSpan(name, options, contextOf(parent)));
  }

  startRootSpan(name: string, parent: TraceContext | undefined, attributes?: LogFields): Span | undefined {
    const isContinued = parent !== undefined && this.#isContinuing;
    const { sampleRatio } = this.#options.settings;
    if (!isContinued && sampleRatio !== undefined && this.#options.rng.next() >= sampleRatio)
      return undefined;
    const options = { root: !isContinued, attributes: attributesOf(attributes) };
    const span = this.#tracer.startSpan(name, options, isContinued ? contextOf(parent) : ROOT_CONTEXT);
    return span.isRecording() ? new ExportedSpan(span) : undefined;
  }

  async shutdown(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => {
        reject(new Error(`the collector did not take them within ${FLUSH_TIMEOUT_MS} ms`));
      }, FLUSH_TIMEOUT_MS);
    });
    try {
      await Promise.race([this.#sdk.shutdown(), late]);
    } catch (error) {
      this.#options.logger.warn('traces were lost at shutdown', {
        error: printable(messageOf(error), REASON_LENGTH_MAX),
      });
    } finally {
      clearTimeout(timer);
      // Registered by the SDK for the whole process, which may start another one.
      for (const api of [trace, context, propagation]) api.disable();
    }
  }
}

function startedSdk({ settings, service, node }: SdkOptions): NodeSDK {
  return withEnvironment(settings.env, () => {
    const own = { 'service.name': service, 'service.instance.id': node };
    const sdk = new NodeSDK({
      // Below what the environment says of the resource.
      resource: defaultResource().merge(resourceFromAttributes(own)),
    });
    sdk.start();
    return sdk;
  });
}

/**
 * The SDK takes its settings from the variables of the process while it starts, and from nowhere else. What
 * is given here stands in for all of them meanwhile.
 */
function withEnvironment<Result>(env: Environment, work: () => Result): Result {
  const before = { ...process.env };
  for (const name of Object.keys(before)) if (name.startsWith('OTEL_')) delete process.env[name];
  for (const [name, value] of Object.entries(env)) if (value !== undefined) process.env[name] = value;
  try {
    return work();
  } finally {
    for (const name of Object.keys(env)) delete process.env[name];
    Object.assign(process.env, before);
  }
}

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

/** Starts the SDK. What goes wrong with exporting reaches the log as warnings. */
export function startSdk(options: SdkOptions): ProcessTracer {
  const endpoint = shownEndpoint(options.settings.endpoint);
  // What a collector answers, and how many spans there are, is for others to say.
  const lines = new LogBudget({ ...options, event: 'trace export trouble' });
  const warn = (text: string): void => {
    lines.write({ endpoint, reason: printable(reasonIn(text), REASON_LENGTH_MAX) });
  };
  const drop = (): void => undefined;
  diag.setLogger(
    { error: warn, warn, info: drop, debug: drop, verbose: drop },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  );
  return new ExportingTracer(options);
}
