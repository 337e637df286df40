import type { Mutant, MutantRun } from './mutant.js';

const CHANGES = 'libs/nodes/shard-node/src/kv/changes';
const STREAM = 'libs/txn/change-stream/src';

/** Watches of keys in several ranges, which are cut and led elsewhere all the time. */
const CALM = {
  type: 'cluster',
  faults: [],
  isWaylaid: false,
  breaksCuts: false,
  durationMs: 4_000,
  workload: 'watch',
  shape: { shardNodes: 3, replicationFactor: 3, routers: 3, metadataMembers: 3, engine: 'memory' },
} as const satisfies MutantRun;
/** Routers and leaders that die. */
const DEATHS = {
  ...CALM,
  faults: ['process-death', 'break-connections', 'partition'],
  faultEveryMs: 200,
  durationMs: 8_000,
} as const satisfies MutantRun;

/** What leaders tell routers. */
const LEADER_MUTANTS: readonly Mutant[] = [
  {
    name: 'watch-resolved-before-visible',
    breaks: 'a leader says how far its range is resolved before what it has evaluated by then is visible',
    promise: 'nothing comes at or below what a watch was told to be resolved',
    file: `${CHANGES}/range-changes.ts`,
    edits: [
      {
        find:
          'this.#parts.waiters.whenPublished(() => {\n' +
          '      this.#confirm(questions, resolved);\n    });',
        replace: 'this.#confirm(questions, resolved);',
      },
    ],
    run: CALM,
  },
  {
    name: 'watch-resolved-above-locks',
    breaks: 'a leader takes keys that are locked for resolved, although their transaction may commit there',
    promise: 'nothing comes at or below what a watch was told to be resolved',
    file: `${CHANGES}/range-changes.ts`,
    edits: [
      {
        find: 'const isHeldBack = least !== undefined && least <= max;',
        replace: 'const isHeldBack = least !== undefined && least < 0;',
      },
    ],
    run: CALM,
  },
  {
    name: 'watch-ring-of-earlier-leaders',
    breaks: 'what was written before this leader began, in a process before or under others, counts as told',
    promise: 'every change is told, whoever leads',
    file: `${CHANGES}/live-ring.ts`,
    edits: [
      {
        find: 'timestamp(Math.max(this.#parts.time.appliedTimestamp, this.#parts.leadership.since))',
        replace: 'timestamp(this.#parts.time.appliedTimestamp)',
      },
    ],
    run: { type: 'cluster', workload: 'watch' },
  },
  {
    name: 'watch-newest-version-alone',
    breaks: 'who reads what was changed before is told the newest version of each key',
    promise: 'every change is told, also to those who come from the past',
    file: `${CHANGES}/engine-catch-up.ts`,
    edits: [
      {
        find: 'if (timestampOfVersionKey(row[0]) > this.#after) {',
        replace: 'if (timestampOfVersionKey(row[0]) > this.#after && this.wanted.length === 0) {',
      },
    ],
    run: CALM,
  },
  {
    name: 'watch-previous-of-the-page',
    breaks: 'what the first change of a key in an answer has made counts as replaced by all later ones',
    promise: 'a change tells what it has replaced',
    file: `${CHANGES}/ring-page.ts`,
    edits: [
      {
        find: 'if (asked.withPrevious) latest.set(name, changed.row);',
        replace: 'if (asked.withPrevious && !latest.has(name)) latest.set(name, changed.row);',
      },
    ],
    run: CALM,
  },
];

/** What routers and clients make of it. */
const STREAM_MUTANTS: readonly Mutant[] = [
  {
    name: 'watch-token-behind-its-timestamp',
    breaks: 'a token of a change counts as one behind all changes of its timestamp',
    promise: 'who goes on with a token misses nothing',
    file: `${STREAM}/change-streams.ts`,
    edits: [
      {
        find: 'return decodeToken(from.token);',
        replace: 'return endOf(decodeToken(from.token).timestamp);',
      },
    ],
    run: CALM,
  },
  {
    name: 'watch-past-not-read',
    breaks: 'a watch from the past is told what comes from now on, and nothing of what lies in between',
    promise: 'who goes on with a token misses nothing',
    file: `${STREAM}/watcher.ts`,
    edits: [
      {
        find: 'return this.#parts.size > 0 && this.#listensFrom <= wholeTimestampOf(position);',
        replace: 'return this.#parts.size > 0 && position.timestamp >= 0;',
      },
    ],
    run: CALM,
  },
  {
    name: 'watch-frontier-of-one-range',
    breaks: 'changes are told when the last range of a watch is resolved there, whatever the others are',
    promise: 'all changes come in one order, transactions whole',
    file: `${STREAM}/watcher.ts`,
    edits: [
      {
        find: 'frontier = Math.min(frontier, feed.resolved);',
        replace: 'frontier = feed.resolved;',
      },
    ],
    run: CALM,
  },
  {
    name: 'watch-cut-skips',
    breaks: 'a router goes on behind a cut of a range some time after what it was told before',
    promise: 'every change is told, whatever becomes of ranges',
    file: `${STREAM}/feeds.ts`,
    edits: [
      {
        find: 'after: resolved, promised, isIssued: false };',
        replace: 'after: (resolved + 200_000) as typeof resolved, promised, isIssued: false };',
      },
    ],
    run: CALM,
  },
  {
    name: 'watch-plain-writes-first',
    breaks: 'of changes at one timestamp plain writes come first, also those behind a transaction',
    promise: 'the changes of one key come in the order in which it was written',
    file: `${STREAM}/positions.ts`,
    edits: [
      {
        find: 'one.sequence - other.sequence ||\n    one.start - other.start ||',
        replace: 'one.start - other.start ||\n    one.sequence - other.sequence ||',
      },
    ],
    run: CALM,
  },
  {
    name: 'watch-client-goes-back',
    breaks: 'a client that lost its router goes on from the last sign of life, not from the last change',
    promise: 'every change is told once',
    file: 'libs/doors/client/src/watch.ts',
    edits: [{ find: '          this.#token = next.token;\n', replace: '' }],
    run: DEATHS,
  },
];

/** Change streams: what they promise is broken where it is kept. */
export const WATCH_MUTANTS: readonly Mutant[] = [...LEADER_MUTANTS, ...STREAM_MUTANTS];
