import { assert, timestamp, type StoreId, type Timestamp } from '@cairn/base';
import type {
  HeartbeatResponse,
  JoinResponse,
  StoreInfo,
} from '@cairn/wire/gen/cairn/internal/v1/metadata.js';

import { nodeSettingsOf, type NodeSettings } from './node-settings.js';

/** Where another store is reached. */
export interface StorePeer {
  readonly storeId: StoreId;
  readonly address: string;
}

/** What the metadata service told this node of the cluster last: its stores, its settings, its safe point. */
export class ClusterKnowledge {
  #stores: readonly StoreInfo[];
  #storesVersion = 0;
  #settings: NodeSettings | undefined;
  #settingsVersion = 0;
  #gcSafePoint: Timestamp;
  #lockFreeBelow = timestamp(0);

  constructor(joined: Pick<JoinResponse, 'stores' | 'gcSafePoint'>) {
    this.#stores = joined.stores;
    this.#gcSafePoint = timestamp(joined.gcSafePoint);
  }

  get stores(): readonly StoreInfo[] {
    return this.#stores;
  }

  store(id: StoreId): StoreInfo | undefined {
    return this.#stores.find((info) => info.storeId === id);
  }

  /** The stores to be reached. One that was declared lost never comes back: nobody dials it. */
  get peers(): readonly StorePeer[] {
    const there = this.#stores.filter((info) => !info.lost);
    return there.map(({ storeId, address }) => ({ storeId: storeId as StoreId, address }));
  }

  /**
   * What the cluster's settings say; undefined until they were heard. No range is split before, and nothing
   * is thrown away: the life of old versions may have been made longer.
   */
  get settings(): NodeSettings | undefined {
    return this.#settings;
  }

  /** The settings, for work that begins only when they are known. */
  get heardSettings(): NodeSettings {
    assert(this.#settings !== undefined, 'the settings were not heard yet');
    return this.#settings;
  }

  /**
   * What no read at or above it needs may be collected, and no range of this store may take a lock below it.
   * It is known before the store is open, and never goes back; 0 = nothing was told, nothing may be
   * collected.
   */
  get gcSafePoint(): Timestamp {
    return this.#gcSafePoint;
  }

  /**
   * No range of the cluster has a lock of a transaction that began below it, and none will ever have one. It
   * never goes back; 0 = not known.
   */
  get lockFreeBelow(): Timestamp {
    return this.#lockFreeBelow;
  }

  /** A leader that is new does not know the second for a while. What is lower was heard late. */
  hearSafePoints({ gcSafePoint, lockFreeBelow }: HeartbeatResponse): void {
    this.#gcSafePoint = timestamp(Math.max(this.#gcSafePoint, gcSafePoint));
    this.#lockFreeBelow = timestamp(Math.max(this.#lockFreeBelow, lockFreeBelow));
  }

  /** Which states of both are known here: the metadata service tells of newer ones only. */
  get versions(): { readonly storesVersion: number; readonly settingsVersion: number } {
    return { storesVersion: this.#storesVersion, settingsVersion: this.#settingsVersion };
  }

  hearVersions({ storesVersion, settingsVersion }: HeartbeatResponse): void {
    this.#storesVersion = storesVersion;
    this.#settingsVersion = settingsVersion;
  }

  /** Answers whether there are other stores than before. All of them come whenever one was changed. */
  hearStores({ stores }: HeartbeatResponse): boolean {
    if (stores.length === 0) return false;
    this.#stores = stores;
    return true;
  }

  /**
   * All settings come with the first answer, and whenever one was changed. Throws CairnError when they say
   * what cannot be: then they are not followed.
   */
  hearSettings({ settings }: HeartbeatResponse): void {
    if (settings.length > 0) this.#settings = nodeSettingsOf(settings);
  }
}
