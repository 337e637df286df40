import type { LogIndex } from '@cairn/base';
import { CommitWatch, digestOf, LogWatch, type SeenEntry, type SeenReplica } from '@cairn/checkers';
import type { Replica } from '@cairn/store';

import type { SimCluster } from '../cluster.js';

/** Looks into the logs of all replicas that run, and judges them against all that was seen before. */
export class LogLooker {
  readonly #cluster: SimCluster;
  readonly #logs = new LogWatch();
  readonly #commits = new CommitWatch();
  /** Each object is a life of its own: what it knew was in memory. */
  readonly #lives = new WeakMap<Replica, number>();
  #livesSeen = 0;

  constructor(cluster: SimCluster) {
    this.#cluster = cluster;
  }

  look(): void {
    const { observer, metadata, shards } = this.#cluster;
    for (const [kind, nodes] of [
      ['metadata', metadata],
      ['range', shards],
    ] as const) {
      const seen: SeenReplica[] = [];
      const durable = new Map<string, number>();
      for (const node of nodes) {
        for (const replica of node.replicas()) {
          // While a snapshot is installed, the state is ahead of what the core has been told.
          const isInstalling = replica.installation !== undefined;
          if (!replica.isInitialised || replica.isClosed || isInstalling) continue;
          const one = this.#seenOf(`${kind} ${replica.rangeId}`, node.name, replica);
          seen.push(one);
          durable.set(`${one.group} ${replica.replicaId}`, one.durableIndex);
        }
      }
      for (const one of seen) {
        for (const { checker, message } of this.#logs.look(one)) observer.violate(checker, message);
        const fault = this.#commits.look(one, (voter) => durable.get(`${one.group} ${voter}`));
        if (fault !== undefined) observer.violate('committed-durably', fault);
      }
    }
  }

  #seenOf(group: string, node: string, replica: Replica): SeenReplica {
    let life = this.#lives.get(replica);
    if (life === undefined) {
      life = this.#livesSeen += 1;
      this.#lives.set(replica, life);
    }
    const { log, raft } = replica;
    const { term, role, commitIndex, configState: config } = raft;
    return {
      group,
      node,
      life,
      term,
      isLeader: role === 'leader',
      commitIndex,
      appliedIndex: replica.appliedIndex,
      durableIndex: raft.durableIndex,
      firstIndex: log.firstIndex(),
      lastIndex: log.lastIndex(),
      voters: config.voters,
      outgoing: config.outgoing,
      entryAt: (index) => entryAt(replica, index),
    };
  }
}

function entryAt({ log }: Replica, index: number): SeenEntry | undefined {
  if (index < log.firstIndex() || index > log.lastIndex()) return undefined;
  const found = log.entries(index as LogIndex, (index + 1) as LogIndex, 1);
  const entry = typeof found === 'string' ? undefined : found[0];
  if (entry === undefined) return undefined;
  return { index, term: entry.term, digest: digestOf(entry.kind, entry.payload) };
}
