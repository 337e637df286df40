import { describe, expect, it } from '@jest/globals';
import type { GetRoutesResponse, Route } from '@cairn/wire/gen/cairn/internal/v1/metadata.js';
import { RangeState } from '@cairn/wire/gen/cairn/v1/cluster.js';

import { listedRanges } from './listed-ranges.js';

function routeOf(id: number, [start, end]: [string, string], leaderStoreId: number): Route {
  const span = { startKey: Buffer.from(start), endKey: Buffer.from(end) };
  const descriptor = {
    rangeId: id,
    version: 1,
    confVersion: 1,
    replicas: [],
    tail: Buffer.alloc(0),
    ...span,
  };
  return { descriptor, leaderStoreId, bytes: 0, readsPerSecond: 0, writesPerSecond: 0 };
}

function answerOf(...routes: Route[]): GetRoutesResponse {
  const storeOf = (storeId: number, live: boolean): GetRoutesResponse['stores'][number] => ({
    ...{ storeId, live, lost: false, name: `shard-${storeId}`, address: '' },
  });
  return { routes, stores: [storeOf(1, true), storeOf(2, false)], incomplete: false };
}

const shown = (answer: GetRoutesResponse, start: string, isAll = true): unknown[] =>
  listedRanges(answer, Buffer.from(start), isAll).map((range) => [
    range.rangeId,
    range.start.toString(),
    range.end.toString(),
    range.leaderStoreId,
    range.state,
  ]);

describe('the listing of ranges', () => {
  it('says of what is missing in an incomplete answer that it is not known yet', () => {
    const answer = { ...answerOf(routeOf(1, ['c', 'm'], 1), routeOf(2, ['m', 't'], 0)), incomplete: true };
    expect(shown(answer, '')).toEqual([
      [0, '', 'c', 0, RangeState.NOT_KNOWN_YET],
      [1, 'c', 'm', 1, RangeState.LED],
      [2, 'm', 't', 0, RangeState.NOT_KNOWN_YET],
      [0, 't', '', 0, RangeState.NOT_KNOWN_YET],
    ]);
  });

  it('names no leader whose node is down', () => {
    const answer = answerOf(routeOf(1, ['', 'm'], 1), routeOf(2, ['m', 't'], 2), routeOf(3, ['t', ''], 0));
    expect(shown(answer, '')).toEqual([
      [1, '', 'm', 1, RangeState.LED],
      [2, 'm', 't', 0, RangeState.NO_LEADER],
      [3, 't', '', 0, RangeState.NO_LEADER],
    ]);
  });

  it('has no gaps: what nobody reports is missing, before, between and behind the others', () => {
    const answer = answerOf(routeOf(1, ['c', 'f'], 1), routeOf(2, ['m', 't'], 1));
    expect(shown(answer, 'a')).toEqual([
      [0, 'a', 'c', 0, RangeState.MISSING],
      [1, 'c', 'f', 1, RangeState.LED],
      [0, 'f', 'm', 0, RangeState.MISSING],
      [2, 'm', 't', 1, RangeState.LED],
      [0, 't', '', 0, RangeState.MISSING],
    ]);
    expect(shown(answer, 'd', false).at(-1)).toEqual([2, 'm', 't', 1, RangeState.LED]);
    expect(shown(answerOf(), '')).toEqual([[0, '', '', 0, RangeState.MISSING]]);
  });
});
