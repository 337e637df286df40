/**
 * Goal: deadlines, cancellation, retries, bounds and endpoint choice, exactly. Method: virtual time and
 * connections whose every event the test makes.
 */
import { beforeEach, describe, expect, test } from '@jest/globals';
import { CairnError } from '@cairn/base';
import fc from 'fast-check';
import { evenRng, ScriptedConnector, VirtualClock } from '../test/virtual.js';
import { connect, type CairnClient } from './client.js';
import type { ClientOptions } from './options.js';
import type { BatchResult } from './wire-binding.js';

let clock: VirtualClock;
let connector: ScriptedConnector;

beforeEach(() => {
  clock = new VirtualClock();
  connector = new ScriptedConnector();
});

function open(options: Partial<ClientOptions> = {}): CairnClient {
  return connect({ endpoints: ['a:1', 'b:1'], clock, rng: evenRng, connector, ...options });
}

/** What became of a promise, readable at any time. */
function watch(promise: Promise<unknown>): {
  value: unknown;
  error: CairnError | undefined;
  settled: number;
} {
  const seen = { value: undefined as unknown, error: undefined as CairnError | undefined, settled: 0 };
  promise.then(
    (value) => {
      seen.value = value;
      seen.settled += 1;
    },
    (error: unknown) => {
      if (!CairnError.is(error)) throw error;
      seen.error = error;
      seen.settled += 1;
    },
  );
  return seen;
}

function putAnswer(call: number): BatchResult {
  return { call, result: { $case: 'put', value: { version: Buffer.from('v'), timestamp: 201 } } };
}

async function ready(options: Partial<ClientOptions> = {}): Promise<CairnClient> {
  const client = open(options);
  void client.ready();
  await clock.advance(0);
  connector.link.hello();
  await clock.advance(0);
  return client;
}

function requestIdAt(index: number): unknown {
  const operation = connector.link.operations[index]?.operation;
  return operation?.$case === 'put' ? operation.value.requestId : undefined;
}

describe('deadlines', () => {
  test('end a read that is not answered with DEADLINE_EXCEEDED, and the router is told', async () => {
    const client = await ready();
    const get = watch(client.get('k', { timeoutMs: 500 }));
    const slow = watch(client.get('k', { timeoutMs: 800 }));
    await clock.advance(499);
    expect(get.settled).toBe(0);
    expect(connector.link.operations.map(({ timeoutMs }) => timeoutMs)).toEqual([500, 800]);
    await clock.advance(6);
    expect(get.error?.code).toBe('DEADLINE_EXCEEDED');
    expect(slow.settled).toBe(0);
    const first = connector.link.operations[0]?.call;
    expect(connector.link.operations[2]).toMatchObject({ call: first, operation: { $case: 'cancel' } });
    await clock.advance(300);
    expect(slow.error?.code).toBe('DEADLINE_EXCEEDED');
    expect(clock.pending).toBe(0);
  });

  test('make a write that was sent OUTCOME_UNKNOWN, and one that was not UNAVAILABLE', async () => {
    const client = await ready();
    const sent = watch(client.put('k', 'v', { timeoutMs: 500 }));
    await clock.advance(100);
    connector.link.fail();
    const unsent = watch(client.put('k', 'v', { timeoutMs: 300 }));
    await clock.advance(1000);
    expect(sent.error?.code).toBe('OUTCOME_UNKNOWN');
    expect(unsent.error?.code).toBe('UNAVAILABLE');
  });

  test('leave the router time to say that it never sent a write', async () => {
    const client = await ready();
    const put = watch(client.put('k', 'v', { timeoutMs: 500 }));
    await clock.advance(0);
    expect(connector.link.operations[0]?.timeoutMs).toBe(450);
    connector.link.refuse(connector.link.operations[0]?.call ?? 0, 'DEADLINE_EXCEEDED');
    await clock.advance(0);
    expect(put.error?.code).toBe('DEADLINE_EXCEEDED');
  });

  test.each(['DEADLINE_EXCEEDED', 'INTERNAL', 'INVALID_ARGUMENT'] as const)(
    'a write that was lost with another router before is OUTCOME_UNKNOWN, though this one says %s',
    async (code) => {
      const client = await ready();
      const put = watch(client.put('k', 'v'));
      await clock.advance(0);
      connector.link.fail();
      await clock.advance(0);
      connector.link.hello();
      await clock.advance(0);
      connector.link.refuse(connector.link.operations[0]?.call ?? 0, code);
      await clock.advance(0);
      expect(put.error?.code).toBe('OUTCOME_UNKNOWN');
    },
  );

  test.each(['FAILED_PRECONDITION', 'WRONG_KIND'] as const)(
    'a write that was lost with another router before is told what this one found: %s',
    async (code) => {
      const client = await ready();
      const put = watch(client.increment('k'));
      await clock.advance(0);
      connector.link.fail();
      await clock.advance(0);
      connector.link.hello();
      await clock.advance(0);
      connector.link.refuse(connector.link.operations[0]?.call ?? 0, code);
      await clock.advance(0);
      expect(put.error?.code).toBe(code);
    },
  );

  test('leave nobody for an answer that comes later', async () => {
    const client = await ready();
    const get = watch(client.get('k', { timeoutMs: 10 }));
    await clock.advance(0);
    const call = connector.link.operations[0]?.call ?? 0;
    await clock.advance(20);
    const next = watch(client.put('k', 'v'));
    await clock.advance(0);
    connector.link.answer(putAnswer(call));
    await clock.advance(0);
    expect(get.settled).toBe(1);
    expect(next.settled).toBe(0);
    expect(client.stats().answersLate).toBe(1);
  });
});

