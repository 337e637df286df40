import type { Edit, Mutant, MutantRun } from './mutant.js';

const TXN = 'libs/nodes/shard-node/src/kv/txn';
const COORDINATOR = 'libs/txn/coordinator/src';

/** Transactions over several ranges and routers, with nothing in their way but each other. */
const CALM = {
  type: 'cluster',
  faults: [],
  isWaylaid: false,
  breaksCuts: false,
  durationMs: 5_000,
  shape: { shardNodes: 3, replicationFactor: 3, routers: 3, metadataMembers: 3, engine: 'memory' },
} as const;
const BANK: MutantRun = { ...CALM, workload: 'bank' };
const LISTS: MutantRun = { ...CALM, workload: 'list-append' };
const MIXED: MutantRun = { ...CALM, workload: 'mixed' };
/** Commands of one transaction that come late, and leaders that change between them. */
const SLOW = {
  ...CALM,
  faults: ['latency', 'one-way', 'pause'],
  faultEveryMs: 200,
  durationMs: 8_000,
} as const;
/** Routers and leaders that die amid transactions. */
const DEATHS = {
  ...CALM,
  faults: ['process-death', 'power-loss', 'partition', 'break-connections'],
  faultEveryMs: 200,
  durationMs: 8_000,
} as const;
/** Locks that anybody may roll back soon, before their transaction has reached its primary: no defect by itself. */
const SHORT_LOCKS: Edit = {
  file: 'libs/txn/coordinator/src/limits.ts',
  find: 'lockTtlMs: 3_000,',
  replace: 'lockTtlMs: 30,',
};
/**
 * Timestamps that follow each other closely, as those of an oracle with a clock that ticks seldom: no
 * defect by itself. What depends on one step more or less shows in few runs otherwise.
 */
const COARSE_CLOCK: Edit = {
  file: 'libs/cluster/metadata/src/timestamp-oracle.ts',
  find: 'const first = now > this.#next ? now : this.#next;',
  replace:
    'const tick = timestamp(now - (now % (50 * TIMESTAMP_LOGICAL_STEPS)));\n' +
    '    const first = tick > this.#next ? tick : this.#next;',
};

/** Who commits learns early that nobody can tell what became of it, as at short deadlines: no defect by itself. */
const IMPATIENT_DECISIONS: readonly Edit[] = [
  {
    file: `${COORDINATOR}/two-phase.ts`,
    find: 'return await this.#sendCommit(commit, times);',
    replace:
      'return await this.#sendCommit(commit, { ...times, deadlineMs: Math.min(times.deadlineMs, clock.nowMs() + 3) });',
  },
  {
    file: `${COORDINATOR}/two-phase.ts`,
    find: 'if (times.signal.aborted || times.nowMs() + pauseMs >= times.deadlineMs)',
    replace: 'if (attempt >= 0)',
  },
];

