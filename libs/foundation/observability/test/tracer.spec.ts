import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { CairnError } from '@cairn/base';
import { diag } from '@opentelemetry/api';
import { noopLogger, type LogFields, type Logger, type Rng } from '@cairn/ports';
import { startTracer, type ProcessTracer, type TracerOptions } from '@cairn/observability';
import { formatTraceparent, parseTraceparent } from '@cairn/observability/traceparent.js';
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AddressInfo } from 'node:net';
import { startGrpcCollector, startOtlpCollector, type OtlpCollector } from './otlp-collector.js';

/** Draws the same number always. */
function rngOf(next: number): Rng {
  return { next: () => next, integer: () => 0, bytes: (length) => new Uint8Array(length) };
}

let collector: OtlpCollector;
beforeEach(async () => {
  collector = await startOtlpCollector();
});
afterEach(() => collector.close());

/** A tracer that is told of the collector by a setting, and samples everything. */
function tracerOf(options: Partial<TracerOptions> = {}): Promise<ProcessTracer> {
  return startTracer({
    endpoint: collector.endpoint,
    sampleRatio: 1,
    isSampleRatioDefault: false,
    env: {},
    service: 'cairn-router',
    node: 'router-1',
    rng: rngOf(0),
    clock: {
      nowMs: () => 1,
      unixMs: () => 1,
      setTimer: () => ({ cancel: () => undefined }),
      defer: setImmediate,
    },
    logger: noopLogger,
    ...options,
  });
}

/** One that is told nothing by a setting. */
function tracerFromEnvironment(
  env: Readonly<Record<string, string>>,
  options: Partial<TracerOptions> = {},
): Promise<ProcessTracer> {
  return tracerOf({ endpoint: undefined, sampleRatio: 1, isSampleRatioDefault: true, env, ...options });
}

interface Line {
  readonly event: string;
  readonly fields: LogFields | undefined;
}

/** A logger of warnings and what is worse. */
function warningsTo(lines: Line[]): Logger {
  const write = (event: string, fields?: LogFields): void => void lines.push({ event, fields });
  return { ...noopLogger, warn: write, error: write };
}

const INCOMING = { traceId: Buffer.alloc(16, 0xab), spanId: Buffer.alloc(8, 0xcd) };

