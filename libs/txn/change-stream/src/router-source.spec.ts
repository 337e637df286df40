/** Goal: ranges and questions as a router sees them. Method: a router that notes what it is asked. */
import { beforeEach, describe, expect, it } from '@jest/globals';
import { NO_BYTES, rangeId, storeId, timestamp } from '@cairn/base';
import { RangeCache, type RequestRouter } from '@cairn/routing';
import { SimScheduler } from '@cairn/runtime-sim';
import {
  decodeChangesRequest,
  encodeChangesReply,
  KvOp,
  newKvResponse,
  type ChangesRequest,
  type KvRequest,
} from '@cairn/wire';

import { bytes } from './fake-ranges.testing.js';
import { RouterSource } from './router-source.js';
import { textOf } from './spans.js';

let cache: RangeCache;
let source: RouterSource;
let asked: { readonly request: KvRequest; readonly heldMs: number | undefined }[];
let answer: Uint8Array | undefined;

beforeEach(() => {
  cache = new RangeCache();
  asked = [];
  const router: Pick<RequestRouter, 'cache' | 'cancel'> & { execute: RequestRouter['execute'] } = {
    cache,
    cancel: () => undefined,
    execute: (request, sink, { heldMs }) => {
      asked.push({ request, heldMs });
      const response = newKvResponse(1, KvOp.changes);
      response.value = answer;
      const operation = { state: 'done' } as ReturnType<RequestRouter['execute']>;
      sink.complete(operation, response);
      return operation;
    },
  };
  source = new RouterSource({
    router: router as RequestRouter,
    timestamps: { timestamp: () => Promise.resolve(timestamp(5)) },
    clock: new SimScheduler().clockFor('router'),
  });
});

function know(id: number, start: string, end: string): void {
  cache.insert(
    {
      ...{ rangeId: rangeId(id), startKey: bytes(start), endKey: bytes(end) },
      ...{ epoch: { version: 1, confVersion: 1 }, replicas: [] },
    },
    storeId(0),
  );
}

const question: ChangesRequest = {
  ...{ start: bytes('a'), end: bytes('b'), after: timestamp(7), index: 3, rangeId: 2, resume: NO_BYTES },
  ...{ withPrevious: true, waitMs: 900, bytesMax: 70_000 },
};
const asking = { readTimestamp: timestamp(9), signal: new AbortController().signal };

describe('the ranges of a router', () => {
  it('are those that are known, whole, and what is between them', () => {
    know(1, 'c', 'f');
    know(2, 'h', '');
    const rangesOf = (start: string, end: string): string[] =>
      source.ranges({ start: bytes(start), end: bytes(end) }).map((range) => {
        return `${textOf(range.start)}-${textOf(range.end)}`;
      });
    expect(rangesOf('a', '')).toEqual(['a-c', 'c-f', 'f-h', 'h-']);
    expect(rangesOf('d', 'e')).toEqual(['c-f']);
    expect(rangesOf('a', 'b')).toEqual(['a-b']);
    expect(rangesOf('f', 'g')).toEqual(['f-g']);
    cache = new RangeCache();
  });

  it('are asked as leaders understand it, and may take the time to wait', async () => {
    answer = encodeChangesReply({ type: 'regroup' });
    expect(await source.timestamp()).toBe(5);
    expect(await source.ask(question, asking)).toEqual({ type: 'regroup' });
    const [{ request, heldMs } = { request: undefined, heldMs: 0 }] = asked;
    expect(heldMs).toBe(900);
    expect(request).toMatchObject({ op: KvOp.changes, readTimestamp: 9 });
    expect(decodeChangesRequest(request?.value ?? NO_BYTES)).toMatchObject({ after: 7, waitMs: 900 });
  });

  it.each([[undefined], [Buffer.from('nonsense')]])('answer no nonsense: %p', async (value) => {
    answer = value;
    await expect(source.ask(question, asking)).rejects.toMatchObject({ code: 'INTERNAL' });
  });
});