describe('a call that is cancelled', () => {
  test('is not sent, or followed by a cancel when it was sent', async () => {
    const client = await ready();
    const before = new AbortController();
    const unsent = watch(client.put('k', 'v', { signal: before.signal }));
    before.abort();
    await clock.advance(0);
    expect(unsent.error).toMatchObject({ code: 'CANCELLED', details: { possiblyApplied: false } });
    expect(connector.link.operations).toEqual([]);
    const after = new AbortController();
    const sent = watch(client.put('k', 'v', { signal: after.signal }));
    await clock.advance(0);
    after.abort();
    await clock.advance(0);
    expect(sent.error).toMatchObject({ code: 'CANCELLED', details: { possiblyApplied: true } });
    expect(connector.link.operations.map(({ operation }) => operation?.$case)).toEqual(['put', 'cancel']);
    expect(watch(client.get('k', { signal: after.signal })).settled).toBe(0);
    await clock.advance(0);
    expect(client.stats().callsOpen).toBe(0);
  });
});

describe('refusals', () => {
  test('are retried after the time the router names: same id, a stamp of now, no retry flag', async () => {
    const client = await ready();
    const put = watch(client.put('k', 'v'));
    await clock.advance(0);
    connector.link.refuse(connector.link.operations[0]?.call ?? 0, 'RESOURCE_EXHAUSTED', 200);
    await clock.advance(199);
    expect(connector.link.operations.length).toBe(1);
    await clock.advance(10);
    expect(connector.link.operations.length).toBe(2);
    expect(requestIdAt(0)).toMatchObject({ stamp: 100 });
    expect(requestIdAt(1)).toEqual({ ...(requestIdAt(0) as object), stamp: 200, retry: false });
    connector.link.answer(putAnswer(connector.link.operations[1]?.call ?? 0));
    await clock.advance(0);
    expect(put.value).toMatchObject({ timestamp: 201 });
    expect(client.stats().refusalsRetried).toBe(1);
  });

  test('surface when the deadline would pass first', async () => {
    const client = await ready();
    const get = watch(client.get('k', { timeoutMs: 100 }));
    await clock.advance(0);
    connector.link.refuse(connector.link.operations[0]?.call ?? 0, 'UNAVAILABLE', 500);
    await clock.advance(0);
    expect(get.error).toMatchObject({ code: 'UNAVAILABLE', retryClass: 'back-off', retryAfterMs: 500 });
  });

  test('surface when the retry budget is spent', async () => {
    const client = await ready({ retryBudgetMax: 2 });
    const gets = [0, 1, 2, 3].map(() => watch(client.get('k')));
    await clock.advance(0);
    for (const { call } of connector.link.operations) connector.link.refuse(call, 'RESOURCE_EXHAUSTED');
    await clock.advance(0);
    expect(gets.map(({ error }) => error?.code)).toEqual([
      undefined,
      undefined,
      'RESOURCE_EXHAUSTED',
      'RESOURCE_EXHAUSTED',
    ]);
  });

  test('of a write that may have been applied before turn into OUTCOME_UNKNOWN', async () => {
    const client = await ready({ retryBudgetMax: 0 });
    const put = watch(client.put('k', 'v'));
    await clock.advance(0);
    connector.link.fail();
    await clock.advance(0);
    connector.link.hello();
    await clock.advance(0);
    connector.link.refuse(connector.link.operations[0]?.call ?? 0, 'UNAVAILABLE');
    await clock.advance(0);
    expect(put.error?.code).toBe('OUTCOME_UNKNOWN');
  });

  test('that are fatal surface at once, with their field', async () => {
    const client = await ready();
    const put = watch(client.put('k', 'v'));
    await clock.advance(0);
    const call = connector.link.operations[0]?.call ?? 0;
    const value = {
      code: 'INVALID_ARGUMENT',
      message: 'no',
      retryClass: 1,
      retryAfterMs: 0,
      field: 'key',
      kind: 0,
    };
    connector.link.answer({ call, result: { $case: 'error', value } });
    await clock.advance(0);
    expect(put.error).toMatchObject({ code: 'INVALID_ARGUMENT', details: { field: 'key' } });
  });

  test('with codes of a newer version keep their retry class', async () => {
    const client = await ready();
    const put = watch(client.put('k', 'v'));
    await clock.advance(0);
    const call = connector.link.operations[0]?.call ?? 0;
    const value = {
      code: 'FROM_THE_FUTURE',
      message: 'no',
      retryClass: 3,
      retryAfterMs: 0,
      field: '',
      kind: 0,
    };
    connector.link.answer({ call, result: { $case: 'error', value } });
    await clock.advance(0);
    expect(put.error).toMatchObject({ code: 'OUTCOME_UNKNOWN', details: { serverCode: 'FROM_THE_FUTURE' } });
  });
});

