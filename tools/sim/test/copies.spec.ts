import { describe, expect, it } from '@jest/globals';
import { storeId } from '@cairn/base';
import { MetadataClient, metadataConnector } from '@cairn/metadata';
import { noopLogger, noopMetrics } from '@cairn/ports';
import { SimRng, type SimProcess } from '@cairn/runtime-sim';
import type { StartTokens } from '@cairn/store';
import { buildToMessage, openSession, THIS_BUILD, type Hello } from '@cairn/wire';

import { SimCluster } from '../src/cluster.js';
import type { SimMetadataNode } from '../src/metadata-node.js';
import type { SimShardNode } from '../src/shard-node.js';
import type { SimNode } from '../src/sim-node.js';

interface Directory {
  readonly clusterId: string;
  readonly incarnation: string;
  readonly starts: readonly StartTokens[];
}

/** What a copy of the directory of a node that runs says. */
function copyOf(node: SimNode): Directory {
  return JSON.parse(Buffer.from(node.disk.peek('/data/node.json') ?? []).toString()) as Directory;
}

const violations = (cluster: SimCluster): string[] =>
  cluster.observer.violations.map(({ message }) => message);

/** A new start of the copied directory of shard-3, with an offer of its own. */
class ShardCopy {
  readonly refusals = new Set<string>();
  storeId = 0;
  readonly #process: SimProcess;
  readonly #client: MetadataClient;
  readonly #directory: Directory;

  constructor(cluster: SimCluster, directory: Directory) {
    this.#directory = directory;
    const { scheduler, network } = cluster;
    const process = scheduler.startProcess('copy');
    this.#process = process;
    const hello: Hello = {
      ...THIS_BUILD,
      ...{ purpose: 'rpc', kind: 'shard', name: 'shard-3' },
      ...{ clusterId: directory.clusterId, storeId: storeId(3) },
    };
    const { clock } = process;
    const transport = network.attach(process);
    this.#client = new MetadataClient({
      connect: metadataConnector({ transport, clock, logger: noopLogger, hello: () => hello }),
      addresses: cluster.metadataAddresses,
      ...{ clock, rng: new SimRng(5), logger: noopLogger, metrics: noopMetrics },
    });
  }

  /** Starts it again and again, as a supervisor does. */
  async keepTrying(): Promise<void> {
    const { incarnation, clusterId, starts } = this.#directory;
    for (let start = 1; ; start += 1) {
      try {
        const joined = await this.#client.join(
          {
            ...{ name: 'shard-3', kind: 1, clusterId, replacesStoreId: 0 },
            ...{ address: 'copy:7100', publicAddress: 'copy:9100' },
            incarnation: Buffer.from(incarnation, 'hex'),
            acceptedStart: starts[0]?.accepted ?? '',
            offeredStarts: [start.toString(16).padStart(16, '0')],
            process: Buffer.alloc(8, start),
            build: buildToMessage(THIS_BUILD),
          },
          { timeoutMs: 3_000 },
        );
        this.storeId = joined.storeId;
        return;
      } catch (error) {
        this.refusals.add((error as Error).message);
      }
      await new Promise<void>((resolve) => this.#process.clock.setTimer(100, resolve));
    }
  }
}

describe('a copy of the directory of a shard node that runs', () => {
  it('is not taken in, also while metadata changes its leader', async () => {
    for (let run = 0; run < 4; run += 1) {
      const cluster = new SimCluster({ seed: `copy ${run}`, engine: 'lsm' });
      await cluster.boot();
      const { scheduler } = cluster;
      await scheduler.runFor(3_000);
      const [, , third] = cluster.shards;
      const copy = new ShardCopy(cluster, copyOf(third as SimNode));
      void copy.keepTrying();
      await scheduler.runFor(2_000);
      for (let change = 0; change < 3; change += 1) {
        const leader = cluster.metadata.find((member) => member.isServing) as SimNode;
        leader.die(change === 1 ? 'power' : 'process');
        await scheduler.runFor(4_000);
        leader.start();
        await scheduler.runFor(4_000);
      }
      expect([copy.storeId, violations(cluster)]).toEqual([0, []]);
      expect([...copy.refusals].join()).toMatch(/shard-3 runs already, as another process/);
    }
  }, 60_000);

  it('is not taken in while the node takes long to open its store', async () => {
    const cluster = new SimCluster({ seed: 'long opening', engine: 'lsm' });
    await cluster.boot();
    const { scheduler } = cluster;
    const [, , third] = cluster.shards as [SimShardNode, SimShardNode, SimShardNode];
    third.die('process');
    third.openAfterMs = 20_000;
    third.start();
    await scheduler.runFor(6_000);
    const copy = new ShardCopy(cluster, copyOf(third));
    void copy.keepTrying();
    await scheduler.runUntilTrue(() => third.store !== undefined, 20_000);
    await scheduler.runFor(3_000);
    expect([copy.storeId, violations(cluster)]).toEqual([0, []]);
  });

  it('and a node that was really started again is, a few seconds after the change', async () => {
    const cluster = new SimCluster({ seed: 'really', engine: 'lsm' });
    await cluster.boot();
    const { scheduler } = cluster;
    const third = cluster.shards[2] as (typeof cluster.shards)[number];
    const leader = cluster.metadata.find((member) => member.isServing) as SimNode;
    leader.die('process');
    third.die('process');
    third.start();
    await scheduler.runUntilTrue(() => third.store !== undefined, 8_000);
    leader.start();
    await scheduler.runFor(3_000);
    // Where metadata has not changed, it waits for no more than a heartbeat that might come.
    third.die('process');
    third.start();
    await scheduler.runUntilTrue(() => third.store !== undefined, 4_000);
    expect(violations(cluster)).toEqual([]);
  });
});

