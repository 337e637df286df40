import { CairnError } from '@cairn/base';
import type { Metrics } from '@cairn/ports';
import { FairGate } from '@cairn/router-node';

/**
 * Whether a call only asks, or changes something. Changes may take long (a split tries for minutes): they
 * must not keep those away that want to know how the cluster is.
 */
export type ClusterCallKind = 'looking' | 'steering';

/** Under way at a time, and of one connection. */
const LIMITS: Readonly<Record<ClusterCallKind, readonly [number, number]>> = {
  looking: [32, 8],
  steering: [16, 4],
};

/** What is looked at of a call of grpc-js. */
export interface ClusterCall {
  readonly cancelled: boolean;
  getPeer(): string;
  on(event: 'cancelled', listener: () => void): unknown;
}

/**
 * Calls of `Cluster` ask the metadata service and shard nodes: few at a time, and connections take turns. A
 * place is taken until the work has ended, whether or not somebody still waits for it; so whoever calls and
 * gives up again and again has no more work under way than whoever waits.
 */
export class ClusterGate {
  readonly #gates: Readonly<Record<ClusterCallKind, FairGate<string>>> = {
    looking: new FairGate(...LIMITS.looking),
    steering: new FairGate(...LIMITS.steering),
  };

  constructor(metrics: Metrics) {
    const waiting = metrics.gauge(
      'cairn_router_waiting_cluster_calls',
      'Calls of Cluster that wait for their turn',
    );
    const open = metrics.gauge(
      'cairn_router_cluster_calls',
      'Calls of Cluster whose work is under way, also where nobody waits any more',
    );
    metrics.onCollect(() => {
      const { looking, steering } = this.#gates;
      waiting.set(looking.waiting + steering.waiting);
      open.set(looking.taken + steering.taken);
    });
  }

  /** Rejects CANCELLED when the call was given up before its turn came; then nothing was done. */
  async run<Answer>(kind: ClusterCallKind, call: ClusterCall, work: () => Promise<Answer>): Promise<Answer> {
    const gate = this.#gates[kind];
    const peer = call.getPeer();
    const over = new AbortController();
    call.on('cancelled', () => {
      over.abort();
    });
    if (call.cancelled) over.abort();
    await gate.enter(peer, over.signal);
    try {
      if (over.signal.aborted) throw new CairnError('CANCELLED', 'the caller gave up');
      return await work();
    } finally {
      gate.leave(peer);
    }
  }
}
