import type { StoreId } from '@cairn/base';
import type { Clock, Logger, Rng } from '@cairn/ports';

import { AnswersUnderWay } from './answers-under-way.js';
import type { BreakerRules } from './breaker.js';
import type { StoreAddress } from './metadata-gateway.js';
import { StoreConnection, type ConnectionEvents } from './store-connection.js';
import type { StoreConnector } from './store-link.js';

export interface StoresOptions {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
  readonly connector: StoreConnector;
  readonly events: ConnectionEvents;
  /** Most operations sent to one store and not answered. */
  readonly pendingMax: number;
  /** Most pages of scans among them. */
  readonly scansMax: number;
  readonly breaker: BreakerRules;
  /** What large answers there is room for. Default: for all. */
  readonly answers?: AnswersUnderWay;
}

/** The connections to all stores that the metadata service has named and not declared lost; one each. */
export class Stores {
  readonly #options: Required<StoresOptions>;
  readonly #connections = new Map<StoreId, StoreConnection>();

  constructor(options: StoresOptions) {
    this.#options = { ...options, answers: options.answers ?? new AnswersUnderWay() };
  }

  get(id: StoreId): StoreConnection | undefined {
    return this.#connections.get(id);
  }

  /** The metadata service says where stores are. */
  update(stores: readonly StoreAddress[]): void {
    for (const { storeId, address, lost } of stores) {
      const known = this.#connections.get(storeId);
      if (lost === true) {
        this.#connections.delete(storeId);
        known?.close();
      } else if (known === undefined) {
        this.#connections.set(storeId, new StoreConnection(storeId, address, this.#options));
      } else {
        known.setAddress(address);
      }
    }
  }

  /** How many stores can be reached now. */
  get connected(): number {
    let count = 0;
    for (const connection of this.#connections.values()) if (connection.isUp) count += 1;
    return count;
  }

  /** Pages of scans that wait for a place at their store. */
  get waitingScans(): number {
    let count = 0;
    for (const connection of this.#connections.values()) count += connection.waitingScans;
    return count;
  }

  /** Stores that were given up and have to be asked whether they answer again. */
  get unproven(): StoreConnection[] {
    return [...this.#connections.values()].filter((each) => each.wantsProbe);
  }

  /** The stores that are left alone now. */
  get givenUp(): StoreId[] {
    return [...this.#connections.values()]
      .filter((each) => each.isUp && !each.isWell)
      .map((each) => each.storeId);
  }

  readonly isUp = (id: StoreId): boolean => this.#connections.get(id)?.isUp === true;

  close(): void {
    for (const connection of this.#connections.values()) connection.close();
    this.#connections.clear();
  }
}
