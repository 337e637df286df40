import type { Mutant } from './mutant.js';

const GROUP = { type: 'group' } as const;

/** Elections: who may lead, and how many at once. */
export const ELECTION_MUTANTS: readonly Mutant[] = [
  {
    name: 'vote-counted-twice',
    breaks: 'every vote for a candidate counts twice',
    promise: 'one leader per term',
    file: 'libs/consensus/raft/src/quorum.ts',
    edits: [{ find: 'if (vote === true) yes += 1;', replace: 'if (vote === true) yes += 2;' }],
    run: GROUP,
  },
  {
    name: 'vote-forgotten',
    from: 1_000,
    breaks: 'a replica does not remember after a restart whom it voted for',
    promise: 'one vote per term and replica, whatever happens to its process',
    file: 'libs/consensus/raft/src/core.ts',
    edits: [{ find: 'hardState?.vote ?? NO_REPLICA;', replace: 'NO_REPLICA;' }],
    // Long enough for a vote that is asked for late to come after the hold that follows a restart.
    run: { type: 'group', electionJitterMs: 100 },
  },
  {
    name: 'vote-before-sync',
    breaks: 'votes leave before they are durable',
    promise: 'what a replica promised outlasts a loss of power',
    file: 'libs/consensus/raft/src/core.ts',
    edits: [
      {
        find: 'if (this.durableTerm === this.term && this.durableVote === this.vote)',
        replace: 'if (this.durableTerm <= this.term)',
      },
    ],
    run: GROUP,
  },
  {
    name: 'vote-for-shorter-log',
    breaks: "the length of the candidate's log is not looked at",
    promise: 'a leader has everything that was committed',
    file: 'libs/consensus/raft/src/election.ts',
    edits: [
      {
        find: '(message.lastTerm === lastTerm && message.lastIndex >= lastIndex)',
        replace: 'message.lastTerm === lastTerm',
      },
    ],
    run: GROUP,
  },
  {
    name: 'vote-hold-not-after-restart',
    from: 150,
    breaks: 'a restarted replica votes at once, although a leader may count on its silence',
    promise: 'nobody else leads while a lease lasts',
    file: 'libs/consensus/raft/src/core.ts',
    edits: [{ find: 'this.term > 0 && options.isInitial !== true', replace: 'false' }],
    run: GROUP,
  },
  {
    name: 'joint-vote-by-new-majority',
    from: 100,
    breaks: 'in a joint configuration the new voters alone elect',
    promise: 'one leader per term, also while members change',
    file: 'libs/consensus/raft/src/quorum.ts',
    edits: [
      { find: "if (incoming === 'lost' || old === 'lost')", replace: "if (incoming === 'lost')" },
      { find: "incoming === 'won' && old === 'won'", replace: "incoming === 'won'" },
    ],
    run: GROUP,
  },
];

