import type { LogIndex, RangeId, ReplicaId, StoreId, Term, Timestamp } from '@cairn/base';
import type { Message, RaftStatus } from '@cairn/raft';
import type { SimRng } from '@cairn/runtime-sim';
import type { Replica } from '@cairn/store';
import { encodeStoreHeartbeat, RaftMessageEncoder, type EntryFormat } from '@cairn/raft-wire';
import {
  FrameType,
  KvOp,
  KvRequestEncoder,
  newKvRequest,
  openSession,
  THIS_BUILD,
  ReadConsistency,
  type Hello,
  type Purpose,
} from '@cairn/wire';

import type { SimCluster } from '../cluster.js';
import type { SimNode } from '../sim-node.js';

/** A frame of a peer that lies. */
interface Lie {
  readonly what: string;
  readonly type: FrameType;
  readonly body: Buffer;
}

/** Appends of this peer carry no entries. */
const NO_ENTRIES: EntryFormat = {
  headerBytes: 0,
  payloadLengthAt: 0,
  record: (_rangeId, entry) => entry.payload,
  entry: () => {
    throw new Error('nothing is read with this');
  },
};

const ABSURD_TERM = (2 ** 48 - 2) as Term;
/** Centuries. */
const FAR_STAMP = 2 ** 52;
const ABSURD_INDEX = (2 ** 40) as LogIndex;
/** No store of the cluster has it. */
const STRANGER = 4_000_000 as StoreId;
/** Ids of replicas and ranges that nobody has given out. */
const FAR_ABOVE = 1_000;
const FRAMES_MAX = 4;
const GARBAGE_BYTES_MAX = 2_000;
/** It says no more and leaves the session open for so long: who cannot bear that has no bound. */
const LINGER_MS = 3_000;
const PURPOSES: readonly Purpose[] = ['raft', 'raft', 'raft', 'bulk', 'kv', 'rpc'];

/**
 * A process that speaks the protocols of the nodes and lies, under the name of a store that nobody knows or
 * of one of the cluster. What it says no honest member can have said; lies that only a certificate could tell
 * from the truth are not told. It may cost sessions, and nothing else.
 */
export class HostilePeer {
  readonly #cluster: SimCluster;
  readonly #rng: SimRng;
  #visits = 0;

  constructor(cluster: SimCluster, rng: SimRng) {
    this.#cluster = cluster;
    this.#rng = rng;
  }

  /** Opens one session to the node and says a few things. Answers what, or undefined when it is not there. */
  visit(node: SimNode & { readonly address: string }): string | undefined {
    const clusterId = clusterIdOf(node);
    if (clusterId === undefined || !node.isAlive) return undefined;
    const purpose = this.#rng.pick(PURPOSES);
    const replica = this.#rng.pick([...node.replicas(), undefined]);
    const speaker = this.#speaker(replica);
    const count = 1 + this.#rng.integer(FRAMES_MAX);
    const lies = Array.from({ length: count }, () => this.#lie(purpose, replica, speaker));
    this.#say(node.address, { purpose, clusterId, speaker }, lies);
    const said = lies.map(({ what }) => what).join(', ');
    return `lets store ${speaker.storeId} tell ${node.name} lies over ${purpose}: ${said}`;
  }

  #say(
    address: string,
    { purpose, clusterId, speaker }: { purpose: Purpose; clusterId: string; speaker: Speaker },
    lies: readonly Lie[],
  ): void {
    const { scheduler, network, observer } = this.#cluster;
    this.#visits += 1;
    const process = scheduler.startProcess(`liar-${this.#visits}`);
    const hello: Hello = {
      ...THIS_BUILD,
      ...{ purpose, clusterId },
      ...{ kind: 'shard', name: `liar-${this.#visits}`, storeId: speaker.storeId },
    };
    const session = openSession({
      ...{ transport: network.attach(process), address, hello, clock: process.clock },
      logger: observer.loggerFor('liar'),
      handlers: {
        onReady: () => {
          for (const { type, body } of lies) session.send(type, [body]);
        },
        onFrame: () => undefined,
        onClose: () => undefined,
      },
    });
    process.schedule(LINGER_MS, () => {
      process.kill();
    });
  }

