/** Goal: what watches say and cost in single cases. Method: fake ranges on virtual time. */
import { beforeEach, describe, expect, it } from '@jest/globals';
import { CairnError } from '@cairn/base';

import type { ChangeStreams } from './change-streams.js';
import { FakeRanges } from './fake-ranges.testing.js';
import type { StreamLimits } from './limits.js';
import { fromTimestamp, fromToken, optionsOf, streamsOf, Taker, toldBy } from './rig.testing.js';
import type { Watch, WatchOptions } from './types.js';

let ranges: FakeRanges;

beforeEach(() => {
  ranges = new FakeRanges();
  ranges.split('g', 'p');
});

const settle = <T>(promise: Promise<T>): Promise<T> => ranges.scheduler.settle(promise);
const run = (ms: number): Promise<void> => ranges.scheduler.runFor(ms);

async function taker(
  streams: ChangeStreams,
  start = 'a',
  end = 'z',
  more: Partial<WatchOptions> = {},
): Promise<Taker> {
  return new Taker(await settle(streams.watch(optionsOf(start, end, more))));
}

async function codeOf(promise: Promise<unknown>): Promise<[string, unknown]> {
  try {
    await settle(promise);
    return ['OK', undefined];
  } catch (error) {
    if (!CairnError.is(error)) throw error;
    return [error.code, error.details['field']];
  }
}

describe('a watch', () => {
  it('tells what is written from its start on, with what was replaced if asked', async () => {
    ranges.put('b', 'old');
    const streams = streamsOf(ranges);
    const plain = await taker(streams);
    const previous = await taker(streams, 'b', 'c', { withPrevious: true });
    ranges.put('b', 'new');
    ranges.put('h', '1');
    ranges.put('b', undefined);
    await run(50);
    expect(plain.values).toEqual(['h=1', 'b=new', 'b=']);
    expect(previous.told.map(({ value, previous: before }) => [value, before])).toEqual([
      ['new', 'old'],
      [undefined, 'new'],
    ]);
    streams.close();
  });

  it('from now lets leaders remember what is changed before it takes its timestamp, each once', async () => {
    const streams = streamsOf(ranges);
    const isPrimed = ({ after }: { readonly after: number }): boolean => after === Number.MAX_SAFE_INTEGER;
    await taker(streams);
    expect(ranges.asked.slice(0, 3).map(isPrimed)).toEqual([true, true, true]);
    await taker(streams, 'b', 'c');
    await taker(streams, 'a', 'z', { from: fromTimestamp(1) });
    expect(ranges.asked.filter(isPrimed).length).toBe(3);
    streams.close();
  });

  it('tells a transaction over ranges whole, and only when nothing can come before it', async () => {
    const streams = streamsOf(ranges);
    const all = await taker(streams);
    const { told } = all;
    const transaction = ranges.begin({ b: 'x', h: 'x', q: 'x' });
    ranges.put('c', 'later');
    await run(2_000);
    expect(all.values).toEqual([]);
    transaction.commit();
    transaction.carryOut();
    await run(2_000);
    expect(told.filter(({ value }) => value === 'x')).toEqual([]);
    while (transaction.carryOut());
    await run(200);
    expect(told.map(({ key, start }) => [key, start > 0])).toEqual([
      ['c', false],
      ['b', true],
      ['h', true],
      ['q', true],
    ]);
    streams.close();
  });

  it('is as quick as a few messages, also over ranges where nothing happens', async () => {
    const streams = streamsOf(ranges);
    const { told } = await taker(streams);
    await run(5_000);
    for (const key of ['b', 'h', 'q']) {
      const before = told.length;
      ranges.put(key, 'v');
      await ranges.scheduler.runUntilTrue(() => told.length > before, 30);
    }
    expect(told).toHaveLength(3);
    streams.close();
  });

  it('says how far it is at least every interval', async () => {
    const streams = streamsOf(ranges);
    const quiet = await taker(streams, 'a', 'z', { progressMs: 1_000 });
    await run(20_000);
    const progress = quiet.outputs.filter(({ type }) => type === 'progress');
    expect(progress.length).toBeGreaterThanOrEqual(15);
    const resolved = progress.map((output) => (output.type === 'progress' ? output.resolved : 0));
    expect(new Set(resolved).size).toBeGreaterThan(10);
    const later = await taker(streams, 'a', 'z', { from: fromToken(quiet.token ?? Buffer.alloc(0)) });
    ranges.put('b', 'v');
    await run(50);
    expect(later.values).toEqual(['b=v']);
    streams.close();
  });

  it.each([
    ['b', 'c'],
    ['a', 'z'],
  ])('goes on behind each of its tokens: %s to %s', async (start, end) => {
    const streams = streamsOf(ranges);
    const first = await taker(streams, start, end, { from: fromTimestamp(1_000) });
    const transaction = ranges.begin({ b: 't', bb: 't', h: 't' });
    transaction.commit();
    while (transaction.carryOut());
    for (const key of ['b', 'h', 'bb']) ranges.put(key, 'v');
    await run(100);
    for (const [at, { token }] of first.told.entries()) {
      const again = await taker(streams, start, end, { from: fromToken(token) });
      await run(100);
      expect(again.told).toEqual(first.told.slice(at + 1));
    }
    streams.close();
  });

  it('reads as much of the past as there is with a bounded buffer, in order', async () => {
    ranges.pageMax = 7;
    for (let at = 0; at < 500; at += 1) ranges.put(['b', 'bb', 'h', 'q'][at % 4] as string, String(at));
    const streams = streamsOf(ranges, { backlogBytesMax: 10_000 });
    const { told, watch } = await taker(streams, 'a', 'z', { from: fromTimestamp(1) });
    await run(5_000);
    expect(told).toHaveLength(500);
    const order = told.map(({ timestamp: at }) => at);
    expect(order).toEqual([...order].sort((one, other) => one - other));
    watch.close();
    expect(streams.backlogBytes).toBe(0);
    streams.close();
  });

  it('tells a transaction that is larger than its bounds, in one range', async () => {
    const streams = streamsOf(ranges, { backlogBytesMax: 4_000 });
    const all = await taker(streams, 'a', 'c');
    const keys = Array.from({ length: 60 }, (_, at) => `b${String(at).padStart(2, '0')}`);
    const transaction = ranges.begin(Object.fromEntries(keys.map((key) => [key, 't'])));
    transaction.commit();
    transaction.carryOut();
    ranges.put('b', 'behind');
    await run(3_000);
    expect(all.values).toEqual([...keys.map((key) => `${key}=t`), 'b=behind']);
    streams.close();
  });

  it('is not held up by one of its ranges longer than that is', async () => {
    const streams = streamsOf(ranges);
    const all = await taker(streams);
    ranges.failure = new CairnError('UNAVAILABLE', 'no leader');
    ranges.put('b', 'v');
    await run(3_000);
    ranges.failure = undefined;
    await run(12_000);
    expect(all.values).toEqual(['b=v']);
    streams.close();
  });
});

