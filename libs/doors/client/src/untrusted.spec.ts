/**
 * Goal: whatever a router says, the caller gets an error with a code and the process goes on. Method: virtual
 * time and a connection that says what the test wants.
 */
import { beforeEach, describe, expect, test } from '@jest/globals';
import { CairnError } from '@cairn/base';
import { packRows } from '@cairn/wire/packed-rows.js';
import { evenRng, ScriptedConnector, VirtualClock } from '../test/virtual.js';
import { connect, type CairnClient } from './client.js';
import type { BatchResult, ScanPage } from './wire-binding.js';

let clock: VirtualClock;
let connector: ScriptedConnector;
let client: CairnClient;

beforeEach(async () => {
  clock = new VirtualClock();
  connector = new ScriptedConnector();
  client = connect({ endpoints: ['a:1'], clock, rng: evenRng, connector });
  void client.ready();
  await clock.advance(0);
});

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const code = promise.then(
    () => 'OK',
    (error: unknown) => (CairnError.is(error) ? error.code : String(error)),
  );
  await clock.advance(0);
  return code;
}

const hello = (keyBytesMax: number, valueBytesMax: number): void => {
  connector.link.say({
    results: [],
    hello: { clusterId: 'c', serverVersion: 'v', keyBytesMax, valueBytesMax },
    timestamp: 100,
  });
};

describe('limits', () => {
  test('refuse a comparison that fits into no message, and nobody else notices', async () => {
    hello(64, 12 * 1024 * 1024);
    const large = Buffer.alloc(9 * 1024 * 1024);
    const operation = client.compareAndSet('k', { value: large, expectedValue: large });
    expect(await codeOf(operation)).toBe('INVALID_ARGUMENT');
    expect(connector.link.operations).toEqual([]);
  });

  test('are not guessed before a router has told them', async () => {
    const put = codeOf(client.put('k'.repeat(5_000), Buffer.alloc(2 * 1024 * 1024)));
    await clock.advance(0);
    connector.link.hello();
    await clock.advance(0);
    const call = connector.link.operations[0]?.call ?? 0;
    connector.link.answer({
      call,
      result: { $case: 'put', value: { version: Buffer.from('v'), timestamp: 1 } },
    });
    expect(await put).toBe('OK');
  });

  test('are learned anew when they change, in both directions', async () => {
    hello(4, 8);
    expect(await codeOf(client.put('12345', ''))).toBe('INVALID_ARGUMENT');
    hello(8, 8);
    const put = codeOf(client.put('12345', ''));
    await clock.advance(0);
    connector.link.answer({
      call: connector.link.operations[0]?.call ?? 0,
      result: { $case: 'put', value: { version: Buffer.from('v'), timestamp: 1 } },
    });
    expect(await put).toBe('OK');
    hello(2, 8);
    expect(await codeOf(client.put('12345', ''))).toBe('INVALID_ARGUMENT');
  });

  test('that no message could hold are not believed', async () => {
    hello(2 ** 32 - 1, 2 ** 32 - 1);
    expect(await codeOf(client.put('k', Buffer.alloc(13 * 1024 * 1024)))).toBe('INVALID_ARGUMENT');
    expect(await codeOf(client.get('k'.repeat(70_000)))).toBe('INVALID_ARGUMENT');
  });
});

describe('answers', () => {
  test.each<[string, BatchResult['result']]>([
    [
      'a sum that is not a number',
      { $case: 'increment', value: { value: '1e9', version: Buffer.alloc(0), timestamp: 1 } },
    ],
    [
      'a sum without end',
      { $case: 'increment', value: { value: '9'.repeat(1e5), version: Buffer.alloc(0), timestamp: 1 } },
    ],
    ['another operation', { $case: 'deleteRange', value: { deleted: 1 } }],
    ['nothing', undefined],
  ])('that are no answer (%s) reject with INTERNAL, and the client goes on', async (_what, result) => {
    connector.link.hello();
    await clock.advance(0);
    const sum = codeOf(client.increment('n'));
    await clock.advance(0);
    connector.link.answer({ call: connector.link.operations[0]?.call ?? 0, result });
    expect(await sum).toBe('INTERNAL');
    expect(client.stats().callsOpen).toBe(0);
  });

  test('end the listing when ranges go on where they began', async () => {
    connector.link.hello();
    connector.link.answerUnary = () => ({ ranges: [], nextStart: Buffer.from('a') });
    expect(await codeOf(client.ranges())).toBe('INTERNAL');
  });
});

describe('pages', () => {
  const pageOf = (...keys: string[]): ScanPage => ({
    rows: packRows(
      keys.map((key) => ({
        ...{ key: Buffer.from(key), value: Buffer.from('v') },
        ...{ version: Buffer.alloc(12), kind: 0, expiresUnixMs: 0 },
      })),
    ),
    timestamp: 7,
  });

  test.each<[string, ScanPage, { limit?: number; reverse?: boolean }]>([
    ['more rows than the limit', pageOf('b', 'c', 'd'), { limit: 2 }],
    ['rows before the span', pageOf('a', 'c'), {}],
    ['rows behind the span', pageOf('b', 'x'), {}],
    ['rows out of order', pageOf('d', 'c'), {}],
    ['rows in the wrong direction', pageOf('c', 'd'), { reverse: true }],
    ['a wrong count', { ...pageOf('b'), rows: { ...pageOf('b').rows, count: 9 } }, {}],
  ])('%s: INTERNAL', async (_what, page, options) => {
    connector.link.hello();
    await clock.advance(0);
    connector.link.pages = [page];
    expect(await codeOf(client.scan({ start: 'b', end: 'x', ...options }).toArray())).toBe('INTERNAL');
  });

  test('in order are taken', async () => {
    connector.link.hello();
    await clock.advance(0);
    connector.link.pages = [pageOf('b', 'c'), pageOf('d')];
    expect(await codeOf(client.scan({ start: 'b', end: 'x', limit: 3 }).toArray())).toBe('OK');
    connector.link.pages = [pageOf('d', 'c'), pageOf('b')];
    expect(await codeOf(client.scan({ start: 'b', end: 'x', reverse: true }).toArray())).toBe('OK');
  });
});
