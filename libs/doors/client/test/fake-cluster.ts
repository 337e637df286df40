import { CairnError, NO_BYTES, timestamp, TIMESTAMP_LOGICAL_STEPS, timestampToUnixMs } from '@cairn/base';
import {
  Metadata,
  type sendUnaryData,
  type ServerUnaryCall,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { encodeStatusDetails, STATUS_DETAILS_KEY } from '../src/errors.js';
import {
  NodeKind,
  NodeState,
  RangeState,
  type CompactEngineRequest,
  type DebugRequest,
  type Compaction,
  type Engine,
  type Hold,
  type ListHoldsResponse,
  type ListRangesResponse,
  type Node,
  type PutHoldRequest,
  type PutSettingRequest,
  type RangeInfo,
  type Setting,
  type StatusResponse,
} from '../src/wire-binding.js';

const GRPC_CODE_INVALID_ARGUMENT = 3;
const GRPC_CODE_INTERNAL = 13;

const SETTING_DEFAULTS: ReadonlyMap<string, string> = new Map([
  ['kv.key_bytes_max', '4096'],
  ['kv.value_bytes_max', '1048576'],
  ['cluster.version_hold', '0'],
]);

/** The cluster that fake routers report: three of each kind, one range that can be split, three settings. */
export class FakeCluster {
  readonly clusterId = 'fake-cluster';
  /** Milliseconds since 1970 at which every node started. */
  readonly startedUnixMs: number;
  /** First keys of the ranges after the first. */
  readonly splitKeys: Buffer[] = [];
  readonly settings = new Map(SETTING_DEFAULTS);
  /** Store, start and end of each compaction that was begun. */
  readonly compacted: [number, string, string][] = [];
  readonly #compactions = new Map<number, Compaction>();
  problems = ['shard nodes not heard from: shard-3', '1 range with fewer live voters than wanted'];
  unsettled: string[] = [];
  clusterVersion = 2;
  newestClusterVersion = 2;
  upgradeWaits: string[] = [];
  readonly holds = new Map<string, Hold>();
  /** Ten minutes after the epoch of timestamps, where nothing is issued for a while. */
  readonly timestamp = 600_000 * TIMESTAMP_LOGICAL_STEPS;
  safePoint = 300_000 * TIMESTAMP_LOGICAL_STEPS;
  gcPinnedBy = '';
  /** What a node says for debugging, beside its store and range. */
  debugMore = '';
  /** Of shard-3, which is not there. */
  absence = NodeState.GONE;

  constructor(startedUnixMs = 1_767_225_600_000) {
    this.startedUnixMs = startedUnixMs;
  }

  handlers(): UntypedServiceImplementation {
    return {
      status: answer(() => this.#status()),
      listNodes: answer(() => ({ nodes: this.#nodes() })),
      listRanges: answer((request: { start: Buffer; limit: number }) => this.#listRanges(request)),
      splitRanges: answer((request: { keys: Buffer[] }) => ({ created: this.#split(request.keys) })),
      listEngines: answer((request: { storeId: number }) => ({ engines: this.#engines(request.storeId) })),
      compactEngine: answer((request: CompactEngineRequest) => this.#compact(request)),
      debug: answer((request: DebugRequest) => ({
        text: `store ${request.storeId} range ${request.rangeId}${this.debugMore}`,
      })),
      listSettings: answer(() => ({ settings: this.#settings() })),
      putSetting: answer((request: PutSettingRequest) => this.#putSetting(request)),
      listHolds: answer(() => this.#listHolds()),
      putHold: answer((request: PutHoldRequest) => ({ hold: this.#putHold(request) })),
      deleteHold: answer(({ name }: { name: string }) => ({ deleted: this.holds.delete(name) })),
    };
  }

  #status(): StatusResponse {
    return {
      clusterId: this.clusterId,
      serverVersion: '0.1.0-fake',
      nodes: this.#nodes(),
      ranges: this.splitKeys.length + 1,
      rangesWithoutLeader: 0,
      rangesUnderReplicated: 1,
      readsPerSecond: 1234.5,
      writesPerSecond: 678,
      timestamp: this.timestamp,
      givenUpStoreIds: [],
      problems: this.problems,
      unsettled: this.unsettled,
      clusterVersion: this.clusterVersion,
      newestClusterVersion: this.newestClusterVersion,
      upgradeWaits: this.upgradeWaits,
      gcSafePoint: this.safePoint,
      gcPinnedBy: this.gcPinnedBy,
    };
  }

  #nodes(): Node[] {
    const nodes: Node[] = [];
    for (let index = 1; index <= 3; index += 1) {
      nodes.push({
        ...this.#node(`metadata-${index}`, NodeKind.METADATA, 7110 + index),
        leader: index === 2,
      });
    }
    for (let index = 1; index <= 3; index += 1) {
      const shard = this.#node(`shard-${index}`, NodeKind.SHARD, 7120 + index);
      const numbers = { storeId: index, replicas: this.splitKeys.length + 1, leaders: index === 1 ? 1 : 0 };
      const disk = { dataBytes: 1024 * 1024 * index, diskFreeBytes: 50 * 1024 ** 3 };
      nodes.push({ ...shard, ...numbers, ...disk, ...(index === 3 ? this.#absent() : {}) });
    }
    nodes.push(this.#node('router-1', NodeKind.ROUTER, 7100));
    return nodes;
  }

  /** Of three nodes, the last of which does not answer. */
  #engines(storeId: number): Engine[] {
    const engines = [1, 2].map((id): Engine => ({
      ...{ storeId: id, name: `shard-${id}`, problem: '', engine: id === 1 ? 'lsm' : 'classic-level' },
      ...{ diskBytes: 3 * 1024 * 1024 * id, memoryBytes: 1024 * 1024 },
      levels: [
        { level: 0, runs: 3, tables: 3, bytes: 1024 * 1024 },
        { level: 1, runs: 1, tables: 2, bytes: 2 * 1024 * 1024 },
      ],
      ...(id === 1 ? { memtableBytes: 4096, cacheHits: 900, cacheMisses: 100, pendingMergeBytes: 0 } : {}),
      compaction: this.#compactions.get(id),
    }));
    const silent: Engine = {
      ...{ storeId: 3, name: 'shard-3', problem: 'the node is not heard from', engine: '' },
      ...{ diskBytes: 0, levels: [], compaction: undefined },
    };
    return [...engines, silent].filter((engine) => storeId === 0 || engine.storeId === storeId);
  }

  /** What runs on the store ends, in vain when there is a problem. */
  endCompaction(storeId: number, problem: string): void {
    const begun = this.#compactions.get(storeId);
    if (begun !== undefined) this.#compactions.set(storeId, { ...begun, running: false, problem });
  }

  #compact({ storeId, start, end }: CompactEngineRequest): object {
    if (this.#compactions.get(storeId)?.running === true) {
      throw new CairnError('FAILED_PRECONDITION', 'a compaction runs on this node already');
    }
    this.compacted.push([storeId, start.toString(), end.toString()]);
    this.#compactions.set(storeId, {
      running: true,
      startedUnixMs: this.startedUnixMs,
      durationMs: 2_500,
      problem: '',
    });
    return {};
  }

  #absent(): Partial<Node> {
    return { live: this.absence === NodeState.NOT_HEARD_YET, state: this.absence, lastSeenMs: 12_345 };
  }

  #node(name: string, kind: NodeKind, port: number): Node {
    return {
      name,
      kind,
      address: `127.0.0.1:${port}`,
      storeId: 0,
      live: true,
      state: NodeState.LIVE,
      leader: false,
      replicas: 0,
      leaders: 0,
      dataBytes: 0,
      diskFreeBytes: 0,
      readsPerSecond: 0,
      writesPerSecond: 0,
      startedUnixMs: this.startedUnixMs,
      lastSeenMs: 40,
      release: '0.1.0',
      clusterVersionMin: 1,
      clusterVersionMax: 2,
    };
  }

  #ranges(): RangeInfo[] {
    const starts = [NO_BYTES, ...this.splitKeys];
    return starts.map((start, index) => ({
      rangeId: index + 1,
      start,
      end: starts[index + 1] ?? NO_BYTES,
      version: starts.length,
      confVersion: 1,
      replicas: [1, 2, 3].map((storeId) => ({ replicaId: index * 3 + storeId, storeId, role: 'voter' })),
      leaderStoreId: 1,
      bytes: 64 * 1024 * 1024,
      readsPerSecond: 10,
      writesPerSecond: 5.25,
      state: RangeState.LED,
    }));
  }

  #listRanges(request: { start: Buffer; limit: number }): ListRangesResponse {
    const { start, limit } = request;
    const all = this.#ranges().filter(({ end }) => end.length === 0 || Buffer.compare(end, start) > 0);
    const ranges = all.slice(0, limit === 0 ? 1000 : limit);
    return { ranges, nextStart: ranges.length < all.length ? (ranges.at(-1)?.end ?? NO_BYTES) : NO_BYTES };
  }

  #split(keys: readonly Buffer[]): number {
    let created = 0;
    for (const key of keys) {
      if (key.length === 0) throw invalid('keys', 'keys must not be empty');
      if (this.splitKeys.some((known) => known.equals(key))) continue;
      this.splitKeys.push(key);
      created += 1;
    }
    this.splitKeys.sort((left, right) => Buffer.compare(left, right));
    return created;
  }

  #settings(): Setting[] {
    return [...this.settings].map(([name, value]) => ({
      name,
      value,
      description: `Limit ${name}.`,
      isDefault: value === SETTING_DEFAULTS.get(name),
    }));
  }

  #putSetting({ name: first, value: its, more }: PutSettingRequest): Record<string, never> {
    const changes = [{ name: first, value: its }, ...more];
    for (const { name } of changes) {
      if (!this.settings.has(name)) throw invalid('name', `there is no setting ${name}`);
    }
    for (const { name, value } of changes) {
      this.settings.set(name, value === '' ? (SETTING_DEFAULTS.get(name) ?? '') : value);
    }
    return {};
  }

  #listHolds(): ListHoldsResponse {
    const { safePoint, timestamp: newest, gcPinnedBy: pinnedBy } = this;
    return { holds: [...this.holds.values()], safePoint, timestamp: newest, pinnedBy };
  }

  #putHold({ name, timestamp: at, ttlMs, reason }: PutHoldRequest): Hold {
    if (at > this.timestamp) throw invalid('timestamp', `the timestamp ${at} was not issued yet`);
    const expiresUnixMs = timestampToUnixMs(timestamp(this.timestamp)) + ttlMs;
    const hold = { name, timestamp: at === 0 ? this.timestamp : at, expiresUnixMs, reason, capped: false };
    this.holds.set(name, hold);
    return hold;
  }
}

/** Answers a unary call the way routers do: errors with their typed detail. */
function answer<Request, Response>(
  handle: (request: Request) => Response,
): (call: ServerUnaryCall<Request, Response>, done: sendUnaryData<Response>) => void {
  return (call, done) => {
    try {
      done(null, handle(call.request));
    } catch (error) {
      if (!CairnError.is(error)) throw error;
      const code = error.code === 'INVALID_ARGUMENT' ? GRPC_CODE_INVALID_ARGUMENT : GRPC_CODE_INTERNAL;
      const metadata = new Metadata();
      metadata.set(STATUS_DETAILS_KEY, encodeStatusDetails(code, error));
      done({ code, details: error.message, metadata });
    }
  };
}

function invalid(field: string, message: string): CairnError {
  return new CairnError('INVALID_ARGUMENT', message, { details: { field } });
}
