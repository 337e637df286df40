import { CairnError, NO_BYTES, timestamp, type StoreId, type Timestamp } from '@cairn/base';

import type { MetadataView } from './metadata-state.js';
import type { BuildVersions, HeartbeatRequest, StoreInfo } from './wire-binding.js';

/** Routers remembered at once; a new one pushes out the one that was silent longest. */
const ROUTERS_MAX = 4_096;

/** A router that was silent this long is forgotten. One that stops in order says so, and is at once. */
export const ROUTER_MEMORY_MS = 120_000;

/**
 * Looks (of one a second) after which a process that is not heard and holds no session has ended, as far as
 * anybody can tell. One that was heard in this leadership comes back after a second, from another member if
 * it must; of one that was not, this leader knows nothing yet, and waits as long as it takes nodes to find
 * it. Counted in looks, so that a pause of this process is no silence of others.
 */
const SILENT_LOOKS = { heard: 3, notHeard: 5 } as const;

/** Numbers a node last reported of itself. */
export interface NodeNumbers {
  readonly replicas: number;
  readonly leaders: number;
  readonly dataBytes: number;
  readonly diskFreeBytes: number;
  readonly readsPerSecond: number;
  readonly writesPerSecond: number;
  readonly startedUnixMs: number;
  readonly isDiskFull: boolean;
  readonly isDiskLow: boolean;
  readonly isDiskHanging: boolean;
  readonly replicasCatchingUp: number;
  /** Routers: the smallest start timestamp of the transactions that they run; 0 = none. */
  readonly oldestTransaction: Timestamp;
  /** Stores: the smallest start timestamp of any lock in the ranges that they lead; 0 = none. */
  readonly oldestLock: Timestamp;
  /** Stores: the largest safe point that they were told. */
  readonly heardGcSafePoint: Timestamp;
}

const NO_NUMBERS: NodeNumbers = {
  replicas: 0,
  leaders: 0,
  dataBytes: 0,
  diskFreeBytes: 0,
  readsPerSecond: 0,
  writesPerSecond: 0,
  startedUnixMs: 0,
  isDiskFull: false,
  isDiskLow: false,
  isDiskHanging: false,
  replicasCatchingUp: 0,
  oldestTransaction: timestamp(0),
  oldestLock: timestamp(0),
  heardGcSafePoint: timestamp(0),
};

/** What this leader knows of a node since it leads. Soft: forgotten with leadership. */
export interface Contact {
  readonly name: string;
  readonly kind: 'shard' | 'router';
  /** Heard from in this leadership; before, `lastSeenMs` is when the leadership began. */
  hasContact: boolean;
  /** On the monotonic clock of this process. */
  lastSeenMs: number;
  /** The same in looks since the leadership began. */
  lastSeenLook: number;
  isLive: boolean;
  /** A complete list of ranges was received. */
  hasFull: boolean;
  lastSequence: number;
  numbers: NodeNumbers;
  /** What the process that was heard last runs; undefined = none was. */
  build: BuildVersions | undefined;
  /** A second process of the node, which waits for the first to end, and since when. */
  waiting: { readonly process: Buffer; readonly sinceMs: number } | undefined;
  /** Routers only: shard nodes have theirs in the replicated registry. */
  incarnation: Buffer;
  address: string;
  publicAddress: string;
}

export interface NodeTableOptions {
  /** Not heard from for this long: not live. */
  readonly liveTimeoutMs: number;
}

/** Who is alive, judged by the age of the last heartbeat. */
export class NodeTable {
  readonly #liveTimeoutMs: number;
  readonly #contacts = new Map<string, Contact>();
  #changes = 0;
  /** Sweeps since the leadership began. */
  #looks = 0;

  constructor(options: NodeTableOptions) {
    this.#liveTimeoutMs = options.liveTimeoutMs;
  }

  /** Counts changes of what `storeInfos` answers. */
  get changes(): number {
    return this.#changes;
  }

  /** Takes in that the replicated registry changed. */
  noteChange(): void {
    this.#changes += 1;
  }

  /**
   * A leadership begins: every registered store has one timeout to make itself heard before it counts as
   * gone.
   */
  reset(state: MetadataView | undefined, nowMs: number): void {
    this.#contacts.clear();
    this.#looks = 0;
    this.#changes += 1;
    if (state === undefined) return;
    for (const [name, { isLost }] of state.nodes) {
      if (isLost) continue;
      const contact = newContact(name, 'shard', nowMs);
      contact.isLive = true;
      this.#contacts.set(name, contact);
    }
  }

  get(name: string): Contact | undefined {
    return this.#contacts.get(name);
  }

  contacts(): Iterable<Contact> {
    return this.#contacts.values();
  }

  /** Notes that a node was heard from. */
  touch(name: string, kind: Contact['kind'], nowMs: number): Contact {
    let contact = this.#contacts.get(name);
    if (contact === undefined || contact.kind !== kind) {
      contact = newContact(name, kind, nowMs);
      if (kind === 'router') this.#makeRoomForRouter();
      this.#contacts.set(name, contact);
    }
    contact.hasContact = true;
    contact.lastSeenMs = nowMs;
    contact.lastSeenLook = this.#looks;
    this.#setLive(contact, true);
    return contact;
  }

