/**
 * Goal: a range that is created is here with its initial state, or as before. Method: stores on virtual time,
 * one of them killed at any moment of a creation that takes several blocks of the log.
 */
import { describe, expect, it } from '@jest/globals';
import { logIndex, replicaId, storeId, term, type RangeDescriptor } from '@cairn/base';

import { RIG_RANGE, StoresRig } from './stores.testing.js';

/** A record that names it is longer than a block of the log. */
const LONG_KEY = Buffer.alloc(20_000, 1);
const DESCRIPTOR: RangeDescriptor = {
  rangeId: RIG_RANGE,
  startKey: LONG_KEY,
  endKey: Buffer.alloc(0),
  epoch: { version: 1, confVersion: 1 },
  replicas: [1, 2].map((id) => ({ replicaId: replicaId(10 + id), storeId: storeId(id), role: 'voter' })),
};

describe('a range that is created where a message has invented a replica of it', () => {
  it('is here or not, whenever the process is killed, and gets its state from another store then', async () => {
    const seen = new Set<boolean>();
    for (let ms = 0; ms < 40; ms += 1) {
      const rig = await StoresRig.open(2, { diskSeed: ms });
      const vote = { type: 'vote', from: replicaId(12), to: replicaId(11), term: term(6) } as const;
      const last = { lastIndex: logIndex(10), lastTerm: term(5), transfer: false };
      rig.send(2, 1, { ...vote, ...last }, { hint: { startKey: LONG_KEY, confVersion: 1 } });
      await rig.run(1_000);
      expect(rig.at(1).store.replica(RIG_RANGE)?.isInitialised).toBe(false);
      rig.at(1).disk.setExtraMs([1, 4]);
      rig
        .at(1)
        .store.createReplica(DESCRIPTOR)
        .catch(() => undefined);
      await rig.run(ms);
      rig.at(1).disk.setExtraMs(undefined);
      await rig.restart(1);
      seen.add(rig.at(1).store.replica(RIG_RANGE)?.isInitialised === true);
      // Whoever has the range brings it here in either case.
      await rig.scheduler.settle(rig.at(2).store.createReplica(DESCRIPTOR));
      await rig.run(5_000);
      expect([ms, ...rig.at(1).fatal.map(String)]).toEqual([ms]);
      expect(rig.at(1).store.replica(RIG_RANGE)?.isInitialised).toBe(true);
    }
    expect(seen).toEqual(new Set([false, true]));
  });
});
