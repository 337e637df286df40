import type { Digraph } from './digraph.js';

/** The smallest first. */
class Heap {
  readonly #nodes: number[] = [];
  readonly #timeOf: (node: number) => number;

  constructor(timeOf: (node: number) => number) {
    this.#timeOf = timeOf;
  }

  get size(): number {
    return this.#nodes.length;
  }

  push(node: number): void {
    const nodes = this.#nodes;
    const time = this.#timeOf(node);
    let at = nodes.push(node) - 1;
    while (at > 0) {
      const parent = (at - 1) >>> 1;
      const above = nodes[parent] as number;
      if (this.#timeOf(above) <= time) break;
      nodes[at] = above;
      at = parent;
    }
    nodes[at] = node;
  }

  pop(): number {
    const nodes = this.#nodes;
    const top = nodes[0] as number;
    const moved = nodes.pop() as number;
    if (nodes.length === 0) return top;
    const time = this.#timeOf(moved);
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= nodes.length) break;
      const right = child + 1;
      if (
        right < nodes.length &&
        this.#timeOf(nodes[right] as number) < this.#timeOf(nodes[child] as number)
      ) {
        child = right;
      }
      if (this.#timeOf(nodes[child] as number) >= time) break;
      nodes[at] = nodes[child] as number;
      at = child;
    }
    nodes[at] = moved;
    return top;
  }
}

/**
 * Ranks of the nodes of a graph without cycles: every edge leads to a higher one. Among nodes that may come
 * next the earliest does, so that ranks follow time where nothing else orders them.
 */
export function ranksOf(
  { nodeCount, offsets, targets }: Digraph,
  timeOf: (node: number) => number,
): Int32Array {
  const waitsFor = new Int32Array(nodeCount);
  for (const target of targets) waitsFor[target] = (waitsFor[target] as number) + 1;
  const heap = new Heap(timeOf);
  for (let node = 0; node < nodeCount; node += 1) if (waitsFor[node] === 0) heap.push(node);
  const ranks = new Int32Array(nodeCount);
  for (let rank = 0; heap.size > 0; rank += 1) {
    const node = heap.pop();
    ranks[node] = rank;
    for (let at = offsets[node] as number; at < (offsets[node + 1] as number); at += 1) {
      const target = targets[at] as number;
      waitsFor[target] = (waitsFor[target] as number) - 1;
      if (waitsFor[target] === 0) heap.push(target);
    }
  }
  return ranks;
}
