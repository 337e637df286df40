import { assert, storeId, timestamp, type RangeDescriptor } from '@cairn/base';
import { MetadataClient, metadataConnector } from '@cairn/metadata';
import { noopMetrics, sleep, type Clock, type Logger, type Rng, type Transport } from '@cairn/ports';
import {
  KvOp,
  PROTOCOL_VERSION,
  ReadConsistency,
  ShardRpc,
  type KvError,
  type KvRequest,
  type KvResponse,
} from '@cairn/wire';

import { Routes } from './routes.js';
import { callOnce, StoreLink, type Exchange } from './store-link.js';

export interface KvClientOptions {
  readonly name: string;
  /** 1 .. 2^48 - 1, unique in the run. */
  readonly clientId: number;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly transport: Transport;
  readonly logger: Logger;
  /** Shard nodes by store id. */
  storeAddresses(): ReadonlyMap<number, string>;
  readonly metadataAddresses: readonly string[];
}

/** `failed`: it surely did not happen. `unknown`: it may have happened, or may still. */
export type Outcome =
  /** `endKey`: where the range that answered ends, as the client knew it when it asked. */
  | { readonly type: 'ok'; readonly response: KvResponse; readonly endKey: Uint8Array }
  | { readonly type: 'failed'; readonly reason: string }
  | { readonly type: 'unknown'; readonly reason: string };

/** What is known of an operation while it is tried. */
interface Trying {
  /** A sending of it may have had an effect. */
  mayHaveHappened: boolean;
  storeId: number;
  endKey: Uint8Array;
}

/**
 * A small client that speaks the frames of routers straight to shard nodes, by the same rules for sending
 * again.
 */
export class KvClient {
  readonly #options: KvClientOptions;
  readonly #metadata: MetadataClient;
  readonly #links = new Map<string, StoreLink>();
  readonly routes = new Routes();
  #requests = 0;
  #stamp = 0;
  #turn = 0;

