import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, expect, it } from '@jest/globals';
import { messageOf, storeId } from '@cairn/base';
import { loadConfig, metadataConfig, shardConfig } from '@cairn/config';
import type { KvEngine } from '@cairn/engine';
import { openClassicLevelEngine } from '@cairn/engine/classic-level';
import { InlineJobs, LsmEngine } from '@cairn/lsm';
import { openMember, type RunningMember } from '@cairn/metadata';
import { checkRow, rowSpansOf, VERSIONED_KEYS, WriteBatchBuilder, type VersionRow } from '@cairn/mvcc';
import { rowCounts, rowsInEveryNamespace, wholeCounts } from '@cairn/mvcc/testing';
import { noopLogger, noopMetrics, noopTracer } from '@cairn/ports';
import { NodeClock, NodeDisk, NodeRng, TcpTransport } from '@cairn/runtime-node';
import type { Replica } from '@cairn/store';
import { RpcPool, ShardRpc, THIS_BUILD } from '@cairn/wire';

import { openShardNode, type ShardNode } from '../src/index.js';

/*
 * Goal: a range is whole in every namespace whatever engine holds it. Method: nodes as their processes run
 * them, with real files and connections; a range gets rows in all four namespaces, is cut, moved to a node
 * that had none of it, taken away from another, and all nodes are stopped and started.
 * `tools/sim/test/namespaces.spec.ts` is the same with losses of power.
 */

const KEYS = ['a', 'd', 'k', 'key\0with zeros', 'm', 'p', 'z'];
const [BELOW, ABOVE] = [KEYS.filter((key) => key < 'm'), KEYS.filter((key) => key >= 'm')];
const NODES = [1, 2, 3, 4];
const LIMIT_MS = 30_000;

const ENGINES = {
  'classic-level': (path: string) =>
    openClassicLevelEngine({ path, logger: noopLogger, metrics: noopMetrics }),
  lsm: (path: string) =>
    LsmEngine.open({
      ...{ path, disk: new NodeDisk(), clock: new NodeClock(), logger: noopLogger, metrics: noopMetrics },
      ...{ rng: new NodeRng(), runner: new InlineJobs(new NodeDisk()), versioned: VERSIONED_KEYS },
    }),
} satisfies Record<string, (path: string) => Promise<KvEngine>>;

const closers: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

async function freeAddress(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return `127.0.0.1:${port}`;
}

async function eventually<Value>(
  what: string,
  look: () => Value | undefined | Promise<Value | undefined>,
): Promise<Value> {
  const untilMs = performance.now() + LIMIT_MS;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > untilMs) throw new Error(`not within ${LIMIT_MS} ms: ${what}`);
    await delay(20);
  }
}

interface RunningNode {
  readonly node: ShardNode;
  readonly engine: KvEngine;
}

