import type { Transaction } from '../transactions.js';
import { cyclicComponents } from './components.js';
import { ComponentSearch, type SearchBudget } from './component-search.js';
import { digraphOf } from './digraph.js';
import type { Edges } from './edges.js';
import type { Step } from './steps.js';

const NO_COMPONENT = -1;

/** The numbers of the edges that begin and end in one component, by component. */
function edgesInside(edges: Edges, components: readonly Int32Array[]): number[][] {
  const componentOf = new Int32Array(edges.nodeCount).fill(NO_COMPONENT);
  for (const [at, nodes] of components.entries()) for (const node of nodes) componentOf[node] = at;
  const inside = components.map((): number[] => []);
  for (const [edge, source] of edges.sources.entries()) {
    const component = componentOf[source] as number;
    if (component !== NO_COMPONENT && component === componentOf[edges.targets[edge] as number]) {
      inside[component]?.push(edge);
    }
  }
  return inside;
}

/** The step that the earliest transaction of the cycle takes comes first. */
function fromEarliest(steps: readonly Step[], transactions: readonly Transaction[]): Step[] {
  let first = 0;
  const timeOf = (at: number): number => transactions[steps[at]?.from ?? 0]?.invokedMs ?? 0;
  for (const at of steps.keys()) if (timeOf(at) < timeOf(first)) first = at;
  return [...steps.slice(first), ...steps.slice(0, first)];
}

/**
 * Cycles of dependencies, each without an edge that makes another one. Few of each place, the severe ones
 * first.
 */
export function* findCycles(transactions: readonly Transaction[], edges: Edges): Generator<readonly Step[]> {
  const { nodeCount, sources, targets } = edges;
  const components = cyclicComponents(digraphOf(nodeCount, sources, targets, [...sources.keys()]));
  if (components.length === 0) return;
  const inside = edgesInside(edges, components);
  const graph = {
    edges,
    transactionCount: transactions.length,
    timeOf: (at: number): number => transactions[at]?.invokedMs ?? 0,
    locals: new Int32Array(nodeCount),
  };
  const budget: SearchBudget = { work: 0 };
  for (const [at, nodes] of components.entries()) {
    const search = new ComponentSearch(graph, nodes, inside[at] ?? [], budget);
    for (const steps of search.cycles()) yield fromEarliest(steps, transactions);
  }
}
