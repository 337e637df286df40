/** Branded numbers: plain safe integers at run time, distinct types at compile time. */
declare const brand: unique symbol;
export type Branded<Base, Name extends string> = Base & { readonly [brand]: Name };

/** Identity of a range; 1.., never reused. The metadata group itself is range 0 of its own stores. */
export type RangeId = Branded<number, 'RangeId'>;
/** Identity of a shard node, given once by the metadata service to a (name, data directory) pair; 1... */
export type StoreId = Branded<number, 'StoreId'>;
/** Identity of one replica of one range; unique in the cluster, never reused. */
export type ReplicaId = Branded<number, 'ReplicaId'>;
/** Raft term, 0... */
export type Term = Branded<number, 'Term'>;
/** Raft log index, 0 = before the first entry. */
export type LogIndex = Branded<number, 'LogIndex'>;
/**
 * Oracle timestamp: a 53-bit safe integer, 41 bits of milliseconds since TIMESTAMP_EPOCH_MS and 12 logical
 * bits. Totally ordered across the cluster.
 */
export type Timestamp = Branded<number, 'Timestamp'>;

export const rangeId = (value: number): RangeId => value as RangeId;
export const storeId = (value: number): StoreId => value as StoreId;
export const replicaId = (value: number): ReplicaId => value as ReplicaId;
export const term = (value: number): Term => value as Term;
export const logIndex = (value: number): LogIndex => value as LogIndex;
export const timestamp = (value: number): Timestamp => value as Timestamp;

/** 2026-01-01T00:00:00Z; 41 bits of milliseconds from here last until 2095. */
export const TIMESTAMP_EPOCH_MS = 1_767_225_600_000;
/** Logical steps per millisecond. */
export const TIMESTAMP_LOGICAL_STEPS = 4096;

/** Wall-clock milliseconds (Unix) of a timestamp's physical part. */
export function timestampToUnixMs(ts: Timestamp): number {
  return Math.floor(ts / TIMESTAMP_LOGICAL_STEPS) + TIMESTAMP_EPOCH_MS;
}

/** The first timestamp of a Unix millisecond. */
export function timestampFromUnixMs(unixMs: number): Timestamp {
  return ((unixMs - TIMESTAMP_EPOCH_MS) * TIMESTAMP_LOGICAL_STEPS) as Timestamp;
}
