import {
  messageOf,
  rethrowInvariant,
  timestamp,
  TIMESTAMP_LOGICAL_STEPS,
  type RangeId,
  type Term,
  type Timestamp,
} from '@cairn/base';
import type { KvEngine } from '@cairn/engine';
import { sleep, type Clock, type Counter, type Logger, type Metrics } from '@cairn/ports';

import { reportDamage, type DamageListener } from '../kv/damage.js';
import type { PurgeResult } from '../kv/garbage-purges.js';
import type { KvMachine } from '../kv/kv-machine.js';
import { GarbageLooks, type Look, type LookedRange } from './garbage-looks.js';
import { garbageMetrics, type GarbageMetrics } from './garbage-metrics.js';

export interface GarbageLimits {
  /** Rows one command removes at most. Default 512. */
  readonly keysPerCommandMax: number;
  /** Payload bytes of one command. Default 256 KiB. */
  readonly commandBytesMax: number;
  /** Pause between two looks of a pass. Default 5 ms. */
  readonly pauseMs: number;
  /**
   * Wait before a command is tried again that the range had no room for, and how often. Default 100 ms, 50
   * times.
   */
  readonly busyPauseMs: number;
  readonly busyTriesMax: number;
}

export const DEFAULT_GARBAGE_LIMITS: GarbageLimits = {
  keysPerCommandMax: 512,
  commandBytesMax: 256 * 1024,
  pauseMs: 5,
  busyPauseMs: 100,
  busyTriesMax: 50,
};

/** The safe point is held when it lies further back than this many lives: it moves in steps, and is told late. */
const HELD_LIVES = 1.5;

/** What is asked of the machine of a range. */
export type CollectedRange = Pick<
  KvMachine,
  | 'replica'
  | 'descriptor'
  | 'isClosed'
  | 'load'
  | 'garbage'
  | 'forgetOldOutcomes'
  | 'purge'
  | 'oldestLockStart'
>;

export interface GarbageCollectionParts extends DamageListener {
  readonly engine: KvEngine;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly limits: GarbageLimits;
  /** All of this store. */
  readonly machines: ReadonlyMap<RangeId, CollectedRange>;
  /** The newest timestamp of the oracle that this store has seen. */
  newestTimestamp(): Timestamp;
  /** What the cluster lets go: no read at or above it may lose anything. Only rises; 0 = nothing, yet. */
  safePoint(): Timestamp;
  /** Below it no range of the cluster has a lock, and none takes one. Only rises; 0 = not known. */
  lockFreeBelow(): Timestamp;
  /** How long old versions stay readable when nothing holds them. */
  lifeMs(): number;
}

/** What one pass works by. A pass ends when the range gets another leadership or another span. */
interface Pass extends LookedRange {
  readonly machine: CollectedRange;
  readonly term: Term;
  /** What it was thought to free. */
  readonly ripeBytes: number;
  freedBytes: number;
  /** Of records that a later pass will free. */
  blockedBytes: number;
  hasExpiring: boolean;
}

/**
 * Removes old versions, rows that were deleted or have expired, and records of transactions that nobody can
 * ask for any more, from the ranges that are led here: one range at a time, of those looked at the one with
 * the most to gain. The leader looks at whole version chains (`GarbageLooks`) and logs the exact keys to
 * delete, so that applying needs no judgement. Every replica's engine gives the space back by itself.
 */
export class GarbageCollection {
  readonly #parts: GarbageCollectionParts;
  readonly #metrics: GarbageMetrics;
  /** The safe point of the last whole pass of each range: another one under it would find nothing. */
  readonly #passed = new WeakMap<CollectedRange, Timestamp>();
  /** When the safe point was last seen further back than the life of old versions; 0 = never. */
  #heldAt = timestamp(0);
  #collecting: RangeId | undefined;
  #isStopped = false;

