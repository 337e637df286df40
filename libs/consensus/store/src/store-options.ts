import type { CairnError, GateView, RangeDescriptor, RangeId, StoreId, VersionRange } from '@cairn/base';
import type { KvEngine } from '@cairn/engine';
import type { Clock, Disk, Logger, Metrics, Rng } from '@cairn/ports';

import type { PeerLinks } from './peer-links.js';
import type { SnapshotChannel } from './snapshot-send.js';
import type { EngineSpan, StateMachine } from './state-machine.js';
import type { StoreConfig } from './store-config.js';
import type { StoreMark } from './store-mark.js';

/** What a store is opened with. */
export interface StoreOptions {
  readonly storeId: StoreId;
  /** Holds `log/` and `snapshots/`; the engine lives where its opener put it. */
  readonly directory: string;
  /** Whose directory it is: log and engine are held against it. */
  readonly mark: StoreMark;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly engine: KvEngine;
  readonly config: StoreConfig;
  readonly logSegmentBytes?: number;
  /** Recent log entries kept in memory for followers that are a little behind. */
  readonly logCacheBytes?: number;
  /** Record bytes that may wait for the log's disk; beyond it no entries are taken in. Default 128 MiB. */
  readonly logStagedBytesMax?: number;
  readonly links: PeerLinks;
  /** What may be proposed by now. */
  readonly gates: GateView;
  /** The cluster versions that this build runs with: it reads the commands of all of them. */
  readonly clusterVersions: VersionRange;
  /** Opens the way for one outgoing snapshot. */
  openSnapshotChannel(to: StoreId): SnapshotChannel;
  /** The state machine of a replica; `isInitial` when its range begins now, with nothing before it. */
  machineFor(descriptor: RangeDescriptor, isInitial: boolean): StateMachine;
  /** Where in the engine the rows of such a range are; those of its machine. */
  spansOf(descriptor: RangeDescriptor): readonly EngineSpan[];
  /** Asked before a snapshot replaces anything: throws for a state that no machine here can take over. */
  checkVolatileState?(volatileState: Uint8Array): void;
  /**
   * The log or the engine failed: nothing may be acknowledged any more, the process must end. Called once.
   */
  onFatal(error: CairnError): void;
  /** Leadership, descriptor or existence of a replica changed here. */
  onReplicaChanged?(rangeId: RangeId): void;
}