  /** A stranger, or whoever is another member of the range. */
  #speaker(replica: Replica | undefined): Speaker {
    const others = (replica?.descriptorOrUndefined?.replicas ?? []).filter(
      ({ replicaId }) => replicaId !== replica?.replicaId,
    );
    if (others.length === 0 || this.#rng.chance(0.3)) {
      return { storeId: STRANGER, replicaId: (others[0]?.replicaId ?? FAR_ABOVE) as ReplicaId };
    }
    return this.#rng.pick(others);
  }

  #lie(purpose: Purpose, replica: Replica | undefined, speaker: Speaker): Lie {
    if (purpose === 'kv' && replica !== undefined && this.#rng.chance(0.7)) return futureStamp(replica);
    if (purpose !== 'raft' || replica === undefined || this.#rng.chance(0.2)) return this.#garbage();
    if (this.#rng.chance(0.2)) return absurdNotice(replica);
    const message = this.#message(replica, speaker);
    const encoder = new RaftMessageEncoder(NO_ENTRIES);
    const hint = { startKey: Buffer.from('r'), confVersion: 1 };
    encoder.add(replica.rangeId, message, this.#rng.chance(0.5) ? hint : undefined);
    return {
      what: `${message.type} of term ${message.term} to ${message.to}`,
      type: FrameType.raftMessages,
      body: Buffer.concat(encoder.take()),
    };
  }

  #garbage(): Lie {
    const body = Buffer.from(this.#rng.bytes(this.#rng.integer(GARBAGE_BYTES_MAX)));
    const type = this.#rng.pick(Object.values(FrameType));
    return { what: `${body.length} bytes of garbage as frame ${type}`, type, body };
  }

  #message(replica: Replica, speaker: Speaker): Message {
    const status = replica.raft.status();
    const base = { from: speaker.replicaId, to: replica.replicaId, term: status.term };
    const lies = absurd(base, status);
    const message = this.#rng.pick(lies);
    // Removed for the sake of a message, a replica would be gone for good.
    if (this.#rng.chance(0.3)) return { ...message, to: (message.to + FAR_ABOVE) as ReplicaId };
    return message;
  }
}

interface Speaker {
  readonly storeId: StoreId;
  readonly replicaId: ReplicaId;
}

/** What no member that keeps to the algorithm says to this replica now. */
function absurd(
  base: { readonly from: ReplicaId; readonly to: ReplicaId; readonly term: Term },
  { lastIndex, role }: RaftStatus,
): Message[] {
  const far = { ...base, term: ABSURD_TERM };
  const beyond = (lastIndex + FAR_ABOVE) as LogIndex;
  const lies: Message[] = [
    { ...far, type: 'vote', lastIndex: ABSURD_INDEX, lastTerm: base.term, transfer: true },
    { ...far, type: 'heartbeat', commit: 0 as LogIndex, readContext: 0, sentAtMs: 0 },
    { ...far, type: 'vote-response', granted: false },
    { ...far, type: 'timeout-now' },
    { ...base, type: 'heartbeat', commit: beyond, readContext: 0, sentAtMs: 0 },
    { ...base, type: 'heartbeat', commit: beyond, readContext: 0, sentAtMs: 0 },
    {
      ...{ ...base, type: 'vote', lastIndex: ABSURD_INDEX },
      ...{ lastTerm: (base.term + 1) as Term, transfer: true },
    },
  ];
  if (role !== 'leader') return lies;
  const hint = { hintIndex: ABSURD_INDEX, hintTerm: base.term };
  lies.push(
    { ...base, type: 'append-response', index: beyond, rejected: false, ...hint, sentAtMs: 0 },
    { ...base, type: 'append-response', index: 0 as LogIndex, rejected: false, ...hint, sentAtMs: 1e15 },
    { ...base, type: 'heartbeat-response', readContext: 2 ** 40, sentAtMs: 0 },
  );
  return lies;
}

/** A store tells that entries are committed which nobody has. */
function absurdNotice(replica: Replica): Lie {
  const led = { rangeId: replica.rangeId, term: replica.raft.status().term };
  const unknown = { ...led, rangeId: (replica.rangeId + FAR_ABOVE) as RangeId };
  const body = encodeStoreHeartbeat({
    ...{ generation: 1, sentAtMs: 0, echoSentAtMs: 0, ended: [], answers: [], released: [], asks: [] },
    commits: [
      { ...led, commit: ABSURD_INDEX },
      { ...unknown, commit: ABSURD_INDEX },
    ],
  });
  return { what: `that ${ABSURD_INDEX} is committed`, type: FrameType.storeHeartbeat, body };
}

/** A read at a time that no oracle has told, from a write of the same time. */
function futureStamp(replica: Replica): Lie {
  const stamp = FAR_STAMP as Timestamp;
  const encoder = new KvRequestEncoder();
  encoder.add({
    ...{ ...newKvRequest(), sequence: 1, op: KvOp.get, rangeId: replica.rangeId, timeoutMs: 1_000 },
    ...{ epochVersion: replica.descriptorOrUndefined?.epoch.version ?? 1, key: Buffer.from('r00') },
    ...{ consistency: ReadConsistency.timestamp, readTimestamp: stamp },
  });
  return {
    what: 'of a time far ahead',
    type: FrameType.kvRequests,
    body: Buffer.concat(encoder.take()),
  };
}

function clusterIdOf(node: SimNode): string | undefined {
  const text = node.disk.peek('/data/node.json')?.toString('utf8');
  return /"clusterId"\s*:\s*"([^"]+)"/.exec(text ?? '')?.[1];
}
