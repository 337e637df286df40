import { describe, expect, it } from '@jest/globals';

import { CLUSTER_VERSIONS, GATES, Gates, opensAt, versionMisfit } from './gates.js';

describe('gates', () => {
  it('open at the cluster versions that are written down, which never change', () => {
    expect(GATES.map((gate) => [gate, opensAt(gate)])).toEqual([
      ['storeNoop', 2],
      ['gcHolds', 3],
      ['transactions', 3],
      ['changeStreams', 3],
    ]);
    expect(CLUSTER_VERSIONS).toEqual({ min: 1, max: 3 });
  });

  it('are all open at the newest version that this build runs with, which brought at least one', () => {
    const newest = new Gates(CLUSTER_VERSIONS.max);
    for (const gate of GATES) expect([gate, newest.isOpen(gate)]).toEqual([gate, true]);
    expect(Math.max(...GATES.map(opensAt))).toBe(CLUSTER_VERSIONS.max);
  });

  it('are closed while no version was heard, and below their own', () => {
    expect(new Gates(0).isOpen('storeNoop')).toBe(false);
    expect(new Gates(opensAt('storeNoop') - 1).isOpen('storeNoop')).toBe(false);
    expect(new Gates(opensAt('storeNoop')).isOpen('storeNoop')).toBe(true);
  });

  it('never close, whatever is heard late', () => {
    const gates = new Gates(1);
    gates.raise(2);
    gates.raise(1);
    gates.raise(0);
    expect([gates.clusterVersion, gates.isOpen('storeNoop')]).toEqual([2, true]);
  });
});

describe('a build', () => {
  const node = { who: 'shard "shard-2"', build: '0.3.0', clusterVersions: { min: 3, max: 4 } };

  it.each([
    [0, undefined],
    [3, undefined],
    [4, undefined],
    [
      5,
      'shard "shard-2" is Cairn 0.3.0 and runs with cluster versions 3 to 4, and the cluster is at version 5: ' +
        'start it with a later release',
    ],
    [
      2,
      'shard "shard-2" is Cairn 0.3.0 and runs with cluster versions 3 to 4, and the cluster is at version 2: ' +
        'upgrade it by way of a release that runs with both',
    ],
  ])('in a cluster at version %i: %s', (clusterVersion, sentence) => {
    const misfit = versionMisfit(node, clusterVersion);
    expect(misfit?.message).toBe(sentence);
    if (misfit !== undefined) expect(misfit.code).toBe('FAILED_PRECONDITION');
  });

  it('that runs with one version says so', () => {
    const misfit = versionMisfit({ ...node, clusterVersions: { min: 1, max: 1 } }, 2);
    expect(misfit?.message).toContain('runs with cluster version 1, and the cluster is at version 2');
  });
});
