import { describe, expect, it } from '@jest/globals';
import { timestamp } from '@cairn/base';
import { encodeLockRow, LockRowOp, lockKeyOf, rowCacheKey } from '@cairn/mvcc';
import fc from 'fast-check';

import { bytes } from '../kv-rig.testing.js';
import { Decisions } from './decisions.js';
import { LOCK_BYTES_MAX, LOCKS_MAX, LockTable, newLock, type Lock } from './lock-table.js';
import { OrderedKeys } from './ordered-keys.js';

function lockOf(key: string, start: number, minCommit = start + 1): Lock {
  return newLock(bytes(key), {
    ...{ start: timestamp(start), op: LockRowOp.put, minCommit: timestamp(minCommit) },
    ...{ deadline: timestamp(start + 100), ttlMs: 0, primary: bytes(key), value: bytes('value') },
  });
}

describe('the locks of a range', () => {
  it('are seen by commands when they are evaluated, and by reads when they are logged (T7, T12)', () => {
    const table = new LockTable();
    const lock = lockOf('a', 5, 8);
    const effect = { added: [lock], removed: [] };
    table.proposed(effect);
    expect(table.current('a')).toBe(lock);
    expect(table.stopsNewest('a', [])).toBeUndefined();
    expect(table.stopsAt('a', timestamp(9), [])).toBeUndefined();
    table.committed(effect);
    expect(table.stopsNewest('a', [])).toBe(lock);
    expect(table.stopsAt('a', timestamp(7), [])).toBeUndefined();
    expect(table.stopsAt('a', timestamp(8), [])).toBe(lock);
    expect(table.stopsAt('a', timestamp(8), [4, 5, 6].map(timestamp))).toBeUndefined();
    expect(table.stopsNewest('a', [4, 6].map(timestamp))).toBe(lock);
  });

  it('tell the least commit of all that are there, from their evaluation until they are gone (T16)', () => {
    fc.assert(
      fc.property(fc.array(fc.record({ at: fc.nat(6), key: fc.nat(3) }), { maxLength: 40 }), (steps) => {
        const table = new LockTable();
        const there: Lock[] = [];
        for (const { at, key } of steps) {
          const gone = at < there.length ? there.splice(at, 1) : [];
          const lock = lockOf(`k${key}`, 10 * at);
          if (gone.length > 0) table.published({ added: [], removed: gone });
          else table.proposed({ added: [lock], removed: [] });
          if (gone.length === 0) there.push(lock);
          const least = Math.min(...there.map(({ minCommit }) => minCommit));
          expect(table.leastCommit).toBe(least === Infinity ? undefined : least);
        }
      }),
    );
  });

  it('are told whose time is over, unless whoever asks has looked into them', () => {
    const table = new LockTable();
    const [lock, other] = [lockOf('a', 5), lockOf('b', 900)];
    for (const one of [lock, other]) table.proposed({ added: [one], removed: [] });
    expect(table.overdue(timestamp(200), [])).toEqual([]);
    for (const one of [lock, other]) table.committed({ added: [one], removed: [] });
    expect(table.overdue(timestamp(200), [])).toEqual([lock]);
    expect(table.overdue(timestamp(200), [timestamp(5)])).toEqual([]);
    table.proposed({ added: [], removed: [lock] });
    expect(table.overdue(timestamp(200), [])).toEqual([]);
  });

  it('stop reads at a timestamp until the engine shows what came in their place', () => {
    const table = new LockTable();
    const [lock, next] = [lockOf('a', 5), lockOf('a', 9)];
    table.proposed({ added: [lock], removed: [] });
    table.committed({ added: [lock], removed: [] });
    const end = { added: [], removed: [lock] };
    table.proposed(end);
    expect([table.current('a'), table.stopsNewest('a', []), table.isLeaving('a', lock.start)]).toEqual([
      ...[undefined, lock, true],
    ]);
    table.committed(end);
    expect([table.stopsNewest('a', []), table.isLeaving('a', lock.start)]).toEqual([undefined, false]);
    table.proposed({ added: [next], removed: [] });
    expect([table.stopsAt('a', timestamp(6), []), table.current('a'), table.size]).toEqual([lock, next, 2]);
    table.published(end);
    expect([table.stopsAt('a', timestamp(6), []), table.current('a'), table.size]).toEqual([
      ...[undefined, next, 1],
    ]);
  });

  it('are as before when a proposal comes to nothing', () => {
    const table = new LockTable();
    const [lock, next] = [lockOf('a', 5), lockOf('a', 9)];
    table.proposed({ added: [lock], removed: [] });
    const both = { added: [next], removed: [lock] };
    table.proposed(both);
    expect(table.oldestStart).toBe(5);
    table.withdrawn(both);
    expect([table.current('a'), table.size]).toEqual([lock, 1]);
    table.withdrawn({ added: [lock], removed: [] });
    expect([table.current('a'), table.size, table.bytes, table.oldestStart]).toEqual([
      ...[undefined, 0, 0, undefined],
    ]);
  });

  it('follow what the log says, whatever was there', () => {
    const table = new LockTable();
    table.proposed({ added: [lockOf('a', 5)], removed: [] });
    const row = lockOf('a', 7);
    table.put(...encodeLockRow(bytes('a'), row));
    expect(table.current('a')).toMatchObject({ start: 7, isLogged: true, value: bytes('value') });
    expect(table.size).toBe(1);
    table.remove(lockKeyOf(bytes('a')));
    table.remove(lockKeyOf(bytes('b')));
    expect(table.size).toBe(0);
  });

  it('are found in spans, no more than are told, and are handed over by span', () => {
    const table = new LockTable();
    const keys = Array.from({ length: 1_000 }, (_, at) => `k${String(at).padStart(4, '0')}`);
    table.proposed({ added: keys.map((key) => lockOf(key, 5)), removed: [] });
    expect(table.currentIn('k0500', 'k0503').map(({ key }) => key)).toEqual(['k0500', 'k0501', 'k0502']);
    expect(table.currentIn('', undefined).length).toBe(64);
    const at = { at: timestamp(9), ignored: [] };
    expect(table.stopsAtIn('', undefined, at)).toEqual([]);
    const other = new LockTable();
    other.takeFrom(table, bytes('k0990'), bytes(''));
    expect([table.size, other.size]).toEqual([990, 10]);
    expect(table.hasRoomFor(LOCKS_MAX - 990, 0)).toBe(true);
    expect(table.hasRoomFor(LOCKS_MAX - 989, 0)).toBe(false);
    expect(table.hasRoomFor(1, LOCK_BYTES_MAX)).toBe(false);
  });
});