describe('a reset', () => {
  it('comes where a watch begins before what is kept', async () => {
    const streams = streamsOf(ranges);
    while (ranges.issue() < 3_000);
    ranges.readableSince = 2_000;
    const gone = await taker(streams, 'a', 'z', { from: fromTimestamp(1_500) });
    await run(100);
    expect(gone.reset).toEqual({ type: 'reset', reason: 'history', oldest: 2_000 });
    const kept = await taker(streams, 'a', 'z', { from: fromTimestamp(2_001) });
    await run(100);
    expect(kept.reset).toBeUndefined();
    streams.close();
  });

  it('comes to who takes nothing, when its bounds are reached for long', async () => {
    const streams = streamsOf(ranges, { backlogBytesMax: 2_000, stallMs: 5_000 });
    const watch = await settle(streams.watch(optionsOf('a', 'z')));
    let ended = 0;
    watch.onEnd(() => (ended += 1));
    for (let at = 0; at < 50; at += 1) {
      ranges.put('b', String(at));
      await run(20);
    }
    expect(streams.backlogBytes).toBeLessThan(4_000);
    await run(6_000);
    expect(ended).toBe(1);
    expect(await settle(watch.read())).toMatchObject({ type: 'reset', reason: 'backlog' });
    expect(await codeOf(watch.read())).toEqual(['CANCELLED', undefined]);
    expect([streams.count, streams.backlogBytes]).toEqual([0, 0]);
    streams.close();
  });
});

