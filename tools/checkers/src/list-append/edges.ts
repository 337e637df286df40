/** Why one transaction comes before another. */
export const EDGE = {
  /** It appended to a key, and the other appended behind that. */
  ww: 1,
  /** The other read what it appended. */
  wr: 2,
  /** It read a key without what the other appended. */
  rw: 4,
  /** It had returned before the other began. */
  realtime: 8,
  /** The same process did it before the other. */
  process: 16,
} as const;
export type EdgeKind = (typeof EDGE)[keyof typeof EDGE];

/** What an edge is about. */
export interface About {
  /** The number of a key. */
  readonly key: number;
  /** The place of an element: of wr edges what was read, otherwise what the target appended. */
  readonly place: number;
}

/** Of edges that are about no element that has a place. */
export const NO_PLACE = -1;
const ABOUT_TIME: About = { key: NO_PLACE, place: NO_PLACE };

/**
 * Edges between nodes, each in one place of every array. Nodes below the number of transactions are those;
 * the others stand for many edges at once: where a edges lead into one and b out of it, they mean a times b.
 * A path through such nodes counts as one edge.
 */
export class Edges {
  readonly sources: number[] = [];
  readonly targets: number[] = [];
  readonly kinds: EdgeKind[] = [];
  readonly keys: number[] = [];
  readonly places: number[] = [];
  nodeCount: number;

  constructor(transactionCount: number) {
    this.nodeCount = transactionCount;
  }

  /** A node that is no transaction. */
  addNode(): number {
    this.nodeCount += 1;
    return this.nodeCount - 1;
  }

  add(kind: EdgeKind, source: number, target: number, about: About = ABOUT_TIME): void {
    this.sources.push(source);
    this.targets.push(target);
    this.kinds.push(kind);
    this.keys.push(about.key);
    this.places.push(about.place);
  }
}
