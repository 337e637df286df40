import type { RangeDescriptor, StoreId, Timestamp } from '@cairn/base';

/** Where one range is, as the metadata service last heard. */
export interface RouteInfo {
  readonly descriptor: RangeDescriptor;
  /** 0 = unknown. */
  readonly leaderStoreId: StoreId;
}

/** Where one shard node is reached over the framed transport. */
export interface StoreAddress {
  readonly storeId: StoreId;
  readonly address: string;
  readonly live: boolean;
  /** It was declared lost: it never comes back, and another store may have its address. */
  readonly lost?: boolean;
}

export interface RoutesQuery {
  /** The ranges that hold these keys. */
  readonly keys: readonly Uint8Array[];
  /** And up to `limit` ranges from this key on. */
  readonly fromKey: Uint8Array | undefined;
  readonly limit: number;
}

export interface RoutesAnswer {
  readonly routes: readonly RouteInfo[];
  readonly stores: readonly StoreAddress[];
}

/**
 * What routing needs of the metadata service. Rejects with CairnError; calls are bounded in time by the
 * implementation.
 */
export interface MetadataGateway {
  routes(query: RoutesQuery): Promise<RoutesAnswer>;
  /** A fresh oracle timestamp; concurrent callers may share one round trip. */
  timestamp(): Promise<Timestamp>;
  /** The largest timestamp seen; 0 = none yet. */
  readonly latestTimestamp: Timestamp;
}
