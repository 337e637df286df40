import type { Mutant } from './mutant.js';

/** Members that come and go, and replicas that get their state from others. */
const RESTARTS = { type: 'cluster', faults: ['process-death', 'power-loss'], faultEveryMs: 600 } as const;

/** Rows in every namespace, of ranges that are cut and move. */
const PLANTED_MOVES = {
  type: 'cluster',
  faults: ['process-death', 'latency'],
  faultEveryMs: 900,
  isPlanted: true,
  durationMs: 20_000,
  shape: { shardNodes: 5, replicationFactor: 3 },
} as const;

/** The key-value service, the oracle of timestamps. */
export const KV_MUTANTS: readonly Mutant[] = [
  {
    name: 'retry-carried-out-again',
    breaks: 'a write that is sent again is carried out again',
    promise: 'a write takes effect once, however often it is sent',
    file: 'libs/nodes/shard-node/src/kv/write-evaluator.ts',
    edits: [{ find: 'if (id === undefined) return true;', replace: 'if (call !== undefined) return true;' }],
    run: { type: 'cluster', faults: ['break-connections', 'process-death'], faultEveryMs: 300 },
  },
  {
    name: 'window-not-rebuilt',
    breaks: 'after a restart the outcomes of the log are skipped, and taken for remembered',
    promise: 'a write takes effect once, however often it is sent',
    file: 'libs/nodes/shard-node/src/kv/kv-machine.ts',
    edits: [
      {
        find: 'visitor.begin(undefined, this.#outcomes.windowFor(entry), undefined, undefined);',
        replace:
          'this.#outcomes.windowFor(entry); visitor.begin(undefined, undefined, undefined, undefined);',
      },
    ],
    run: RESTARTS,
  },
  {
    name: 'window-blank-after-restart',
    breaks: 'after a restart a replica claims to remember everything that ever happened',
    promise: 'a write takes effect once, however often it is sent',
    file: 'libs/nodes/shard-node/src/kv/remembered-outcomes.ts',
    edits: [{ find: 'new RequestWindow({ completeSince })', replace: 'new RequestWindow()' }],
    run: RESTARTS,
  },
  {
    name: 'window-missing-in-snapshot',
    breaks: 'a snapshot carries no outcomes, and says that there are none',
    promise: 'a write takes effect once, however often it is sent',
    file: 'libs/nodes/shard-node/src/kv/kv-machine.ts',
    edits: [
      {
        find: 'encodeVolatileState({ window: this.#outcomes.window,',
        replace: 'encodeVolatileState({ window: new RequestWindow(),',
      },
    ],
    run: { type: 'cluster', faults: ['latency'], shape: { shardNodes: 5, replicationFactor: 3 } },
  },
  {
    name: 'snapshot-forgets-members',
    breaks: 'a snapshot has the rows of keys and not the members of collections',
    promise: 'all replicas of a range have the same rows in every namespace',
    file: 'libs/consensus/store/src/snapshot-send.ts',
    edits: [
      {
        find: 'for (const span of view.spans) {',
        replace: 'for (const span of view.spans.filter(({ start }) => start[0] !== 0x13)) {',
      },
    ],
    run: PLANTED_MOVES,
  },
  {
    name: 'removal-forgets-locks',
    breaks: 'a replica that is removed leaves its locks behind',
    promise: 'a store has no rows of ranges that it has no replica of',
    file: 'libs/consensus/store/src/replica-removal.ts',
    edits: [
      {
        find: 'for (const span of spans) await engine.deleteRange(span.start, span.end);\n    if',
        replace:
          'for (const span of spans) if (span.start[0] !== 0x11) await engine.deleteRange(span.start, span.end);\n    if',
      },
    ],
    run: PLANTED_MOVES,
  },
  {
    name: 'locks-not-cut',
    breaks: 'a range that is cut takes the locks of all keys for its own',
    promise: 'each key is in one range, with all its rows',
    file: 'libs/storage/mvcc/src/version-key.ts',
    edits: [
      {
        find: 'ROW_NAMESPACES.map((namespace) => rowSpanIn(namespace, startKey, endKey));',
        replace:
          'ROW_NAMESPACES.map((namespace) => namespace === Namespace.locks ? ' +
          'rowSpanIn(namespace, Buffer.alloc(0), Buffer.alloc(0)) : rowSpanIn(namespace, startKey, endKey));',
      },
    ],
    run: PLANTED_MOVES,
  },
  {
    name: 'kind-dropped-in-scan-cache',
    breaks: 'a page that is kept takes every changed row for bytes',
    promise: 'a collection is never shown as bytes',
    file: 'libs/nodes/shard-node/src/kv/scan-cache-page.ts',
    edits: [{ find: 'kind: version.kind,', replace: 'kind: RowKind.bytes,' }],
    run: { type: 'cluster', faults: [], isPlanted: true },
  },
  {
    name: 'planted-row-stays-cached',
    breaks: 'the cache keeps the row that a leader logged another one over that no command wrote',
    promise: 'a read sees what is applied',
    file: 'libs/nodes/shard-node/src/kv/unpublished-rows.ts',
    edits: [
      {
        find: 'else this.#rowCache.updateIfPresent(row.key, row.version);',
        replace: 'else continue;',
      },
    ],
    run: { type: 'cluster', faults: [], isPlanted: true },
  },
  {
    name: 'members-collected-alive',
    breaks: 'garbage collection takes all members for those of a collection that was replaced',
    promise: 'a collection has all its members for as long as it can be read',
    file: 'libs/nodes/shard-node/src/node/garbage-looks.ts',
    edits: [{ find: "? 'versions' : 'dead';", replace: "? 'dead' : 'dead';" }],
    run: {
      type: 'cluster',
      faults: ['process-death'],
      faultEveryMs: 4_000,
      isPlanted: true,
      durationMs: 40_000,
    },
  },
  {
    name: 'strict-not-waited',
    from: 20,
    breaks: 'a STRICT write does not wait for a timestamp that was issued after it came',
    promise: 'STRICT writes of all keys are ordered as they happened',
    file: 'libs/nodes/shard-node/src/kv/write-evaluator.ts',
    edits: [
      {
        find: 'if (call.request.strict) this.#strict.push(call);',
        replace: 'if (this.#strict.length < 0) this.#strict.push(call);',
      },
    ],
  },
  {
    name: 'garbage-above-safe-point',
    breaks: 'versions that may still be read at a timestamp are collected',
    promise: 'a snapshot shows the same for as long as it may be read',
    file: 'libs/storage/mvcc/src/garbage.ts',
    edits: [
      {
        find: 'timestampOfVersionedKey(row[0]) <= this.#safePoint',
        replace: 'timestampOfVersionedKey(row[0]) > 0',
      },
    ],
    run: {
      type: 'cluster',
      // Ranges whose leaders begin anew are looked over for what can be collected.
      faults: ['process-death'],
      faultEveryMs: 4_000,
      isWaylaid: false,
      durationMs: 30_000,
      thinkMs: 25,
      workload: 'mixed',
      shape: { bigKeys: 0, engineReadMsMax: 5, shardNodes: 3, replicationFactor: 3 },
    },
  },
  {
    name: 'epoch-not-checked',
    breaks: 'a range serves requests that were meant for what it was before a split',
    promise: 'each key is served by one range at a time',
    file: 'libs/nodes/shard-node/src/kv/kv-machine.ts',
    edits: [
      {
        find: 'call.request.epochVersion !== version || !range.covers(call.request.key)',
        replace: 'call.request.epochVersion > version',
      },
    ],
  },
  {
    name: 'read-without-lease',
    from: 16,
    breaks: 'whoever thinks that it leads answers reads at once',
    promise: 'a read sees every write that was acknowledged before it',
    file: 'libs/nodes/shard-node/src/kv/confirmed-view.ts',
    edits: [
      {
        find: 'const isLeased = (): boolean => replica.hasLease(clock.nowMs());',
        replace: 'const isLeased = (): boolean => replica.isReadyLeader;',
      },
    ],
    run: {
      type: 'cluster',
      isWaylaid: true,
      faults: ['latency'],
      durationMs: 20_000,
      shape: { shardNodes: 3, replicationFactor: 3, routers: 3 },
    },
  },
  {
    name: 'follower-answers-reads',
    breaks: 'a follower answers linearizable reads from what it has applied',
    promise: 'a read sees every write that was acknowledged before it',
    file: 'libs/nodes/shard-node/src/kv/kv-machine.ts',
    edits: [
      {
        find: 'else if (isStaleRead(call)) {',
        replace: 'else if (isStaleRead(call) || (!isServing && call.request.op === KvOp.get)) {',
      },
    ],
  },
  {
    name: 'pending-write-overlooked',
    breaks: 'a command is evaluated without those before it that are still on their way through the log',
    promise: 'commands of one key take effect one after the other',
    file: 'libs/nodes/shard-node/src/kv/write-evaluator.ts',
    edits: [{ find: 'this.#parts.pending.newest(key, this.#batch) ?? ', replace: '' }],
  },
  {
    name: 'acknowledged-row-overlooked',
    breaks: 'a read that misses the cache does not look at what is acknowledged and not in the engine yet',
    promise: 'a read sees every write that was acknowledged before it',
    file: 'libs/nodes/shard-node/src/kv/point-reads.ts',
    edits: [
      {
        find: 'const row = this.#parts.pending.acknowledged(key);',
        replace: 'const row = undefined as VersionRecord | undefined;',
      },
    ],
    run: {
      type: 'cluster',
      ...{ faults: ['slow-engine'], faultEveryMs: 400, isWaylaid: false, durationMs: 6_000 },
      ...{ clients: 15, thinkMs: 4, shape: { rowCacheBytes: 448, engineReadMsMax: 5 } },
    },
  },
  {
    name: 'cache-keeps-old-row',
    breaks: 'a slow read puts a row into the cache that was overwritten meanwhile',
    promise: 'a read sees every write that was acknowledged before it',
    file: 'libs/nodes/shard-node/src/kv/cold-reads.ts',
    edits: [{ find: 'if (!read.isOutdated) this.#cache.set', replace: 'this.#cache.set' }],
    run: { type: 'cluster', shape: { rowCacheBytes: 1024, engineReadMsMax: 100 } },
  },
  {
    name: 'timestamp-reused',
    breaks: 'a new leader of the oracle begins at its own clock, not at the bound of its predecessors',
    promise: 'timestamps only ever grow',
    file: 'libs/cluster/metadata/src/timestamp-oracle.ts',
    edits: [
      { find: '? this.#next : Math.max(persisted, 1);', replace: '? this.#next : 1;' },
      {
        find: 'const now = this.#physical(persisted);',
        replace: 'const now = this.#physical(timestamp(0));',
      },
    ],
    run: {
      type: 'cluster',
      faults: ['power-loss', 'process-death', 'partition'],
      faultEveryMs: 400,
      shape: { metadataMembers: 3 },
    },
  },
];