describe('tracer', () => {
  it('says a few times what is wrong with a collector, briefly, however many spans it refuses', async () => {
    const refusing = createServer((_, response) => response.writeHead(400).end('no '.repeat(10_000)));
    await new Promise<void>((resolve) => refusing.listen(0, '127.0.0.1', resolve));
    const { port } = refusing.address() as AddressInfo;
    const lines: Line[] = [];
    const tracer = await tracerFromEnvironment(
      { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`, OTEL_BSP_SCHEDULE_DELAY: '1' },
      { logger: warningsTo(lines) },
    );
    for (let span = 0; span < 50; span += 1) {
      tracer.startSpan(`span ${span}`, INCOMING)?.end();
      await sleep(4);
    }
    await tracer.shutdown();
    await new Promise((resolve) => refusing.close(resolve));
    const troubles = lines.filter(({ event }) => event === 'trace export trouble');
    expect(troubles.length).toBeGreaterThan(0);
    expect(troubles.length).toBeLessThanOrEqual(5);
    expect(JSON.stringify(lines).length).toBeLessThan(6 * 600);
  });

  it('shows no user, password or key that an endpoint carries', async () => {
    const lines: string[] = [];
    const write = (event: string, fields?: LogFields): void =>
      void lines.push(JSON.stringify({ event, ...fields }));
    const logger: Logger = { ...noopLogger, info: write, warn: write, error: write };
    const host = collector.endpoint.replace('http://', '');
    for (const endpoint of [
      `http://me:secret@${host}?key=secret`,
      'nonsense://me:secret@host/?key=secret',
      'x?secret',
    ])
      await (await tracerOf({ endpoint, logger })).shutdown();
    expect(lines).toHaveLength(3);
    expect(lines.join()).not.toContain('secret');
  });

  it('sends a trace through two processes, whole and linked, to a collector', async () => {
    const incoming = parseTraceparent(`00-${'ab'.repeat(16)}-${'cd'.repeat(8)}-01`);
    const router = await tracerOf({ sampleRatio: 0 });
    const door = router.startRootSpan('kv.Put', incoming, { range: 4, key_bytes: undefined });
    expect(door).toBeDefined();
    if (door === undefined) return;
    const carried = parseTraceparent(formatTraceparent(door.context));
    expect(carried).toEqual(door.context);
    door.end();
    door.end(new Error('ends once'));
    await router.shutdown();

    const shard = await tracerOf({ sampleRatio: 0, service: 'cairn-shard', node: 'shard-1' });
    const propose = shard.startSpan('store.propose', door.context);
    const commit = shard.startSpan('raft.commit', propose.context, { term: 2, leader: 's1' });
    commit.end();
    propose.end(new CairnError('NOT_LEADER', 'another one leads'));
    await shard.shutdown();

    const byName = new Map(collector.spans.map((span) => [span.name, span]));
    expect(collector.spans).toHaveLength(3);
    for (const span of collector.spans) expect(span.traceId).toBe('ab'.repeat(16));
    const [put, proposed, committed] = ['kv.Put', 'store.propose', 'raft.commit'].map((name) =>
      byName.get(name),
    );
    expect(put).toMatchObject({
      service: 'cairn-router',
      instance: 'router-1',
      parentSpanId: 'cd'.repeat(8),
    });
    expect(put?.attributes).toEqual({ range: 4 });
    expect(put?.statusCode).toBe(0);
    expect(proposed?.parentSpanId).toBe(put?.spanId);
    expect(proposed).toMatchObject({
      service: 'cairn-shard',
      statusCode: 2,
      statusMessage: 'another one leads',
    });
    expect(proposed?.attributes).toEqual({ 'cairn.error_code': 'NOT_LEADER' });
    expect(committed?.parentSpanId).toBe(proposed?.spanId);
    expect(committed?.attributes).toEqual({ term: 2, leader: 's1' });
  });

  it('tells of the machine and the arguments of the process only when it is asked to', async () => {
    const tracer = await tracerOf();
    tracer.startRootSpan('a', undefined)?.end();
    await tracer.shutdown();
    const names = Object.keys(collector.spans[0]?.resource ?? {});
    expect(names.filter((name) => /^(process|host|os)\./.test(name))).toEqual([]);
  });

  it('tells of an error as the wire has it, too', async () => {
    const tracer = await tracerOf();
    tracer.startRootSpan('a', undefined)?.end({ code: 'NOT_LEADER', message: 'another one leads' });
    await tracer.shutdown();
    expect(collector.spans[0]).toMatchObject({
      statusMessage: 'another one leads',
      attributes: { 'cairn.error_code': 'NOT_LEADER' },
    });
  });

  it.each([
    [0.5, 0.5, 0],
    [0, 0, 0],
    [0.5, 0.49, 1],
    [1, 0.999, 1],
  ])('with a share of %d starts a trace at a draw of %d: %d', async (sampleRatio, draw, traces) => {
    const tracer = await tracerOf({ sampleRatio, rng: rngOf(draw) });
    const span = tracer.startRootSpan('a', undefined);
    expect(span === undefined).toBe(traces === 0);
    span?.end();
    await tracer.shutdown();
    expect(collector.spans.map(({ name, parentSpanId }) => [name, parentSpanId])).toEqual(
      Array(traces).fill(['a', '']),
    );
  });

  it.each<[string, Partial<TracerOptions>]>([
    ['nobody names an endpoint', { endpoint: undefined }],
    ['the setting is empty, whatever the environment says', { endpoint: '' }],
    ['the SDK is disabled', { env: { OTEL_SDK_DISABLED: 'TRUE' } }],
    ['no exporter is wanted', { env: { OTEL_TRACES_EXPORTER: 'none' } }],
    [
      'the endpoint of the environment is empty',
      { endpoint: undefined, env: { OTEL_EXPORTER_OTLP_ENDPOINT: ' ' } },
    ],
  ])('is off when %s', async (_case, options) => {
    const named = options.endpoint === '' ? { OTEL_EXPORTER_OTLP_ENDPOINT: collector.base } : {};
    const off = await tracerOf({ env: named, ...options });
    expect(off.startRootSpan('a', INCOMING)).toBeUndefined();
    await off.shutdown();
    expect(collector.requests).toEqual([]);
  });

  it.each([
    ['', '/v1/traces'],
    ['/', '/v1/traces'],
    ['/mine', '/mine'],
    ['/mine/', '/mine/'],
    ['/?tenant=1', '/v1/traces?tenant=1'],
  ])(
    'sends to a setting that ends with "%s" at %s, and names that URL without its query',
    async (end, path) => {
      const endpoints: unknown[] = [];
      const logger = { ...noopLogger, info: (_: string, fields?: LogFields) => void endpoints.push(fields) };
      const tracer = await tracerOf({ endpoint: `${collector.base}${end}`, logger });
      tracer.startRootSpan('a', undefined)?.end();
      await tracer.shutdown();
      expect(collector.requests.map((request) => request.path)).toEqual([path]);
      expect(endpoints).toEqual([
        { endpoint: `${collector.base}${path.replace(/\?.*/, '')}`, source: 'setting' },
      ]);
    },
  );

  it('says in a sentence why nothing is exported', async () => {
    const lines: Line[] = [];
    const tracer = await tracerOf({ logger: warningsTo(lines) });
    const { endpoint } = collector;
    diag.error(
      JSON.stringify({ stack: 'Error: connect ECONNREFUSED\n  at x', message: 'connect ECONNREFUSED' }),
    );
    diag.warn('spans were dropped');
    expect(lines.map(({ fields }) => fields)).toEqual([
      { endpoint, reason: 'connect ECONNREFUSED' },
      { endpoint, reason: 'spans were dropped' },
    ]);
    await tracer.shutdown();
  });
});

