import type { PlaceNode } from '@cairn/local-cluster';
import type { FaultName, NetworkKind } from './options.js';

/** How a network is broken. */
export type Break =
  /** Nothing reaches the node, nothing it sends arrives. */
  | { readonly kind: 'cut'; readonly node: string }
  /** Nothing reaches the node. */
  | { readonly kind: 'deaf'; readonly node: string }
  /** Nothing it sends arrives. */
  | { readonly kind: 'mute'; readonly node: string }
  /** These nodes and all others do not reach each other; clients reach both sides. */
  | { readonly kind: 'partition'; readonly nodes: readonly string[] }
  /** What goes to and from the node is slow. */
  | { readonly kind: 'slow'; readonly node: string };

/** The network between the processes of a cluster, and the hand on it. One break at a time. */
export interface FaultyNetwork {
  readonly kind: NetworkKind;
  readonly place: PlaceNode;
  /** Faults that this network can have. */
  readonly faults: readonly FaultName[];
  break(how: Break): Promise<void>;
  /** As if nothing had been. Idempotent. */
  heal(): Promise<void>;
  close(): Promise<void>;
}

/** Processes that reach each other directly, always. */
export function soundNetwork(): FaultyNetwork {
  return {
    kind: 'none',
    place: () => ({}),
    faults: [],
    break: (how) => Promise.reject(new Error(`this network cannot be broken: ${how.kind}`)),
    heal: () => Promise.resolve(),
    close: () => Promise.resolve(),
  };
}