describe('refusals', () => {
  it('are typed', async () => {
    const streams = streamsOf(ranges);
    const { told } = await taker(streams);
    ranges.put('b', 'v');
    await run(50);
    const token = told[0]?.token ?? Buffer.alloc(0);
    const damaged = Buffer.from(token);
    damaged.writeUInt8(7, 9);
    const watch = (from: WatchOptions['from']): Promise<[string, unknown]> =>
      codeOf(streams.watch(optionsOf('a', 'z', { from })));
    expect(await watch(fromToken(damaged))).toEqual(['INVALID_ARGUMENT', 'token']);
    expect(await watch(fromToken(token.subarray(0, 5)))).toEqual(['INVALID_ARGUMENT', 'token']);
    expect(await watch(fromToken(Buffer.alloc(0)))).toEqual(['INVALID_ARGUMENT', 'token']);
    expect(await watch(fromTimestamp(1e9))).toEqual(['INVALID_ARGUMENT', 'timestamp']);
    expect(await watch(fromToken(token))).toEqual(['OK', undefined]);
    streams.close();
    expect(await watch({ type: 'now' })).toEqual(['UNAVAILABLE', undefined]);
  });

  it.each<[string, Partial<StreamLimits>]>([
    ['watches', { watchersMax: 4 }],
    ['ranges', { feedsMax: 2 }],
  ])('come beyond the bound of %s', async (_what, limits) => {
    const streams = streamsOf(ranges, limits);
    const codes: string[] = [];
    for (let at = 0; at < 5; at += 1) codes.push((await codeOf(streams.watch(optionsOf('a', 'z'))))[0]);
    expect(codes.at(-1)).toBe('RESOURCE_EXHAUSTED');
    expect(streams.count).toBeLessThan(5);
    streams.close();
    expect(streams.count).toBe(0);
  });

  it('end a watch when a store says what it would say again', async () => {
    const streams = streamsOf(ranges);
    const watching = await taker(streams);
    ranges.failure = new CairnError('FAILED_PRECONDITION', 'not yet');
    ranges.failOver(ranges.leaders[0] as never);
    await run(15_000);
    expect(watching.error?.code).toBe('FAILED_PRECONDITION');
    streams.close();
  });
});

describe('many watches', () => {
  it('share one question per range, and one encoding per change', async () => {
    let told = 0;
    const streams = streamsOf(ranges);
    const takers: Taker[] = [];
    const watches = await settle(
      Promise.all(Array.from({ length: 1_000 }, () => streams.watch(optionsOf('b', 'b\0')))),
    );
    for (const watch of watches) takers.push(new Taker(watch));
    expect(streams.feeds).toBe(1);
    const asked = ranges.asked.length;
    ranges.put('b', 'v');
    const events = new Set<unknown>();
    await run(50);
    for (const { outputs } of takers) {
      for (const output of outputs) {
        if (output.type !== 'changes') continue;
        told += toldBy(output).length;
        for (const event of output.events) events.add(event.encoded);
      }
    }
    expect([told, events.size]).toEqual([1_000, 1]);
    expect(ranges.asked.length - asked).toBeLessThan(5);
    for (const { watch } of takers) watch.close();
    await run(10_000);
    expect(streams.feeds).toBe(0);
    streams.close();
  });

  it('end with the router, and so do those that have not begun', async () => {
    const streams = streamsOf(ranges);
    const open = await taker(streams);
    ranges.failure = new CairnError('UNAVAILABLE', 'no leader');
    const waiting: Promise<Watch> = streams.watch(optionsOf('a', 'z'));
    const end = waiting.catch((error: unknown) => error);
    await run(2_000);
    streams.close();
    expect(await end).toMatchObject({ code: 'UNAVAILABLE' });
    await run(1);
    expect(open.error?.code).toBe('UNAVAILABLE');
    expect(streams.count).toBe(0);
  });

  it('are ended by who opened them, also before they have begun', async () => {
    const streams = streamsOf(ranges);
    ranges.failure = new CairnError('UNAVAILABLE', 'no leader');
    const abort = new AbortController();
    const end = streams.watch(optionsOf('a', 'z'), abort.signal).catch((error: unknown) => error);
    await run(100);
    abort.abort();
    await run(1);
    expect(await end).toMatchObject({ code: 'CANCELLED' });
    expect(streams.count).toBe(0);
    streams.close();
  });
});
