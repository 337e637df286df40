/**
 * Goal: the cluster version rises when nobody is left who could not read what it brings, and never before.
 * Method: members, shard nodes and routers of two builds around one fake group, on virtual time.
 */
import { describe, expect, it } from '@jest/globals';
import { THIS_BUILD } from '@cairn/wire';

import { FakeShard } from '../test/fake-shard.js';
import { MetadataCluster } from '../test/metadata-cluster.js';
import type { MetadataClient } from './metadata-client.js';
import {
  buildToMessage,
  NodeKind,
  type BuildVersions,
  type GetStatusResponse,
  type HeartbeatRequest,
} from './wire-binding.js';

const OLD: BuildVersions = { ...THIS_BUILD, build: '0.0.9', clusterVersions: { min: 1, max: 1 } };
const NEW: BuildVersions = { ...THIS_BUILD, build: '0.1.0', clusterVersions: { min: 1, max: 2 } };
/** Of the one behind that: it has forgotten version 1. */
const LATER: BuildVersions = { ...THIS_BUILD, build: '0.2.0', clusterVersions: { min: 2, max: 3 } };

const ROUTER = {
  ...{ name: 'router-1', kind: NodeKind.ROUTER, incarnation: Buffer.alloc(16, 1) },
  ...{ address: '', publicAddress: 'router-1:7301', process: Buffer.alloc(0) },
};

/** Three members, three shard nodes and a router, all of which run the old build. */
class Rig {
  readonly cluster: MetadataCluster;
  readonly client: MetadataClient;
  readonly shards: [FakeShard, FakeShard, FakeShard];
  router: BuildVersions | undefined = OLD;
  #sequence = 0;

  private constructor(cluster: MetadataCluster) {
    this.cluster = cluster;
    this.client = cluster.client();
    const shardOf = (id: number): FakeShard => {
      const shard = new FakeShard(this.client, `shard-${id}`, id);
      shard.build = OLD;
      return shard;
    };
    this.shards = [shardOf(1), shardOf(2), shardOf(3)];
  }

  static async start(): Promise<Rig> {
    const rig = new Rig(await MetadataCluster.start(3, 3, OLD));
    await rig.cluster.raft.elect(0);
    for (const shard of rig.shards) await rig.until(shard.join());
    await rig.until(rig.client.join({ ...ROUTER, ...rest(OLD), replacesStoreId: 0 }));
    await rig.beat(8);
    return rig;
  }

  until<Value>(work: Promise<Value>): Promise<Value> {
    return this.cluster.clock.until(work);
  }

  /** So many seconds, in which everybody who is there speaks. */
  async beat(seconds: number, silent: readonly FakeShard[] = []): Promise<void> {
    for (let second = 0; second < seconds; second += 1) {
      for (const shard of this.shards) if (!silent.includes(shard)) await this.until(shard.heartbeat());
      if (this.router !== undefined) await this.until(this.client.heartbeat(this.routerBeat(this.router)));
      await this.cluster.clock.advance(1_000);
    }
  }

