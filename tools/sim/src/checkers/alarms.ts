import type { SimCluster } from '../cluster.js';
import type { FaultKind } from '../nemesis.js';

/** What a batch of one turn may add to a bound that is looked at before it is filled. */
const OVERSHOOT_BYTES = 64 * 1024;

/** Lines that say that a peer sent what no peer sends; a rotten file is told in other lines. */
const FOREIGN = /session closed by a bad frame|store answered/;
/** Which faults are a reason for such lines. */
const CORRUPTING: readonly FaultKind[] = ['flipped-frames', 'hostile-peer'];

/**
 * Nobody swallows an assertion: a line that mentions one is a violation, whoever wrote it and went on. And
 * without injected corruption nobody gets what no peer sends.
 */
export function watchLines(cluster: SimCluster, kinds: readonly FaultKind[]): void {
  const isCorrupted = kinds.some((kind) => CORRUPTING.includes(kind));
  cluster.observer.onLine((node, event, _fields, text) => {
    if (text.includes('InvariantError'))
      cluster.observer.violate('swallowed-assertion', `${node} logs an assertion: ${text}`);
    if (!isCorrupted && FOREIGN.test(event))
      cluster.observer.violate('foreign-frame', `${node} got what no peer sends: ${text}`);
  });
}

/** A run has not the time for so many elections. */
const TERM_MAX = 1_000_000;

/** Queues hold no more than they may, and nobody believes in absurd terms; to be called again and again. */
export class BoundLooker {
  readonly #cluster: SimCluster;
  readonly #said = new Set<string>();
  /** One entry more than fits gets through alone. */
  readonly #entryBytesMax: number;

  constructor(cluster: SimCluster, entryBytesMax: number) {
    this.#cluster = cluster;
    this.#entryBytesMax = entryBytesMax;
  }

  look(): void {
    const { storeConfig, shards, logStagedBytesMax } = this.#cluster;
    for (const node of [...this.#cluster.metadata, ...this.#cluster.shards]) {
      const { store } = node;
      if (store === undefined) continue;
      this.#check(node.name, 'apply backlog', store.applyBacklogBytes, storeConfig.applyBacklogBytesMax);
      for (const { rangeId, raft } of store.replicas())
        this.#checkTerm(`range ${rangeId} at ${node.name}`, raft.term);
    }
    for (const { name, store } of shards) {
      if (store !== undefined) this.#check(name, 'staged log', store.logStagedBytes, logStagedBytesMax);
    }
  }

  #checkTerm(place: string, term: number): void {
    if (term <= TERM_MAX || this.#said.has(place)) return;
    this.#said.add(place);
    this.#cluster.observer.violate(
      'terms',
      `${place} is in term ${term}: nobody but a liar can have named it`,
    );
  }

  #check(node: string, what: string, bytes: number, limit: number): void {
    const name = `${node} ${what}`;
    if (bytes <= limit + OVERSHOOT_BYTES + this.#entryBytesMax || this.#said.has(name)) return;
    this.#said.add(name);
    this.#cluster.observer.violate('unbounded', `${what} of ${node}: ${bytes} bytes, ${limit} at most`);
  }
}
