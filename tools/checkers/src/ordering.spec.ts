import { describe, expect, it } from '@jest/globals';

import { History, type Operation } from './history.js';
import { orderingFaults } from './ordering.js';

function write(
  value: string | undefined,
  timestamp: number | undefined,
  more: Partial<Operation> = {},
): Operation {
  const stamp = timestamp === undefined ? {} : { timestamp };
  return {
    process: 'p',
    key: 'k',
    action: { f: 'write', value },
    invokedMs: 0,
    returnedMs: 10,
    ...stamp,
    ...more,
  };
}
/** A scan of one key, at a timestamp that was taken at `takenMs`. */
function read(timestamp: number, value: string | undefined, takenMs = 100): History {
  const history = new History();
  const times = { invokedMs: takenMs, returnedMs: takenMs + 1 };
  history.add({ process: 'p', key: 'k', action: { f: 'read', value }, timestamp, ...times });
  const rows = new Map(value === undefined ? [] : [['k', value]]);
  history.snapshots.push({ process: 'p', timestamp, keys: ['k'], rows, ...times });
  return history;
}
function faults(writes: readonly Operation[], reads: readonly History[]): string[] {
  const history = new History();
  for (const each of [...writes, ...reads.flatMap(({ operations }) => operations)]) history.add(each);
  history.snapshots.push(...reads.flatMap(({ snapshots }) => snapshots));
  return orderingFaults(history);
}

describe('ordering', () => {
  it('lets a snapshot show the newest version at or before its timestamp, and no other', () => {
    const writes = [write('a', 5), write(undefined, 7), write('b', 9)];
    const good = [read(4, undefined), read(5, 'a'), read(6, 'a'), read(8, undefined), read(20, 'b')];
    expect(faults(writes, good)).toEqual([]);
    for (const bad of [read(4, 'a'), read(6, undefined), read(8, 'a'), read(20, 'a'), read(8, 'b')]) {
      expect(faults(writes, [bad])).toHaveLength(1);
    }
  });

  it('lets the last of several writes at one timestamp replace the others', () => {
    const [first, second] = [write('a', 5), write('b', 5, { invokedMs: 11, returnedMs: 12 })];
    expect(faults([first, second], [read(5, 'b')])).toEqual([]);
    expect(faults([first, second], [read(5, 'a')])).toHaveLength(1);
    expect(faults([first, write('c', 5)], [read(5, 'a'), read(5, 'c')])).toEqual([]);
    expect(faults([first, write(undefined, 0)], [read(5, 'a')])).toEqual([]);
  });

  it('lets a snapshot show what nobody acknowledged', () => {
    const unknown = write('u', undefined, { returnedMs: Number.POSITIVE_INFINITY });
    expect(faults([write('a', 5), unknown], [read(6, 'u')])).toEqual([]);
    expect(faults([write('a', 5), unknown], [read(6, undefined)])).toHaveLength(1);
  });

  it('wants timestamps of one key that never fall, where one write began after the other', () => {
    const first = write('a', 5, { returnedMs: 10 });
    const later = (timestamp: number): Operation => write('b', timestamp, { invokedMs: 11, returnedMs: 12 });
    expect(faults([first, later(6)], [])).toEqual([]);
    expect(faults([first, later(4)], [])).toHaveLength(1);
    expect(faults([first, write('b', 4)], [])).toEqual([]);
    expect(faults([first, { ...later(4), key: 'l' }], [])).toEqual([]);
    expect(faults([first, later(5)], [])).toEqual([]);
  });

  it('wants later snapshots to see strict writes, and lets them miss plain ones', () => {
    const [plain, strict] = [write('a', 9), write('a', 9, { strict: true })];
    expect(faults([plain], [read(8, undefined, 11)])).toEqual([]);
    expect(faults([strict], [read(9, 'a', 11)])).toEqual([]);
    expect(faults([strict], [read(8, undefined, 11)])).toHaveLength(1);
    expect(faults([strict], [read(8, undefined, 9)])).toEqual([]);
  });
});