  routerBeat(build: BuildVersions): HeartbeatRequest {
    this.#sequence += 1;
    return {
      ...ROUTER,
      ...{ storeId: 0, full: false, ranges: [], removedRangeIds: [], replicas: 0, leaders: 0, dataBytes: 0 },
      ...{ diskFreeBytes: 0, readsPerSecond: 0, writesPerSecond: 0, startedUnixMs: 1, storesVersion: 0 },
      ...{ settingsVersion: 0, waitingReplicas: [], diskFull: false, diskLow: false, diskHangs: false },
      ...{ replicasCatchingUp: 0, sequence: this.#sequence, build: buildToMessage(build) },
      ...{ oldestTransaction: 0, oldestLock: 0, heardGcSafePoint: 0 },
    };
  }

  /** The process ends; the next one runs another build. */
  async restart(shard: FakeShard, build: BuildVersions): Promise<void> {
    shard.acceptedStart = shard.offeredStart;
    shard.offeredStart = Buffer.alloc(8, 100 + this.#sequence).toString('hex');
    shard.process = Buffer.alloc(8, 100 + this.#sequence);
    shard.build = build;
    shard.wantFull = true;
    await this.beat(4, [shard]);
    await this.until(shard.join());
  }

  /** Of members it is seen by their sessions. */
  upgradeMembers(...names: string[]): void {
    for (const name of names) this.cluster.builds.set(name, NEW);
  }

  status(): Promise<GetStatusResponse> {
    return this.until(this.client.status());
  }

  async waits(): Promise<string[]> {
    return (await this.status()).upgradeWaits;
  }

  async version(): Promise<number> {
    return (await this.status()).clusterVersion;
  }
}

function rest(build: BuildVersions): {
  clusterId: string;
  acceptedStart: string;
  offeredStarts: string[];
  build: ReturnType<typeof buildToMessage>;
} {
  return { clusterId: '', acceptedStart: '', offeredStarts: [], build: buildToMessage(build) };
}

/** Everybody but the last shard node runs the new build. */
async function nearlyUpgraded(): Promise<Rig> {
  const rig = await Rig.start();
  rig.upgradeMembers('meta-1', 'meta-2', 'meta-3');
  rig.router = NEW;
  await rig.restart(rig.shards[0], NEW);
  await rig.restart(rig.shards[1], NEW);
  return rig;
}

describe('the cluster version', () => {
  it('is what the build knows that made the cluster, and every node is told', async () => {
    const rig = await Rig.start();
    expect(await rig.status()).toMatchObject({
      clusterVersion: 1,
      newestClusterVersion: 1,
      upgradeWaits: [],
    });
    expect(rig.shards[0].last?.clusterVersion).toBe(1);
    const fresh = await MetadataCluster.start(1, 1, NEW);
    await fresh.raft.elect(0);
    const shard = new FakeShard(fresh.client(), 'shard-1', 1);
    expect(await fresh.clock.until(shard.join())).toMatchObject({ clusterVersion: 2 });
  });

  it('rises when the last node runs a build that knows more, and names whoever does not until then', async () => {
    const rig = await Rig.start();
    rig.upgradeMembers('meta-1', 'meta-2');
    await rig.beat(3);
    expect(await rig.status()).toMatchObject({
      clusterVersion: 1,
      newestClusterVersion: 2,
      upgradeWaits: ['still Cairn 0.0.9, which runs with 1: meta-3, shard-1, shard-2, shard-3, router-1'],
    });
    rig.upgradeMembers('meta-3');
    await rig.restart(rig.shards[0], NEW);
    await rig.restart(rig.shards[1], NEW);
    expect(await rig.waits()).toEqual(['still Cairn 0.0.9, which runs with 1: shard-3, router-1']);
    rig.router = NEW;
    await rig.beat(10);
    expect(await rig.waits()).toEqual(['still Cairn 0.0.9, which runs with 1: shard-3']);
    await rig.restart(rig.shards[2], NEW);
    await rig.beat(3);
    expect(await rig.status()).toMatchObject({
      clusterVersion: 2,
      newestClusterVersion: 2,
      upgradeWaits: [],
    });
    for (const shard of rig.shards) expect(shard.last?.clusterVersion).toBe(2);
    expect(
      rig.cluster.logged('info').filter(({ event }) => event === 'cluster version raised'),
    ).toMatchObject([{ fields: { from: 1, to: 2 } }]);
  });

  it('shows what each node runs', async () => {
    const rig = await nearlyUpgraded();
    const { nodes } = await rig.status();
    expect(nodes.map(({ name, build }) => [name, build?.release, build?.clusterVersionMax])).toEqual([
      ['meta-1', '0.1.0', 2],
      ['meta-2', '0.1.0', 2],
      ['meta-3', '0.1.0', 2],
      ['shard-1', '0.1.0', 2],
      ['shard-2', '0.1.0', 2],
      ['shard-3', '0.0.9', 1],
      ['router-1', '0.1.0', 2],
    ]);
  });

  it('lets a build go back as long as it has not risen', async () => {
    const rig = await nearlyUpgraded();
    await rig.restart(rig.shards[0], OLD);
    await rig.beat(5);
    expect(await rig.waits()).toEqual(['still Cairn 0.0.9, which runs with 1: shard-1, shard-3']);
    expect(await rig.version()).toBe(1);
  });

  it('waits for whoever is not heard, whatever build it ran, until its store is given up', async () => {
    const rig = await nearlyUpgraded();
    const [, gone, last] = rig.shards;
    await rig.restart(last, NEW);
    rig.cluster.away.set('meta-2', 10);
    await rig.beat(10, [gone]);
    expect(await rig.waits()).toEqual(['not heard from: meta-2, shard-2']);
    rig.cluster.away.clear();
    await rig.beat(3, [gone]);
    expect(await rig.waits()).toEqual(['not heard from: shard-2']);
    expect(await rig.version()).toBe(1);
    gone.incarnation = Buffer.alloc(16, 99);
    gone.clusterId = '';
    gone.acceptedStart = '';
    gone.replacesStoreId = gone.storeId;
    gone.process = Buffer.alloc(8, 99);
    gone.sequence = 0;
    gone.wantFull = true;
    await rig.until(gone.join());
    await rig.beat(3);
    expect(await rig.version()).toBe(2);
  });

  it('waits for a router that died until it is forgotten, and for no router that has stopped', async () => {
    const rig = await nearlyUpgraded();
    rig.router = undefined;
    await rig.restart(rig.shards[2], NEW);
    await rig.beat(10);
    expect(await rig.waits()).toEqual(['not heard from: router-1']);
    await rig.until(rig.client.leave({ name: 'router-1', incarnation: ROUTER.incarnation }));
    await rig.beat(2);
    expect(await rig.version()).toBe(2);
  });

  it('does not rise by the word of a leader that has heard nobody yet', async () => {
    const rig = await nearlyUpgraded();
    rig.router = undefined;
    rig.shards[2].build = NEW;
    await rig.cluster.raft.elect(1);
    await rig.cluster.clock.advance(3_000);
    expect((await rig.waits())[0]).toBe(
      'the metadata leader is new: routers may not have told it of themselves yet',
    );
    await rig.beat(10);
    // What counts is the build of the start that was accepted, not what a heartbeat says later.
    expect(await rig.waits()).toEqual(['still Cairn 0.0.9, which runs with 1: shard-3']);
  });

  it('is held by the setting, and rises once that is taken back', async () => {
    const rig = await nearlyUpgraded();
    const hold = (value: string): Promise<void> =>
      rig.until(rig.client.putSettings([{ name: 'cluster.version_hold', value }]));
    await hold('1');
    await rig.restart(rig.shards[2], NEW);
    await rig.beat(10);
    expect(await rig.status()).toMatchObject({
      clusterVersion: 1,
      upgradeWaits: ['held at 1 by the setting cluster.version_hold'],
    });
    await hold('');
    await rig.beat(2);
    expect(await rig.version()).toBe(2);
  });

  it('never falls, also when entries are applied again and when the leader changes', async () => {
    const rig = await nearlyUpgraded();
    await rig.restart(rig.shards[2], NEW);
    await rig.beat(3);
    await rig.until(rig.client.putSettings([{ name: 'cluster.version_hold', value: '1' }]));
    await rig.cluster.raft.elect(2);
    await rig.beat(10);
    expect(await rig.version()).toBe(2);
  });
});

describe('a node whose build does not fit the cluster version', () => {
  async function upgraded(): Promise<Rig> {
    const rig = await nearlyUpgraded();
    await rig.restart(rig.shards[2], NEW);
    await rig.beat(3);
    return rig;
  }
  const older =
    /is Cairn 0\.0\.9 and runs with cluster version 1, and the cluster is at version 2: start it with a later/;
  const newer =
    /is Cairn 0\.2\.0 and runs with cluster versions 2 to 3, and the cluster is at version 1: upgrade it by way/;

  it.each([
    ['is older is not taken in once it has risen', upgraded, OLD, older],
    ['has forgotten it is not taken in before it has risen', nearlyUpgraded, LATER, newer],
  ])('and %s', async (_title, start, build, sentence) => {
    const rig = await start();
    const refused = expect.objectContaining({
      code: 'FAILED_PRECONDITION',
      message: expect.stringMatching(sentence),
    });
    await expect(rig.restart(rig.shards[0], build)).rejects.toEqual(refused);
    const stranger = new FakeShard(rig.client, 'shard-9', 9);
    stranger.build = build;
    await expect(rig.until(stranger.join())).rejects.toEqual(refused);
    const router = { ...ROUTER, name: 'router-9', ...rest(build), replacesStoreId: 0 };
    await expect(rig.until(rig.client.join(router))).rejects.toEqual(refused);
    const beat = rig.until(rig.client.heartbeat(rig.routerBeat(build)));
    await expect(beat).rejects.toEqual(refused);
  });

  it.each([
    [undefined, 'says nothing of its release'],
    [{ ...buildToMessage(NEW), release: '' }, 'says that its release is ""'],
    [{ ...buildToMessage(NEW), release: 'x'.repeat(200) }, 'says that its release is "xxx'],
    [{ ...buildToMessage(NEW), release: '\u001b[2J' }, 'says that its release is "?[2J"'],
    [{ ...buildToMessage(NEW), clusterVersionMin: 3 }, 'knows the cluster versions 3 to 2'],
    [{ ...buildToMessage(NEW), protocolMin: 0 }, 'knows the protocols 0 to'],
  ])('is not heard either when it says %j', async (build, sentence) => {
    const rig = await Rig.start();
    const { client } = rig;
    const refused = { code: 'INVALID_ARGUMENT', message: expect.stringContaining(sentence) };
    const join = client.join({ ...ROUTER, ...rest(NEW), replacesStoreId: 0, build });
    await expect(rig.until(join)).rejects.toMatchObject(refused);
    await expect(rig.until(rig.shards[0].heartbeat({ build }))).rejects.toMatchObject(refused);
  });
});