  constructor(parts: GarbageCollectionParts) {
    this.#parts = parts;
    this.#metrics = garbageMetrics(parts.metrics, () => {
      let bytes = 0;
      for (const machine of parts.machines.values()) bytes += machine.garbage.ripeBytes;
      return bytes;
    });
  }

  /** The range being collected. */
  get collecting(): RangeId | undefined {
    return this.#collecting;
  }

  /** No pass goes on after its present step, and none begins. */
  stop(): void {
    this.#isStopped = true;
  }

  /**
   * Begins whatever is due among these. Called about once a second, each time with the next of all ranges.
   */
  poll(machines: readonly CollectedRange[]): void {
    const now = this.#parts.newestTimestamp();
    const safePoint = this.#parts.safePoint();
    if (this.#isStopped) return;
    for (const machine of machines) if (!machine.isClosed) machine.forgetOldOutcomes();
    if (safePoint === 0 || now <= safePoint) return;
    // What is held longer ripens later.
    const lifeSteps = now - safePoint;
    if (lifeSteps > this.#parts.lifeMs() * TIMESTAMP_LOGICAL_STEPS * HELD_LIVES) this.#heldAt = now;
    let best: CollectedRange | undefined;
    let bestUrgency = -1;
    for (const machine of machines) {
      if (machine.isClosed) continue;
      machine.garbage.tick(now, lifeSteps);
      if (!machine.replica.isReadyLeader || machine.replica.isFrozen) continue;
      if ((this.#passed.get(machine) ?? 0) >= safePoint) continue;
      const urgency = machine.garbage.urgency(now, lifeSteps, machine.load.bytes);
      if (urgency === undefined || urgency <= bestUrgency) continue;
      best = machine;
      bestUrgency = urgency;
    }
    if (best === undefined || this.#collecting !== undefined) return;
    this.#begin(best, safePoint);
  }

  #begin(machine: CollectedRange, ripeBelow: Timestamp): void {
    const { descriptor, replica } = machine;
    this.#collecting = replica.rangeId;
    // An open transaction may still read as of its start (T15).
    const safePoint = timestamp(Math.min(ripeBelow, (machine.oldestLockStart ?? Infinity) - 1));
    // The range serves nothing below its safe point from the first purge on, so no late command misses them.
    const below = timestamp(Math.min(safePoint, this.#parts.lockFreeBelow()));
    const pass: Pass = {
      machine,
      descriptor,
      term: replica.term,
      safePoint,
      records: { below, ripeBelow },
      ripeBytes: machine.garbage.ripeBytes,
      freedBytes: 0,
      blockedBytes: 0,
      hasExpiring: false,
    };
    this.#collect(pass)
      .then(
        (isWhole) => {
          this.#metrics.passes.add(1, { result: isWhole ? 'whole' : 'stopped' });
          if (isWhole) this.#passedWhole(pass);
        },
        (error: unknown) => {
          rethrowInvariant(error);
          reportDamage(this.#parts, error);
          this.#metrics.passes.add(1, { result: 'failed' });
          this.#parts.logger.warn('garbage collection of a range failed', {
            range: replica.rangeId,
            reason: messageOf(error),
          });
        },
      )
      .finally(() => {
        this.#collecting = undefined;
      });
  }

  /**
   * What was written while the safe point was held ripens together, as soon as that ends: some of it is
   * younger than the safe point, stays where it is, and must not be forgotten. Nor must records that locks
   * somewhere keep.
   */
  #passedWhole({ machine, safePoint, ripeBytes, freedBytes, blockedBytes, hasExpiring }: Pass): void {
    this.#passed.set(machine, safePoint);
    machine.garbage.passed(this.#parts.newestTimestamp(), freedBytes, hasExpiring);
    const heldBytes = safePoint <= this.#heldAt ? ripeBytes - freedBytes : 0;
    const leftBytes = Math.max(heldBytes, blockedBytes);
    if (leftBytes > 0) machine.garbage.applied(leftBytes, 0, false);
  }

  /** Answers whether the pass reached the end of the span. */
  async #collect(pass: Pass): Promise<boolean> {
    const looks = new GarbageLooks(this.#parts.engine, pass, this.#parts.limits.keysPerCommandMax);
    let place = looks.first;
    for (;;) {
      const look = await looks.look(place);
      pass.hasExpiring ||= look.hasExpiring;
      pass.blockedBytes += look.blockedBytes;
      const isOfRecords = place.type === 'records';
      const { examined, examinedRecords, purgedRecords, purgedVersions } = this.#metrics;
      (isOfRecords ? examinedRecords : examined).add(look.examined);
      const purged = isOfRecords ? purgedRecords : purgedVersions;
      if (look.keys.length > 0 && !(await this.#purge(pass, look, purged))) return false;
      if (look.next === undefined) return true;
      place = look.next;
      await sleep(this.#parts.clock, this.#parts.limits.pauseMs);
      if (!this.#isCurrent(pass)) return false;
    }
  }

  #isCurrent({ machine, descriptor, term }: Pass): boolean {
    if (this.#isStopped || machine.isClosed || !machine.replica.isReadyLeader) return false;
    return machine.replica.term === term && machine.descriptor.epoch.version === descriptor.epoch.version;
  }

  /** Answers whether everything that was found is gone. */
  async #purge(pass: Pass, look: Look, purged: Counter): Promise<boolean> {
    const { machine, safePoint, term, descriptor } = pass;
    let bytesLeft = look.freedBytes;
    let keysLeft = look.keys.length;
    for (const keys of piecesOf(look.keys, this.#parts.limits.commandBytesMax)) {
      const bytes = Math.round((bytesLeft * keys.length) / keysLeft);
      const purge = { keys, safePoint, bytes, term, version: descriptor.epoch.version };
      let result: PurgeResult = 'busy';
      for (let tries = 0; result === 'busy' && tries < this.#parts.limits.busyTriesMax; tries += 1) {
        if (tries > 0) await sleep(this.#parts.clock, this.#parts.limits.busyPauseMs);
        if (this.#isStopped) return false;
        result = await machine.purge(purge);
      }
      if (result !== 'logged') return false;
      bytesLeft -= bytes;
      keysLeft -= keys.length;
      pass.freedBytes += bytes;
      purged.add(keys.length);
      this.#metrics.purgedBytes.add(bytes);
    }
    return true;
  }
}

/**
 * Cuts the keys, in their order, into pieces of at most so many bytes; a longer key makes a piece of its own.
 */
function* piecesOf(keys: readonly Buffer[], bytesMax: number): Generator<readonly Buffer[]> {
  let first = 0;
  let bytes = 0;
  for (const [at, key] of keys.entries()) {
    if (at > first && bytes + key.length > bytesMax) {
      yield keys.slice(first, at);
      first = at;
      bytes = 0;
    }
    bytes += key.length;
  }
  yield keys.slice(first);
}
