import type { ReplicaId } from '@cairn/base';
import { describe, expect, test } from '@jest/globals';

import { TestCluster } from './testing/index.js';

const nobodyIsCut = (): boolean => false;

describe('a node as text', () => {
  function led(count: number): TestCluster {
    const cluster = TestCluster.of(count);
    cluster.get(1).node.campaign(cluster.nowMs);
    cluster.stabilize();
    return cluster;
  }

  test('is a line for itself, and one for each member that it leads', () => {
    const cluster = led(3);
    cluster.get(1).node.propose(new Uint8Array(1));
    cluster.stabilize();
    expect(String(cluster.get(1).node)).toBe(
      [
        '1 leader t1 vote=1 leader=1 log=1-2 durable=2 commit=2 handed=2 applied=2 v=1,2,3 o= l= ' +
          'now=1000 held=- election=1600',
        '  2: replicate match=2 next=3 told=1',
        '  3: replicate match=2 next=3 told=1',
      ].join('\n'),
    );
    expect(String(cluster.get(2).node)).toBe(
      '2 follower t1 vote=1 leader=1 log=1-2 durable=2 commit=1 handed=1 applied=1 v=1,2,3 o= l= ' +
        'now=1000 held=1500 election=1600',
    );
  });

  test('says what is unusual, and asking for it changes nothing', () => {
    const cluster = led(3);
    const { node } = cluster.get(1);
    cluster.advance(300, nobodyIsCut);
    expect(cluster.support(cluster.get(1), cluster.get(2))).toBe(true);
    node.holdCommitted(true);
    node.readIndex(1);
    node.transferLeader(2 as ReplicaId);
    const text = String(node);
    expect(text).toContain(' apply-held no-lease transfer-to=2 reads=1');
    expect(text).toContain('2: replicate match=1 next=2 told=0 supported');
    expect(String(cluster.get(2).node)).toContain(' supporting');
    expect(String(node)).toBe(text);
  });

  test('has a bounded number of members', () => {
    const lines = String(led(40).get(1).node).split('\n');
    expect(lines).toHaveLength(18);
    expect(lines[0]).toContain('v=1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,+24 ');
    expect(lines.at(-1)).toBe('  +23 members');
  });
});