/** Replication: what is committed stays. */
export const REPLICATION_MUTANTS: readonly Mutant[] = [
  {
    name: 'accepts-before-sync',
    breaks: 'a follower says that it has entries that are not durable yet',
    promise: 'what is committed is durable on a majority',
    file: 'libs/consensus/raft/src/follower.ts',
    edits: [
      {
        find: 'if (!response.rejected && index > core.log.durableIndex) core.sendAfterPersist(response);',
        replace: 'if (index < 0) core.sendAfterPersist(response);',
      },
    ],
    run: GROUP,
  },
  {
    name: 'leader-counts-itself-early',
    breaks: 'the leader counts its own log before it is durable',
    promise: 'what is committed is durable on a majority',
    file: 'libs/consensus/raft/src/ready.ts',
    edits: [
      {
        find: 'if (core.self !== undefined) core.self.match = core.log.durableIndex;',
        replace: 'if (core.self !== undefined) core.self.match = core.log.lastIndex;',
      },
    ],
    run: GROUP,
  },
  {
    name: 'noop-skipped',
    from: 280,
    breaks: 'a leader begins without an entry of its own term',
    promise: 'a new leader finds out how far its predecessors committed',
    file: 'libs/consensus/raft/src/roles.ts',
    edits: [
      {
        find: 'core.noopIndex = appendOwn(core, EntryKind.noop, NO_BYTES);',
        replace: 'core.noopIndex = core.log.lastIndex;',
      },
    ],
    run: GROUP,
  },
  {
    name: 'older-term-committed',
    breaks: 'entries of older terms are committed by counting replicas (figure 8 of the paper)',
    promise: 'what is committed stays committed under every later leader',
    file: 'libs/consensus/raft/src/replication.ts',
    edits: [
      {
        find: 'if (agreed <= core.commit || agreed < core.noopIndex) return false;',
        replace: 'if (agreed <= core.commit) return false;',
      },
    ],
    run: GROUP,
  },
  {
    name: 'append-not-compared',
    breaks: 'a follower appends without looking whether the entry before is the same',
    promise: 'logs that agree in one entry agree in all before',
    file: 'libs/consensus/raft/src/follower.ts',
    edits: [
      {
        find: 'previousIndex <= core.commit || agreesAt(core, previousIndex, message.previousTerm)',
        replace: 'previousIndex <= core.log.lastIndex',
      },
    ],
    run: GROUP,
  },
  {
    name: 'late-append-cuts-log',
    breaks: 'an append that comes late cuts off what follows it, although nothing in it differs',
    promise: 'what a follower has accepted it keeps',
    file: 'libs/consensus/raft/src/follower.ts',
    edits: [
      {
        find: 'if (entry.index <= core.commit || log.termOf(entry.index) === entry.term) continue;',
        replace: 'if (entry.index <= core.commit) continue;',
      },
    ],
    run: GROUP,
  },
  {
    name: 'commit-beyond-match',
    breaks: 'heartbeats tell a commit index that the follower may not have reached',
    promise: 'all replicas apply the same entries',
    file: 'libs/consensus/raft/src/replication.ts',
    edits: [
      {
        find: 'const commit = Math.min(core.commit, peer.match);',
        replace: 'const commit = core.commit;',
      },
    ],
    run: GROUP,
  },
  {
    name: 'joint-commit-by-new-majority',
    breaks: 'in a joint configuration the new voters alone commit',
    promise: 'what is committed stays, also while members change',
    file: 'libs/consensus/raft/src/core.ts',
    edits: [{ find: 'return Math.min(incoming, majorityValue(scratch));', replace: 'return incoming;' }],
    run: GROUP,
  },
  {
    name: 'learner-counted',
    breaks: 'learners count towards the majority that commits',
    promise: 'what is committed is durable on a majority of the voters',
    file: 'libs/consensus/raft/src/core.ts',
    edits: [
      {
        find: 'this.voters = members.voters.map(find);',
        replace: 'this.voters = [...members.voters, ...members.learners].map(find);',
      },
    ],
    run: GROUP,
  },
  {
    name: 'snapshot-term-wrong',
    breaks: 'a snapshot is offered under the term of its sender instead of the term of its last entry',
    promise: 'logs that agree in one entry agree in all before',
    file: 'libs/consensus/raft/src/replication.ts',
    edits: [
      { find: 'meta: { index, term: term, config', replace: 'meta: { index, term: core.termNumber, config' },
    ],
    run: GROUP,
  },
];

/** Reads: nobody answers from a state that is over. */
export const READ_MUTANTS: readonly Mutant[] = [
  {
    name: 'lease-kept-on-transfer',
    from: 290,
    breaks: 'a leader that hands over keeps its lease',
    promise: 'nobody else leads while a lease lasts',
    file: 'libs/consensus/raft/src/lease.ts',
    edits: [{ find: ' || core.isLeaseForfeited || core.transferTarget !== 0)', replace: ')' }],
    run: GROUP,
  },
  {
    name: 'lease-outlasts-vote-hold',
    breaks: 'the lease lasts twice as long as configured, longer than votes are held',
    promise: 'nobody else leads while a lease lasts',
    file: 'libs/consensus/raft/src/lease.ts',
    edits: [{ find: '+ core.config.leaseDurationMs;', replace: '+ core.config.leaseDurationMs * 2;' }],
    run: GROUP,
  },
  {
    name: 'lease-from-answer',
    breaks: 'the lease begins when the answer arrives, not when the question was sent',
    promise: 'nobody else leads while a lease lasts',
    file: 'libs/consensus/raft/src/leader.ts',
    edits: [
      {
        find: 'noteAcknowledged(core, peer, sentAtMs);',
        replace: 'noteAcknowledged(core, peer, core.stampMs);',
      },
    ],
    run: GROUP,
  },
  {
    name: 'read-index-without-round',
    breaks: 'a leader answers read indexes without asking whether it still leads',
    promise: 'a read sees every write that was acknowledged before it',
    file: 'libs/consensus/raft/src/read-index.ts',
    edits: [
      {
        find: 'if (read.round === 0 || read.round > round) waiting.push(read);',
        replace: 'if (read.round === 0) waiting.push(read);',
      },
    ],
    run: GROUP,
  },
  {
    name: 'read-index-before-noop',
    breaks: 'a new leader answers read indexes before it knows what its predecessors committed',
    promise: 'a read sees every write that was acknowledged before it',
    file: 'libs/consensus/raft/src/read-index.ts',
    edits: [{ find: 'if (core.commit >= core.noopIndex) startRound', replace: 'startRound' }],
    run: GROUP,
  },
];
