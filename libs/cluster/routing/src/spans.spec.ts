import { describe, expect, it } from '@jest/globals';
import { timestamp, type CairnError } from '@cairn/base';
import { KvOp, newKvRequest, unpackRows } from '@cairn/wire';

import { descriptorOf, errorOf, FakeCluster, key, RouterRig } from './fake-cluster.testing.js';
import type { RoutedOperation } from './operation.js';
import { deleteSpan, perform, scanPages, type ScanSpan, type SpanTimes } from './spans.js';

const NAMES = Array.from({ length: 40 }, (_, at) => `k${String(at).padStart(2, '0')}`);

async function filledRig(): Promise<RouterRig> {
  const cluster = new FakeCluster([
    descriptorOf(1, ['', 'k10']),
    descriptorOf(2, ['k10', 'k20']),
    descriptorOf(3, ['k20', 'k30']),
    descriptorOf(4, ['k30', '']),
  ]);
  for (const name of NAMES) cluster.rows.set(name, name.toUpperCase());
  const rig = new RouterRig(cluster);
  await rig.ready();
  return rig;
}

function timesOf(rig: RouterRig, signal = new AbortController().signal, timeoutMs = 5_000): SpanTimes {
  const { clock } = rig.cluster;
  return { deadlineMs: clock.nowMs() + timeoutMs, signal, nowMs: () => clock.nowMs() };
}

function spanOf(more: Partial<ScanSpan> = {}): ScanSpan {
  return {
    start: key(''),
    end: key(''),
    reverse: false,
    keysOnly: false,
    limit: 0,
    pageBytes: 1_000,
    pageTimeoutMs: 5_000,
    timestamp: timestamp(1_000),
    ...more,
  };
}

async function scan(rig: RouterRig, span: ScanSpan): Promise<string[]> {
  const collect = async (): Promise<string[]> => {
    const rows: string[] = [];
    for await (const page of scanPages(rig.router, span, timesOf(rig))) {
      for (const row of unpackRows(page)) rows.push(Buffer.from(row.key).toString());
    }
    return rows;
  };
  return rig.cluster.scheduler.settle(collect());
}

describe('scanPages', () => {
  it('reads across ranges, forward and in reverse', async () => {
    const rig = await filledRig();
    expect(await scan(rig, spanOf())).toEqual(NAMES);
    expect(await scan(rig, spanOf({ reverse: true }))).toEqual([...NAMES].reverse());
  });

  it('keeps to its bounds and its limit', async () => {
    const rig = await filledRig();
    const bounds = { start: key('k05'), end: key('k25') };
    expect(await scan(rig, spanOf(bounds))).toEqual(NAMES.slice(5, 25));
    expect(await scan(rig, spanOf({ ...bounds, reverse: true }))).toEqual(NAMES.slice(5, 25).reverse());
    expect(await scan(rig, spanOf({ ...bounds, limit: 7 }))).toEqual(NAMES.slice(5, 12));
    expect(await scan(rig, spanOf({ ...bounds, limit: 7, reverse: true }))).toEqual(
      NAMES.slice(18, 25).reverse(),
    );
    expect(await scan(rig, spanOf({ start: key('k05'), end: key('k05') }))).toEqual([]);
  });

  it.each([false, true])(
    'loses and repeats nothing when ranges are cut under it (reverse %s)',
    async (reverse) => {
      const rig = await filledRig();
      let pages = 0;
      rig.cluster.intercept = () => {
        pages += 1;
        if (pages === 2) rig.cluster.split(2, 'k15', 12);
        if (pages === 3) rig.cluster.split(3, 'k25', 13);
        return undefined;
      };
      const rows = await scan(rig, spanOf({ reverse }));
      expect(rows).toEqual(reverse ? [...NAMES].reverse() : NAMES);
    },
  );

  it('frees the page fetched ahead when the reader stops early', async () => {
    const rig = await filledRig();
    const pages = scanPages(rig.router, spanOf(), timesOf(rig));
    await rig.cluster.scheduler.settle(pages.next());
    expect(rig.router.openOperations).toBe(1);
    await rig.cluster.scheduler.settle(pages.return(undefined));
    expect(rig.router.openOperations).toBe(0);
  });

  it('throws a failure where the reader is, however late it looks', async () => {
    const rig = await filledRig();
    const pages = scanPages(rig.router, spanOf(), timesOf(rig, undefined, 100));
    rig.cluster.intercept = (_store, request) => (request.rangeId === 2 ? 'silent' : undefined);
    const first = await rig.cluster.scheduler.settle(pages.next());
    expect(first.value).toMatchObject({ count: 10 });
    // The page fetched ahead fails now; nobody listens yet, and the process goes on.
    await rig.run(500);
    await new Promise((resolve) => setImmediate(resolve));
    const failure = await rig.cluster.scheduler.settle(pages.next().catch((error: unknown) => error));
    expect(failure).toMatchObject({ code: 'DEADLINE_EXCEEDED' });
  });

  it.each([
    { named: Infinity, pageTimeoutMs: 200, outcome: NAMES.length },
    { named: 500, pageTimeoutMs: 200, outcome: 'DEADLINE_EXCEEDED' },
  ])('takes as long as its pages, unless it was given a time ($named ms)', async (each) => {
    const rig = await filledRig();
    const span = spanOf({ pageTimeoutMs: each.pageTimeoutMs });
    const times = timesOf(rig, undefined, each.named);
    const pages = scanPages(rig.router, span, times);
    const { scheduler } = rig.cluster;
    const collect = async (): Promise<number> => {
      let rows = 0;
      for (;;) {
        const page = await scheduler.settle(pages.next());
        if (page.done === true) return rows;
        rows += page.value.count;
        // A slow reader: all of it takes longer than one page may.
        await rig.run(300);
      }
    };
    const outcome = await collect().catch((error: unknown) => (error as CairnError).code);
    expect(outcome).toBe(each.outcome);
  });

  it('ends with CANCELLED when its signal aborts', async () => {
    const rig = await filledRig();
    const abort = new AbortController();
    const pages = scanPages(rig.router, spanOf(), timesOf(rig, abort.signal));
    const first = pages.next().catch((error: unknown) => error as CairnError);
    abort.abort();
    expect(await first).toMatchObject({ code: 'CANCELLED' });
    expect(rig.router.openOperations).toBe(0);
  });
});