describe('a router that hangs', () => {
  test('is left for another when call after call ran out of time and it said nothing', async () => {
    const client = await ready();
    const first = connector.link;
    const gets = [600, 1_100, 1_200].map((timeoutMs) => watch(client.get('k', { timeoutMs })));
    const put = watch(client.put('k', 'v'));
    await clock.advance(1_150);
    expect(first.isClosed).toBe(false);
    await clock.advance(100);
    expect([first.isClosed, gets.map(({ error }) => error?.code)]).toEqual([
      true,
      ['DEADLINE_EXCEEDED', 'DEADLINE_EXCEEDED', 'DEADLINE_EXCEEDED'],
    ]);
    expect(connector.link.endpoint).not.toBe(first.endpoint);
    connector.link.hello();
    await clock.advance(0);
    expect(requestIdAt(0)).toMatchObject({ retry: true });
    connector.link.answer(putAnswer(connector.link.operations[0]?.call ?? 0));
    await clock.advance(0);
    expect(put.error).toBeUndefined();
    expect(client.stats().routersGivenUp).toBe(1);
  });

  test('is not given up while it answers anything, nor for short deadlines', async () => {
    const client = await ready();
    const first = connector.link;
    for (let round = 0; round < 20; round += 1) {
      void watch(client.get('k', { timeoutMs: 150 }));
      const answered = watch(client.put('k', 'v'));
      await clock.advance(0);
      first.answer(
        putAnswer(first.operations.findLast(({ operation }) => operation?.$case === 'put')?.call ?? 0),
      );
      await clock.advance(200);
      expect(answered.settled).toBe(1);
    }
    for (let round = 0; round < 5; round += 1) void watch(client.get('k', { timeoutMs: 20 }));
    await clock.advance(500);
    expect([connector.links.length, first.isClosed]).toEqual([1, false]);
  });

  test('is not given up for what it did not say while nobody asked', async () => {
    const client = await ready();
    const first = connector.link;
    await clock.advance(60_000);
    for (let call = 0; call < 5; call += 1) void watch(client.get('k', { timeoutMs: 100 }));
    await clock.advance(500);
    expect([connector.links.length, first.isClosed]).toEqual([1, false]);
    for (let call = 0; call < 5; call += 1) void watch(client.get('k', { timeoutMs: 600 }));
    await clock.advance(700);
    expect(first.isClosed).toBe(true);
  });
});

