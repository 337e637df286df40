/** A directed graph in arrays: the edges of node n are those at `offsets[n]` up to `offsets[n + 1]`. */
export interface Digraph {
  readonly nodeCount: number;
  readonly offsets: Int32Array;
  readonly targets: Int32Array;
  /** The number that each edge had when it was given. */
  readonly edges: Int32Array;
}

/**
 * Edges from `sources[i]` to `targets[i]`, which keep their order per node, and have the number
 * `numbers[i]`.
 */
export function digraphOf(
  nodeCount: number,
  sources: ArrayLike<number>,
  targets: ArrayLike<number>,
  numbers: ArrayLike<number>,
): Digraph {
  const offsets = new Int32Array(nodeCount + 1);
  for (let at = 0; at < sources.length; at += 1) {
    const next = (sources[at] as number) + 1;
    offsets[next] = (offsets[next] as number) + 1;
  }
  for (let node = 0; node < nodeCount; node += 1) {
    offsets[node + 1] = (offsets[node + 1] as number) + (offsets[node] as number);
  }
  const free = offsets.slice();
  const sorted = new Int32Array(sources.length);
  const edges = new Int32Array(sources.length);
  for (let at = 0; at < sources.length; at += 1) {
    const source = sources[at] as number;
    const place = free[source] as number;
    free[source] = place + 1;
    sorted[place] = targets[at] as number;
    edges[place] = numbers[at] as number;
  }
  return { nodeCount, offsets, targets: sorted, edges };
}