describe('pages of scans at one store', () => {
  const scanOf = (rig: RouterRig, at: string, caller: string): RoutedOperation => {
    const request = newKvRequest();
    request.op = KvOp.scan;
    request.key = key(at);
    request.limit = 10;
    request.readTimestamp = timestamp(1_000);
    return rig.router.execute(request, rig, { tag: 0, timeoutMs: 10_000, caller });
  };

  it('hold no place while their range has no leader: scans of other ranges go on', async () => {
    const cluster = new FakeCluster([descriptorOf(1, ['', 'm']), descriptorOf(2, ['m', ''])]);
    const rig = new RouterRig(cluster, { outstandingScansPerStoreMax: 2 });
    await rig.ready();
    cluster.intercept = (_store, request) =>
      request.rangeId === 1 ? { error: errorOf('NOT_LEADER'), applied: false } : undefined;
    const stranded = Array.from({ length: 50 }, () => scanOf(rig, 'a', 'one'));
    await rig.run(500);
    for (let page = 0; page < 5; page += 1) {
      const healthy = scanOf(rig, 'x', 'two');
      await rig.run(20);
      expect(rig.outcomeOf(healthy).error).toBeUndefined();
    }
    expect(stranded.every(({ state }) => state !== 'done')).toBe(true);
  });

  it('are a few at a time, taken by turns of callers, and do not hold up single reads', async () => {
    const cluster = new FakeCluster([descriptorOf(1, ['', ''])]);
    const rig = new RouterRig(cluster, { outstandingScansPerStoreMax: 3 });
    await rig.ready();
    const many = Array.from({ length: 60 }, () => scanOf(rig, 'a', 'greedy'));
    const other = scanOf(rig, 'b', 'modest');
    const read = rig.get('a');
    let sentMax = 0;
    for (let at = 0; at < 8; at += 1) {
      await rig.run(1);
      const sent = [...many, other].filter(({ state }) => state === 'sent').length;
      sentMax = Math.max(sentMax, sent);
    }
    expect(sentMax).toBe(3);
    expect(rig.outcomeOf(read).error).toBeUndefined();
    expect(rig.outcomeOf(other).error).toBeUndefined();
    expect(rig.router.waitingScans).toBeGreaterThan(30);
    await rig.run(500);
    expect(many.map((each) => rig.outcomeOf(each).error)).toEqual(many.map(() => undefined));
    expect(rig.router.waitingScans).toBe(0);
  });
});

describe('deleteSpan', () => {
  it('deletes across ranges, and what is outside stays', async () => {
    const rig = await filledRig();
    const work = deleteSpan(rig.router, { start: key('k05'), end: key('k33') }, timesOf(rig));
    expect(await rig.cluster.scheduler.settle(work)).toBe(28);
    expect([...rig.cluster.rows.keys()]).toEqual([...NAMES.slice(0, 5), ...NAMES.slice(33)]);
  });

  it('counts each key once when an answer is lost', async () => {
    const rig = await filledRig();
    let lost = 0;
    rig.cluster.intercept = (store, request) => {
      if (request.rangeId !== 2 || lost > 0) return undefined;
      lost += 1;
      return { error: errorOf('NOT_LEADER', { leaderStoreId: store }), applied: true };
    };
    const work = deleteSpan(rig.router, { start: key(''), end: key('') }, timesOf(rig));
    expect(await rig.cluster.scheduler.settle(work)).toBe(40);
  });

  it('does not say that nothing happened when it fails half way', async () => {
    const rig = await filledRig();
    rig.cluster.intercept = (_store, request) =>
      request.rangeId === 2 ? { error: errorOf('FAILED_PRECONDITION'), applied: false } : undefined;
    const work = deleteSpan(rig.router, { start: key(''), end: key('') }, timesOf(rig));
    await expect(rig.cluster.scheduler.settle(work)).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
    const untouched = deleteSpan(rig.router, { start: key('k10'), end: key('') }, timesOf(rig));
    await expect(rig.cluster.scheduler.settle(untouched)).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
    });
  });

  it('has nothing to do for an empty span', async () => {
    const rig = await filledRig();
    expect(await deleteSpan(rig.router, { start: key('k05'), end: key('k05') }, timesOf(rig))).toBe(0);
  });
});

describe('perform', () => {
  it('rejects at once what is cancelled or too late already', async () => {
    const rig = await filledRig();
    const request = newKvRequest();
    request.key = key('a');
    await expect(perform(rig.router, request, timesOf(rig, AbortSignal.abort()))).rejects.toMatchObject({
      code: 'CANCELLED',
    });
    await expect(perform(rig.router, request, timesOf(rig, undefined, 0))).rejects.toMatchObject({
      code: 'DEADLINE_EXCEEDED',
    });
    expect(rig.router.openOperations).toBe(0);
  });
});
