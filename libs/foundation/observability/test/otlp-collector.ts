import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Server, ServerCredentials, type sendUnaryData, type ServerUnaryCall } from '@grpc/grpc-js';
import { bytesOf, numberOf } from './protobuf-fields.js';

/** What arrived at the collector about one span. */
export interface CollectedSpan {
  readonly service: string;
  readonly instance: string;
  /** Of the process. */
  readonly resource: Readonly<Record<string, string | number>>;
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
        resource,
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
  /** For `otlpEndpoint`: the whole URL. */
  readonly endpoint: string;
  /** For `OTEL_EXPORTER_OTLP_ENDPOINT`, which is the URL of all signals. */
  readonly base: string;
  readonly spans: CollectedSpan[];
  /** Of each request: path and type of the body. */
  readonly requests: { readonly path: string; readonly type: string }[];
  /** HTTP status of further answers. */
  status: number;
  close(): Promise<void>;
}

/** An OTLP collector on a free loopback port that keeps what it is sent. */
export async function startOtlpCollector(): Promise<OtlpCollector> {
  const spans: CollectedSpan[] = [];
  const requests: { path: string; type: string }[] = [];
  const server = createServer((request, response) => {
    const type = request.headers['content-type'] ?? '';
    requests.push({ path: request.url ?? '', type });
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      if (collector.status === 200 && type === 'application/x-protobuf')
        spans.push(...decodeExport(Buffer.concat(chunks)));
      response.writeHead(collector.status, { 'content-type': 'application/x-protobuf' }).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const collector: OtlpCollector = {
    endpoint: `http://127.0.0.1:${port}/v1/traces`,
    base: `http://127.0.0.1:${port}`,
    spans,
    requests,
    status: 200,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return collector;
}

export interface GrpcCollector {
  /** For `OTEL_EXPORTER_OTLP_ENDPOINT` with the protocol grpc. */
  readonly endpoint: string;
  readonly spans: CollectedSpan[];
  close(): void;
}

/** The same over gRPC. */
export async function startGrpcCollector(): Promise<GrpcCollector> {
  const spans: CollectedSpan[] = [];
  const server = new Server();
  const bytes = (message: Buffer): Buffer => message;
  const method = {
    path: '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
    ...{ requestStream: false, responseStream: false },
    ...{ requestSerialize: bytes, requestDeserialize: bytes },
    ...{ responseSerialize: bytes, responseDeserialize: bytes },
  };
  server.addService(
    { Export: method },
    {
      Export: (call: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>) => {
        spans.push(...decodeExport(call.request));
        callback(null, Buffer.alloc(0));
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound);
      else reject(error);
    });
  });
  return {
    endpoint: `http://127.0.0.1:${port}`,
    spans,
    close: () => {
      server.forceShutdown();
    },
  };
}