/** What the leader of a range does with transactions. */
const LEADER_MUTANTS: readonly Mutant[] = [
  {
    name: 'txn-conflict-overlooked',
    breaks: 'a prewrite locks a key that was written since its transaction began',
    promise: 'of two transactions that write what both have read one is aborted',
    file: `${TXN}/prewrite.ts`,
    edits: [{ find: 'else if (newest > start) return', replace: 'else if (newest > start * 2) return' }],
    run: LISTS,
  },
  {
    name: 'txn-locks-at-apply',
    breaks: 'a lock is known to its leader when it is applied, not when it is evaluated',
    promise: 'commands see what is under way before them',
    file: `${TXN}/txn-state.ts`,
    edits: [
      { find: '    this.locks.proposed(effect);\n', replace: '' },
      {
        file: 'libs/nodes/shard-node/src/kv/kv-machine.ts',
        find: 'const locks = isOwn ? undefined : this.#txn.locks;',
        replace: 'const locks = this.#txn.locks;',
      },
    ],
    run: BANK,
  },
  {
    name: 'txn-record-not-written',
    breaks: 'a commit leaves no record, so whoever asks later hears that it was rolled back',
    promise: 'one entry at the primary decides for all keys of a transaction',
    file: `${TXN}/commit.ts`,
    edits: [
      {
        find: 'const decisions = [{ userKey: lock.userKey, start, commit }];',
        replace: 'const decisions: never[] = [];',
      },
    ],
    run: { ...DEATHS, workload: 'bank' },
  },
  {
    name: 'txn-mark-not-written',
    breaks:
      'who finds no lock at a primary hears that it was rolled back, and a lock that comes late is taken',
    promise: 'what was told to be rolled back never happens',
    file: `${TXN}/commit.ts`,
    edits: [
      {
        find: "return { type: 'write', change: changeOf(start, { decisions }), reply: {",
        replace: "return { type: 'confirm', decisions, reply: {",
      },
      SHORT_LOCKS,
    ],
    run: { ...SLOW, workload: 'bank' },
  },
  {
    name: 'txn-push-ignored',
    breaks: 'a transaction commits at or below a timestamp at which it was told not to',
    promise: 'a snapshot shows the same for as long as it may be read',
    file: `${TXN}/commit.ts`,
    edits: [
      {
        find: 'Math.max(minCommit, push.to + 1, view.since + 1)',
        replace: 'Math.max(minCommit, view.since + 1)',
      },
    ],
    run: { ...SLOW, workload: 'bank' },
  },
  {
    name: 'txn-spans-not-validated',
    breaks: 'a validation looks at keys, and not at spans that were scanned',
    promise: 'nothing appears in a span that a transaction found empty',
    file: `${TXN}/validations.ts`,
    edits: [
      {
        find: 'for (const span of command.spans) {\n      if (this.#isOver',
        replace: 'for (const span of []) {\n      if (this.#isOver',
      },
    ],
    run: { ...CALM, workload: 'write-skew' },
  },
  {
    name: 'txn-batch-passes-locks',
    breaks: 'reads of several keys at a timestamp do not look whether they are locked',
    promise: 'a snapshot shows all of a transaction or nothing',
    file: `${TXN}/batch-reads.ts`,
    edits: [{ find: 'if (this.#isLocked(call, keys, at)) return undefined;', replace: '' }],
    run: BANK,
  },
  {
    name: 'txn-scan-passes-locks',
    breaks: 'scans do not look whether keys of their span are locked',
    promise: 'a snapshot shows all of a transaction or nothing',
    file: 'libs/nodes/shard-node/src/kv/scan-pages.ts',
    edits: [
      { find: 'if (txn.locks.size === 0) return false;', replace: 'if (txn.locks.size >= 0) return false;' },
    ],
    run: BANK,
  },
  {
    name: 'txn-plain-write-over-lock',
    breaks: 'a plain write does not look whether its key is locked',
    promise: 'nobody writes what a transaction holds',
    file: 'libs/nodes/shard-node/src/kv/write-evaluator.ts',
    edits: [
      {
        find: 'const lock = locks.size === 0 ? undefined : locks.current(key);',
        replace: 'const lock = locks.size >= 0 ? undefined : locks.current(key);',
      },
    ],
    run: MIXED,
  },
  {
    name: 'txn-derived-observed',
    breaks: 'a store takes the timestamp of a transaction of one range for one that the oracle has issued',
    promise: 'whoever asks for a timestamp sees what was acknowledged before',
    file: `${TXN}/executes.ts`,
    edits: [
      {
        find: 'if (rows.length > 0) writes.seal();',
        replace:
          'if (rows.length > 0) {\n      writes.seal();\n      this.#environment.timestamps.observe(moment.timestamp);\n    }',
      },
      COARSE_CLOCK,
    ],
    run: { ...CALM, workload: 'mixed', durationMs: 12_000 },
  },
  {
    name: 'txn-without-fresh-timestamp',
    breaks: 'a transaction of one range takes no timestamp that was issued after it came',
    promise: 'a snapshot that shows a transaction shows those that were acknowledged before it began',
    file: `${TXN}/executes.ts`,
    edits: [{ find: 'if (!call.isFresh || !writes.hasStepLeft) {', replace: 'if (!writes.hasStepLeft) {' }],
    run: { ...SLOW, faults: ['latency', 'one-way'], durationMs: 6_000, workload: 'long-fork' },
  },
  {
    name: 'txn-carried-out-again',
    breaks: 'a transaction of one range that is sent again is carried out again',
    promise: 'a transaction takes effect once, however often it is sent',
    file: `${TXN}/executes.ts`,
    edits: [{ find: 'if (!writes.isFirstOrNew(call)) return;', replace: '' }],
    run: { ...DEATHS, faults: ['process-death', 'break-connections'], workload: 'monotonic' },
  },
  {
    name: 'txn-seek-at-step-0',
    breaks: 'a read at a timestamp overlooks what transactions committed exactly there',
    promise: 'a snapshot shows everything that was committed at or before its timestamp',
    file: 'libs/storage/mvcc/src/version-key.ts',
    edits: [
      { find: 'return keyAtStep(userKey, ts, STEP_MAX);', replace: 'return keyAtStep(userKey, ts, 0);' },
    ],
    run: MIXED,
  },
  {
    name: 'txn-expiry-by-extrapolation',
    breaks:
      'a transaction judges by the time that has passed whether a row has expired, not by its own timestamp',
    promise: 'a row is there for everybody until the timestamp of its end',
    file: `${TXN}/execute.ts`,
    edits: [
      {
        find: 'isVersionLiveAt(row, this.#moment.timestamp)',
        replace: 'isVersionLiveAt(row, this.#view.extrapolated)',
      },
      { find: 'this.#isTimeUnclear ||= ', replace: 'this.#isTimeUnclear &&= ' },
      {
        file: `${TXN}/batch-reads.ts`,
        find: 'command.at === 0 ? time.readNow : command.at;',
        replace: 'command.at === 0 ? time.readNow : this.#environment.timestamps.extrapolated;',
      },
      COARSE_CLOCK,
    ],
    run: { ...CALM, workload: 'write-skew', durationMs: 12_000 },
  },
  {
    name: 'txn-locks-missing-in-snapshot',
    breaks: 'a snapshot has the rows of keys and not their locks',
    promise: 'all replicas of a range have the same rows in every namespace',
    file: 'libs/consensus/store/src/snapshot-send.ts',
    edits: [
      {
        find: 'for (const span of view.spans) {',
        replace: 'for (const span of view.spans.filter(({ start }) => start[0] !== 0x11)) {',
      },
    ],
    // Locks that stay for a while.
    run: {
      type: 'cluster',
      faults: ['process-death', 'latency'],
      faultEveryMs: 900,
      isPlanted: true,
      durationMs: 20_000,
      shape: { shardNodes: 5, replicationFactor: 3 },
    },
  },
];

