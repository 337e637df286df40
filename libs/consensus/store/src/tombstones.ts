import { checkFormat, type LogIndex, type RangeId, type ReplicaId, type Term } from '@cairn/base';
import { ByteReader, ByteWriter } from '@cairn/codec';
import type { RaftLog } from '@cairn/raft-log';

import { checkpointFrom } from './checkpoint-state.js';
import type { EngineSpan } from './state-machine.js';

/**
 * The tombstone of a range has a place of its own in the log, this far above the range's: it must outlive the
 * range's own records, which go when the replica goes and begin anew with its successor.
 */
export const TOMBSTONE_PLACES = 2 ** 47;
/** Read from `min` on, written as `max`. */
const FORMATS = { min: 1, max: 1 };

/** A removal that a crash interrupted: rows of these spans may still be in the engine. */
export interface UnfinishedRemoval {
  readonly rangeId: RangeId;
  readonly spans: readonly EngineSpan[];
}

/**
 * What a store remembers, for ever and durably, of replicas that were removed from it: per range the lowest
 * replica id that may still come. Ids are never reused and only rise, so late messages to an old replica
 * never bring it back, while a new replica of the same range may come.
 */
export class Tombstones {
  readonly #log: RaftLog;
  readonly #nextIds = new Map<RangeId, ReplicaId>();

  constructor(log: RaftLog) {
    this.#log = log;
  }

  /** Whether a place in the log is that of a tombstone. */
  static isPlace(rangeId: RangeId): boolean {
    return rangeId >= TOMBSTONE_PLACES;
  }

  /** Reads what the log holds; answers the removals that were not finished. */
  recover(): UnfinishedRemoval[] {
    const unfinished: UnfinishedRemoval[] = [];
    for (const place of this.#log.rangeIds()) {
      if (!Tombstones.isPlace(place)) continue;
      const range = this.#log.range(place);
      if (range.checkpoint === undefined) continue;
      const rangeId = (place - TOMBSTONE_PLACES) as RangeId;
      const { nextReplicaId, spans, isFinished } = checkpointFrom(range, decodeTombstone);
      this.#nextIds.set(rangeId, nextReplicaId);
      if (!isFinished) unfinished.push({ rangeId, spans });
    }
    return unfinished;
  }

  /** Whether the replica was removed from this store. */
  isGone(rangeId: RangeId, replicaId: ReplicaId): boolean {
    return replicaId < (this.#nextIds.get(rangeId) ?? 0);
  }

  /** Stages: the replica is gone, its rows are not yet. Durable with the next sync of the log. */
  begin(rangeId: RangeId, replicaId: ReplicaId, spans: readonly EngineSpan[]): void {
    const next = Math.max(replicaId + 1, this.#nextIds.get(rangeId) ?? 0);
    this.#nextIds.set(rangeId, next as ReplicaId);
    this.#write(rangeId, spans, false);
  }

  /** Stages: nothing of it is left. */
  finish(rangeId: RangeId): void {
    this.#write(rangeId, [], true);
  }

  #write(rangeId: RangeId, spans: readonly EngineSpan[], isFinished: boolean): void {
    const nextReplicaId = this.#nextIds.get(rangeId) ?? (0 as ReplicaId);
    this.#log.range((rangeId + TOMBSTONE_PLACES) as RangeId).setCheckpoint({
      index: 0 as LogIndex,
      term: 0 as Term,
      state: encodeTombstone({ nextReplicaId, spans, isFinished }),
    });
  }
}

/** What the log keeps of it. */
export interface TombstoneState {
  readonly nextReplicaId: ReplicaId;
  readonly spans: readonly EngineSpan[];
  readonly isFinished: boolean;
}

export function encodeTombstone(state: TombstoneState): Buffer {
  const writer = new ByteWriter(64);
  writer.u8(FORMATS.max);
  writer.u8(state.isFinished ? 1 : 0);
  writer.varint(state.nextReplicaId);
  writer.varint(state.spans.length);
  for (const { start, end } of state.spans) {
    writer.bytes(start);
    writer.bytes(end);
  }
  return writer.take();
}

/** Throws FORMAT_TOO_NEW for what a later release wrote, CORRUPTION. */
export function decodeTombstone(bytes: Uint8Array): TombstoneState {
  const reader = new ByteReader(bytes);
  checkFormat('a tombstone', reader.u8(), FORMATS);
  const isFinished = reader.u8() === 1;
  const nextReplicaId = reader.varint() as ReplicaId;
  const count = reader.varint();
  const spans: EngineSpan[] = [];
  for (let at = 0; at < count; at += 1) {
    const start = Buffer.from(reader.bytes());
    spans.push({ start, end: Buffer.from(reader.bytes()) });
  }
  reader.expectEnd();
  return { nextReplicaId, spans, isFinished };
}
