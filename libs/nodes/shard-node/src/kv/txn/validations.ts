import { timestamp } from '@cairn/base';
import {
  checkRow,
  decodeRecord,
  isSameChain,
  rowCacheKey,
  timestampOfVersionKey,
  userKeyOfVersionKey,
  versionSpanOf,
  type VersionRecord,
} from '@cairn/mvcc';
import type { ReadSpan, TxnReply, ValidateCommand } from '@cairn/wire';

import type { ColdReads } from '../cold-reads.js';
import { readConfirmed } from '../confirmed-view.js';
import { failRead } from '../damage.js';
import type { KvCall, Submitter } from '../kv-call.js';
import type { KvEnvironment } from '../kv-environment.js';
import type { PublishWaiters } from '../publish-waiters.js';
import { PageTurns, ROWS_PER_STEP } from '../scan-pages.js';
import type { ServedRange } from '../served-range.js';
import { rowAt } from '../several-rows.js';
import { expiresWithin } from './execute.js';
import { keysOf } from './keys-of.js';
import type { Lock } from './lock-table.js';
import { isStopped } from './stopped-reads.js';
import type { TxnState } from './txn-state.js';

/** Keys that are looked at together. */
const KEYS_PER_STEP = 256;

const VALID: TxnReply = { type: 'valid' };

/** What validations need of their range. */
export interface ValidationParts {
  readonly range: Pick<ServedRange, 'replica' | 'descriptor' | 'covers' | 'readableSince' | 'refusesAsMoved'>;
  readonly queue: Submitter;
  readonly coldReads: Pick<ColdReads, 'at'>;
  readonly waiters: Pick<PublishWaiters, 'whenPublished'>;
  readonly txn: Pick<TxnState, 'locks'>;
}

/**
 * Whether what a transaction read as of its start is what there is as of its commit, that included (T10). The
 * commit was observed, so nothing is written at or below it from now on, but by transactions whose locks are
 * here: what is found once stays true, and the engine may be asked in as many steps as it takes.
 */
export class Validations {
  readonly #environment: KvEnvironment;
  readonly #parts: ValidationParts;

  constructor(environment: KvEnvironment, parts: ValidationParts) {
    this.#environment = environment;
    this.#parts = parts;
  }

  add(call: KvCall, command: ValidateCommand): void {
    const { range, waiters } = this.#parts;
    const { endKey } = range.descriptor;
    const isInside = ({ end }: ReadSpan): boolean =>
      endKey.length === 0 || (end.length > 0 && Buffer.compare(end, endKey) <= 0);
    if (!keysOf(command).every((key) => range.covers(key)) || !command.spans.every(isInside)) {
      call.reply({ type: 'regroup' });
      return;
    }
    waiters.whenPublished(() => {
      this.#confirm(call, command);
    });
  }