  constructor(options: KvClientOptions) {
    this.#options = options;
    const { clock, rng, transport, logger, name } = options;
    this.#metadata = new MetadataClient({
      addresses: options.metadataAddresses,
      connect: metadataConnector({
        transport,
        hello: () => ({
          protocolVersion: PROTOCOL_VERSION,
          purpose: 'rpc',
          clusterId: '',
          kind: 'tool',
          name,
          storeId: storeId(0),
        }),
        clock,
        logger,
      }),
      clock,
      rng,
      logger,
      metrics: noopMetrics,
    });
    this.#turn = rng.integer(8);
  }

  /** A fresh timestamp of the oracle, for snapshot reads. */
  async freshTimestamp(): Promise<number> {
    const fresh = await this.#metadata.timestamp();
    this.#see(fresh);
    return fresh;
  }

  /** Changes a setting of the cluster. */
  putSetting(name: string, value: string): Promise<void> {
    return this.#metadata.putSetting(name, value);
  }

  #see(seen: number): void {
    if (seen > this.#stamp) this.#stamp = seen;
  }

  /** Carries one operation out, sending it again as often as the rules allow until `timeoutMs` are over. */
  async perform(request: KvRequest, timeoutMs: number): Promise<Outcome> {
    const { clock, clientId } = this.#options;
    const deadlineMs = clock.nowMs() + timeoutMs;
    if (this.#stamp === 0) {
      try {
        await this.freshTimestamp();
      } catch {
        return { type: 'failed', reason: 'no timestamp' };
      }
    }
    this.#requests += 1;
    const identity = { client: clientId, sequence: this.#requests, stamp: timestamp(this.#stamp) };
    const trying: Trying = { mayHaveHappened: false, storeId: 0, endKey: request.endKey };
    let wasSent = false;
    for (;;) {
      const leftMs = deadlineMs - clock.nowMs();
      if (leftMs <= 0) return this.#over(trying, 'no answer in time');
      const link = this.#choose(request, trying);
      if (link === undefined) {
        await sleep(clock, 20);
        continue;
      }
      if (isWrite(request)) request.requestId = { ...identity, isRetry: wasSent };
      wasSent = true;
      const exchange = await link.exchange(request, Math.ceil(leftMs));
      const outcome = this.#judge(request, exchange, trying);
      if (outcome !== undefined) return outcome;
      await sleep(clock, this.#options.rng.next() * 20 + 1);
    }
  }

  #over(trying: Trying, reason: string): Outcome {
    return trying.mayHaveHappened ? { type: 'unknown', reason } : { type: 'failed', reason };
  }

  /** Sets the range of the request and answers the way to the store to ask. */
  #choose(request: KvRequest, trying: Trying): StoreLink | undefined {
    const route = this.routes.at(request.key);
    request.rangeId = route?.rangeId ?? (0 as RangeDescriptor['rangeId']);
    request.epochVersion = route?.epoch.version ?? 0;
    const addresses = this.#options.storeAddresses();
    const isStale = request.consistency === ReadConsistency.stale && !isWrite(request);
    const leader = route === undefined || isStale ? undefined : this.routes.leaderOf(route.rangeId);
    const target =
      leader !== undefined && addresses.has(leader) ? leader : this.#another([...addresses.keys()]);
    if (target === undefined) return undefined;
    trying.storeId = target;
    trying.endKey = route?.endKey ?? request.endKey;
    return this.#link(addresses.get(target) as string);
  }

  /** Any store, another one each time; undefined when none is known. */
  #another(stores: readonly number[]): number | undefined {
    this.#turn += 1;
    return stores[this.#turn % Math.max(1, stores.length)];
  }

  #link(address: string): StoreLink {
    let link = this.#links.get(address);
    if (link === undefined) {
      link = new StoreLink({
        name: this.#options.name,
        address,
        ports: this.#options,
        seen: (seen) => {
          this.#see(seen);
        },
      });
      this.#links.set(address, link);
    }
    return link;
  }

  /** undefined: try again. */
  #judge(request: KvRequest, exchange: Exchange, trying: Trying): Outcome | undefined {
    switch (exchange.type) {
      case 'timeout':
        trying.mayHaveHappened = true;
        this.routes.forgetLeader(request.rangeId);
        return this.#over(trying, 'no answer in time');
      case 'lost':
        trying.mayHaveHappened = true;
        this.routes.forgetLeader(request.rangeId);
        return undefined;
      case 'answer': {
        const { error } = exchange.response;
        if (error !== undefined) return this.#judgeError(request, error, trying);
        this.routes.setLeader(request.rangeId, trying.storeId);
        return { type: 'ok', response: exchange.response, endKey: trying.endKey };
      }
    }
  }

  #judgeError(request: KvRequest, error: KvError, trying: Trying): Outcome | undefined {
    switch (error.code) {
      case 'NOT_LEADER':
        // What a leader had proposed before it lost its office may still be committed by the next.
        trying.mayHaveHappened = true;
        if (error.leaderStoreId === 0) this.routes.forgetLeader(request.rangeId);
        else this.routes.setLeader(request.rangeId, error.leaderStoreId);
        return undefined;
      case 'EPOCH_MISMATCH':
      case 'RANGE_NOT_FOUND':
        if (error.descriptors.length === 0) {
          this.routes.forgetLeader(request.rangeId);
          if (this.#options.rng.next() < 0.2) this.routes.forget(request.rangeId);
        }
        this.routes.learn(error.descriptors);
        return undefined;
      case 'RESOURCE_EXHAUSTED':
      case 'UNAVAILABLE':
        return undefined;
      case 'OUTCOME_UNKNOWN':
        return { type: 'unknown', reason: error.message };
      case 'DEADLINE_EXCEEDED':
      case 'CANCELLED':
        return this.#over({ ...trying, mayHaveHappened: true }, error.message);
      default:
        return this.#over(trying, `${error.code}: ${error.message}`);
    }
  }

  /** Asks whoever leads the range of the key to cut it there. Rejects when it does not. */
  async split(key: Uint8Array): Promise<void> {
    const route = this.routes.at(key);
    assert(route !== undefined, 'no route to the key yet');
    const address = this.#options.storeAddresses().get(this.routes.leaderOf(route.rangeId) ?? 0);
    assert(address !== undefined, 'the leader is not known');
    await callOnce({ name: this.#options.name, address, ports: this.#options }, (client) =>
      client.call(
        ShardRpc.splitRange,
        { rangeId: route.rangeId, version: route.epoch.version, keys: [Buffer.from(key)] },
        { timeoutMs: 3_000 },
      ),
    );
  }

  /** Asks whoever leads the range of the key to hand over to another store. */
  async transfer(key: Uint8Array, toStoreId: number): Promise<void> {
    const route = this.routes.at(key);
    assert(route !== undefined, 'no route to the key yet');
    const address = this.#options.storeAddresses().get(this.routes.leaderOf(route.rangeId) ?? 0);
    assert(address !== undefined, 'the leader is not known');
    await callOnce({ name: this.#options.name, address, ports: this.#options }, (client) =>
      client.call(ShardRpc.transferLeader, { rangeId: route.rangeId, toStoreId }, { timeoutMs: 3_000 }),
    );
  }
}

function isWrite(request: KvRequest): boolean {
  return request.op !== KvOp.get && request.op !== KvOp.scan;
}
