import type { MutantRun, Mutant } from './mutant.js';

/** A few thousand states, seconds: enough for what breaks with the first leader. */
const SMALL: MutantRun = {
  type: 'explore',
  bounds: { terms: 2, timeouts: 2, entries: 2, crashes: 0, heartbeats: 0, statesMax: 400_000 },
};
const ONE_CRASH: MutantRun = {
  type: 'explore',
  bounds: { terms: 1, timeouts: 1, entries: 1, crashes: 1, heartbeats: 0 },
};
/** Defects of the consensus core that show in the fewest steps when all states are looked at. */
export const EXPLORE_MUTANTS: readonly Mutant[] = [
  {
    name: 'vote-for-two',
    breaks: 'a replica votes for everybody who asks in a term',
    promise: 'one leader per term',
    file: 'libs/consensus/raft/src/election.ts',
    edits: [
      {
        find: 'const isFree = core.vote === message.from || (core.vote === 0 && core.leaderId === 0);',
        replace: 'const isFree = true;',
      },
    ],
    run: SMALL,
  },
  {
    name: 'own-vote-before-sync',
    breaks: 'a candidate counts its own vote before it is durable',
    promise: 'what a replica promised outlasts a loss of power',
    file: 'libs/consensus/raft/src/election.ts',
    edits: [
      {
        find: '  becomeCandidate(core);\n  armRetry(core);\n',
        replace:
          '  becomeCandidate(core);\n  armRetry(core);\n  core.durableTerm = core.term;\n  core.durableVote = core.id;\n  core.votes.set(core.id, true);\n',
      },
    ],
    run: SMALL,
  },
  {
    name: 'minority-commits',
    breaks: 'the largest of three places commits instead of the middle one',
    promise: 'what is committed is durable on a majority',
    file: 'libs/consensus/raft/src/core.ts',
    edits: [
      {
        find: '  if (first < second) return second < third ? second : Math.max(first, third);\n',
        replace: '  if (first < second) return Math.max(second, third);\n',
      },
    ],
    run: SMALL,
  },
  {
    name: 'vote-not-written',
    breaks: 'a vote is told and not handed to the log',
    promise: 'one vote per term and replica, whatever happens to its process',
    file: 'libs/consensus/raft/src/ready.ts',
    edits: [
      {
        find: '  return { term: core.termNumber, vote: core.vote, commit: core.commit as LogIndex };',
        replace: '  return { term: core.termNumber, vote: 0 as never, commit: core.commit as LogIndex };',
      },
    ],
    run: ONE_CRASH,
  },
];
