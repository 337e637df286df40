import { logIndex, term, timestamp } from '@cairn/base';
import { rowCacheKey, type VersionRecord } from '@cairn/mvcc';
import { EntryKind, type Entry } from '@cairn/raft';
import { describe, expect, it } from '@jest/globals';

import { PendingWrites, type PendingWrite } from './pending-writes.js';

const TERM = term(3);

function versionOf(number: number): VersionRecord {
  return {
    timestamp: timestamp(number),
    sequence: 0,
    expiry: timestamp(0),
    tombstone: false,
    kind: 0,
    value: Buffer.alloc(0),
  };
}

/** Counts how often a command is looked at. */
class Looks {
  count = 0;

  write(name: string, number: number): PendingWrite {
    const key = rowCacheKey(Buffer.from(name));
    const looked = (): void => {
      this.count += 1;
    };
    return {
      call: undefined,
      response: undefined,
      get key() {
        looked();
        return key;
      },
      version: versionOf(number),
      duplicates: undefined,
      isAcknowledged: false,
    };
  }
}

const keyOf = (name: string): ReturnType<typeof rowCacheKey> => rowCacheKey(Buffer.from(name));
const entryOf = (index: number): Entry => ({
  index: logIndex(index),
  term: TERM,
  kind: EntryKind.command,
  payload: Buffer.alloc(1),
});

describe('an acknowledged row that the engine does not hold', () => {
  it('is found as a walk over all of it would, at any time', () => {
    const pending = new PendingWrites();
    const looks = new Looks();
    const model: [number, string, number][] = [];
    let published = 0;
    let committed = 0;
    for (let index = 1; index <= 400; index += 1) {
      const names = [`a${index % 7}`, `b${index}`];
      pending.add(
        logIndex(index),
        TERM,
        names.map((name) => looks.write(name, index)),
      );
      model.push(...names.map((name): [number, string, number] => [index, name, index]));
      if (index % 3 === 0) {
        pending.committed(Array.from({ length: index - committed }, (_, at) => entryOf(committed + 1 + at)));
        committed = index;
      }
      if (index % 50 === 0) {
        published = index - 90 < 0 ? 0 : index - 90;
        pending.published(logIndex(published));
      }
      for (const name of ['a0', 'a3', `b${index - 5}`, `b${index - 95}`, 'c']) {
        const expected = model.filter(([at, other]) => other === name && at <= committed && at > published);
        expect(pending.acknowledged(keyOf(name))?.timestamp).toBe(expected.at(-1)?.[2]);
      }
      expect(pending.holds(logIndex(index), TERM)).toBe(true);
      expect(pending.holds(logIndex(index), term(4))).toBe(false);
      expect(pending.holds(logIndex(index + 1), TERM)).toBe(false);
    }
  });

  it('is not looked for by walking over all of them with every read', () => {
    const pending = new PendingWrites();
    const looks = new Looks();
    const writes = Array.from({ length: 10_000 }, (_, at) => looks.write(`k${at}`, at));
    pending.add(logIndex(1), TERM, writes);
    pending.committed([entryOf(1)]);
    for (let read = 0; read < 1_000; read += 1) expect(pending.acknowledged(keyOf('absent'))).toBeUndefined();
    expect(looks.count).toBeLessThan(20_000);
  });
});
