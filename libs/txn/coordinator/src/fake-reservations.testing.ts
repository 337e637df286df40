import { NO_BYTES, timestamp, type Timestamp } from '@cairn/base';
import {
  LockPolicy,
  LockStrength,
  type ReservedReply,
  type ReservedRow,
  type ReserveCommand,
} from '@cairn/wire';

import { mapKey } from './keys.js';

interface Holder {
  readonly owner: Timestamp;
  strength: LockStrength;
  untilMs: number;
}

const PLACE_KEPT_MS = 2_000;

/** Reservations of all ranges, in one table; first come, first served. */
export class FakeReservations {
  readonly #nowMs: () => number;
  readonly #held = new Map<string, Holder[]>();
  readonly #queues = new Map<string, { readonly owner: Timestamp; untilMs: number }[]>();

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  get size(): number {
    return [...this.#held.keys()].reduce((sum, name) => sum + this.#holders(name).length, 0);
  }

  holdersOf(key: Uint8Array): readonly Timestamp[] {
    return this.#holders(mapKey(key)).map(({ owner }) => owner);
  }

  /** As when a leader changes. */
  lose(): void {
    this.#held.clear();
    this.#queues.clear();
  }

  /** Who is in the way of a write of this owner. */
  inTheWay(key: Uint8Array, owner: number): readonly Timestamp[] {
    return this.#holders(mapKey(key))
      .filter((each) => each.owner !== owner && each.strength !== LockStrength.keyShare)
      .map((each) => each.owner);
  }

  /** Whether the question is to be held: a key of it is not free. */
  waits(command: ReserveCommand): boolean {
    return (
      command.policy === LockPolicy.wait &&
      command.keys.some((key) => this.#blockers(key, command.owner, command.strength).length > 0)
    );
  }

  reserve(
    command: ReserveCommand,
    rowOf: (key: Uint8Array) => Omit<ReservedRow, 'isReserved'>,
  ): ReservedReply {
    const { owner, policy, strength, ttlMs } = command;
    const rows: ReservedRow[] = [];
    if (policy === LockPolicy.nowait) {
      const key = command.keys.find((each) => this.#blockers(each, owner, strength).length > 0);
      if (key !== undefined)
        return { type: 'reserved', rows, waitsFor: { key, owners: this.#blockers(key, owner, strength) } };
    }
    for (const key of command.keys) {
      const owners = this.#blockers(key, owner, strength);
      if (owners.length === 0) {
        this.#take(mapKey(key), owner, strength, ttlMs);
        rows.push({ isReserved: true, ...rowOf(key) });
      } else if (policy === LockPolicy.skipLocked) {
        const row = { found: false, value: NO_BYTES, version: NO_BYTES, kind: 0, expiresUnixMs: 0 };
        rows.push({ isReserved: false, row, newest: timestamp(0) });
      } else {
        this.#enqueue(mapKey(key), owner);
        return { type: 'reserved', rows, waitsFor: { key, owners } };
      }
    }
    return { type: 'reserved', rows, waitsFor: undefined };
  }

  release(owner: Timestamp, keys: readonly Uint8Array[]): void {
    for (const name of keys.map(mapKey)) {
      this.#held.set(
        name,
        this.#holders(name).filter((each) => each.owner !== owner),
      );
      this.#queues.set(
        name,
        this.#queue(name).filter((each) => each.owner !== owner),
      );
    }
  }

  #take(name: string, owner: Timestamp, strength: LockStrength, ttlMs: number): void {
    const holders = this.#holders(name);
    const own = holders.find((each) => each.owner === owner);
    const untilMs = this.#nowMs() + ttlMs;
    if (own === undefined) holders.push({ owner, strength, untilMs });
    else {
      own.untilMs = untilMs;
      own.strength = Math.max(own.strength, strength) as LockStrength;
    }
    this.#held.set(name, holders);
    this.#queues.set(
      name,
      this.#queue(name).filter((each) => each.owner !== owner),
    );
  }

  #enqueue(name: string, owner: Timestamp): void {
    const queue = this.#queue(name);
    const own = queue.find((each) => each.owner === owner);
    const untilMs = this.#nowMs() + PLACE_KEPT_MS;
    if (own === undefined) queue.push({ owner, untilMs });
    else own.untilMs = untilMs;
    this.#queues.set(name, queue);
  }

  #blockers(key: Uint8Array, owner: Timestamp, strength: LockStrength): readonly Timestamp[] {
    const name = mapKey(key);
    const holders = this.#holders(name);
    const own = holders.find((each) => each.owner === owner);
    if (own !== undefined && own.strength >= strength) return [];
    const isShared = (each: LockStrength): boolean => each !== LockStrength.exclusive;
    const held = holders
      .filter((each) => each.owner !== owner && !(isShared(each.strength) && isShared(strength)))
      .map((each) => each.owner);
    if (held.length > 0 || own !== undefined) return held;
    const queue = this.#queue(name);
    const at = queue.findIndex((each) => each.owner === owner);
    return (at < 0 ? queue : queue.slice(0, at)).map((each) => each.owner);
  }

  #holders(name: string): Holder[] {
    return (this.#held.get(name) ?? []).filter(({ untilMs }) => untilMs > this.#nowMs());
  }

  #queue(name: string): { readonly owner: Timestamp; untilMs: number }[] {
    return (this.#queues.get(name) ?? []).filter(({ untilMs }) => untilMs > this.#nowMs());
  }
}
