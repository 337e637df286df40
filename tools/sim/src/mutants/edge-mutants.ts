import type { Mutant, MutantRun } from './mutant.js';

const STRUCK = { type: 'cluster', faultEveryMs: 250, isWaylaid: false } as const;
const LIARS: MutantRun = { ...STRUCK, faults: ['hostile-peer'], faultEveryMs: 60 };
const FLIPS: MutantRun = { ...STRUCK, faults: ['flipped-frames'] };
/** Leaders that are deposed with writes in their logs, over and over. */
const DEPOSED: MutantRun = {
  ...STRUCK,
  isWaylaid: true,
  faults: ['partition', 'one-way', 'pause'],
  shape: { shardNodes: 3, replicationFactor: 3 },
};
/** What peers, clocks and disks do to a node that believes them. */
export const EDGE_MUTANTS: readonly Mutant[] = [
  {
    name: 'assertion-swallowed',
    breaks: 'what a peer claims is not judged, and what the core asserts is taken for a refusal',
    promise: 'a contradiction stops the range or the process; nobody swallows an assertion',
    file: 'libs/consensus/raft/src/raft-node.ts',
    edits: [
      {
        find: 'const reason = implausibility(this.#core, message);\n    if (reason === undefined) step(',
        replace: 'let reason: string | undefined;\n    try {\n      step(',
      },
      {
        find: 'message);\n    return reason;',
        replace: 'message);\n    } catch (error) {\n      reason = String(error);\n    }\n    return reason;',
      },
    ],
    run: LIARS,
  },
  {
    name: 'claims-believed',
    breaks: 'terms, indexes and echoes of a peer are believed, however absurd',
    promise: 'nothing that a peer says ends a node',
    file: 'libs/consensus/raft/src/raft-node.ts',
    edits: [
      {
        find: 'const reason = implausibility(this.#core, message);',
        replace: 'const reason = message.term < 0 ? implausibility(this.#core, message) : undefined;',
      },
    ],
    run: LIARS,
  },
  {
    name: 'stamp-from-the-future-believed',
    breaks: 'a store takes any timestamp of a request for one that the oracle has issued',
    promise: 'no write has a time that no oracle has told',
    file: 'libs/nodes/shard-node/src/kv/store-timestamps.ts',
    edits: [{ find: 'if (ts > this.#ceiling) return false;', replace: 'if (ts < 0) return false;' }],
    run: LIARS,
  },
  {
    name: 'checksum-not-compared',
    breaks: 'frames are taken as they come, damaged or not',
    promise: 'a flipped bit costs a session and nothing else',
    file: 'libs/foundation/wire/src/frame-checksum.ts',
    edits: [{ find: 'if (crcOver(body, ', replace: 'if (type < 0 && crcOver(body, ' }],
    run: FLIPS,
  },
  {
    name: 'encoder-without-a-cut',
    breaks: 'all answers of a turn go into one frame, however many',
    promise: 'frames are cut where they are made',
    file: 'libs/foundation/wire/src/kv-response-codec.ts',
    edits: [
      {
        find: 'return this.#count >= FRAME_CUT_MESSAGES || this.bytes >= FRAME_CUT_BYTES;',
        replace: 'return this.#count >= FRAME_CUT_MESSAGES * FRAME_CUT_BYTES;',
      },
    ],
    run: { ...STRUCK, faults: [], durationMs: 3_000, shape: { bigKeys: 1, engineReadMsMax: 0 } },
  },
  {
    name: 'term-believed',
    breaks: 'a term is believed, whether or not there was time for so many elections',
    promise: 'nothing that a peer says ends a node',
    file: 'libs/consensus/store/src/delivery.ts',
    edits: [
      {
        find: 'if (term <= TERM_USUAL || isTermBelievable(term, ',
        replace: 'if (term > 0 || isTermBelievable(term, ',
      },
    ],
    run: LIARS,
  },
  {
    name: 'stale-read-in-an-install',
    breaks: 'a replica answers stale reads while a snapshot replaces its rows, and before it has any',
    promise: 'no read misses a key that was there all the time, however stale it may be',
    file: 'libs/consensus/store/src/replica.ts',
    edits: [
      {
        find: "if (this.installation !== undefined) return 'a snapshot is replacing its state';",
        replace: '',
      },
      { find: "if (!this.isConsistent) return 'it is catching up after a restart';", replace: '' },
    ],
    run: {
      ...STRUCK,
      faults: ['power-loss', 'partition', 'process-death'],
      shape: { shardNodes: 5, replicationFactor: 3, engineReadMsMax: 100 },
    },
  },
  {
    name: 'apply-backlog-unbounded',
    breaks: 'a slow engine turns the write rate into memory',
    promise: 'every queue has a bound',
    file: 'libs/consensus/store/src/apply-backlog.ts',
    edits: [
      { find: '    return this.#backlog.isFull;\n', replace: '    return false;\n' },
      {
        find: 'if (!this.#backlog.isFull && !replica.isApplyBlocked) return false;',
        replace: 'if (!replica.isApplyBlocked) return false;',
      },
    ],
    run: { ...STRUCK, faults: ['slow-engine'], faultEveryMs: 400 },
  },
  {
    name: 'log-backlog-unbounded',
    from: 20,
    breaks: 'a slow disk of the log turns what leaders send into memory',
    promise: 'every queue has a bound',
    file: 'libs/consensus/store/src/intake.ts',
    edits: [
      {
        find: 'return log.stagedBytes + this.#unstagedBytes >= log.stagedBytesMax;',
        replace: 'return log.stagedBytes + this.#unstagedBytes < 0;',
      },
    ],
    run: {
      ...STRUCK,
      faults: ['slow-disk'],
      faultEveryMs: 1_500,
      shape: { metadataMembers: 1, shardNodes: 3, replicationFactor: 3, routers: 1, engine: 'memory' },
    },
  },
  {
    name: 'timestamp-read-forwarded',
    from: 20,
    breaks: 'who leads no more confirms reads at a timestamp by the next leader, which has not seen it',
    promise: 'a snapshot shows the same for as long as it may be read',
    file: 'libs/nodes/shard-node/src/kv/kv-machine.ts',
    edits: [
      {
        find: '      } else if (isServing) {\n        this.#serve(call);\n',
        replace:
          '      } else if (isServing || call.request.consistency === ReadConsistency.timestamp) {\n' +
          '        this.#serve(call);\n',
      },
      {
        file: 'libs/consensus/store/src/replica.ts',
        find: "if (this.raft.role === 'leader') this.readIndex(callback);\n    else callback(false);",
        replace: 'this.readIndex(callback);',
      },
    ],
    run: {
      ...STRUCK,
      isWaylaid: true,
      faults: ['latency', 'one-way'],
      durationMs: 20_000,
      shape: { shardNodes: 3, replicationFactor: 3, routers: 3 },
    },
  },
  {
    name: 'deposed-write-refused-for-good',
    from: 444,
    breaks: 'a write that is in the log of a deposed leader counts as one that was never taken',
    promise: 'a write happens once',
    file: 'libs/nodes/shard-node/src/kv/kv-call.ts',
    edits: [
      {
        find: "this.fail('NOT_LEADER', message, { leaderStoreId, retryAfterMs: 10, isUnclear: true });",
        replace: "this.fail('NOT_LEADER', message, { leaderStoreId, retryAfterMs: 10 });",
      },
    ],
    run: DEPOSED,
  },
  {
    name: 'unclear-refusal-forgotten',
    from: 444,
    breaks: 'a router forgets that a refused write may still happen, and sends it as if for the first time',
    promise: 'a write happens once',
    file: 'libs/cluster/routing/src/request-router.ts',
    edits: [
      {
        find: 'if (error.isUnclear && isWrite(operation.request.op)) operation.isUnclear = true;',
        replace: '',
      },
    ],
    run: DEPOSED,
  },
  {
    name: 'retry-without-its-mark',
    breaks: 'a client that lost its router sends the write again as if for the first time',
    promise: 'a write happens once',
    file: 'libs/doors/client/src/dispatcher.ts',
    edits: [{ find: 'if (call.isUnclear) id.retry = true;', replace: '' }],
    run: {
      ...STRUCK,
      faults: ['break-connections', 'process-death', 'latency'],
      shape: { routers: 3, shardNodes: 3 },
    },
  },
  {
    name: 'oracle-follows-its-own-clock',
    breaks: 'a metadata leader follows its wall clock, however far it is from those of the others',
    promise: 'one lying clock moves no timestamps',
    file: 'libs/cluster/metadata/src/timestamp-oracle.ts',
    edits: [
      {
        find: 'const isRefused = isFar && !(mayLeap && this.#isAlone && this.#anchor === undefined);',
        replace: 'const isRefused = isFar && isAgreed && aheadMs < 0;',
      },
    ],
    run: { ...STRUCK, faults: ['clock-leap'], faultEveryMs: 1_000, shape: { metadataMembers: 3 } },
  },
  {
    name: 'ids-by-position',
    breaks: 'metadata members get their ids by their place in the list of peers',
    promise: 'ids come from the state, never from a position in a flag',
    file: 'libs/cluster/metadata/src/group-members.ts',
    edits: [
      {
        find: 'return peers.toSorted(byName).map(',
        replace: 'return [...peers].map(',
      },
    ],
    run: { ...STRUCK, faults: [], shape: { metadataMembers: 3 } },
  },
  {
    name: 'lease-kept-over-a-suspension',
    breaks: 'a machine that was suspended believes its monotonic clock',
    promise: 'nobody else leads while a lease lasts',
    file: 'libs/consensus/store/src/lease-guard.ts',
    edits: [{ find: 'if (sleptMs > this.#marginMs) {', replace: 'if (sleptMs > Infinity) {' }],
    run: {
      ...STRUCK,
      faults: ['suspend'],
      faultEveryMs: 600,
      shape: { metadataMembers: 1, shardNodes: 3, replicationFactor: 3, routers: 1 },
    },
  },
  {
    name: 'store-never-taken-back',
    breaks: 'a store that was given up once is never asked again',
    promise: 'what heals is used again',
    file: 'libs/cluster/routing/src/breaker.ts',
    edits: [
      {
        find: "return this.#state === 'closed' || nowMs >= this.#untilMs;",
        replace: "return this.#state === 'closed' || nowMs < 0;",
      },
    ],
    run: { ...STRUCK, faults: ['pause', 'half-open', 'deaf-reader'], shape: { shardNodes: 3 } },
  },
  {
    name: 'place-of-a-snapshot-kept',
    breaks: 'a snapshot whose stream broke keeps the place of the next one',
    promise: 'every replica catches up',
    file: 'libs/consensus/store/src/snapshot-incoming.ts',
    edits: [
      {
        find: '    this.#progressTimer?.cancel();\n    this.#freePlace();\n',
        replace: '    this.#progressTimer?.cancel();\n',
      },
    ],
    run: {
      ...STRUCK,
      faults: ['slow-disk', 'break-connections', 'break-connections', 'partition'],
      shape: { shardNodes: 5, replicationFactor: 3, metadataMembers: 1, routers: 1 },
    },
  },
  {
    name: 'table-not-synced',
    breaks: 'a table of the engine is named before its bytes are durable',
    promise: 'a node comes back from any loss of power',
    file: 'libs/storage/lsm/src/table-writer.ts',
    edits: [
      {
        find: '    await this.#writeMeta();\n    await file.sync();\n',
        replace: '    await this.#writeMeta();\n    if (this.#rows < 0) await file.sync();\n',
      },
    ],
    run: { ...STRUCK, faults: ['power-loss'], faultEveryMs: 400, shape: { engine: 'lsm' } },
  },
  {
    name: 'segment-name-not-synced',
    breaks: 'entries are acknowledged in a file of the log whose name the next loss of power takes away',
    promise: 'an acknowledged write outlasts the loss of power of any minority',
    file: 'libs/consensus/raft-log/src/segment-files.ts',
    edits: [
      {
        find: '    await disk.syncDirectory(directory);\n    await this.#openSegment(epoch);\n',
        replace: '    await this.#openSegment(epoch);\n',
      },
    ],
    run: { ...STRUCK, faults: ['power-loss'], faultEveryMs: 300 },
  },
];