describe('a copy of the directory of a metadata member that runs', () => {
  it('is not taken in, also by a member that was just started', async () => {
    const cluster = new SimCluster({ seed: 'member copy' });
    await cluster.boot();
    const { scheduler, network } = cluster;
    const [first, second, third] = cluster.metadata as [SimMetadataNode, SimMetadataNode, SimMetadataNode];
    await scheduler.runFor(2_000);
    const { incarnation, starts } = copyOf(first);
    const process = scheduler.startProcess('copy');
    const { clock } = process;
    const refusals = new Set<string>();
    const accepted: string[] = [];
    // A new start of it: an offer of its own for each of the others.
    const helloTo = (to: string): Hello => ({
      ...THIS_BUILD,
      ...{ purpose: 'raft', clusterId: '', kind: 'metadata' },
      ...{ name: 'meta-1', storeId: storeId(1) },
      life: {
        ...{ group: 'meta-1=1,meta-2=2,meta-3=3', incarnation, process: '00000000000000bb' },
        start: {
          accepted: starts.find(({ acceptor }) => acceptor === to)?.accepted ?? '',
          offered: ['00000000000000aa'],
        },
        unixMs: clock.unixMs(),
      },
    });
    // It tries so often that it is there before whom it was copied from.
    const dial = (name: string): void => {
      openSession({
        ...{ transport: network.attach(process), address: `${name}:7000`, hello: helloTo(name) },
        ...{ clock, logger: noopLogger },
        handlers: {
          onReady: () => accepted.push(name),
          onFrame: () => undefined,
          onClose: (error) => {
            refusals.add(String(error?.message));
            clock.setTimer(10, () => {
              dial(name);
            });
          },
        },
      });
    };
    for (const { name } of [second, third]) dial(name);
    await scheduler.runFor(2_000);
    for (const restarted of [second, third, second, third]) {
      restarted.die('process');
      restarted.start();
      await scheduler.runFor(5_000);
    }
    expect([accepted, violations(cluster)]).toEqual([[], []]);
    expect([...refusals].join()).toMatch(/meta-1 runs already, as another process/);
  });

  it('ends nothing when each of the others was misled by it once, and not at the same time', async () => {
    const cluster = new SimCluster({ seed: 'misled' });
    await cluster.boot();
    const { scheduler, network } = cluster;
    const [first, second, third] = cluster.metadata as [SimMetadataNode, SimMetadataNode, SimMetadataNode];
    const process = scheduler.startProcess('copy');
    const { clock } = process;
    for (const { name } of [second, third]) {
      const heal = network.partition(['meta-1'], [name]);
      await scheduler.runFor(10_000);
      const { incarnation, starts } = copyOf(first);
      const accepted = starts.find(({ acceptor }) => acceptor === name)?.accepted ?? '';
      const session = openSession({
        ...{ transport: network.attach(process), address: `${name}:7000`, clock, logger: noopLogger },
        hello: {
          ...THIS_BUILD,
          ...{ purpose: 'raft', clusterId: '', kind: 'metadata' },
          ...{ name: 'meta-1', storeId: storeId(1) },
          life: {
            ...{ group: 'meta-1=1,meta-2=2,meta-3=3', incarnation, process: '00000000000000bb' },
            ...{ start: { accepted, offered: [] }, unixMs: clock.unixMs() },
          },
        },
        handlers: { onFrame: () => undefined, onClose: () => undefined },
      });
      await scheduler.runFor(1_000);
      expect(session.isReady).toBe(true);
      heal();
      await scheduler.runFor(40_000);
      session.close();
      await scheduler.runFor(5_000);
    }
    expect(violations(cluster)).toEqual([]);
    expect(first.isAlive).toBe(true);
  });

  it('and all of them are taken at once when all were really started again', async () => {
    const cluster = new SimCluster({ seed: 'all members' });
    await cluster.boot();
    const { scheduler } = cluster;
    for (const node of cluster.metadata) node.die('power');
    for (const node of cluster.metadata) node.start();
    await scheduler.runUntilTrue(() => cluster.metadata.some((node) => node.isServing), 5_000);
    expect(violations(cluster)).toEqual([]);
  });
});
