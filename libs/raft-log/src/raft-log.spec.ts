import { describe, expect, it } from '@jest/globals';
import { CairnError, logIndex, rangeId, replicaId, term } from '@cairn/base';
import { noopLogger, noopMetrics } from '@cairn/ports';
import { SimDisk, SimRng, SimScheduler } from '@cairn/runtime-sim';
import type { Entry } from '@cairn/raft';
import { openRaftLog, type RaftLog, type RaftLogOptions } from './index.js';

// Behaviour of the whole log on a simulated disk: what is visible, what survives, what is refused.

const SMALL: RaftLogOptions = { segmentBytes: 64 * 1024, cacheBytesMax: 1 << 20 };
const R1 = rangeId(1);
const R2 = rangeId(2);

function entry(index: number, inTerm: number, text: string): Entry {
  return { index: logIndex(index), term: term(inTerm), kind: 1, payload: Buffer.from(text), header: undefined };
}

function entriesFrom(first: number, count: number, inTerm: number, bytes = 20): Entry[] {
  const made: Entry[] = [];
  for (let index = first; index < first + count; index += 1) {
    made.push(entry(index, inTerm, `${index}@${inTerm}`.padEnd(bytes, '.')));
  }
  return made;
}

function open(disk: SimDisk, options: RaftLogOptions = SMALL): Promise<RaftLog> {
  return openRaftLog({
    disk: disk.attach(),
    directory: '/log',
    clock: new SimScheduler().clockFor('test'),
    logger: noopLogger,
    metrics: noopMetrics,
    options,
  });
}

/** Reads all entries back, from memory or from disk. */
async function textsOf(log: RaftLog, id = R1): Promise<string[]> {
  const range = log.range(id);
  const texts: string[] = [];
  let next = range.firstIndex();
  while (next <= range.lastIndex()) {
    const end = logIndex(range.lastIndex() + 1);
    const found = range.entries(next, end, 4096);
    if (found === 'loading') {
      await range.load(next, end, 4096);
      continue;
    }
    if (found === 'compacted') throw new Error('compacted');
    for (const one of found) texts.push(Buffer.from(one.payload).toString());
    next = logIndex(next + found.length);
  }
  return texts;
}

describe('raft log', () => {
  it('starts empty and shows staged entries at once', async () => {
    const log = await open(new SimDisk(new SimRng(1)));
    expect(log.rangeIds()).toEqual([]);
    const range = log.range(R1);
    expect([range.firstIndex(), range.lastIndex()]).toEqual([1, 0]);
    expect(range.termOf(logIndex(0))).toBe(0);
    range.append(entriesFrom(1, 3, 1));
    expect(log.hasStaged).toBe(true);
    expect(range.lastIndex()).toBe(3);
    expect(await textsOf(log)).toHaveLength(3);
    await log.sync();
    expect(log.hasStaged).toBe(false);
    expect(log.rangeIds()).toEqual([R1]);
  });

  it('recovers everything that was synced, and nothing else, after power loss', async () => {
    for (let seed = 0; seed < 20; seed += 1) {
      const disk = new SimDisk(new SimRng(seed));
      const log = await open(disk);
      log.range(R1).append(entriesFrom(1, 10, 1));
      log.range(R2).append(entriesFrom(1, 2, 7));
      log.range(R1).setHardState({ term: term(1), vote: replicaId(4), commit: logIndex(9) });
      log.range(R1).setCheckpoint({ index: logIndex(5), term: term(1), state: Buffer.from('applied') });
      log.range(R1).truncate(logIndex(4), term(1));
      await log.sync();
      log.range(R1).append(entriesFrom(11, 5, 1));
      disk.crash();
      const again = await open(disk);
      const range = again.range(R1);
      expect([range.firstIndex(), range.lastIndex()]).toEqual([5, 10]);
      expect(range.termOf(logIndex(4))).toBe(1);
      expect(range.termOf(logIndex(3))).toBe('compacted');
      expect(range.hardState).toEqual({ term: 1, vote: 4, commit: 9 });
      expect(range.checkpoint?.index).toBe(5);
      expect(Buffer.from(range.checkpoint?.state ?? []).toString()).toBe('applied');
      expect((await textsOf(again))[0]).toBe('5@1'.padEnd(20, '.'));
      expect(again.range(R2).lastIndex()).toBe(2);
      expect(again.range(R2).termOf(logIndex(2))).toBe(7);
    }
  });

  it('replaces a conflicting suffix, also after recovery', async () => {
    const disk = new SimDisk(new SimRng(3));
    const log = await open(disk);
    log.range(R1).append(entriesFrom(1, 5, 1));
    await log.sync();
    log.range(R1).append(entriesFrom(3, 1, 2));
    const expected = ['1@1', '2@1', '3@2'].map((text) => text.padEnd(20, '.'));
    expect(await textsOf(log)).toEqual(expected);
    await log.sync();
    disk.crash();
    const again = await open(disk);
    expect(await textsOf(again)).toEqual(expected);
    expect(again.range(R1).termOf(logIndex(3))).toBe(2);
    expect(again.range(R1).termOf(logIndex(2))).toBe(1);
  });
});