/** What keeps locks where their keys are. */
const LOCK_MUTANTS: readonly Mutant[] = [
  {
    name: 'txn-locks-not-loaded',
    breaks: 'a replica that starts, or has installed a snapshot, knows no locks',
    promise: 'a lock holds until its transaction is decided, whoever leads',
    file: 'libs/nodes/shard-node/src/kv/kv-machine.ts',
    edits: [
      { find: 'await loadLocks(this.#host.engine, this.#range.descriptor, this.#txn.locks);', replace: '' },
    ],
    run: { ...DEATHS, workload: 'bank' },
  },
  {
    name: 'txn-locks-forgotten-in-split',
    breaks: 'a range that was cut off another one knows no locks',
    promise: 'a lock holds until its transaction is decided, whichever range its key is in',
    file: 'libs/nodes/shard-node/src/kv/kv-machine.ts',
    edits: [
      {
        find: 'machine.#txn.locks.takeFrom(this.#txn.locks, child.startKey, child.endKey);',
        replace: '',
      },
    ],
    run: { ...CALM, workload: 'sets' },
  },
];

/** What routers and clients do with transactions. */
const COORDINATOR_MUTANTS: readonly Mutant[] = [
  {
    name: 'txn-reads-not-validated',
    breaks: 'a commit over several ranges does not look whether what was read is as it was',
    promise: 'serializable transactions behave as if they had run one after the other',
    file: `${COORDINATOR}/two-phase.ts`,
    edits: [
      { find: 'if (reads.keys.length + reads.spans.length > 0) {', replace: 'if (reads.keys.length < 0) {' },
    ],
    run: { ...CALM, workload: 'write-skew' },
  },
  {
    name: 'txn-resolved-before-record',
    breaks: 'other keys of a transaction are written before its primary has decided',
    promise: 'one entry at the primary decides for all keys of a transaction',
    file: `${COORDINATOR}/two-phase.ts`,
    edits: [
      {
        find:
          'const pushed = await this.#commitAt(commit, times);\n' +
          '      if (pushed === undefined) return { type',
        replace:
          'const others = this.#mutations.slice(1).map(({ key }) => key);\n' +
          '      await this.#parts.resolver.resolve({ start, commit, keys: others }, own);\n' +
          '      const pushed = await this.#commitAt(commit, times);\n      if (pushed === undefined) return { type',
      },
    ],
    run: { ...SLOW, workload: 'bank' },
  },
  {
    name: 'txn-committed-lock-passed-over',
    breaks:
      'a read passes over the lock of a transaction that has committed, while that is carried out behind it',
    promise: 'whoever reads after a commit sees it, also where it is not carried out yet',
    file: `${COORDINATOR}/lock-breaker.ts`,
    edits: [
      {
        find: 'await this.#resolve(met, state.commit);\n          return undefined;',
        replace: 'this.#resolve(met, state.commit).catch(rethrowInvariant);\n          return met.start;',
      },
    ],
    run: { ...DEATHS, workload: 'bank' },
  },
  {
    name: 'txn-unknown-told-as-aborted',
    breaks: 'a commit of which nobody can tell what became of it is told as aborted',
    promise: 'what was told to be aborted has not happened',
    file: `${COORDINATOR}/two-phase.ts`,
    edits: [
      { find: 'throw error.forCaller;', replace: "throw aborted('unavailable', undefined, error);" },
      ...IMPATIENT_DECISIONS,
    ],
    run: { ...SLOW, workload: 'list-append' },
  },
  {
    name: 'txn-live-lock-resolved',
    breaks: 'a write that meets the lock of a transaction which is not decided takes it away',
    promise: 'a lock holds until its transaction is decided',
    file: `${COORDINATOR}/lock-breaker.ts`,
    edits: [{ find: "if (state.type !== 'pending') {", replace: 'if (attempt >= 0) {' }],
    run: BANK,
  },
  {
    name: 'txn-regroup-taken-for-done',
    breaks: 'a prewrite that a range has refused, because its keys lie elsewhere by now, counts as done',
    promise: 'all keys of a transaction are written, or none',
    file: `${COORDINATOR}/two-phase.ts`,
    edits: [
      { find: 'this.#maybeLocked.delete(group);\n            return group;', replace: 'return NOTHING;' },
    ],
    run: { ...CALM, workload: 'sets' },
  },
  {
    name: 'txn-broken-commit-sent-again',
    breaks: 'a client whose connection broke sends its commit again over another one',
    promise: 'a transaction takes effect once, or its client is told that nobody knows',
    file: 'libs/doors/client/src/pending-call.ts',
    edits: [
      { find: "commit: 'unsafe',", replace: "commit: 'harmless'," },
      { find: "execute: 'unsafe',", replace: "execute: 'harmless'," },
    ],
    run: {
      ...{ ...DEATHS, faults: ['break-connections', 'latency'] },
      ...{ faultEveryMs: 60, workload: 'mixed' },
    },
  },
  {
    name: 'txn-own-write-missed',
    breaks: 'a scan in a transaction does not show what the transaction has written',
    promise: 'a transaction sees its own writes',
    file: 'libs/doors/client/src/transaction.ts',
    edits: [
      { find: 'const own = state.writesIn(start, end, reverse);', replace: 'const own: never[] = [];' },
    ],
    run: MIXED,
  },
];

/** Transactions: every promise that they make is broken somewhere. */
export const TXN_MUTANTS: readonly Mutant[] = [...LEADER_MUTANTS, ...LOCK_MUTANTS, ...COORDINATOR_MUTANTS];
