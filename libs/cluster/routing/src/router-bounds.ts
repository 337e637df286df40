export interface RouterBounds {
  /** Operations accepted and not answered. */
  readonly outstandingOpsMax: number;
  /** Bytes of their keys and values. */
  readonly outstandingBytesMax: number;
  /** Operations sent to one store and not answered. */
  readonly outstandingOpsPerStoreMax: number;
  /** Pages of scans among them: each is the work of many reads, and whoever comes next waits behind them. */
  readonly outstandingScansPerStoreMax: number;
}