describe('the bounds of a client', () => {
  test('hold for the bytes of open calls, but not for one that is alone', async () => {
    const client = await ready({ outstandingBytesMax: 1_000 });
    const large = watch(client.put('k', Buffer.alloc(1_024)));
    const second = watch(client.put('k', 'v'));
    await clock.advance(0);
    expect(second.error).toMatchObject({ code: 'RESOURCE_EXHAUSTED', details: { local: true } });
    connector.link.answer(putAnswer(connector.link.operations[0]?.call ?? 0));
    await clock.advance(0);
    expect(large.settled).toBe(1);
    const few = watch(
      client.writeMany(
        Array.from({ length: 20 }, (_, at) => ({ put: { key: `k${at}`, value: Buffer.alloc(300) } })),
      ),
    );
    for (let round = 0; round < 20; round += 1) {
      await clock.advance(0);
      const { operations } = connector.link;
      for (const { call } of operations.slice(-2)) connector.link.answer(putAnswer(call));
    }
    await clock.advance(0);
    expect((few.value as { kind: string }[]).map(({ kind }) => kind)).toEqual(new Array(20).fill('put'));
  });

  test('hold for scans that nobody reads, which end with the client', async () => {
    const client = await ready();
    connector.link.pages = [];
    const never = new Promise<undefined>(() => undefined);
    connector.link.scan = () => ({ next: () => never, cancel: () => undefined });
    const scans = Array.from({ length: 1_025 }, () => watch(client.scan().pages().next()));
    await clock.advance(0);
    expect(scans.map(({ error }) => error?.code).filter((code) => code !== undefined)).toEqual([
      'RESOURCE_EXHAUSTED',
    ]);
    client.close();
    await clock.advance(0);
    expect(new Set(scans.map(({ error }) => error?.code))).toEqual(
      new Set(['RESOURCE_EXHAUSTED', 'CANCELLED']),
    );
    expect(clock.pending).toBe(0);
  });

  test('refuse one call too many here and now', async () => {
    const client = await ready({ outstandingMax: 3 });
    const calls = [1, 2, 3, 4].map(() => watch(client.get('k')));
    await clock.advance(0);
    expect(calls.map(({ error }) => error?.code)).toEqual([
      undefined,
      undefined,
      undefined,
      'RESOURCE_EXHAUSTED',
    ]);
    expect(calls[3]?.error?.message).toContain('outstandingMax');
    expect(connector.link.operations.length).toBe(3);
  });

  test('let nothing be sent while the stream asks to wait', async () => {
    const client = await ready();
    connector.link.hasRoom = false;
    void watch(client.get('a'));
    await clock.advance(0);
    void watch(client.get('b'));
    await clock.advance(100);
    expect(connector.link.operations.length).toBe(1);
    connector.link.drain();
    await clock.advance(0);
    expect(connector.link.operations.length).toBe(2);
  });

  test('keep nothing of calls that were given up without a router', async () => {
    const client = open({ outstandingMax: 10 });
    for (let round = 0; round < 50; round += 1) {
      const gets = Array.from({ length: 10 }, () => watch(client.get('k', { timeoutMs: 5 })));
      await clock.advance(11);
      expect(gets.every(({ error }) => error?.code === 'UNAVAILABLE')).toBe(true);
    }
    const last = watch(client.get('last'));
    await clock.advance(0);
    connector.link.hello();
    await clock.advance(0);
    expect(connector.link.operations.length).toBe(1);
    expect(last.settled).toBe(0);
    expect(connector.keptAlive.at(-1)).toBe(true);
    client.close();
    expect(connector.keptAlive.at(-1)).toBe(false);
    expect(connector.keptAlive.every((needed, index) => needed === (index % 2 === 0))).toBe(true);
  });
});

