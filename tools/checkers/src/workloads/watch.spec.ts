import { describe, expect, it } from '@jest/globals';

import { watchViolations, type WatchedWrite, type WatchRecord } from './watch.js';

const where = 'line 1';
const write = (
  key: string,
  timestamp: number,
  value: string,
  more: Partial<WatchedWrite> = {},
): WatchedWrite => ({
  key,
  outcome: 'ok',
  value,
  timestamp,
  isTransactional: true,
  where,
  ...more,
});
const start = (after: number): WatchRecord => ({ type: 'start', after, where });
const resume = (after: number): WatchRecord => ({ type: 'resume', after, where });
const progress = (timestamp: number): WatchRecord => ({ type: 'progress', timestamp, where });
const event = (key: string, timestamp: number, value: string, sequence?: number): WatchRecord => ({
  type: 'event',
  key,
  timestamp,
  value,
  where,
  ...(sequence === undefined ? {} : { sequence }),
});
const names = (writes: readonly WatchedWrite[], ...records: WatchRecord[]): string[] =>
  watchViolations(writes, records).map(({ name }) => name);

const [a1, b2, a3] = [write('a', 1, 'p'), write('b', 2, 'q'), write('a', 3, 'r')];
const [toldA1, toldB2, toldA3] = [event('a', 1, 'p'), event('b', 2, 'q'), event('a', 3, 'r')];
const ALL = [a1, b2, a3];
const unknown = write('a', 0, 'u', { outcome: 'info', timestamp: undefined });

describe('watch', () => {
  it('accepts all writes in the order of each key', () => {
    expect(names(ALL, start(0), toldA1, toldB2, toldA3, progress(3))).toEqual([]);
    expect(names(ALL, start(0), toldB2, toldA1, progress(2), toldA3, progress(9))).toEqual([]);
    expect(names(ALL, start(1), toldB2, toldA3, progress(3))).toEqual([]);
  });

  it('asks for nothing that is not due yet', () => {
    expect(names(ALL, start(0))).toEqual([]);
    expect(names(ALL, start(0), toldA1, progress(1))).toEqual([]);
    expect(names(ALL, start(0), toldA1, toldA3)).toEqual([]);
  });

  it('lets the watcher go on from where it was, or from before', () => {
    expect(names(ALL, start(0), toldA1, toldB2, resume(2), toldA3, progress(3))).toEqual([]);
    expect(names(ALL, start(0), toldA1, toldB2, toldA3, resume(1), toldB2, toldA3, progress(3))).toEqual([]);
    expect(names(ALL, start(0), progress(0), resume(0), toldA1, toldB2, progress(2))).toEqual([]);
  });

  it('lets writes of unknown outcome be told, or not', () => {
    expect(
      names([...ALL, unknown], start(0), toldA1, event('a', 2, 'u'), toldB2, toldA3, progress(3)),
    ).toEqual([]);
    expect(names([...ALL, unknown], start(0), toldA1, toldB2, toldA3, progress(3))).toEqual([]);
  });

  it('lets plain writes of a key at one timestamp be told as the last of them', () => {
    const plain = { isTransactional: false };
    const pair = [write('a', 1, 'p', plain), write('a', 1, 's', plain)];
    expect(names(pair, start(0), event('a', 1, 's'), progress(1))).toEqual([]);
    expect(names(pair, start(0), event('a', 1, 'p'), event('a', 1, 's'), progress(1))).toEqual([]);
    expect(names(pair, start(0), progress(1))).toEqual(['gap']);
    const known = [
      write('a', 1, 'p', { ...plain, sequence: 1 }),
      write('a', 1, 's', { ...plain, sequence: 2 }),
    ];
    expect(names(known, start(0), event('a', 1, 's', 2), progress(1))).toEqual([]);
    expect(names(known, start(0), event('a', 1, 'p', 1), progress(1))).toEqual(['gap']);
    expect(names(known, start(0), event('a', 1, 's', 2), event('a', 1, 'p', 1))).toEqual(['out-of-order']);
  });

  it('finds what was never told, at the mark, at the next of its key, and at the next point', () => {
    expect(names(ALL, start(0), toldA1, toldA3, progress(3))).toEqual(['gap']);
    expect(names(ALL, start(0), toldB2, toldA3)).toEqual(['gap']);
    expect(names(ALL, start(0), toldA1, resume(2), toldA3, progress(3))).toEqual(['gap']);
    expect(names(ALL, start(0), progress(3))).toEqual(['gap', 'gap', 'gap']);
  });

  it('finds what came twice, too late, or in the wrong order', () => {
    expect(names(ALL, start(0), toldA1, toldA1)).toEqual(['repeat']);
    expect(names(ALL, start(0), toldA1, toldB2, resume(1), toldA1)).toEqual(['repeat']);
    expect(names(ALL, start(0), toldA3, toldA1)).toEqual(['gap', 'out-of-order']);
    expect(names(ALL, start(0), toldA1, progress(2), toldB2)).toEqual(['gap', 'after-progress']);
    expect(names([], start(0), progress(5), progress(4))).toEqual(['progress-went-back']);
  });

  it('finds what nobody wrote', () => {
    expect(names(ALL, start(0), event('a', 1, 'z'))).toEqual(['unknown-event']);
    expect(names(ALL, start(0), event('a', 2, 'p'))).toEqual(['unknown-event', 'gap']);
    const failing = write('a', 0, 'f', { outcome: 'fail', timestamp: undefined });
    expect(names([failing], start(0), event('a', 2, 'f'))).toEqual(['aborted-event']);
  });
});
