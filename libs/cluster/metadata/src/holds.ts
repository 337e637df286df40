import {
  CairnError,
  timestamp,
  TIMESTAMP_LOGICAL_STEPS,
  timestampToUnixMs,
  type Timestamp,
} from '@cairn/base';

import type { MetadataView } from './metadata-state.js';
import type { Evaluation } from './proposer.js';
import type { HoldRecord } from './records.js';
import { isBeyondCap, isExpired, secondsBack } from './safe-point.js';
import { settingOf } from './settings.js';
import type { HoldMessage, PutHoldRequest } from './wire-binding.js';

/** Holds that there may be: each is a row, and all are looked at once a second. */
export const HOLDS_MAX = 1_000;

const NAME = /^[\x21-\x7e](?:[\x20-\x7e]{0,126}[\x21-\x7e])?$/;
const REASON = /^[\x20-\x7e]{0,256}$/;

function refuse(field: string, message: string): CairnError {
  return new CairnError('INVALID_ARGUMENT', message, { details: { field } });
}

/**
 * What does not depend on the state.
 *
 * @throws CairnError INVALID_ARGUMENT.
 */
export function checkHoldName(name: string): void {
  if (NAME.test(name)) return;
  throw refuse(
    'name',
    `A hold cannot be named "${shown(name)}": a name has 1 to 128 printable ASCII characters, with no space at ` +
      'either end.',
  );
}

function shown(text: string): string {
  return text.slice(0, 80).replace(/[^\x20-\x7e]/g, '?');
}

/** Below it nothing can be held: before the first safe point, older releases collected by themselves. */
function floorOf(state: MetadataView, newest: Timestamp): Timestamp {
  if (state.gcSafePoint > 0) return state.gcSafePoint;
  const lifeMs = settingOf(state.settings, 'gc.life_seconds') * 1_000;
  return timestamp(Math.max(0, newest - lifeMs * TIMESTAMP_LOGICAL_STEPS));
}

/**
 * Makes a hold, or gives the one of that name another time and reason. Answers it.
 *
 * @param newest The newest timestamp that was issued.
 * @throws CairnError INVALID_ARGUMENT for a name, reason, time to live or timestamp that cannot be;
 *   FAILED_PRECONDITION for a timestamp whose versions may be gone, and when there are too many holds.
 */
export function evaluatePutHold(
  state: MetadataView,
  newest: Timestamp,
  { name, timestamp: wanted, ttlMs, reason }: PutHoldRequest,
): Evaluation<HoldMessage> {
  checkHoldName(name);
  if (!REASON.test(reason)) {
    throw refuse(
      'reason',
      `The reason "${shown(reason)}" is not one: at most 256 printable ASCII characters.`,
    );
  }
  const ttlMaxMs = settingOf(state.settings, 'gc.hold_max_seconds') * 1_000;
  if (ttlMs < 1 || ttlMs > ttlMaxMs) {
    throw refuse(
      'ttl_ms',
      `A hold cannot be for ${ttlMs} ms: it must be from 1 to ${ttlMaxMs} ms (the setting gc.hold_max_seconds).`,
    );
  }
  const stored = state.holds.get(name);
  const known = stored === undefined || isExpired(stored, newest) ? undefined : stored;
  const heldAt = wanted === 0 ? (known?.heldAt ?? newest) : timestamp(wanted);
  checkHeldAt(state, heldAt, newest);
  if (stored === undefined && state.holds.size >= HOLDS_MAX) {
    throw new CairnError(
      'FAILED_PRECONDITION',
      `There are ${state.holds.size} holds, and no more than ${HOLDS_MAX} may be: remove one, or wait until one ends.`,
    );
  }
  const value: HoldRecord = { heldAt, expiresUnixMs: timestampToUnixMs(newest) + ttlMs, reason };
  return { changes: [{ type: 'hold', name, value }], result: holdMessage(state, name, value, newest) };
}

function checkHeldAt(state: MetadataView, heldAt: Timestamp, newest: Timestamp): void {
  const floor = floorOf(state, newest);
  const range =
    `it must be from ${floor} (the safe point, ${secondsBack(floor, newest)} s back) to ${newest} (the newest that ` +
    'was issued)';
  if (heldAt > newest) {
    throw refuse('timestamp', `The timestamp ${heldAt} cannot be held, it was not issued yet: ${range}.`);
  }
  if (heldAt < floor) {
    throw new CairnError(
      'FAILED_PRECONDITION',
      `The timestamp ${heldAt} cannot be held, its versions may be collected already: ${range}.`,
      { details: { field: 'timestamp' } },
    );
  }
  if (!isBeyondCap(state, heldAt, newest)) return;
  const cap = settingOf(state.settings, 'gc.hold_max_seconds');
  throw refuse(
    'timestamp',
    `The timestamp ${heldAt} cannot be held, it lies ${secondsBack(heldAt, newest)} s back: the most is ${cap} s (the ` +
      'setting gc.hold_max_seconds).',
  );
}

/** Ends a hold at once. Answers whether it was there. */
export function evaluateDeleteHold(state: MetadataView, name: string): Evaluation<boolean> {
  if (!state.holds.has(name)) return { changes: [], result: false };
  return { changes: [{ type: 'hold', name, value: undefined }], result: true };
}

/** Those that have not ended, in the order of their names. */
export function listHolds(state: MetadataView, newest: Timestamp): HoldMessage[] {
  return [...state.holds]
    .filter(([, hold]) => !isExpired(hold, newest))
    .map(([name, hold]) => holdMessage(state, name, hold, newest))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

function holdMessage(
  state: MetadataView,
  name: string,
  { heldAt, expiresUnixMs, reason }: HoldRecord,
  newest: Timestamp,
): HoldMessage {
  return { name, timestamp: heldAt, expiresUnixMs, reason, capped: isBeyondCap(state, heldAt, newest) };
}
