import { describe, expect, it } from '@jest/globals';

import { watchViolations, type WatchedWrite, type WatchEvent, type WatchRecord } from './watch.js';

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
const event = (key: string, timestamp: number, value: string, sequence?: number): WatchEvent => ({
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
  it('accepts all writes in the one order', () => {
    expect(names(ALL, start(0), toldA1, toldB2, toldA3, progress(3))).toEqual([]);
    expect(names(ALL, start(0), toldA1, toldB2, progress(2), toldA3, progress(9))).toEqual([]);
    expect(names(ALL, start(1), toldB2, toldA3, progress(3))).toEqual([]);
  });

  it('asks for nothing that is not due yet', () => {
    expect(names(ALL, start(0))).toEqual([]);
    expect(names(ALL, start(0), toldA1, progress(1))).toEqual([]);
    expect(names(ALL, start(0), toldA1, toldB2)).toEqual([]);
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

  it('lets the watcher go on between two events of one timestamp', () => {
    const pair = [write('a', 1, 'p', { transaction: 't' }), write('b', 1, 'q', { transaction: 't' }), a3];
    const [p, q] = [event('a', 1, 'p'), event('b', 1, 'q')];
    const behind = { type: 'resume', after: 1, behind: p, where } as const;
    expect(names(pair, start(0), p, q, toldA3, behind, q, toldA3, behind, q, progress(1))).toEqual([]);
    expect(names(pair, start(0), p, q, behind, p)).toEqual(['repeat']);
    expect(names(pair, start(0), p, q, behind, toldA3)).toEqual(['gap']);
  });

  it('lets the watcher go on ahead of where it broke off, where it has been before', () => {
    const ahead = { type: 'resume', after: 3, behind: toldA3, where } as const;
    expect(names(ALL, start(0), toldA1, toldB2, toldA3, resume(0), toldA1, ahead, progress(3))).toEqual([]);
    expect(names(ALL, start(0), toldA1, toldB2, resume(0), resume(2), toldA3, progress(3))).toEqual([]);
    expect(names(ALL, start(0), toldA1, resume(0), resume(2), toldA3, progress(3))).toEqual(['gap']);
  });

  it('finds transactions that are not told whole', () => {
    const three = ['a', 'b', 'c'].map((key) =>
      write(key, 0, `${key}1`, { outcome: 'info', timestamp: undefined, transaction: 't' }),
    );
    const [one, two, other] = ['a', 'b', 'c'].map((key) => ({ ...event(key, 4, `${key}1`), transaction: 2 }));
    if (one === undefined || two === undefined || other === undefined) throw new Error('three are there');
    expect(names(three, start(0), one, two, other, progress(4))).toEqual([]);
    expect(names(three, start(0), progress(9))).toEqual([]);
    expect(names(three, start(0), one, other, progress(4))).toEqual(['torn-transaction']);
    expect(names(three, start(0), one, two, { ...other, timestamp: 5 })).toEqual([
      'torn-transaction',
      'torn-transaction',
    ]);
    expect(names(three, start(0), one, two, { ...other, transaction: 3 })).toEqual(['wrong-transaction']);
    const plain = write('d', 4, 'd1', { isTransactional: false });
    const toldPlain = event('d', 4, 'd1');
    expect(names([...three, plain], start(0), toldPlain, one, two, other)).toEqual([]);
    expect(names([...three, plain], start(0), one, two, other, toldPlain)).toEqual([]);
    expect(names([...three, plain], start(0), one, toldPlain, two, other)).toContain('torn-transaction');
    const [a9, b9] = [write('a', 4, 'a9'), write('b', 4, 'b9')];
    const [toldA9, toldB9] = [event('a', 4, 'a9'), event('b', 4, 'b9')].map((each) => ({
      ...each,
      transaction: 9,
    }));
    if (toldA9 === undefined || toldB9 === undefined) throw new Error('two are there');
    expect(names([a9, b9, plain], start(0), toldPlain, toldA9, toldB9)).toEqual([]);
    expect(names([a9, b9, plain], start(0), toldA9, toldPlain, toldB9)).toEqual(['torn-transaction']);
    expect(names([plain], start(0), { ...toldPlain, transaction: 7 })).toEqual(['wrong-transaction']);
  });

  it('finds previous values that were not there', () => {
    const gone = write('a', 5, 'x', { value: undefined });
    const all = [a1, a3, gone, write('a', 8, 'z')];
    const told = (timestamp: number, value: string, previous: WatchEvent['previous']): WatchEvent => ({
      ...event('a', timestamp, value),
      ...(previous === undefined ? {} : { previous }),
    });
    const [p, r] = [
      { value: 'p', timestamp: 1 },
      { value: 'r', timestamp: 3 },
    ];
    const deletion = { ...event('a', 5, ''), value: undefined };
    expect(
      names(all, start(0), told(1, 'p', 'nothing'), told(3, 'r', p), { ...deletion, previous: r }),
    ).toEqual([]);
    expect(names(all, start(3), { ...deletion, previous: r }, told(8, 'z', 'nothing'))).toEqual([]);
    const plain = [1, 2].map((at) => write('a', 9, `y${at}`, { isTransactional: false }));
    const z = { value: 'z', timestamp: 8 };
    expect(names([...all, ...plain], start(8), told(9, 'y1', z), told(9, 'y2', z))).toEqual([]);
    expect(
      names([...all, ...plain], start(8), told(9, 'y1', z), told(9, 'y2', { value: 'y1', timestamp: 9 })),
    ).toEqual([]);
    expect(names(all, start(0), told(1, 'p', r))).toEqual(['wrong-previous']);
    expect(names(all, start(0), told(1, 'p', 'nothing'), told(3, 'r', 'nothing'))).toEqual([
      'wrong-previous',
    ]);
    expect(names(all, start(1), told(3, 'r', { value: 'p', timestamp: 2 }))).toEqual(['wrong-previous']);
    expect(names(all, start(3), { ...deletion, previous: p })).toEqual(['wrong-previous']);
    expect(names(all, start(5), told(8, 'z', r))).toEqual(['wrong-previous']);
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
    expect(names(ALL, start(0), toldA3, toldA1)).toEqual(['gap', 'gap', 'out-of-order']);
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
