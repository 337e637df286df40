import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { CairnError } from '@cairn/base';
import { diag } from '@opentelemetry/api';
import { noopLogger, type Logger, type Rng } from '@cairn/ports';
import { createTracer, type ProcessTracer } from '@cairn/observability';
import { formatTraceparent, parseTraceparent } from '@cairn/observability/traceparent.js';
import { startOtlpCollector, type OtlpCollector } from './otlp-collector.js';

/** Counts up: distinct ids, known decisions. */
function countingRng(next: number): Rng {
  let count = 0;
  return {
    next: () => next,
    integer: () => 0,
    bytes: (length) => {
      count += 1;
      const bytes = new Uint8Array(length);
      bytes[length - 1] = count;
      return bytes;
    },
  };
}

describe('tracer', () => {
  let collector: OtlpCollector;
  beforeEach(async () => {
    collector = await startOtlpCollector();
  });
  afterEach(() => collector.close());

  function tracerOf(
    service: string,
    sampleRatio: number,
    draw = 0,
    logger: Logger = noopLogger,
  ): ProcessTracer {
    const node = `${service}-1`;
    return createTracer({
      endpoint: collector.endpoint,
      sampleRatio,
      service,
      node,
      rng: countingRng(draw),
      logger,
    });
  }

  it('sends a trace through three processes, whole and linked, to a collector', async () => {
    const router = tracerOf('cairn-router', 0);
    const shard = tracerOf('cairn-shard', 0);
    const incoming = parseTraceparent(`00-${'ab'.repeat(16)}-${'cd'.repeat(8)}-01`);
    expect(incoming).toBeDefined();
    const door = router.startRootSpan('kv.Put', incoming, { range: 4, key_bytes: undefined });
    expect(door).toBeDefined();
    if (door === undefined) return;
    const carried = parseTraceparent(formatTraceparent(door.context));
    expect(carried).toEqual(door.context);
    const propose = shard.startSpan('store.propose', door.context);
    const commit = shard.startSpan('raft.commit', propose.context, { term: 2, leader: 's1' });
    commit.end();
    propose.end(new CairnError('NOT_LEADER', 'another one leads'));
    door.end();
    door.end(new Error('ends once'));
    await Promise.all([router.shutdown(), shard.shutdown()]);

    const byName = new Map(collector.spans.map((span) => [span.name, span]));
    expect(collector.spans).toHaveLength(3);
    for (const span of collector.spans) expect(span.traceId).toBe('ab'.repeat(16));
    const [put, proposed, committed] = ['kv.Put', 'store.propose', 'raft.commit'].map((name) =>
      byName.get(name),
    );
    expect(put).toMatchObject({
      service: 'cairn-router',
      instance: 'cairn-router-1',
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

  it('tells of an error as the wire has it, too', async () => {
    const tracer = tracerOf('r', 1, 0);
    tracer.startRootSpan('a', undefined)?.end({ code: 'NOT_LEADER', message: 'another one leads' });
    await tracer.shutdown();
    expect(collector.spans[0]).toMatchObject({
      statusMessage: 'another one leads',
      attributes: { 'cairn.error_code': 'NOT_LEADER' },
    });
  });

  it('starts a trace of its own for the sampled share and nothing for the rest', async () => {
    expect(tracerOf('r', 0.5, 0.5).startRootSpan('a', undefined)).toBeUndefined();
    expect(tracerOf('r', 0, 0).startRootSpan('a', undefined)).toBeUndefined();
    const tracer = tracerOf('r', 0.5, 0.49);
    tracer.startRootSpan('a', undefined)?.end();
    await tracer.flush();
    await tracer.shutdown();
    expect(collector.spans).toHaveLength(1);
    expect(collector.spans[0]).toMatchObject({ name: 'a', parentSpanId: '' });
    expect(collector.spans[0]?.traceId).toMatch(/^0{30}[0-9a-f]{2}$/);
  });

  it('does nothing without an endpoint', async () => {
    const rng = countingRng(0);
    const off = createTracer({
      endpoint: '',
      sampleRatio: 1,
      service: 'r',
      node: 'r1',
      rng,
      logger: noopLogger,
    });
    expect(off.startRootSpan('a', undefined)).toBeUndefined();
    await off.shutdown();
    expect(collector.spans).toEqual([]);
  });

  it('says in a sentence why nothing is exported', async () => {
    const fields: unknown[] = [];
    const tracer = tracerOf('r', 1, 0, { ...noopLogger, warn: (_, more) => void fields.push(more) });
    const { endpoint } = collector;
    diag.error(
      JSON.stringify({ stack: 'Error: connect ECONNREFUSED\n  at x', message: 'connect ECONNREFUSED' }),
    );
    diag.warn('spans were dropped');
    expect(fields).toEqual([
      { endpoint, reason: 'connect ECONNREFUSED' },
      { endpoint, reason: 'spans were dropped' },
    ]);
    await tracer.shutdown();
  });

  it('reports a collector that refuses, and still shuts down', async () => {
    collector.status = 400;
    const warnings: string[] = [];
    const logger: Logger = { ...noopLogger, warn: (event) => void warnings.push(event) };
    const tracer = tracerOf('r', 1, 0, logger);
    tracer.startRootSpan('a', undefined)?.end();
    await tracer.shutdown();
    expect(warnings).toContain('traces were lost at shutdown');
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
