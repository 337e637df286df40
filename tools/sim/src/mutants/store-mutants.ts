import type { Mutant } from './mutant.js';

/** The store: order of syncing, answering and applying; checkpoints, snapshots, splits, recovery. */
export const STORE_MUTANTS: readonly Mutant[] = [
  {
    name: 'acknowledged-before-sync',
    breaks: 'nothing waits for the log to be synced',
    promise: 'an acknowledged write outlasts the loss of power of any minority',
    file: 'libs/consensus/store/src/turn.ts',
    edits: [
      { find: 'if (ready.mustSync || replica.unsyncedReadies > 0) {', replace: 'if (ready.sequence < 0) {' },
    ],
    run: { type: 'cluster', faults: ['power-loss'], faultEveryMs: 500 },
  },
  {
    name: 'posted-before-sync',
    breaks: 'messages that need durability leave while the sync is under way',
    promise: 'what a replica told others outlasts a loss of power',
    file: 'libs/consensus/store/src/turn.ts',
    edits: [
      {
        find:
          'this.#group.push({ replica, sequence: ready.sequence, ' +
          'messages: ready.messagesAfterPersist });',
        replace:
          'for (const message of ready.messagesAfterPersist) this.#post(replica, message);' +
          'this.#group.push({ replica, sequence: ready.sequence, messages: [] });',
      },
    ],
    run: { type: 'cluster', faults: ['power-loss', 'disk-stall'], faultEveryMs: 120 },
  },
  {
    name: 'published-before-write',
    breaks: 'batches are answered and shown before the engine holds them',
    promise: 'a read sees every write that was acknowledged before it',
    file: 'libs/consensus/store/src/applier.ts',
    edits: [
      {
        find: 'written\n      .then(() => {\n        this.#finish(runs);',
        replace: 'this.#finish(runs);\n    written\n      .then(() => {',
      },
    ],
    run: { type: 'cluster', shape: { engine: 'memory', rowCacheBytes: 1024 } },
  },
  {
    name: 'checkpoint-without-flush',
    breaks: 'the log is cut before the engine has flushed what it covers',
    promise: 'everything applied is in the log or durable in the engine',
    file: 'libs/consensus/store/src/checkpointer.ts',
    edits: [{ find: 'await engine.flush();', replace: '' }],
    run: { type: 'cluster', faults: ['power-loss'], faultEveryMs: 500 },
  },
  {
    name: 'checkpoint-of-later-state',
    breaks: 'a checkpoint names what is applied after the flush, not what was before it',
    promise: 'everything applied is in the log or durable in the engine',
    file: 'libs/consensus/store/src/checkpointer.ts',
    edits: [
      { find: 'const marks = await new', replace: 'await engine.flush(); const marks = await new' },
      { find: 'if (marks.length === 0) return;\n    await engine.flush();', replace: '' },
    ],
    run: { type: 'cluster', faults: ['power-loss'], faultEveryMs: 400 },
  },
  {
    name: 'split-not-frozen',
    from: 8,
    breaks: 'a leader goes on to serve the whole range while its split is under way',
    promise: 'each key is served by one range at a time',
    file: 'libs/consensus/store/src/split.ts',
    edits: [{ find: '  replica.freeze();\n', replace: '' }],
    run: { type: 'cluster', isWaylaid: true, faults: ['latency'], durationMs: 10_000, thinkMs: 8 },
  },
  {
    name: 'split-durable-in-parts',
    breaks: 'what a split writes to the log becomes durable range by range',
    promise: 'a crash leaves a range cut or whole',
    file: 'libs/consensus/raft-log/src/shared-log.ts',
    edits: [
      {
        find: 'if (reset !== undefined) range.reset(',
        replace: 'this.#stage.beginGroup(this.#options.blockBytesMax); if (reset !== undefined) range.reset(',
      },
    ],
    run: { type: 'cluster', faults: ['latency'], breaksCuts: true },
  },
  {
    name: 'initial-state-forgets-vote',
    from: 40,
    breaks: 'the vote that an empty replica gave is not kept when its range is created there',
    promise: 'one vote per term and replica',
    file: 'libs/consensus/store/src/initial-state.ts',
    edits: [
      { find: 'promised !== undefined && promised.term > INITIAL_TERM', replace: 'promised?.term === -1' },
    ],
  },
  {
    name: 'snapshot-keeps-old-rows',
    from: 8,
    breaks: 'a snapshot is laid over the rows that were there',
    promise: 'replicas at one applied index hold the same rows',
    file: 'libs/consensus/store/src/snapshot-install.ts',
    edits: [{ find: 'await engine.deleteRange(start, end);', replace: 'void [engine, start, end];' }],
    run: { type: 'cluster', faults: ['power-loss', 'partition', 'pause'], durationMs: 30_000 },
  },
  {
    name: 'snapshot-index-ahead',
    breaks: 'a snapshot says that it covers one entry more than it does',
    promise: 'every replica applies every entry once',
    file: 'libs/consensus/store/src/snapshot-send.ts',
    edits: [{ find: 'index: replica.appliedIndex,', replace: 'index: replica.appliedIndex + 1,' }],
  },
  {
    name: 'snapshot-index-behind',
    breaks: 'a snapshot says that it covers one entry less than it does',
    promise: 'every replica applies every entry once',
    file: 'libs/consensus/store/src/snapshot-send.ts',
    edits: [{ find: 'index: replica.appliedIndex,', replace: 'index: replica.appliedIndex - 1,' }],
  },
];

