import { CairnError, type LogIndex, type ReplicaId } from '@cairn/base';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';

import { defaultRaftConfig, validateRaftConfig } from './config.js';
import { Inflights } from './inflights.js';
import {
  configAfter,
  decodeConfigChange,
  encodeConfigChange,
  isJoint,
  isLegalChange,
} from './membership-change.js';
import { jointVote, majorityOf, majorityValue, majorityVote } from './quorum.js';
import { MemoryRaftStorage } from './testing/index.js';
import type { ConfigChange, ConfigState } from './types.js';

const id = (value: number): ReplicaId => value as ReplicaId;

describe('configuration', () => {
  test('the defaults are valid', () => {
    expect(() => {
      validateRaftConfig(defaultRaftConfig(id(1)));
    }).not.toThrow();
  });

  test.each([
    [{ heartbeatIntervalMs: 300 }, /heartbeatIntervalMs 300 .* 600/],
    [{ voteHoldMs: 601 }, /voteHoldMs 601 .* 600/],
    [{ leaseDurationMs: 460 }, /leaseDurationMs 460 .* 500/],
    [{ appendBytesMax: 2 ** 30 }, /appendBytesMax 1073741824/],
    [{ inflightCountMax: 0 }, /inflightCountMax/],
    [{ electionTimeoutMs: NaN }, /electionTimeoutMs/],
    [{ id: id(0) }, /id must/],
  ])('%j is refused with both values', (wrong, message) => {
    let thrown: unknown;
    try {
      validateRaftConfig({ ...defaultRaftConfig(id(1)), ...wrong });
    } catch (error) {
      thrown = error;
    }
    expect(CairnError.is(thrown) && thrown.code).toBe('INVALID_ARGUMENT');
    expect(String(thrown)).toMatch(message);
  });
});

describe('quorum', () => {
  test('majorityValue is the largest value that a majority reaches', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(20), { minLength: 1, maxLength: 9 }), (values) => {
        const reached = (value: number): number => values.filter((one) => one >= value).length;
        const best = Math.max(...values.filter((value) => reached(value) >= majorityOf(values.length)));
        expect(majorityValue([...values])).toBe(best);
      }),
    );
    expect(majorityValue([])).toBe(Infinity);
  });

  test('a joint vote is won exactly when both halves have a majority, lost when one cannot get it', () => {
    const ids = fc.uniqueArray(fc.integer({ min: 1, max: 7 }), { maxLength: 5 });
    const ballots = fc.dictionary(fc.constantFrom(...'1234567'), fc.boolean());
    fc.assert(
      fc.property(ids, ids, ballots, (voters, outgoing, ballot) => {
        const votes = new Map(Object.entries(ballot).map(([key, vote]) => [Number(key), vote]));
        const count = (group: number[], vote: boolean) =>
          group.filter((one) => votes.get(one) === vote).length;
        const won = (group: number[]) => group.length === 0 || count(group, true) * 2 > group.length;
        const lost = (group: number[]) => group.length > 0 && count(group, false) * 2 >= group.length;
        const expected =
          lost(voters) || lost(outgoing) ? 'lost' : won(voters) && won(outgoing) ? 'won' : 'pending';
        expect(jointVote(voters, outgoing, votes)).toBe(expected);
      }),
    );
    expect(majorityVote([], new Map())).toBe('won');
  });
});

test('in-flight windows keep count and bytes through growth and wrapping', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(5), { maxLength: 200 }), (actions) => {
      const window = new Inflights(20, 1000);
      let model: { index: number; bytes: number }[] = [];
      let next = 1;
      for (const action of actions) {
        if (action <= 3 && !window.isFull) {
          window.add(next, action * 30);
          model.push({ index: next, bytes: action * 30 });
          next += 1;
        } else if (action === 4 && model.length > 0) {
          const index = model[Math.floor(model.length / 2)]?.index ?? 0;
          window.freeTo(index);
          model = model.filter((one) => one.index > index);
        } else if (action === 5) {
          // A late acknowledgement of what was acknowledged before.
          window.freeTo((model[0]?.index ?? next) - 1);
        }
        const bytes = model.reduce((sum, one) => sum + one.bytes, 0);
        expect(window.count).toBe(model.length);
        expect(window.isFull).toBe(model.length >= 20 || bytes >= 1000);
      }
      window.clear();
      expect(window.count).toBe(0);
    }),
  );
});

