import { cyclicComponents } from './components.js';
import { digraphOf, type Digraph } from './digraph.js';
import { EDGE, type Edges } from './edges.js';
import { Paths, type Path, type Seed } from './paths.js';
import { countOf, stepsOf, type Step } from './steps.js';
import { ranksOf } from './topological.js';

/** Cycles told of one component; they share no edges that tell. */
const CYCLES_MAX = 10;
/** Transactions from which a short cycle is looked for. */
const STARTS_MAX = 100;
/** Edges looked at for a shorter cycle, once there is one. */
const SHORTENING_MAX = 2_000_000;
/** Edges looked at for a cycle with one anti-dependency. */
const SINGLES_MAX = 20_000_000;
/** What ranking an edge costs, in edges looked at. */
const RANK_WORK = 5;
/** Edges looked at in a history before only one cycle of each component is told. */
const WORK_MAX = 40_000_000;

const WRITES = EDGE.ww;
const READS = EDGE.ww | EDGE.wr;
const TIME = EDGE.realtime | EDGE.process;
const ALL = READS | EDGE.rw;

/** What a search of a whole history has done so far. */
export interface SearchBudget {
  work: number;
}

/** What all components of a history share. */
export interface SearchGraph {
  readonly edges: Edges;
  readonly transactionCount: number;
  /** When transactions began. */
  readonly timeOf: (transaction: number) => number;
  /** By node: its number within its component. */
  readonly locals: Int32Array;
}

/**
 * Looks for cycles in one strongly connected component. It goes from the most severe class to the mildest,
 * and takes out of each cycle what makes it one before it goes on; so what it finds are causes of their
 * own, and no class is overlooked that a level forbids: each level forbids a beginning of the order.
 */
export class ComponentSearch {
  readonly #graph: SearchGraph;
  readonly #budget: SearchBudget;
  readonly #nodes: Int32Array;
  #live: readonly number[];

  /** `edges` are the numbers of those with both ends in the component. */
  constructor(graph: SearchGraph, nodes: Int32Array, edges: readonly number[], budget: SearchBudget) {
    this.#graph = graph;
    this.#nodes = nodes;
    this.#live = edges;
    this.#budget = budget;
    for (const [local, node] of nodes.entries()) graph.locals[node] = local;
  }

  *cycles(): Generator<readonly Step[]> {
    const stages: readonly (() => readonly Step[] | undefined)[] = [
      () => this.#shortest(this.#ofKinds(WRITES)),
      () => this.#shortest(this.#ofKinds(READS)),
      () => this.#notInSnapshots(),
      () => this.#shortest(this.#ofKinds(ALL)),
      () => this.#shortest(this.#ofKinds(WRITES | TIME)),
      () => this.#shortest(this.#ofKinds(READS | TIME)),
      () => this.#single(READS | TIME),
      () => this.#shortest(this.#ofKinds(ALL | TIME)),
    ];
    let count = 0;
    for (const stage of stages) {
      for (let steps = stage(); steps !== undefined; steps = stage()) {
        yield steps;
        count += 1;
        if (count === CYCLES_MAX || this.#budget.work > WORK_MAX) return;
        this.#takeOut(steps);
      }
    }
  }

  /** Without the weakest of its dependencies the cycle is none. */
  #takeOut(steps: readonly Step[]): void {
    const kind = [EDGE.rw, EDGE.wr, EDGE.ww].find((each) => countOf(steps, each) > 0);
    const gone = new Set(steps.filter((step) => step.kind === kind).map(({ edge }) => edge));
    this.#live = this.#live.filter((edge) => !gone.has(edge));
  }