describe('the search for a router', () => {
  test('tries the next endpoint at once, and lets one that failed rest longer each time', async () => {
    const client = open();
    void watch(client.get('k', { timeoutMs: 60_000 }));
    await clock.advance(0);
    const tried = (): string[] => connector.links.map(({ endpoint }) => endpoint);
    expect(tried()).toEqual(['b:1']);
    connector.link.fail();
    await clock.advance(0);
    expect(tried()).toEqual(['b:1', 'a:1']);
    connector.link.fail();
    await clock.advance(10);
    expect(tried().length).toBe(2);
    for (let round = 0; round < 30; round += 1) {
      if (!connector.link.isClosed) connector.link.fail();
      await clock.advance(1000);
    }
    const failuresPerSecond = tried().length / 30;
    expect(failuresPerSecond).toBeLessThan(4);
    if (!connector.link.isClosed) connector.link.fail();
    await clock.advance(2000);
    connector.link.hello();
    await clock.advance(0);
    expect(connector.link.operations.length).toBe(1);
  });

  test('rests while no call is open', async () => {
    await ready();
    connector.link.fail();
    await clock.advance(60_000);
    expect(connector.links.length).toBe(1);
  });

  test('does not hammer a router that drops every stream before an answer', async () => {
    const client = await ready({ endpoints: ['a:1'] });
    void watch(client.put('k', 'v', { timeoutMs: 10_000 }));
    for (let elapsedMs = 0; elapsedMs < 9_000; elapsedMs += 10) {
      await clock.advance(10);
      if (connector.link.isClosed) continue;
      connector.link.hello();
      await clock.advance(0);
      connector.link.fail();
    }
    expect(connector.links.length).toBeLessThan(30);
  });

  test('refuses a stream that does not begin with a hello', async () => {
    const client = open({ endpoints: ['a:1'] });
    const info = watch(client.ready());
    await clock.advance(0);
    connector.link.answer();
    await clock.advance(0);
    expect(info.error?.message).toContain('did not begin with a hello');
  });
});

test('whatever breaks, every call settles exactly once and a write keeps one id', async () => {
  const event = fc.oneof(
    { weight: 5, arbitrary: fc.constant('put' as const) },
    { weight: 5, arbitrary: fc.constant('answer' as const) },
    fc.constantFrom('refuse' as const, 'fail' as const, 'hello' as const, 'wait' as const, 'abort' as const),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(event, { maxLength: 60 }), async (events) => {
      clock = new VirtualClock();
      connector = new ScriptedConnector();
      const client = await ready({ outstandingMax: 8 });
      const calls: { settled: number }[] = [];
      const aborts: AbortController[] = [];
      for (const kind of events) {
        const link = connector.link;
        const call = link.operations.at(-1)?.call ?? 0;
        if (kind === 'put') {
          const abort = new AbortController();
          aborts.push(abort);
          calls.push(watch(client.put(`k${calls.length}`, 'v', { timeoutMs: 300, signal: abort.signal })));
        } else if (kind === 'answer') link.answer(putAnswer(call));
        else if (kind === 'refuse') link.refuse(call, 'UNAVAILABLE');
        else if (kind === 'fail' && !link.isClosed) link.fail();
        else if (kind === 'hello' && !link.isClosed) link.hello();
        else if (kind === 'abort') aborts.pop()?.abort();
        else await clock.advance(20);
        await clock.advance(0);
      }
      await clock.advance(1000);
      expect(calls.every(({ settled }) => settled === 1)).toBe(true);
      const idByKey = new Map<string, number>();
      const linkByKey = new Map<string, unknown>();
      for (const link of connector.links) {
        for (const { operation } of link.operations) {
          if (operation?.$case !== 'put') continue;
          const key = Buffer.from(operation.value.key).toString();
          const sequence = operation.value.requestId?.sequence ?? 0;
          // A retry was on a stream that broke before; what this stream refused is none.
          if (operation.value.requestId?.retry === true) {
            expect(linkByKey.has(key)).toBe(true);
            expect(linkByKey.get(key)).not.toBe(link);
          }
          expect(idByKey.get(key) ?? sequence).toBe(sequence);
          idByKey.set(key, sequence);
          if (!linkByKey.has(key)) linkByKey.set(key, link);
        }
      }
      expect(new Set(idByKey.values()).size).toBe(idByKey.size);
      expect(client.stats().callsOpen).toBe(0);
      client.close();
      expect(clock.pending).toBe(0);
    }),
    { numRuns: 200 },
  );
});
