import type { Digraph } from './digraph.js';

/** Where a search begins: a node, and the edges that led to it. */
export interface Seed {
  readonly node: number;
  readonly edges: readonly number[];
  readonly cost: number;
}

export interface Path {
  /** Numbers of edges, in order. */
  readonly edges: readonly number[];
  /** Nodes that the edges leave, but for those of the seed. */
  readonly nodes: readonly number[];
  readonly cost: number;
}

const NOBODY = -1;

/**
 * Shortest paths in one graph. Leaving a transaction costs 1, leaving a node that only stands for many edges
 * costs nothing, so that a path costs as many steps as it has between transactions.
 */
export class Paths {
  readonly #graph: Digraph;
  readonly #isFree: (node: number) => boolean;
  readonly #run: Int32Array;
  readonly #cost: Int32Array;
  /** The node and the edge by which a node was reached; of seeds nobody, and the number of the seed. */
  readonly #from: Int32Array;
  readonly #by: Int32Array;
  #runs = 0;
  /** Edges looked at so far. */
  work = 0;

  constructor(graph: Digraph, isFree: (node: number) => boolean) {
    this.#graph = graph;
    this.#isFree = isFree;
    this.#run = new Int32Array(graph.nodeCount);
    this.#cost = new Int32Array(graph.nodeCount);
    this.#from = new Int32Array(graph.nodeCount);
    this.#by = new Int32Array(graph.nodeCount);
  }

  /**
   * A shortest way from one of the seeds over at least one edge to the goal; undefined when none costs so
   * little.
   */
  find(
    seeds: readonly Seed[],
    goal: number,
    costMax: number,
    mayPass: (node: number) => boolean = () => true,
  ): Path | undefined {
    this.#runs += 1;
    let level: number[] = [];
    for (const [at, { node, cost }] of seeds.entries()) {
      if (this.#reach(node, cost, NOBODY, at)) level.push(node);
    }
    let cost = seeds[0]?.cost ?? 0;
    for (; level.length > 0 && cost <= costMax; cost += 1) {
      const next: number[] = [];
      let end: { readonly node: number; readonly edge: number; readonly cost: number } | undefined;
      // The list grows while it is walked: what costs nothing is reached at the same level.
      for (let at = 0; at < level.length; at += 1) {
        const node = level[at] as number;
        if ((this.#cost[node] as number) < cost) continue;
        const reached = this.#isFree(node) ? cost : cost + 1;
        const [first, last] = [this.#graph.offsets[node] as number, this.#graph.offsets[node + 1] as number];
        this.work += last - first;
        for (let edge = first; edge < last; edge += 1) {
          const target = this.#graph.targets[edge] as number;
          if (target === goal) {
            if (end === undefined || reached < end.cost) end = { node, edge, cost: reached };
          } else if (mayPass(target) && this.#reach(target, reached, node, edge)) {
            (reached === cost ? level : next).push(target);
          }
        }
      }
      if (end !== undefined) return end.cost > costMax ? undefined : this.#pathTo(end, seeds);
      level = next;
    }
    return undefined;
  }

  #reach(node: number, cost: number, from: number, by: number): boolean {
    if (this.#run[node] === this.#runs && (this.#cost[node] as number) <= cost) return false;
    this.#run[node] = this.#runs;
    this.#cost[node] = cost;
    this.#from[node] = from;
    this.#by[node] = by;
    return true;
  }

  #pathTo(
    end: { readonly node: number; readonly edge: number; readonly cost: number },
    seeds: readonly Seed[],
  ): Path {
    const edges = [this.#graph.edges[end.edge] as number];
    const nodes = [end.node];
    let { node } = end;
    while (this.#from[node] !== NOBODY) {
      edges.push(this.#graph.edges[this.#by[node] as number] as number);
      node = this.#from[node] as number;
      nodes.push(node);
    }
    const seed = seeds[this.#by[node] as number];
    return { edges: [...(seed?.edges ?? []), ...edges.reverse()], nodes: nodes.reverse(), cost: end.cost };
  }
}