  #ofKinds(kinds: number): Digraph {
    return this.#part((edge) => ((this.#graph.edges.kinds[edge] as number) & kinds) !== 0);
  }

  #isFree(local: number): boolean {
    return (this.#nodes[local] as number) >= this.#graph.transactionCount;
  }

  #local(node: number | undefined): number {
    return this.#graph.locals[node as number] as number;
  }

  /** The component with some edges only. */
  #part(isIn: (edge: number) => boolean): Digraph {
    const { edges } = this.#graph;
    const live = this.#live.filter(isIn);
    this.#budget.work += this.#live.length;
    const ends = (of: readonly number[]): Int32Array =>
      Int32Array.from(live, (edge) => this.#local(of[edge]));
    return digraphOf(this.#nodes.length, ends(edges.sources), ends(edges.targets), live);
  }

  /** A short cycle, within the smallest component of the graph. */
  #shortest(
    graph: Digraph,
    isFree: (node: number) => boolean = (node) => this.#isFree(node),
  ): readonly Step[] | undefined {
    const components = cyclicComponents(graph);
    this.#budget.work += graph.edges.length;
    let smallest = components[0];
    if (smallest === undefined) return undefined;
    for (const each of components) if (each.length < smallest.length) smallest = each;
    const starts = smallest.filter((node) => !isFree(node));
    const paths = new Paths(graph, isFree);
    const through = (start: number, costMax: number): Path | undefined =>
      paths.find([{ node: start, edges: [], cost: 0 }], start, costMax);
    let best: Path | undefined;
    const stride = Math.max(1, Math.floor(starts.length / STARTS_MAX));
    for (let at = 0; at < starts.length; at += stride) {
      if (best !== undefined && paths.work > SHORTENING_MAX) break;
      best = through(starts[at] as number, (best?.cost ?? Number.POSITIVE_INFINITY) - 1) ?? best;
    }
    for (let shorter = best; shorter !== undefined && paths.work <= SHORTENING_MAX;) {
      const { nodes, cost }: Path = shorter;
      shorter = undefined;
      for (const node of nodes) {
        if (shorter !== undefined || paths.work > SHORTENING_MAX) break;
        if (!isFree(node)) shorter = through(node, cost - 1);
      }
      best = shorter ?? best;
    }
    this.#budget.work += paths.work;
    return best === undefined ? undefined : this.#stepsOf(best.edges);
  }

  #stepsOf(path: readonly number[]): Step[] {
    return stepsOf(path, this.#graph.edges, this.#graph.transactionCount);
  }

  /**
   * A cycle in which no two anti-dependencies follow each other; a system of snapshots has none. Every node
   * is there twice, for whether an anti-dependency led to it; from those only others lead on. If possible,
   * one with a single anti-dependency.
   */
  #notInSnapshots(): readonly Step[] | undefined {
    const { edges, transactionCount } = this.#graph;
    const [sources, targets, numbers]: [number[], number[], number[]] = [[], [], []];
    const add = (source: number, target: number, edge: number): void => {
      sources.push(source);
      targets.push(target);
      numbers.push(edge);
    };
    for (const edge of this.#live) {
      const kind = edges.kinds[edge] as number;
      if ((kind & ALL) === 0) continue;
      const source = 2 * this.#local(edges.sources[edge]);
      const target = 2 * this.#local(edges.targets[edge]);
      if (kind !== EDGE.rw) {
        add(source, target, edge);
        add(source + 1, target, edge);
      } else if ((edges.sources[edge] as number) < transactionCount) add(source, target + 1, edge);
      else add(source + 1, target + 1, edge);
    }
    const layered = digraphOf(2 * this.#nodes.length, sources, targets, numbers);
    const cycle = this.#shortest(layered, (node) => this.#isFree(node >>> 1));
    if (cycle === undefined || countOf(cycle, EDGE.rw) === 1) return cycle;
    return this.#single(READS) ?? cycle;
  }

  /**
   * A cycle with one anti-dependency, the other edges of the given kinds, which alone make no cycle. Whether
   * there is one is a question of reachability for each reader. Ranks answer most of them at once: edges lead
   * to higher ones. Gives up at a bound of work.
   */
  #single(kinds: number): readonly Step[] | undefined {
    const { edges, transactionCount, timeOf } = this.#graph;
    const isMiss = (edge: number): boolean => edges.kinds[edge] === EDGE.rw;
    const leavesReader = (edge: number): boolean => (edges.sources[edge] as number) < transactionCount;
    const misses = this.#part((edge) => isMiss(edge) && leavesReader(edge));
    // What stands for many missed transactions is entered as a seed only.
    const rest = this.#part((edge) =>
      isMiss(edge) ? !leavesReader(edge) : ((edges.kinds[edge] as number) & kinds) !== 0,
    );
    const isFree = (node: number): boolean => this.#isFree(node);
    const ranks = ranksOf(rest, (node) =>
      isFree(node) ? Number.NEGATIVE_INFINITY : timeOf(this.#nodes[node] as number),
    );
    // Ranks take more than a look at each edge.
    this.#budget.work += RANK_WORK * rest.edges.length;
    const paths = new Paths(rest, isFree);
    let best: Path | undefined;
    for (let reader = 0; reader < misses.nodeCount; reader += 1) {
      if (paths.work > (best === undefined ? SINGLES_MAX : SHORTENING_MAX)) break;
      const mayPass = (node: number): boolean => (ranks[node] as number) < (ranks[reader] as number);
      const seeds = missedBy(reader, misses).filter(({ node }) => mayPass(node));
      const costMax = (best?.cost ?? Number.POSITIVE_INFINITY) - 1;
      if (seeds.length > 0) best = paths.find(seeds, reader, costMax, mayPass) ?? best;
    }
    this.#budget.work += paths.work;
    return best === undefined ? undefined : this.#stepsOf(best.edges);
  }
}

/** Where the anti-dependencies of a reader lead. */
function missedBy(reader: number, { offsets, targets, edges }: Digraph): Seed[] {
  const seeds: Seed[] = [];
  for (let at = offsets[reader] as number; at < (offsets[reader + 1] as number); at += 1) {
    seeds.push({ node: targets[at] as number, edges: [edges[at] as number], cost: 1 });
  }
  return seeds;
}
