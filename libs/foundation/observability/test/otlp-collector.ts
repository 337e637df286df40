import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { bytesOf, numberOf } from './protobuf-fields.js';

/** What arrived at the collector about one span. */
export interface CollectedSpan {
  readonly service: string;
  readonly instance: string;
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  /** Empty for a root. */
  readonly parentSpanId: string;
  readonly attributes: Readonly<Record<string, string | number>>;
  /** 2 = error. */
  readonly statusCode: number;
  readonly statusMessage: string;
}

const text = (bytes: Buffer | undefined): string => bytes?.toString('utf8') ?? '';
const hex = (bytes: Buffer | undefined): string => bytes?.toString('hex') ?? '';

/** KeyValue{1: key, 2: AnyValue{1: string, 3: int}}; numbers and booleans as numbers. */
function attributesOf(keyValues: readonly Buffer[]): Record<string, string | number> {
  const attributes: Record<string, string | number> = {};
  for (const keyValue of keyValues) {
    const [value] = bytesOf(keyValue, 2);
    if (value === undefined) continue;
    const [string] = bytesOf(value, 1);
    attributes[text(bytesOf(keyValue, 1)[0])] = string === undefined ? numberOf(value, 3) : text(string);
  }
  return attributes;
}

/**
 * ExportTraceServiceRequest → ResourceSpans → ScopeSpans → Span, by field numbers of opentelemetry-proto
 * 1.x.
 */
export function decodeExport(request: Buffer): CollectedSpan[] {
  const spans: CollectedSpan[] = [];
  for (const resourceSpans of bytesOf(request, 1)) {
    const resource = attributesOf(bytesOf(resourceSpans, 1).flatMap((each) => bytesOf(each, 1)));
    for (const span of bytesOf(resourceSpans, 2).flatMap((each) => bytesOf(each, 2))) {
      const status = bytesOf(span, 15)[0] ?? Buffer.alloc(0);
      spans.push({
        service: String(resource['service.name']),
        instance: String(resource['service.instance.id']),
        name: text(bytesOf(span, 5)[0]),
        traceId: hex(bytesOf(span, 1)[0]),
        spanId: hex(bytesOf(span, 2)[0]),
        parentSpanId: hex(bytesOf(span, 4)[0]),
        attributes: attributesOf(bytesOf(span, 9)),
        statusCode: numberOf(status, 3),
        statusMessage: text(bytesOf(status, 2)[0]),
      });
    }
  }
  return spans;
}

export interface OtlpCollector {
  /** For `otlpEndpoint`. */
  readonly endpoint: string;
  readonly spans: CollectedSpan[];
  /** HTTP status of further answers. */
  status: number;
  close(): Promise<void>;
}

/** An OTLP collector on a free loopback port that keeps what it is sent. */
export async function startOtlpCollector(): Promise<OtlpCollector> {
  const spans: CollectedSpan[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      if (collector.status === 200) spans.push(...decodeExport(Buffer.concat(chunks)));
      response.writeHead(collector.status, { 'content-type': 'application/x-protobuf' }).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const collector: OtlpCollector = {
    endpoint: `http://127.0.0.1:${port}/v1/traces`,
    spans,
    status: 200,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return collector;
}
