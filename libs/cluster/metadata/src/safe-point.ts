import { timestamp, TIMESTAMP_LOGICAL_STEPS, timestampToUnixMs, type Timestamp } from '@cairn/base';

import type { MetadataView } from './metadata-state.js';
import type { Evaluation } from './proposer.js';
import type { HoldRecord } from './records.js';
import { settingOf } from './settings.js';

/** The safe point moves in steps of this, or of a tenth of `gc.life_seconds` if that is less. */
const STEP_MS_MAX = 5_000;
const STEPS_PER_SECOND = 1_000 * TIMESTAMP_LOGICAL_STEPS;

/** The oldest of the transactions that a router runs. */
export interface RunningTransactions {
  readonly router: string;
  readonly oldest: Timestamp;
}

/** What the safe point depends on, beside the replicated state. */
export interface SafePointFacts {
  /** The newest timestamp that was issued. */
  readonly newest: Timestamp;
  /** Of every router that is alive and runs some. */
  readonly running: readonly RunningTransactions[];
}

/** Something that needs old versions. */
export interface Pin {
  readonly kind: 'hold' | 'transactions';
  /** Of the hold; of the router. */
  readonly name: string;
  readonly at: Timestamp;
  /** It lies further back than is allowed: a hold counts no more, transactions as far back as is allowed. */
  readonly isCapped: boolean;
}

/** Where the safe point should be, if it were not further already. */
export interface WantedSafePoint {
  readonly at: Timestamp;
  /** What keeps it from being `gc.life_seconds` back; undefined = nothing does. */
  readonly pin: Pin | undefined;
}

export function isExpired({ expiresUnixMs }: HoldRecord, newest: Timestamp): boolean {
  return timestampToUnixMs(newest) >= expiresUnixMs;
}

/** A hold this far back holds nothing. */
export function isBeyondCap(state: MetadataView, heldAt: Timestamp, newest: Timestamp): boolean {
  return newest - heldAt > settingOf(state.settings, 'gc.hold_max_seconds') * STEPS_PER_SECOND;
}

/** All holds that have not expired, then the routers that run transactions. */
export function pinsOf(state: MetadataView, { newest, running }: SafePointFacts): Pin[] {
  const pins: Pin[] = [];
  for (const [name, hold] of state.holds) {
    if (isExpired(hold, newest)) continue;
    const { heldAt } = hold;
    pins.push({ kind: 'hold', name, at: heldAt, isCapped: isBeyondCap(state, heldAt, newest) });
  }
  const runMaxSteps = settingOf(state.settings, 'transaction.max_seconds') * STEPS_PER_SECOND;
  for (const { router, oldest } of running) {
    pins.push({ kind: 'transactions', name: router, at: oldest, isCapped: newest - oldest > runMaxSteps });
  }
  return pins;
}

/** `gc.life_seconds` back, or as far as the first of the pins that count. 0 = no time has passed yet. */
export function wantedSafePoint(state: MetadataView, facts: SafePointFacts): WantedSafePoint {
  const runMaxSteps = settingOf(state.settings, 'transaction.max_seconds') * STEPS_PER_SECOND;
  let at = timestamp(
    Math.max(0, facts.newest - settingOf(state.settings, 'gc.life_seconds') * STEPS_PER_SECOND),
  );
  let pin: Pin | undefined;
  for (const each of pinsOf(state, facts)) {
    // A transaction that is too old may hide younger ones of its router, which are still held.
    if (each.isCapped && each.kind !== 'transactions') continue;
    const heldAt = timestamp(Math.max(each.at, each.isCapped ? facts.newest - runMaxSteps : 0));
    if (heldAt >= at) continue;
    at = heldAt;
    pin = { ...each, at };
  }
  return { at, pin };
}

/**
 * Moves the safe point, if that is worth a command, and takes the holds away that have expired. It never goes
 * back: what comes later and lies below it holds nothing. Answers the names of the holds that ended.
 */
export function evaluateSafePoint(state: MetadataView, facts: SafePointFacts): Evaluation<readonly string[]> {
  const ended: string[] = [];
  for (const [name, hold] of state.holds) if (isExpired(hold, facts.newest)) ended.push(name);
  const { at } = wantedSafePoint(state, facts);
  const lifeMs = settingOf(state.settings, 'gc.life_seconds') * 1_000;
  const stepSteps = Math.min(STEP_MS_MAX, lifeMs / 10) * TIMESTAMP_LOGICAL_STEPS;
  return {
    changes: [
      ...ended.map((name) => ({ type: 'hold' as const, name, value: undefined })),
      ...(at - state.gcSafePoint >= stepSteps ? [{ type: 'gc-safe-point' as const, value: at }] : []),
    ],
    result: ended,
  };
}

/** A pin in words: `hold "nightly" (backup), 3600 s back`. */
export function pinText(state: MetadataView, { kind, name, at }: Pin, newest: Timestamp): string {
  const back = `${secondsBack(at, newest)} s back`;
  if (kind === 'transactions') return `transactions of router ${name}, ${back}`;
  const reason = state.holds.get(name)?.reason ?? '';
  return `hold "${name}"${reason === '' ? '' : ` (${reason})`}, ${back}`;
}

export function secondsBack(at: Timestamp, newest: Timestamp): number {
  return Math.max(0, Math.round((newest - at) / STEPS_PER_SECOND));
}
