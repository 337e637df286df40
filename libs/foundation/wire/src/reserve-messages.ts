import type { Timestamp } from '@cairn/base';

import type { ReadRow } from './txn-messages.js';

/*
 * Reservations: pessimistic locks in the memory of the leader of a range. They stop no reader, and nothing
 * rests on them: a transaction that lost one is aborted at its commit, never wrong. An `owner` is a timestamp
 * that the oracle issued to one transaction alone, for all its attempts; the smaller, the older.
 */

/** How much of a key is held. Numbers travel between nodes: append only. */
export const LockStrength = {
  /** The key stays: goes with `keyShare` and `share`; in the way of deletions. */
  keyShare: 1,
  /** The row stays as it is: goes with `keyShare` and `share`; in the way of all writes. */
  share: 2,
  /** In the way of everybody else. */
  exclusive: 3,
} as const;
export type LockStrength = (typeof LockStrength)[keyof typeof LockStrength];

/** What is to happen at a key that somebody else holds. Append only. */
export const LockPolicy = {
  /** The question is held until the key is free or its time is over. */
  wait: 1,
  /** Nothing that this command would take is kept. */
  nowait: 2,
  /** The key is left out. */
  skipLocked: 3,
} as const;
export type LockPolicy = (typeof LockPolicy)[keyof typeof LockPolicy];

/** Takes keys in their order, and reads each as it is when it is taken. Those that the owner has are renewed. */
export interface ReserveCommand {
  readonly type: 'reserve';
  readonly owner: Timestamp;
  readonly strength: LockStrength;
  /** 1 to `RESERVE_KEYS_MAX`, each once, all of one range. */
  readonly keys: readonly Uint8Array[];
  /** 0 to `RESERVE_WAIT_MS_MAX`: how long the leader may hold the question for a key that is not free. */
  readonly waitMs: number;
  readonly policy: LockPolicy;
  /** 1 to `RESERVE_TTL_MS_MAX`: how long the owner's reservations of these keys live from now on. */
  readonly ttlMs: number;
}

/** Gives keys back; those that the owner does not have are no matter. It leaves their queues, too. */
export interface ReleaseCommand {
  readonly type: 'release';
  readonly owner: Timestamp;
  readonly keys: readonly Uint8Array[];
}

export type ReservationCommand = ReserveCommand | ReleaseCommand;

export interface ReservedRow {
  readonly isReserved: boolean;
  /** The newest committed one when the key was taken; of one that was not, none. */
  readonly row: ReadRow;
  /** Of the newest version, be it a deletion; 0 = none known. */
  readonly newest: Timestamp;
}

/** Who holds a key, or is in front of whoever asks. */
export interface WaitsFor {
  readonly key: Uint8Array;
  /** At most `WAITS_FOR_OWNERS_MAX` of them, the oldest. */
  readonly owners: readonly Timestamp[];
}

export interface ReservedReply {
  readonly type: 'reserved';
  /**
   * One for each key in order; with `waitsFor`, of the keys in front of that one, which are kept (`wait`), or
   * of none (`nowait`).
   */
  readonly rows: readonly ReservedRow[];
  readonly waitsFor: WaitsFor | undefined;
}
