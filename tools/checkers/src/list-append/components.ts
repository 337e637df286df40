import type { Digraph } from './digraph.js';

const UNSEEN = -1;

/**
 * The strongly connected components that have more than one node, by Tarjan's algorithm with a stack of its
 * own: histories are far deeper than the call stack. Takes time in proportion to nodes and edges.
 */
export function cyclicComponents({ nodeCount, offsets, targets }: Digraph): Int32Array[] {
  const components: Int32Array[] = [];
  const index = new Int32Array(nodeCount).fill(UNSEEN);
  const low = new Int32Array(nodeCount);
  const isOpen = new Uint8Array(nodeCount);
  const cursor = offsets.slice(0, nodeCount);
  const open = new Int32Array(nodeCount);
  const path = new Int32Array(nodeCount);
  let [openCount, pathCount, next] = [0, 0, 0];
  const enter = (node: number): void => {
    index[node] = low[node] = next;
    next += 1;
    isOpen[node] = 1;
    open[openCount++] = path[pathCount++] = node;
  };
  const leave = (node: number): void => {
    pathCount -= 1;
    if (pathCount > 0) {
      const parent = path[pathCount - 1] as number;
      low[parent] = Math.min(low[parent] as number, low[node] as number);
    }
    if (low[node] !== index[node]) return;
    const end = openCount;
    do isOpen[open[--openCount] as number] = 0;
    while (open[openCount] !== node);
    if (end - openCount > 1) components.push(open.slice(openCount, end));
  };
  for (let root = 0; root < nodeCount; root += 1) {
    if (index[root] !== UNSEEN) continue;
    enter(root);
    while (pathCount > 0) {
      const node = path[pathCount - 1] as number;
      const at = cursor[node] as number;
      if (at === offsets[node + 1]) {
        leave(node);
        continue;
      }
      cursor[node] = at + 1;
      const target = targets[at] as number;
      if (index[target] === UNSEEN) enter(target);
      else if (isOpen[target] === 1) low[node] = Math.min(low[node] as number, index[target] as number);
    }
  }
  return components;
}
