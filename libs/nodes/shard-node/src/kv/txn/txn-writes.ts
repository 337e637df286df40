import {
  encodeLockRow,
  encodeRow,
  encodeTransactionRow,
  encodeVersionKey,
  lockKeyOf,
  lockRecordLength,
} from '@cairn/mvcc';
import type { TxnReply, TxnWriteCommand } from '@cairn/wire';

import { readConfirmed } from '../confirmed-view.js';
import type { KvCall } from '../kv-call.js';
import type { KvEnvironment } from '../kv-environment.js';
import type { PendingWrite } from '../pending-writes.js';
import type { PublishWaiters } from '../publish-waiters.js';
import type { RangeTime } from '../range-time.js';
import { changesOfPrewrite } from '../reservations/changed-keys.js';
import type { EndedReservations, RangeReservations } from '../reservations/range-reservations.js';
import type { ServedRange } from '../served-range.js';
import type { WriteEvaluator } from '../write-evaluator.js';
import { judgeCheck, judgeHeartbeat } from './check.js';
import { judgeCommit } from './commit.js';
import { keysOf } from './keys-of.js';
import { infoOf } from './lock-table.js';
import { judgePrewrite } from './prewrite.js';
import { judgeResolve } from './resolve.js';
import { TxnView, type TxnViewParts } from './txn-view.js';
import type { TxnChange, Verdict } from './verdict.js';

/** What the steps of transactions need of their range. */
export interface TxnWriteParts extends TxnViewParts {
  readonly range: Pick<ServedRange, 'readableSince' | 'replica' | 'covers'>;
  readonly time: Pick<RangeTime, 'readNow' | 'asksForTheTime' | 'fetchFor'>;
  readonly writes: Pick<WriteEvaluator, 'newestUnderWay' | 'collectAll' | 'evaluateAfter'>;
  readonly waiters: Pick<PublishWaiters, 'whenPublished'>;
  readonly reservations: Pick<RangeReservations, 'size' | 'inTheWayOf' | 'endedBy'>;
}

/**
 * The steps of transactions over several ranges: each is judged by the leader against what is there when all
 * that was evaluated before commits, and what it does goes into the turn's entry. All may be sent again.
 */
export class TxnWrites {
  readonly #environment: KvEnvironment;
  readonly #parts: TxnWriteParts;

  constructor(environment: KvEnvironment, parts: TxnWriteParts) {
    this.#environment = environment;
    this.#parts = parts;
  }

  /** Judges a command, or sets it aside until that can be done. */
  add(call: KvCall): void {
    const command = call.command as TxnWriteCommand;
    if (!keysOf(command).every((key) => this.#parts.range.covers(key))) {
      call.reply({ type: 'regroup' });
      return;
    }
    const view = new TxnView(this.#environment, this.#parts, call);
    this.#settle(call, judge(command, view), view);
  }

  #settle(call: KvCall, verdict: Verdict, view: TxnView): void {
    const { queue, time, waiters, writes } = this.#parts;
    switch (verdict.type) {
      case 'reply':
        call.reply(verdict.reply);
        return;
      case 'confirm':
        this.#confirm(call, verdict.reply);
        return;
      case 'write':
        if (!this.#isReserved(call)) this.#write(call, verdict.change, verdict.reply);
        return;
      case 'locked':
        call.failLocked(verdict.locks.map(infoOf));
        return;
      case 'wait':
        waiters.whenPublished(() => {
          queue.submit(call);
        });
        return;
      case 'read':
        if (!view.isQueued) writes.evaluateAfter(call, Promise.all(view.reads));
        return;
      case 'time':
        time.fetchFor(call);
        return;
      case 'refused':
        call.fail(verdict.code, verdict.message, { retryAfterMs: verdict.retryAfterMs });
    }
  }

  /** The answer says something about what comes: whoever leads next must have begun after this. */
  #confirm(call: KvCall, reply: TxnReply): void {
    const { replica } = this.#parts.range;
    readConfirmed<TxnReply>(replica, this.#environment.clock, 'this-leader', {
      take: () => reply,
      use: () => {
        call.reply(reply);
      },
      drop: () => undefined,
      refused: () => {
        call.failNotLeader(replica.leaderStoreId);
      },
    });
  }

  /** Keys that it has locked already are nobody else's, so they are in nobody's way. */
  #isReserved(call: KvCall): boolean {
    const command = call.command as TxnWriteCommand;
    const { reservations } = this.#parts;
    if (command.type !== 'prewrite' || reservations.size === 0) return false;
    const met = reservations.inTheWayOf(changesOfPrewrite(command), command.owner);
    if (met.length > 0) call.failLocked(met);
    return met.length > 0;
  }

  /** Its locks take the place of what its owner has reserved. */
  #endedBy(call: KvCall, { added }: TxnChange): EndedReservations | undefined {
    const command = call.command as TxnWriteCommand;
    if (command.type !== 'prewrite') return undefined;
    const keys = added.map(({ key }) => key);
    return this.#parts.reservations.endedBy(command.owner, keys);
  }

  #write(call: KvCall, change: TxnChange, reply: TxnReply | undefined): void {
    const { builder } = this.#environment.scratch;
    const { start, added, removed, decisions, rows } = change;
    for (const lock of removed) builder.addRemove(lockKeyOf(lock.userKey), lockRecordLength(lock));
    for (const lock of added) builder.addPut(...encodeLockRow(lock.userKey, lock));
    for (const { userKey, start: of, commit } of decisions) {
      builder.addPut(...encodeTransactionRow(userKey, of, commit));
    }
    const writes: PendingWrite[] = [];
    for (const { userKey, key, version } of rows) {
      const engineKey = encodeVersionKey(userKey, version.timestamp, version.sequence);
      builder.addPut(...encodeRow(engineKey, version, start));
      writes.push({
        ...{ call: undefined, response: undefined, key, version },
        ...{ duplicates: undefined, isAcknowledged: false },
      });
    }
    const effect = { added, removed, decisions };
    this.#parts.txn.proposed(effect);
    const isAnswered = reply !== undefined;
    writes.push({
      ...{ call: isAnswered ? call : undefined, response: isAnswered ? call.newReply(reply) : undefined },
      ...{ key: undefined, version: undefined, effect, ended: this.#endedBy(call, change) },
      ...{ duplicates: undefined, isAcknowledged: false },
    });
    this.#parts.writes.collectAll(writes);
    if (isAnswered) return;
    this.#parts.waiters.whenPublished(() => {
      this.#parts.queue.submit(call);
    });
  }
}

function judge(command: TxnWriteCommand, view: TxnView): Verdict {
  switch (command.type) {
    case 'prewrite':
      return judgePrewrite(command, view);
    case 'commit':
      return judgeCommit(command, view);
    case 'resolve':
      return judgeResolve(command, view);
    case 'check':
      return judgeCheck(command, view);
    case 'heartbeat':
      return judgeHeartbeat(command, view);
  }
}