const SPARE_NODES = { shardNodes: 5, replicationFactor: 3 } as const;

/** Members that come and go. */
export const MEMBER_MUTANTS: readonly Mutant[] = [
  {
    name: 'removed-replica-stays',
    breaks: 'a replica that has applied its own removal stays, with all its rows',
    promise: 'who is no member any more holds and answers nothing',
    file: 'libs/consensus/store/src/member-changes.ts',
    edits: [
      { find: 'if (!isMember) {\n      this.#remove(replica, descriptor);\n', replace: 'if (!isMember) {\n' },
    ],
    run: { type: 'cluster', faults: ['latency'], shape: SPARE_NODES },
  },
  {
    name: 'tombstone-ignored',
    from: 11,
    breaks: 'a late message brings a removed replica back',
    promise: 'who was removed never votes again',
    file: 'libs/consensus/store/src/tombstones.ts',
    edits: [
      {
        find: 'return replicaId < (this.#nextIds.get(rangeId) ?? 0);',
        replace: 'return replicaId < 0 && rangeId < 0;',
      },
    ],
    run: {
      type: 'cluster',
      faults: ['datagrams'],
      faultEveryMs: 400,
      durationMs: 30_000,
      shape: SPARE_NODES,
    },
  },
  {
    name: 'members-forgotten-at-restart',
    breaks: 'a replica that restarts knows only those of its members that are in the log',
    promise: 'what the members are is the same everywhere and for good',
    file: 'libs/consensus/store/src/recovery.ts',
    edits: [
      {
        find: 'config: state.config,',
        replace: 'config: { voters: [], outgoing: [], learners: [], learnersNext: [] },',
      },
    ],
    run: { type: 'cluster', faults: ['process-death'], faultEveryMs: 500 },
  },
];

/** Paths between stores fail, also while clients rest. */
const RESTING = {
  type: 'cluster',
  faults: ['one-way', 'break-connections', 'half-open'],
  faultEveryMs: 500,
  durationMs: 25_000,
  restPeriodMs: 5_000,
  shape: { shardNodes: 3, replicationFactor: 3 },
} as const;

/** Leases that rest on the heartbeats between stores. */
export const HEARTBEAT_MUTANTS: readonly Mutant[] = [
  {
    name: 'withdrawal-not-told',
    breaks: 'a store goes on supporting a replica that follows somebody else',
    promise: 'nobody else leads while a lease lasts',
    file: 'libs/consensus/store/src/heartbeat-peer.ts',
    edits: [{ find: '    this.ended.push(replica.rangeId);\n', replace: '' }],
    run: RESTING,
  },
  {
    name: 'supported-hold-not-kept',
    breaks: 'who is asked for a vote does not count the heartbeats that its store answered',
    promise: 'nobody else leads while a lease lasts',
    file: 'libs/consensus/store/src/heartbeat-peer.ts',
    edits: [{ find: 'this.support.peer.heardAtMs : -Infinity', replace: '0 : -Infinity' }],
    run: RESTING,
  },
  {
    name: 'support-outlives-link',
    breaks: 'a leader goes on counting on a store whose frames may have been lost',
    promise: 'nobody else leads while a lease lasts',
    file: 'libs/consensus/store/src/store-heartbeats.ts',
    edits: [
      {
        find: '      peer.ackedSentAtMs = -Infinity;\n      this.#loseSupportOf(peer, nowMs);\n',
        replace: '',
      },
      {
        find: '    this.#loseSupportOf(peer, this.#parts.clock.nowMs());\n    peer.gen',
        replace: '    peer.gen',
      },
    ],
    run: RESTING,
  },
];