describe('ordered keys', () => {
  it('are those that were added and not deleted, in order', () => {
    const step = fc.record({ key: fc.integer({ min: 0, max: 2_000 }), isGone: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 3_000, size: 'max' }), (steps) => {
        const keys = new OrderedKeys();
        const model = new Set<string>();
        for (const { key, isGone } of steps) {
          const name = rowCacheKey(bytes(String(key).padStart(4, '0')));
          if (!isGone && !model.has(name)) keys.add(name);
          if (isGone) keys.delete(name);
          if (isGone) model.delete(name);
          else model.add(name);
        }
        const sorted = [...model].sort();
        expect([...keys.within('', undefined)]).toEqual(sorted);
        expect([...keys.within('0500', '1500')]).toEqual(
          sorted.filter((key) => key >= '0500' && key < '1500'),
        );
      }),
      { numRuns: 10 },
    );
  });
});

describe('decisions', () => {
  const decision = { userKey: bytes('a'), start: timestamp(9), commit: timestamp(11) };
  const since = timestamp(5);

  it('are known without the engine for what began after the leadership', () => {
    const decisions = new Decisions();
    expect(decisions.find(bytes('a'), timestamp(9), since)).toEqual({ type: 'none' });
    expect(decisions.find(bytes('a'), timestamp(5), since)).toEqual({ type: 'unknown' });
    decisions.proposed([decision]);
    expect(decisions.find(bytes('a'), timestamp(9), since)).toEqual({ type: 'under-way' });
    decisions.withdrawn([decision]);
    expect(decisions.find(bytes('a'), timestamp(9), since)).toEqual({ type: 'none' });
    decisions.visible([decision]);
    expect(decisions.find(bytes('a'), timestamp(9), since)).toEqual({ type: 'decided', commit: 11 });
    expect(decisions.find(bytes('b'), timestamp(9), since)).toEqual({ type: 'none' });
    decisions.clear();
    expect(decisions.find(bytes('a'), timestamp(9), timestamp(20))).toEqual({ type: 'unknown' });
  });

  it('are asked of the engine once some are forgotten', () => {
    const decisions = new Decisions();
    decisions.visible([decision]);
    const { published } = decisions;
    const many = Array.from({ length: 16_384 }, (_, at) => ({ ...decision, start: timestamp(100 + at) }));
    decisions.visible(many);
    expect(decisions.find(bytes('a'), timestamp(9), since)).toEqual({ type: 'unknown' });
    expect(decisions.find(bytes('b'), timestamp(10), since)).toEqual({ type: 'none' });
    expect(decisions.remembersSince(published)).toBe(false);
    expect(decisions.remembersSince(decisions.published)).toBe(true);
  });
});
