import type { CairnError } from '@cairn/base';
import type { KvEngine } from '@cairn/engine';
import type { Clock, Disk, Logger, Metrics, Rng, Tracer, Transport } from '@cairn/ports';
import type { StoreConfig } from '@cairn/store';
import type { BuildVersions, Hello } from '@cairn/wire';

import type { KvLimits } from '../kv/kv-limits.js';
import type { MetadataAccess } from './metadata-access.js';

/** What a shard node is made of and set to. */
export interface ShardNodeOptions {
  readonly name: string;
  readonly build: BuildVersions;
  readonly directory: string;
  /** Framed transport; port 0 picks one. */
  readonly listen: string;
  /** The address that others are told, when it is not the one that the node listens at. */
  readonly advertise?: string;
  /** Health and metrics, for operators who list nodes. */
  readonly publicAddress: string;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly transport: Transport;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly tracer: Tracer;
  readonly storeConfig: StoreConfig;
  readonly kvLimits: KvLimits;
  readonly rowCacheBytes: number;
  /** With less than this free, writes that need space are refused. 0 = never. */
  readonly diskReserveBytes: number;
  /** The directory is new, and this store, which had the name, is lost for good; 0 = none. */
  readonly replacesStoreId: number;
  readonly logSegmentBytes?: number;
  readonly logCacheBytes?: number;
  readonly logStagedBytesMax?: number;
  /** The engine's name, as it stands in directories that it makes: what operators are shown. */
  readonly engineName: string;
  /** Opens the engine of the node, below its directory. */
  openEngine(): Promise<KvEngine>;
  /** The metadata service, as this node reaches it. */
  metadata(hello: () => Hello): MetadataAccess;
  /** The node can no longer do its work (log or engine failed): the process must end with the reason. */
  onFatal(error: CairnError): void;
}
