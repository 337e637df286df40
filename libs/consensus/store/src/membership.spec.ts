import { describe, expect, it } from '@jest/globals';
import {
  rangeId,
  replicaId,
  storeId,
  type RangeDescriptor,
  type ReplicaId,
  type ReplicaRole,
} from '@cairn/base';
import type { ConfigState } from '@cairn/raft';

import { planChange } from './change-plan.js';
import { decodeCheckpointState, encodeCheckpointState } from './checkpoint-state.js';
import { configStateOf, decodeNewMembers, descriptorAfterChange, encodeNewMembers } from './membership.js';

/** Replica ids are ten times their store's. */
function rangeOf(...members: [store: number, role: ReplicaRole][]): RangeDescriptor {
  return {
    rangeId: rangeId(1),
    startKey: Buffer.from('a'),
    endKey: Buffer.alloc(0),
    epoch: { version: 4, confVersion: 7 },
    replicas: members.map(([store, role]) => ({
      replicaId: replicaId(store * 10),
      storeId: storeId(store),
      role,
    })),
  };
}

function config(parts: Partial<Record<keyof ConfigState, number[]>>): ConfigState {
  const ids = (list: number[] = []): ReplicaId[] => list.map(replicaId);
  return {
    voters: ids(parts.voters),
    outgoing: ids(parts.outgoing),
    learners: ids(parts.learners),
    learnersNext: ids(parts.learnersNext),
  };
}

const THREE = rangeOf([1, 'voter'], [2, 'voter'], [3, 'voter']);

describe('descriptors follow the configuration', () => {
  it('into a joint one and out of it', () => {
    const before = rangeOf([1, 'voter'], [2, 'voter'], [3, 'voter'], [4, 'learner']);
    const joint = config({ voters: [10, 20, 40], outgoing: [10, 20, 30], learnersNext: [30] });
    const inside = descriptorAfterChange(before, joint, []);
    expect(inside.replicas.map(({ role }) => role)).toEqual(['voter', 'voter', 'outgoing', 'incoming']);
    expect(inside.epoch).toEqual({ version: 4, confVersion: 8 });
    const after = descriptorAfterChange(inside, config({ voters: [10, 20, 40], learners: [30] }), []);
    expect(after.replicas.map(({ role }) => role)).toEqual(['voter', 'voter', 'learner', 'voter']);
    expect(after.epoch.confVersion).toBe(9);
  });

  it('with the stores of new members from the context', () => {
    const added = [{ replicaId: replicaId(40), storeId: storeId(4) }];
    const decoded = decodeNewMembers(encodeNewMembers(added));
    const after = descriptorAfterChange(THREE, config({ voters: [10, 20, 30], learners: [40] }), decoded);
    expect(after.replicas.at(-1)).toEqual({ replicaId: 40, storeId: 4, role: 'learner' });
  });

  it('with a context of the bytes that are written down', () => {
    const added = [{ replicaId: replicaId(40), storeId: storeId(4) }];
    expect(encodeNewMembers(added).toString('hex')).toBe('01' + '01' + '2804');
    expect(decodeNewMembers(Buffer.from('01012804', 'hex'))).toEqual(added);
    const code = (name: string): unknown => expect.objectContaining({ code: name });
    expect(() => decodeNewMembers(Buffer.of(2))).toThrow(code('FORMAT_TOO_NEW'));
    expect(() => decodeNewMembers(Buffer.of(0))).toThrow(code('CORRUPTION'));
    expect(() => decodeNewMembers(Buffer.of(1, 1))).toThrow(code('CORRUPTION'));
  });

  it('and refuse a member whose store nobody named', () => {
    const unknown = config({ voters: [10, 20, 30], learners: [40] });
    expect(() => descriptorAfterChange(THREE, unknown, [])).toThrow('a member without a store');
  });
});

describe('a checkpoint', () => {
  it('keeps a joint configuration that the roles do not show', () => {
    const descriptor = rangeOf([1, 'voter'], [2, 'voter'], [4, 'learner'], [5, 'learner']);
    const joint = config({ voters: [10, 20], outgoing: [10, 20], learners: [40, 50] });
    expect(configStateOf(descriptor)).not.toEqual(joint);
    const state = {
      ...{ replicaId: replicaId(10), descriptor, config: joint },
      ...{ confVersionSeen: 0, installing: undefined },
    };
    expect(decodeCheckpointState(encodeCheckpointState(state))).toEqual(state);
  });

  it('keeps which members named a replica that has no state', () => {
    const state = {
      ...{ replicaId: replicaId(10), descriptor: undefined, config: config({}) },
      ...{ confVersionSeen: 12, installing: undefined },
    };
    expect(decodeCheckpointState(encodeCheckpointState(state))).toEqual(state);
  });
});

describe('the next step', () => {
  const swap = { addStoreId: storeId(4), removeStoreId: storeId(3) };
  const self = storeId(1);

  it('is a learner, then one joint change, then the removal, then none', () => {
    expect(planChange(THREE, swap, self)).toEqual({ type: 'add-learner', storeId: 4 });
    const learning = rangeOf([1, 'voter'], [2, 'voter'], [3, 'voter'], [4, 'learner']);
    expect(planChange(learning, swap, self)).toEqual({
      type: 'change-voters',
      operations: [
        { type: 'add-voter', replicaId: 40 },
        { type: 'add-learner', replicaId: 30 },
      ],
    });
    const joint = rangeOf([1, 'voter'], [2, 'voter'], [3, 'outgoing'], [4, 'incoming']);
    expect(planChange(joint, swap, self)).toEqual({ type: 'wait' });
    const exchanged = rangeOf([1, 'voter'], [2, 'voter'], [3, 'learner'], [4, 'voter']);
    expect(planChange(exchanged, swap, self)).toEqual({ type: 'remove-learner', replicaId: 30 });
    expect(planChange(rangeOf([1, 'voter'], [2, 'voter'], [4, 'voter']), swap, self)).toEqual({
      type: 'done',
    });
  });

  it('hands over when the leader is to go, once somebody else votes', () => {
    const remove = { addStoreId: undefined, removeStoreId: self };
    expect(planChange(THREE, remove, self)).toEqual({ type: 'transfer' });
    const alone = { addStoreId: storeId(4), removeStoreId: self };
    const pair = rangeOf([1, 'voter'], [4, 'learner']);
    expect(planChange(pair, alone, self)).toEqual({
      type: 'change-voters',
      operations: [{ type: 'add-voter', replicaId: 40 }],
    });
    expect(planChange(rangeOf([1, 'voter'], [4, 'voter']), alone, self)).toEqual({ type: 'transfer' });
    expect(planChange(rangeOf([1, 'voter']), remove, self).type).toBe('refuse');
  });
});