  #confirm(call: KvCall, command: ValidateCommand): void {
    const { replica } = this.#parts.range;
    readConfirmed<true>(replica, this.#environment.clock, 'this-leader', {
      take: () => (this.#isRefused(call, command) || this.#isLocked(call, command) ? undefined : true),
      use: () => {
        this.#begin(call, command);
      },
      drop: () => undefined,
      refused: () => {
        call.failNotLeader(replica.leaderStoreId);
      },
    });
  }

  /** Asked wherever a view is taken: what was purged since, or has moved, would be missed. */
  #isRefused(call: KvCall, { start }: ValidateCommand): boolean {
    const { range } = this.#parts;
    if (range.refusesAsMoved(call)) return true;
    if (start >= range.readableSince) return false;
    call.reply({ type: 'tooOld', readableSince: range.readableSince });
    return true;
  }

  #isLocked(call: KvCall, { commit, keys, spans, start }: ValidateCommand): boolean {
    const { queue, txn, waiters } = this.#parts;
    const { locks } = txn;
    if (locks.size === 0) return false;
    // Its own locks stop nobody.
    const ignored = [...call.request.ignoreLocks, start].sort((one, other) => one - other);
    const met: Lock[] = [];
    for (const key of keys) {
      const lock = locks.stopsAt(rowCacheKey(key), commit, ignored);
      if (lock !== undefined) met.push(lock);
    }
    for (const span of spans) {
      const end = span.end.length === 0 ? undefined : rowCacheKey(span.end);
      met.push(...locks.stopsAtIn(rowCacheKey(span.start), end, { at: commit, ignored }));
    }
    return isStopped(call, met, waiters, () => {
      queue.submit(call);
    });
  }

  /** Spans are read like those of scans, and share their places. */
  #begin(call: KvCall, command: ValidateCommand): void {
    const work = async (): Promise<void> => {
      try {
        const reply = (await this.#keys(call, command)) ?? (await this.#spans(call, command)) ?? VALID;
        call.reply(reply);
      } catch (error) {
        failRead(this.#environment, call, error);
      }
    };
    if (command.spans.length === 0) {
      void work();
    } else if (!this.#environment.scanSlots.run(call, work)) {
      call.fail('RESOURCE_EXHAUSTED', 'too many scans wait on this node', { retryAfterMs: 50 });
    }
  }

  /** Answers what was written since; undefined also when the call is answered otherwise. */
  async #keys(call: KvCall, command: ValidateCommand): Promise<TxnReply | undefined> {
    const { commit, keys } = command;
    const { rowCache } = this.#environment;
    const { coldReads } = this.#parts;
    for (let from = 0; from < keys.length; from += KEYS_PER_STEP) {
      if (this.#isOver(call, command)) return undefined;
      const step = keys.slice(from, from + KEYS_PER_STEP);
      const found = await Promise.all(
        step.map((key) => Promise.resolve(rowAt(key, commit, rowCache, coldReads))),
      );
      for (const [at, version] of found.entries()) {
        const conflict = conflictOf(step[at] as Uint8Array, version, command);
        if (conflict !== undefined) return conflict;
      }
    }
    return undefined;
  }

  async #spans(call: KvCall, command: ValidateCommand): Promise<TxnReply | undefined> {
    for (const span of command.spans) {
      if (this.#isOver(call, command)) return undefined;
      const conflict = await this.#span(call, command, span);
      if (conflict !== undefined) return conflict;
    }
    return undefined;
  }

  /** Of each key all versions down to the one that was read. */
  async #span(call: KvCall, command: ValidateCommand, span: ReadSpan): Promise<TxnReply | undefined> {
    const { commit, start } = command;
    const iterator = this.#environment.engine.iterate(versionSpanOf(span.start, span.end));
    const turns = new PageTurns(this.#environment.clock, iterator);
    /** A key of which nothing else matters. */
    let settled: Buffer | undefined;
    try {
      for (;;) {
        const pausing = turns.pause();
        if (pausing !== undefined) await pausing;
        if (this.#isOver(call, command)) return undefined;
        const rows = await iterator.next(ROWS_PER_STEP);
        if (rows.length === 0) return undefined;
        for (const [key, record] of rows) {
          const ts = timestampOfVersionKey(key);
          if (ts > commit || (settled !== undefined && isSameChain(key, settled))) continue;
          checkRow(key, record);
          const version = decodeRecord(ts, record);
          const conflict = conflictOf(userKeyOfVersionKey(key), version, command);
          if (conflict !== undefined) return conflict;
          if (ts <= start) settled = key;
        }
      }
    } finally {
      await iterator.close();
    }
  }

  #isOver(call: KvCall, command: ValidateCommand): boolean {
    if (call.isDone) return true;
    if (!call.isAbandoned(this.#environment.clock.nowMs())) return this.#isRefused(call, command);
    call.fail('DEADLINE_EXCEEDED', 'the deadline passed during the validation');
    return true;
  }
}

/** `version`: the newest of the key at or below the commit. */
function conflictOf(
  key: Uint8Array,
  version: VersionRecord | undefined,
  { commit, start }: ValidateCommand,
): TxnReply | undefined {
  if (version === undefined) return undefined;
  if (version.timestamp > start) return { type: 'conflict', key, newest: version.timestamp };
  // Who wrote it said when it goes: nobody writes then.
  return expiresWithin(version, start, commit) ? { type: 'conflict', key, newest: timestamp(0) } : undefined;
}