describe('membership changes', () => {
  const operation = fc.record({
    type: fc.constantFrom('add-voter' as const, 'add-learner' as const, 'remove' as const),
    replicaId: fc.integer({ min: 1, max: 8 }).map(id),
  });
  const changes = fc.record({
    operations: fc.array(operation, { minLength: 1, maxLength: 3 }),
    leaveJoint: fc.constant(false),
    context: fc.uint8Array({ maxLength: 20 }),
  });

  test('come back from their bytes, and garbage is refused', () => {
    fc.assert(
      fc.property(changes, (change) => {
        const decoded = decodeConfigChange(encodeConfigChange(change));
        expect({ ...decoded, context: Uint8Array.from(decoded.context) }).toEqual(change);
      }),
    );
    for (const wrong of [[], [2, 0, 0], [0, 200, 1], [0, 1, 3, 1, 0], [0, 0, 0, 9]]) {
      expect(() => decodeConfigChange(Uint8Array.from(wrong))).toThrow(CairnError);
    }
  });

  test('have the bytes that are written down, and those of a later release are no damage', () => {
    const change: ConfigChange = {
      operations: [
        { type: 'add-voter', replicaId: id(11) },
        { type: 'add-learner', replicaId: id(12) },
        { type: 'remove', replicaId: id(300) },
      ],
      leaveJoint: false,
      context: Buffer.of(0xcc),
    };
    const hex = '00' + '03' + '000b' + '010c' + '02ac02' + '01cc';
    expect(Buffer.from(encodeConfigChange(change)).toString('hex')).toBe(hex);
    expect(decodeConfigChange(Buffer.from(hex, 'hex'))).toEqual(change);
    const left = { operations: [], leaveJoint: true, context: new Uint8Array(0) };
    expect(Buffer.from(encodeConfigChange(left)).toString('hex')).toBe('010000');
    const codeOf = (bytes: string): unknown => {
      try {
        return decodeConfigChange(Buffer.from(bytes, 'hex'));
      } catch (error) {
        return (error as CairnError).code;
      }
    };
    expect([codeOf('020000'), codeOf('0001030100')]).toEqual(['FORMAT_TOO_NEW', 'FORMAT_TOO_NEW']);
    expect([codeOf(''), codeOf('00c801'), codeOf('00000009')]).toEqual([
      'CORRUPTION',
      'CORRUPTION',
      'CORRUPTION',
    ]);
  });

  test('random histories never lose the overlap of majorities and end without joint remains', () => {
    fc.assert(
      fc.property(fc.array(changes, { maxLength: 30 }), (history) => {
        let config: ConfigState = {
          voters: [id(1), id(2), id(3)],
          outgoing: [],
          learners: [],
          learnersNext: [],
        };
        for (const change of history) {
          if (!isLegalChange(config, change)) continue;
          const before = config;
          config = configAfter(config, change);
          if (isJoint(config)) {
            expect(config.outgoing).toEqual(before.voters);
            const kept = before.voters.filter((one) => !config.voters.includes(one));
            expect([...config.learnersNext].sort()).toEqual([...kept].sort());
            const leave: ConfigChange = { operations: [], leaveJoint: true, context: new Uint8Array(0) };
            config = configAfter(config, leave);
          } else expect(config.voters).toEqual(before.voters);
          expect(config.voters.length).toBeGreaterThan(0);
          const all = [...config.voters, ...config.learners];
          expect(new Set(all).size).toBe(all.length);
          expect(config.outgoing.length + config.learnersNext.length).toBe(0);
        }
      }),
    );
  });
});

test('the memory storage loses exactly what was not synced', () => {
  const storage = new MemoryRaftStorage();
  const entry = (index: number) => ({
    index: index as LogIndex,
    term: 1 as never,
    kind: 1 as const,
    payload: new Uint8Array(index),
  });
  storage.stage({ sequence: 1, entries: [entry(1), entry(2)], hardState: undefined });
  storage.stage({ sequence: 2, entries: [entry(3)], hardState: undefined });
  storage.sync(1);
  expect(storage.lastIndex()).toBe(3);
  storage.crash();
  expect(storage.lastIndex()).toBe(2);
  storage.compact(1 as LogIndex);
  expect(storage.termOf(0 as LogIndex)).toBe('compacted');
  expect(storage.entries(1 as LogIndex, 3 as LogIndex, 10)).toBe('compacted');
  storage.loadingBelow = 3;
  expect(storage.entries(2 as LogIndex, 3 as LogIndex, 10)).toBe('loading');
});