  /**
   * How long this process of a registered node has been waiting for another one; begins with the first call.
   */
  waitedMs(name: string, process: Uint8Array, nowMs: number): number {
    const contact = this.#contacts.get(name);
    if (contact === undefined) return 0;
    if (contact.waiting === undefined || Buffer.compare(contact.waiting.process, process) !== 0) {
      contact.waiting = { process: Buffer.from(process), sinceMs: nowMs };
    }
    return nowMs - contact.waiting.sinceMs;
  }

  /** Whether the last process of a registered node would have been heard by now if it still ran. */
  isSilent(name: string): boolean {
    const contact = this.#contacts.get(name);
    const looks = this.#looks - (contact?.lastSeenLook ?? 0);
    return looks >= (contact?.hasContact === true ? SILENT_LOOKS.heard : SILENT_LOOKS.notHeard);
  }

  /** Who is there and speaks has been heard by now, as far as anybody can tell. */
  get hasListened(): boolean {
    return this.#looks >= SILENT_LOOKS.notHeard;
  }

  /** Forgets a router that stops; a newer process of the name stays. */
  routerLeft(name: string, incarnation: Uint8Array): boolean {
    const contact = this.#contacts.get(name);
    const isThis = contact?.kind === 'router' && Buffer.compare(contact.incarnation, incarnation) === 0;
    return isThis && this.#contacts.delete(name);
  }

  /** Takes over the numbers of a heartbeat; false when a later one of the same process came before it. */
  takeHeartbeat(contact: Contact, request: HeartbeatRequest): boolean {
    const isSameProcess = contact.numbers.startedUnixMs === request.startedUnixMs;
    if (isSameProcess && request.sequence > 0 && request.sequence <= contact.lastSequence) return false;
    // Ranges of an earlier process may be gone: its list counts no more.
    if (!isSameProcess) contact.hasFull = false;
    contact.lastSequence = request.sequence;
    contact.numbers = {
      replicas: request.replicas,
      leaders: request.leaders,
      dataBytes: request.dataBytes,
      diskFreeBytes: request.diskFreeBytes,
      readsPerSecond: request.readsPerSecond,
      writesPerSecond: request.writesPerSecond,
      startedUnixMs: request.startedUnixMs,
      isDiskFull: request.diskFull,
      isDiskLow: request.diskLow,
      isDiskHanging: request.diskHangs,
      replicasCatchingUp: request.replicasCatchingUp,
      oldestTransaction: timestamp(request.oldestTransaction),
      oldestLock: timestamp(request.oldestLock),
      heardGcSafePoint: timestamp(request.heardGcSafePoint),
    };
    return true;
  }

  /** Marks the silent ones, forgets routers that are gone for long. Call it about once a second. */
  sweep(nowMs: number): void {
    this.#looks += 1;
    for (const contact of this.#contacts.values()) {
      const silentMs = nowMs - contact.lastSeenMs;
      this.#setLive(contact, silentMs <= this.#liveTimeoutMs);
      if (contact.kind === 'router' && silentMs > ROUTER_MEMORY_MS) this.#contacts.delete(contact.name);
    }
  }

  isStoreLive(state: MetadataView, id: StoreId): boolean {
    const node = state.nodeOfStore(id);
    return node !== undefined && this.#contacts.get(node.name)?.isLive === true;
  }

  /**
   * Stores with replicas that count as live and have not told this leader all their ranges: until they have,
   * what is missing in the map says nothing.
   */
  unheard(state: MetadataView): string[] {
    const names: string[] = [];
    for (const [name, { isLost, isEstablished }] of state.nodes) {
      const contact = this.#contacts.get(name);
      if (!isLost && isEstablished && contact?.isLive === true && !contact.hasFull) names.push(name);
    }
    return names;
  }

  storeInfos(state: MetadataView): StoreInfo[] {
    const infos: StoreInfo[] = [];
    for (const [name, { storeId, address, isLost }] of state.nodes) {
      const live = this.#contacts.get(name)?.isLive === true;
      infos.push({ storeId, name, address, live, lost: isLost });
    }
    return infos.sort((a, b) => a.storeId - b.storeId);
  }

  #setLive(contact: Contact, isLive: boolean): void {
    if (contact.isLive === isLive) return;
    contact.isLive = isLive;
    if (contact.kind === 'shard') this.#changes += 1;
  }

  #makeRoomForRouter(): void {
    let count = 0;
    let oldest: Contact | undefined;
    for (const contact of this.#contacts.values()) {
      if (contact.kind !== 'router') continue;
      count += 1;
      if (oldest === undefined || contact.lastSeenMs < oldest.lastSeenMs) oldest = contact;
    }
    if (count < ROUTERS_MAX || oldest === undefined) return;
    if (oldest.isLive) {
      throw new CairnError('RESOURCE_EXHAUSTED', `${count} routers are connected, more are not accepted`, {
        retryAfterMs: 1_000,
      });
    }
    this.#contacts.delete(oldest.name);
  }
}

function newContact(name: string, kind: Contact['kind'], nowMs: number): Contact {
  return {
    name,
    kind,
    hasContact: false,
    lastSeenMs: nowMs,
    lastSeenLook: 0,
    isLive: false,
    hasFull: false,
    lastSequence: 0,
    waiting: undefined,
    numbers: NO_NUMBERS,
    build: undefined,
    incarnation: NO_BYTES,
    address: '',
    publicAddress: '',
  };
}
