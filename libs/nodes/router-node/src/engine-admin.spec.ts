/** Goal: what a shard node answers reaches people in bounds, and moves nobody's cursor. */
import { describe, expect, it } from '@jest/globals';
import { CairnError } from '@cairn/base';
import type { RpcClient, RpcPool } from '@cairn/wire';

import { checkCompaction, debugTextOf, enginesOf } from './engine-admin.js';

const ESCAPE = '\u001b[31m';
const NODE = { storeId: 7, name: 'shard-7', address: 'a:1', live: true };

function answering(answer: () => unknown): RpcPool {
  const client = { call: () => Promise.resolve().then(answer) } as unknown as RpcClient;
  return { client: () => client } as unknown as RpcPool;
}

describe('what a shard node says of its engine', () => {
  it('is shown with its texts cut and escaped', async () => {
    const compaction = {
      running: false,
      startedUnixMs: 1,
      durationMs: 1,
      problem: ESCAPE + 'p'.repeat(5_000),
    };
    const stats = { engine: ESCAPE + 'E'.repeat(50_000), diskBytes: 1, levels: [], compaction };
    const [engine] = await enginesOf(
      answering(() => stats),
      [NODE],
    );
    expect(engine?.engine).toMatch(/^\\u\{1b\}\[31mE{58}$/);
    expect(engine?.compaction?.problem).toMatch(/^\\u\{1b\}\[31mp+… \(5005 characters\)$/);
  });

  it('is shown with why it told nothing, cut and escaped', async () => {
    const failing = answering(() => {
      throw new CairnError('INTERNAL', ESCAPE + 'm'.repeat(4_000));
    });
    const [engine] = await enginesOf(failing, [NODE]);
    expect(engine?.problem).toMatch(/^\\u\{1b\}\[31mm+… \(4005 characters\)$/);
  });
});

describe('what a shard node tells for debugging', () => {
  it('is passed on whole, in lines, without what moves a cursor', async () => {
    const text = `store 7\n  ${ESCAPE}é\r\n${'x'.repeat(5_000)}`;
    expect(
      await debugTextOf(
        answering(() => ({ text })),
        NODE,
        0,
      ),
    ).toEqual({
      text: `store 7\n  \\u{1b}[31mé\\u{d}\n${'x'.repeat(5_000)}`,
    });
  });
});

describe('the span of a compaction', () => {
  const refusal = (start: string, end: string, storeId = 1): unknown => {
    try {
      checkCompaction({ storeId, start: Buffer.from(start), end: Buffer.from(end) });
      return undefined;
    } catch (error) {
      return error;
    }
  };

  it('may be open at both ends', () => {
    for (const [start = '', end = ''] of [['a', 'b'], ['a', ''], ['', 'b'], []])
      expect(refusal(start, end)).toBeUndefined();
  });

  it('is refused, in the words that a scan has, when it ends before it begins', () => {
    const field = { field: 'end' };
    expect(refusal('b', 'a')).toMatchObject({ message: 'end lies before start', details: field });
    expect(refusal('a', 'a')).toMatchObject({
      message: 'end is start: no key lies between them',
      details: field,
    });
  });

  it('is of one node', () => {
    expect(refusal('', '', 0)).toMatchObject({ code: 'INVALID_ARGUMENT', details: { field: 'store_id' } });
  });
});
