import { MetadataClient, metadataConnector } from '@cairn/metadata';
import { noopMetrics, noopTracer } from '@cairn/ports';
import { DEFAULT_KV_LIMITS, ShardNode, type KvLimits } from '@cairn/shard-node';
import type { Replica, Store, StoreConfig } from '@cairn/store';

import { SimNode, type NodePorts, type SimWorld } from './sim-node.js';

/** With less room than this left, nodes refuse writes; matters only while the nemesis fills disks. */
const DISK_RESERVE_BYTES = 16 * 1024;

export interface SimShardOptions {
  readonly metadataAddresses: readonly string[];
  readonly storeConfig: StoreConfig;
  readonly logSegmentBytes: number;
  readonly rowCacheBytes: number;
  readonly kvLimits?: Partial<KvLimits>;
}

/** A shard node as the process runs it, on simulated ports. */
export class SimShardNode extends SimNode {
  readonly #options: SimShardOptions;
  #node: ShardNode | undefined;

  constructor(name: string, world: SimWorld, options: SimShardOptions) {
    super(name, world);
    this.#options = options;
  }

  get address(): string {
    return `${this.name}:7100`;
  }

  /** undefined until it is open. */
  get store(): Store | undefined {
    return this.#node?.store;
  }

  get storeId(): number {
    return this.#node?.storeId ?? 0;
  }

  replicas(): Iterable<Replica> {
    return this.store?.replicas() ?? [];
  }

  protected async open(ports: NodePorts): Promise<void> {
    const { clock, logger, rng, transport } = ports;
    this.#node = await ShardNode.start({
      name: this.name,
      directory: '/data',
      listen: this.address,
      publicAddress: `${this.name}:9100`,
      disk: ports.disk,
      clock,
      rng,
      transport,
      logger,
      metrics: noopMetrics,
      tracer: noopTracer,
      storeConfig: this.#options.storeConfig,
      kvLimits: { ...DEFAULT_KV_LIMITS, ...this.#options.kvLimits },
      rowCacheBytes: this.#options.rowCacheBytes,
      diskReserveBytes: DISK_RESERVE_BYTES,
      logSegmentBytes: this.#options.logSegmentBytes,
      openEngine: () => Promise.resolve(ports.engine),
      metadata: (hello) =>
        new MetadataClient({
          addresses: this.#options.metadataAddresses,
          connect: metadataConnector({ transport, hello, clock, logger }),
          clock,
          rng,
          logger,
          metrics: noopMetrics,
        }),
      onFatal: (error) => {
        this.ended('fatal', error);
      },
    });
    this.world.observer.note(this.name, 'is open');
  }

  protected forget(): void {
    this.#node = undefined;
  }

  /** Stops as on SIGTERM; the life ends when everything is closed, and `stopped` is called. */
  stop(stopped: () => void): void {
    this.#node?.stop().then(
      () => {
        this.die('process');
        stopped();
      },
      (error: unknown) => {
        this.ended('stop', error);
      },
    );
  }
}
