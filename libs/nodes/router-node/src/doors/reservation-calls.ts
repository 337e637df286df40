import { NO_BYTES, timestamp } from '@cairn/base';
import { invalidField, WIDEST_KEY_VALUE_LIMITS, type SpanTimes } from '@cairn/routing';
import type { OpenTransaction, ReserveRequest as ReserveWork } from '@cairn/transactions';
import { LockPolicy as Policy, LockStrength as Strength, type ReadRow } from '@cairn/wire';
import {
  LockPolicy,
  LockStrength,
  type ReleaseRequest,
  type ReleaseResponse,
  type ReserveRequest,
  type ReserveResponse,
} from '@cairn/wire/gen/cairn/v1/kv.js';
import type { TxnGetForUpdateRequest, TxnGetForUpdateResponse } from '@cairn/wire/gen/cairn/v1/txn.js';

import { assertKey } from './convert.js';
import type { DoorContext } from './door-context.js';
import { readInWindows, type AnswerAccount, type CallWeight } from './transaction-calls.js';

/** Keys count as what waits here; more of them take no more places than a window of reads. */
export function reserveWeight({ keys }: ReserveRequest): CallWeight {
  let bytes = 0;
  for (const key of keys) bytes += key.length;
  return { ops: Math.max(1, Math.min(keys.length, OPS_MAX)), bytes };
}

const OPS_MAX = 64;

/** How keys are held, as a message says it. */
interface LockFields {
  readonly strength: LockStrength;
  readonly policy: LockPolicy;
  readonly lockTimeoutMs: number;
}

type Lock = Pick<ReserveWork, 'lockTimeoutMs' | 'policy' | 'strength'>;

/** Throws INVALID_ARGUMENT for what is not known. */
function lockOf({ lockTimeoutMs, policy, strength }: LockFields): Lock {
  return {
    strength: strengthOf(strength),
    policy: policyOf(policy),
    ...(lockTimeoutMs === 0 ? {} : { lockTimeoutMs }),
  };
}

function strengthOf(strength: LockStrength): Strength {
  switch (strength) {
    case LockStrength.UNSPECIFIED:
    case LockStrength.EXCLUSIVE:
      return Strength.exclusive;
    case LockStrength.SHARE:
      return Strength.share;
    case LockStrength.KEY_SHARE:
      return Strength.keyShare;
    default:
      throw invalidField('strength', `strength ${String(strength)} is not known`);
  }
}

function policyOf(policy: LockPolicy): Policy {
  switch (policy) {
    case LockPolicy.UNSPECIFIED:
    case LockPolicy.WAIT:
      return Policy.wait;
    case LockPolicy.NOWAIT:
      return Policy.nowait;
    case LockPolicy.SKIP_LOCKED:
      return Policy.skipLocked;
    default:
      throw invalidField('policy', `policy ${String(policy)} is not known`);
  }
}

/** Reserves keys for a transaction that its client keeps. */
export function reserve(
  context: DoorContext,
  request: ReserveRequest,
  times: SpanTimes,
): Promise<ReserveResponse> {
  return context.counted('reserve_keys', async () => {
    const { coordinator } = context.transactions;
    const { keys, owner, start } = request;
    for (const key of keys) assertKey(key, WIDEST_KEY_VALUE_LIMITS, 'keys');
    const newest = context.router.latestTimestamp;
    if (owner > newest) throw invalidField('owner', 'owner was not issued by this cluster');
    if (start > newest) throw invalidField('start', 'start was not issued by this cluster');
    const work = { ...lockOf(request), keys, owner: timestamp(owner), start: timestamp(start) };
    const reserved = await coordinator.reserve(work, times);
    const { rows } = reserved;
    return {
      owner: reserved.owner,
      timestamp: reserved.timestamp,
      skipped: rows.flatMap(({ isReserved }, at) => (isReserved ? [] : [at])),
      newest: rows.reduce((max, row) => Math.max(max, row.isReserved ? row.newest : 0), 0),
    };
  });
}

export function release(
  context: DoorContext,
  { owner }: ReleaseRequest,
  { caller }: SpanTimes,
): Promise<ReleaseResponse> {
  return context.counted('release_keys', () => {
    context.transactions.coordinator.release(timestamp(owner), caller ?? '');
    return Promise.resolve({});
  });
}

/** What is shown of a key that was left out. */
const NO_ROW: ReadRow = { found: false, value: NO_BYTES, version: NO_BYTES, kind: 0, expiresUnixMs: 0 };

/** Reserves and reads keys of a transaction that the router keeps, as far as the answer has room. */
export async function getForUpdate(
  context: DoorContext,
  {
    transaction,
    request,
  }: { readonly transaction: OpenTransaction; readonly request: TxnGetForUpdateRequest },
  times: SpanTimes,
  account: AnswerAccount,
): Promise<TxnGetForUpdateResponse> {
  const lock = lockOf(request);
  const skipped: number[] = [];
  let done = 0;
  const read = async (part: readonly Uint8Array[]): Promise<readonly ReadRow[]> => {
    const rows = await transaction.getForUpdate(part, lock, times);
    for (const [at, row] of rows.entries()) if (row === undefined) skipped.push(done + at);
    done += rows.length;
    return rows.map((row) => row ?? NO_ROW);
  };
  const { partial, results } = await readInWindows(context, request.keys, read, account);
  return {
    results: [...results],
    partial,
    skipped: skipped.filter((at) => at < results.length),
    timestamp: transaction.start,
  };
}