describe('tracer by the variables of OpenTelemetry', () => {
  async function exported(
    env: Readonly<Record<string, string>>,
    options: Partial<TracerOptions> = {},
  ): Promise<void> {
    const tracer = await tracerFromEnvironment(env, options);
    tracer.startRootSpan('a', undefined)?.end();
    await tracer.shutdown();
  }

  it('finds its collector by the endpoint of all signals, and by that of traces before it', async () => {
    await exported({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.base });
    await exported({
      OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1',
      OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${collector.base}/mine`,
    });
    await exported({ OTEL_EXPORTER_OTLP_ENDPOINT: `${collector.base}/all/` });
    expect(collector.requests.map(({ path }) => path)).toEqual(['/v1/traces', '/mine', '/all/v1/traces']);
    expect(collector.spans.map(({ service, instance }) => [service, instance])).toEqual(
      Array(3).fill(['cairn-router', 'router-1']),
    );
  });

  it('puts the setting of ours before them', async () => {
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1', OTEL_TRACES_SAMPLER: 'always_off' };
    await exported(env, { endpoint: collector.endpoint, isSampleRatioDefault: false });
    expect(collector.spans).toHaveLength(1);
    expect(process.env['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT']).toBeUndefined();
  });

  it('is called as they say, even where one of them cannot be read', async () => {
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.base };
    await exported({
      ...env,
      OTEL_SERVICE_NAME: 'mine',
      OTEL_RESOURCE_ATTRIBUTES: 'zone=a%2Cb,service.name=x',
    });
    await exported({ ...env, OTEL_RESOURCE_ATTRIBUTES: 'no pair' });
    await exported({ ...env, OTEL_NODE_RESOURCE_DETECTORS: 'env,host' });
    const [named, garbled, detected] = collector.spans.map(({ resource }) => resource);
    expect(named).toMatchObject({ 'service.name': 'mine', 'service.instance.id': 'router-1', zone: 'a,b' });
    expect(garbled).toMatchObject({ 'service.name': 'cairn-router', 'service.instance.id': 'router-1' });
    expect(Object.keys(detected ?? {})).toContain('host.name');
  });

  it.each([
    ['http/json', 'application/json'],
    ['http/protobuf', 'application/x-protobuf'],
  ])('speaks %s', async (protocol, type) => {
    await exported({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.base, OTEL_EXPORTER_OTLP_PROTOCOL: protocol });
    expect(collector.requests).toEqual([{ path: '/v1/traces', type }]);
  });

  it('speaks gRPC', async () => {
    const grpc = await startGrpcCollector();
    await exported({ OTEL_EXPORTER_OTLP_ENDPOINT: grpc.endpoint, OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' });
    expect(grpc.spans.map(({ name, service }) => [name, service])).toEqual([['a', 'cairn-router']]);
    grpc.close();
  });

  it.each([
    ['always_on', '', 1],
    ['always_off', '', 0],
    ['parentbased_always_off', '', 0],
    ['traceidratio', '0', 0],
    ['parentbased_traceidratio', '1', 1],
  ])('samples by %s %s: %d', async (sampler, argument, traces) => {
    const env = { OTEL_TRACES_SAMPLER: sampler, OTEL_TRACES_SAMPLER_ARG: argument };
    // A share that is only the default takes nothing away from it.
    await exported(
      { ...env, OTEL_EXPORTER_OTLP_ENDPOINT: collector.base },
      { sampleRatio: 0.5, rng: rngOf(0.9) },
    );
    expect(collector.spans).toHaveLength(traces);
  });

  it('continues a sampled trace with a sampler that starts none, unless it has no parent in view', async () => {
    for (const sampler of ['parentbased_always_off', 'always_off']) {
      const env = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.base, OTEL_TRACES_SAMPLER: sampler };
      const tracer = await tracerFromEnvironment(env);
      tracer.startRootSpan(sampler, INCOMING)?.end();
      tracer.startSpan(`below ${sampler}`, INCOMING).end();
      await tracer.shutdown();
    }
    expect(collector.spans.map(({ name }) => name)).toEqual([
      'parentbased_always_off',
      'below parentbased_always_off',
    ]);
  });

  it.each([
    ['none', 0],
    ['b3', 0],
    ['tracecontext', 1],
    ['baggage,tracecontext', 1],
  ])('with propagators %s continues %d traces that clients bring', async (propagators, continued) => {
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.base, OTEL_PROPAGATORS: propagators };
    const tracer = await tracerFromEnvironment(env, { sampleRatio: 0 });
    tracer.startRootSpan('a', INCOMING)?.end();
    await tracer.shutdown();
    expect(collector.spans.map(({ parentSpanId }) => parentSpanId)).toEqual(
      Array(continued).fill('cd'.repeat(8)),
    );
  });

  it('sends batches as OTEL_BSP_ says, without waiting for the end', async () => {
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.base, OTEL_BSP_SCHEDULE_DELAY: '20' };
    const tracer = await tracerFromEnvironment({ ...env, OTEL_BSP_MAX_EXPORT_BATCH_SIZE: '2' });
    for (let at = 0; at < 3; at += 1) tracer.startRootSpan('a', undefined)?.end();
    while (collector.spans.length < 3) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(collector.requests.length).toBeGreaterThanOrEqual(2);
    await tracer.shutdown();
  });

  it.each([
    ['no URL', {}, '"no URL", which is not an http:// or https:// URL'],
    ['ftp://127.0.0.1', {}, '"ftp://127.0.0.1", which is not'],
    ['a/b', { OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' }, '"a/b", which is neither'],
  ])('is off and says so, and nothing else, when their endpoint is %s', async (endpoint, more, sentence) => {
    const lines: Line[] = [];
    const said: string[] = [];
    await exported(
      { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, ...more },
      { logger: { ...warningsTo(lines), info: (event) => void said.push(event) } },
    );
    expect(lines).toEqual([
      { event: 'traces cannot be exported', fields: { error: expect.stringContaining(sentence) } },
    ]);
    expect(said).toEqual([]);
  });

  it.each(['zipkin', 'console', 'otlp,console', 'OTLP'])(
    'is off and says so when they want the exporter %s',
    async (exporter) => {
      const lines: Line[] = [];
      await exported(
        { OTEL_EXPORTER_OTLP_ENDPOINT: collector.base, OTEL_TRACES_EXPORTER: exporter },
        { logger: warningsTo(lines) },
      );
      const error = `OTEL_TRACES_EXPORTER is "${exporter}"; it must be otlp or none`;
      expect(lines).toEqual([{ event: 'traces cannot be exported', fields: { error } }]);
      expect(collector.requests).toEqual([]);
    },
  );

  it('exports where they want the exporter otlp', async () => {
    await exported({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.base, OTEL_TRACES_EXPORTER: 'otlp' });
    expect(collector.spans).toHaveLength(1);
  });
});

describe('a collector in trouble', () => {
  it('that refuses is told of, and the tracer shuts down', async () => {
    collector.status = 400;
    const lines: Line[] = [];
    const tracer = await tracerOf({ logger: warningsTo(lines) });
    tracer.startRootSpan('a', undefined)?.end();
    await tracer.shutdown();
    expect(lines.map(({ event }) => event)).toContain('traces were lost at shutdown');
  });

  it.each([
    ['that is away', 'http://127.0.0.1:1/v1/traces'],
    ['that answers nothing', ''],
  ])('%s holds up neither the start, nor a request, nor for long the end', async (_case, given) => {
    const silent = createServer();
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const { port } = silent.address() as AddressInfo;
    const endpoint = given === '' ? `http://127.0.0.1:${port}/v1/traces` : given;
    const lines: Line[] = [];
    // The SDK goes on trying for a moment longer than we wait.
    const env = { OTEL_EXPORTER_OTLP_TIMEOUT: '2200' };
    const tracer = await tracerOf({ endpoint, env, logger: warningsTo(lines) });
    // More than wait for export: the rest is dropped.
    for (let at = 0; at < 5_000; at += 1) tracer.startRootSpan('a', undefined)?.end();
    const startedMs = performance.now();
    await tracer.shutdown();
    expect(performance.now() - startedMs).toBeLessThan(4_000);
    expect(lines.map(({ event }) => event)).toContain('traces were lost at shutdown');
    silent.closeAllConnections();
    silent.close();
  });
});

describe('traceparent', () => {
  const trace = '0af7651916cd43dd8448eb211c80319c';
  const span = 'b7ad6b7169203331';

  it.each([
    ['not sampled', `00-${trace}-${span}-00`],
    ['zero trace', `00-${'0'.repeat(32)}-${span}-01`],
    ['zero span', `00-${trace}-${'0'.repeat(16)}-01`],
    ['version ff', `ff-${trace}-${span}-01`],
    ['version 00 with more', `00-${trace}-${span}-01-more`],
    ['capitals', `00-${trace.toUpperCase()}-${span}-01`],
    ['nothing', ''],
  ])('finds nothing to continue in one that is: %s', (_, text) => {
    expect(parseTraceparent(text)).toBeUndefined();
  });

  it('reads later versions with more fields, and writes version 00', () => {
    const context = parseTraceparent(`01-${trace}-${span}-03-more`);
    expect(context && formatTraceparent(context)).toBe(`00-${trace}-${span}-01`);
  });
});