class Rig {
  readonly #engine: keyof typeof ENGINES;
  readonly #fatal: Error[] = [];
  readonly #nodes = new Map<number, RunningNode>();
  readonly #addresses = new Map<number, string>();
  readonly #pool = new RpcPool({
    transport: new TcpTransport(),
    hello: () => ({
      ...THIS_BUILD,
      ...{ purpose: 'rpc', clusterId: '', kind: 'tool', name: 'test', storeId: storeId(0) },
    }),
    clock: new NodeClock(),
    logger: noopLogger,
  });
  #directory = '';
  #metadata = '';

  constructor(engine: keyof typeof ENGINES) {
    this.#engine = engine;
  }

  async open(): Promise<void> {
    const directory = await mkdtemp(join(tmpdir(), 'cairn-namespaces-'));
    closers.push(() => rm(directory, { recursive: true, force: true }));
    this.#directory = directory;
    this.#metadata = await freeAddress();
    for (const at of NODES) this.#addresses.set(at, await freeAddress());
    const member = await this.#openMetadata();
    closers.push(() => member.close());
    closers.push(() => {
      this.#pool.close();
      return Promise.resolve();
    });
    for (const at of NODES) await this.start(at);
    closers.push(async () => {
      for (const at of [...this.#nodes.keys()]) await this.stop(at);
    });
  }

  async #openMetadata(): Promise<RunningMember> {
    const path = `${this.#directory}/metadata`;
    const ports = {
      clock: new NodeClock(),
      rng: new NodeRng(),
      disk: new NodeDisk(),
      transport: new TcpTransport(),
    };
    await ports.disk.makeDirectory(path);
    const argv = [
      ...['--name', 'metadata', '--listen', this.#metadata, '--data-directory', path],
      ...['--peers', `metadata=${this.#metadata}`, '--expected-stores', String(NODES.length)],
    ];
    const { values: config } = loadConfig({ ...metadataConfig, argv, env: {} });
    return openMember(
      { ...ports, openEngine: () => ENGINES[this.#engine](`${path}/engine`) },
      {
        ...{ config, logger: noopLogger, metrics: noopMetrics },
        onFatal: (error) => this.#fatal.push(error),
      },
    );
  }

  async start(at: number): Promise<void> {
    const path = `${this.#directory}/shard-${at}`;
    const ports = {
      clock: new NodeClock(),
      rng: new NodeRng(),
      disk: new NodeDisk(),
      transport: new TcpTransport(),
    };
    await ports.disk.makeDirectory(path);
    const argv = [
      ...['--name', `shard-${at}`, '--listen', this.#addresses.get(at) ?? ''],
      ...['--data-directory', path, '--metadata-addresses', this.#metadata],
    ];
    const { values: config } = loadConfig({ ...shardConfig, argv, env: {} });
    let engine: KvEngine | undefined;
    const openEngine = async (): Promise<KvEngine> => {
      engine = await ENGINES[this.#engine](`${path}/engine`);
      return engine;
    };
    const node = await openShardNode(
      { ...ports, engineName: this.#engine, openEngine },
      {
        ...{ config, logger: noopLogger, metrics: noopMetrics, tracer: noopTracer, publicAddress: 'none:1' },
        storeConfig: { snapshotFreeBytesMin: 1 },
        onFatal: (error) => this.#fatal.push(error),
      },
    );
    if (engine === undefined) throw new Error('a node opens its engine');
    this.#nodes.set(at, { node, engine });
  }

  async stop(at: number): Promise<void> {
    await this.#nodes.get(at)?.node.stop();
    this.#nodes.delete(at);
  }

  get fatal(): readonly Error[] {
    return this.#fatal;
  }

  leaderOf(key: string): Promise<{ readonly replica: Replica; readonly at: number }> {
    return eventually(`somebody leads the range of ${key}`, () => {
      for (const [at, { node }] of this.#nodes) {
        for (const replica of node.store.replicas()) {
          const { startKey, endKey } = replica.descriptorOrUndefined ?? {};
          if (startKey === undefined || endKey === undefined) continue;
          const isBelowEnd = endKey.length === 0 || Buffer.compare(Buffer.from(key), endKey) < 0;
          const isInside = Buffer.compare(startKey, Buffer.from(key)) <= 0 && isBelowEnd;
          if (isInside && replica.isReadyLeader) return { replica, at };
        }
      }
      return undefined;
    });
  }

  async propose(command: Buffer): Promise<void> {
    const { replica } = await this.leaderOf('a');
    expect(replica.propose(command).type).toBe('accepted');
  }

  async cutAt(key: string): Promise<void> {
    const { replica, at } = await this.leaderOf(key);
    const { rangeId, epoch } = replica.descriptor;
    const request = { rangeId, version: epoch.version, keys: [Buffer.from(key)] };
    await this.#pool
      .client(this.#addresses.get(at) ?? '')
      .call(ShardRpc.splitRange, request, { timeoutMs: 10_000 });
  }

  /** The leader hears of a node that joined with its next heartbeat. */
  async move(key: string, addStoreId: number, removeStoreId: number): Promise<void> {
    await eventually('the leader knows the store', async () => {
      const { replica, at } = await this.leaderOf(key);
      const { rangeId, epoch } = replica.descriptor;
      const request = { rangeId, confVersion: epoch.confVersion, addStoreId, removeStoreId };
      const client = this.#pool.client(this.#addresses.get(at) ?? '');
      try {
        await client.call(ShardRpc.changeReplicas, request, { timeoutMs: 10_000 });
        return true;
      } catch (error) {
        if (messageOf(error).includes('it is not registered')) return undefined;
        throw error;
      }
    });
  }

  storeOf(at: number): number {
    return this.#nodes.get(at)?.node.storeId ?? 0;
  }

  nodeOf(store: number): number {
    return NODES.find((at) => this.storeOf(at) === store) as number;
  }

  async storesOf(key: string): Promise<number[]> {
    return (await this.leaderOf(key)).replica.descriptor.replicas.map((member) => member.storeId);
  }

  async countsOf(at: number, start: string, end: string): Promise<ReturnType<typeof rowCounts>> {
    const { engine } = this.#nodes.get(at) as RunningNode;
    const found: VersionRow[] = [];
    for (const span of rowSpansOf(Buffer.from(start), Buffer.from(end))) {
      const walk = engine.iterate(span);
      for (let rows = await walk.next(100); rows.length > 0; rows = await walk.next(100)) {
        for (const [key, record] of rows) checkRow(key, record);
        found.push(...rows);
      }
      await walk.close();
    }
    return rowCounts(found);
  }

  /** Waits until a node has just that of a span. */
  async holds(at: number, [start, end]: readonly [string, string], keys: readonly string[]): Promise<void> {
    const wanted = JSON.stringify(wholeCounts(keys));
    let last = '';
    await eventually(`shard-${at} holds ${keys.join()} in "${start}" to "${end}"`, async () => {
      last = JSON.stringify(await this.countsOf(at, start, end));
      return sorted(last) === sorted(wanted) ? true : undefined;
    }).catch((error: unknown) => {
      throw new Error(`${String(error)}: it has ${last}`);
    });
  }
}

/** The namespaces come one after the other, so the keys of each do. */
function sorted(json: string): string {
  const counts = JSON.parse(json) as Record<string, unknown>;
  return JSON.stringify(Object.entries(counts).sort(([one], [other]) => (one < other ? -1 : 1)));
}

it.each(Object.keys(ENGINES) as (keyof typeof ENGINES)[])(
  'a range with rows in every namespace is cut, moved, removed and restarted whole, with the engine %s',
  async (engine) => {
    const rig = new Rig(engine);
    await rig.open();
    const builder = new WriteBatchBuilder();
    for (const key of KEYS) for (const row of rowsInEveryNamespace(key)) builder.addPut(...row);
    await rig.propose(builder.finish());
    const members = (await rig.storesOf('a')).map((store) => rig.nodeOf(store));
    expect(members).toHaveLength(3);
    for (const at of members) await rig.holds(at, ['', ''], KEYS);

    await rig.cutAt('m');
    await eventually('the range is cut', async () => {
      const [below, above] = [await rig.leaderOf('a'), await rig.leaderOf('z')];
      return below.replica.rangeId === above.replica.rangeId ? undefined : true;
    });
    const spare = NODES.find((at) => !members.includes(at)) as number;
    const { at: leader } = await rig.leaderOf('z');
    const removed = members.find((at) => at !== leader) as number;
    await rig.move('z', rig.storeOf(spare), rig.storeOf(removed));
    await rig.holds(spare, ['', ''], ABOVE);
    await rig.holds(removed, ['', ''], BELOW);

    for (const at of NODES) await rig.stop(at);
    for (const at of NODES) await rig.start(at);
    await rig.leaderOf('a');
    await rig.leaderOf('z');
    await rig.holds(spare, ['', ''], ABOVE);
    await rig.holds(removed, ['', ''], BELOW);
    for (const at of members) if (at !== removed) await rig.holds(at, ['', ''], KEYS);
    expect(rig.fatal).toEqual([]);
  },
  120_000,
);
