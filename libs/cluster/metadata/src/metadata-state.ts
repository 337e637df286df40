import { timestamp, unreachable, type StoreId, type Timestamp } from '@cairn/base';

import type { BootstrapRecord, Change, ClusterRecord, HoldRecord, NodeRecord } from './records.js';

/** The first range has this id in every cluster; the shared id space begins behind it. */
export const FIRST_RANGE_ID = 1;

export interface RegisteredNode {
  readonly name: string;
  readonly record: NodeRecord;
}

/** What the rows say, for reading. */
export interface MetadataView {
  /** Undefined until the first leader of the cluster made it. */
  readonly cluster: ClusterRecord | undefined;
  /** Next id of the one space that ranges, replicas and stores share. */
  readonly nextId: number;
  /** Every timestamp ever handed out is below this. 0 = none yet. */
  readonly timestampBound: Timestamp;
  readonly nodes: ReadonlyMap<string, NodeRecord>;
  /** Only settings that differ from their defaults. */
  readonly settings: ReadonlyMap<string, string>;
  /** Grows with every change of a setting applied since this state was loaded. */
  readonly settingsChanges: number;
  readonly bootstrap: BootstrapRecord | undefined;
  /** Formats of this version may be written, by everybody. Only rises; 0 = there is no cluster yet. */
  readonly clusterVersion: number;
  /** Those that have expired included, until they are taken away. */
  readonly holds: ReadonlyMap<string, HoldRecord>;
  /** What no read at or above it needs may be collected. Only rises; 0 = nothing may be collected yet. */
  readonly gcSafePoint: Timestamp;
  nodeOfStore(id: StoreId): RegisteredNode | undefined;
}

/** The replicated state in memory: the rows of the engine, decoded. */
export class MetadataState implements MetadataView {
  cluster: ClusterRecord | undefined;
  nextId = FIRST_RANGE_ID + 1;
  timestampBound = timestamp(0);
  readonly nodes = new Map<string, NodeRecord>();
  readonly settings = new Map<string, string>();
  settingsChanges = 0;
  bootstrap: BootstrapRecord | undefined;
  clusterVersion = 0;
  readonly holds = new Map<string, HoldRecord>();
  gcSafePoint = timestamp(0);
  readonly #nameByStore = new Map<StoreId, string>();

  /** Loading, replaying and applying are the same: a row gets its value. */
  absorb(change: Change): void {
    switch (change.type) {
      case 'cluster':
        this.cluster = change.value;
        return;
      case 'next-id':
        this.nextId = change.value;
        return;
      case 'timestamp-bound':
        this.timestampBound = change.value;
        return;
      case 'node':
        this.nodes.set(change.name, change.value);
        this.#nameByStore.set(change.value.storeId, change.name);
        return;
      case 'setting':
        if (change.value === undefined) this.settings.delete(change.name);
        else this.settings.set(change.name, change.value);
        this.settingsChanges += 1;
        return;
      case 'bootstrap':
        this.bootstrap = change.value;
        return;
      case 'cluster-version':
        // Entries that are applied again after a crash come from before what the engine holds.
        this.clusterVersion = Math.max(this.clusterVersion, change.value);
        return;
      case 'hold':
        if (change.value === undefined) this.holds.delete(change.name);
        else this.holds.set(change.name, change.value);
        return;
      case 'gc-safe-point':
        // As with the cluster version: what is applied again was overtaken.
        this.gcSafePoint = timestamp(Math.max(this.gcSafePoint, change.value));
        return;
      default:
        unreachable(change);
    }
  }

  nodeOfStore(id: StoreId): RegisteredNode | undefined {
    const name = this.#nameByStore.get(id);
    const record = name === undefined ? undefined : this.nodes.get(name);
    return name === undefined || record === undefined ? undefined : { name, record };
  }
}
