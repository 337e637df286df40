import { loadConfig, shardConfig } from '@cairn/config';
import type { KvEngine } from '@cairn/engine';
import { noopMetrics, noopTracer, sleep } from '@cairn/ports';
import { openShardNode, type KvLimits, type ShardNode } from '@cairn/shard-node';
import type { Replica, Store, StoreConfig } from '@cairn/store';

import { SimNode, type NodePorts, type SimWorld } from './sim-node.js';

/** With less room than this left, nodes refuse writes; matters only while the nemesis fills disks. */
const DISK_RESERVE_BYTES = 16 * 1024;

export interface SimShardOptions {
  readonly metadataAddresses: readonly string[];
  readonly storeConfig: StoreConfig;
  readonly logSegmentBytes: number;
  readonly logCacheBytes: number;
  readonly logStagedBytesMax: number;
  readonly rowCacheBytes: number;
  readonly kvLimits?: Partial<KvLimits>;
}

/** A shard node as the process runs it, on simulated ports. */
export class SimShardNode extends SimNode {
  readonly #options: SimShardOptions;
  /** The store that the next start says is lost; 0 = none. */
  replacesStoreId = 0;
  /** How long its engine takes to open in the next starts. */
  openAfterMs = 0;
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

  /** Why the node is not ready. */
  readiness(): string[] {
    return this.#node?.readiness() ?? ['it is not open'];
  }

  replicas(): Iterable<Replica> {
    return this.store?.replicas() ?? [];
  }

  protected async open(ports: NodePorts): Promise<void> {
    const { metadataAddresses, storeConfig, logSegmentBytes, logCacheBytes, rowCacheBytes, kvLimits } =
      this.#options;
    const argv = [
      ...['--name', this.name],
      ...['--listen', this.address],
      ...['--data-directory', '/data'],
      ...['--metadata-addresses', metadataAddresses.join()],
      ...['--replace-lost-store', String(this.replacesStoreId)],
    ];
    const { values } = loadConfig({ ...shardConfig, argv, env: {} });
    // Smaller than anybody may configure, so that logs turn over and caches overflow.
    const small = {
      rowCacheBytes,
      raftLogSegmentBytes: logSegmentBytes,
      raftLogCacheBytes: logCacheBytes,
      diskReserveBytes: DISK_RESERVE_BYTES,
    };
    const openEngine = async (): Promise<KvEngine> => {
      if (this.openAfterMs > 0) await sleep(ports.clock, this.openAfterMs);
      return ports.openEngine();
    };
    const opened = { ...ports, engineName: this.world.engine, openEngine };
    this.#node = await openShardNode(opened, {
      config: { ...values, ...small },
      logger: ports.logger,
      metrics: noopMetrics,
      tracer: noopTracer,
      publicAddress: `${this.name}:9100`,
      storeConfig,
      build: this.build,
      logStagedBytesMax: this.#options.logStagedBytesMax,
      ...(kvLimits === undefined ? {} : { kvLimits }),
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
