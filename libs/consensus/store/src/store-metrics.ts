import type { Counter, Gauge, Histogram, Metrics } from '@cairn/ports';

const SECONDS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1];

/** What the store loop measures about itself. */
/** Why a raft message went no further. */
export type DropReason =
  | 'no-replica'
  | 'removed'
  | 'overlap'
  | 'no-link'
  | 'link-full'
  | 'inbound-full'
  | 'garbled'
  | 'log-behind'
  | 'engine-behind'
  | 'implausible'
  | 'not-a-member'
  | 'too-many-empty';

export class StoreMetrics {
  readonly #turnSeconds: Histogram;
  readonly #turnReplicas: Counter;
  readonly #applyOperations: Counter;
  readonly #applyBytes: Counter;
  readonly #applyBatches: Counter;
  readonly #droppedMessages: Counter;
  readonly #snapshots: Counter;
  readonly #splits: Counter;
  readonly #checkpoints: Counter;
  readonly #pauses: Counter;
  readonly #quiescentReplicas: Gauge;
  readonly #applyBacklog;
  readonly #inboundBytes: Gauge;

  constructor(metrics: Metrics) {
    this.#turnSeconds = metrics.histogram(
      'cairn_store_turn_seconds',
      'Time one turn of the store loop took',
      SECONDS,
    );
    this.#turnReplicas = metrics.counter('cairn_store_turn_replicas_total', 'Replicas worked on in turns');
    this.#applyOperations = metrics.counter(
      'cairn_store_apply_operations_total',
      'Engine operations applied',
    );
    this.#applyBytes = metrics.counter('cairn_store_apply_bytes_total', 'Engine bytes applied');
    this.#applyBatches = metrics.counter('cairn_store_apply_batches_total', 'Engine batches written');
    this.#droppedMessages = metrics.counter('cairn_store_dropped_messages_total', 'Raft messages dropped', [
      'reason',
    ]);
    this.#snapshots = metrics.counter('cairn_store_snapshots_total', 'Snapshots by what became of them', [
      'outcome',
    ]);
    this.#splits = metrics.counter('cairn_store_splits_total', 'Splits applied');
    this.#checkpoints = metrics.counter(
      'cairn_store_checkpoints_total',
      'Engine flushes that moved checkpoints',
    );
    this.#pauses = metrics.counter(
      'cairn_store_pauses_total',
      'Process pauses that voided the leases held here',
    );
    this.#quiescentReplicas = metrics.gauge(
      'cairn_store_quiescent_replicas',
      'Replicas that need no ticks and no messages',
    );
    this.#applyBacklog = metrics.gauge(
      'cairn_store_apply_backlog_bytes',
      'Bytes of committed entries that the engine does not hold yet',
    );
    this.#inboundBytes = metrics.gauge(
      'cairn_store_inbound_bytes',
      'Bytes of raft frames that were received and wait for a turn',
    );
  }

  /** Committed and not in the engine yet. */
  applyBacklog(bytes: number): void {
    this.#applyBacklog.set(bytes);
  }

  /** Frames that wait for a turn. */
  inboundWaits(bytes: number): void {
    this.#inboundBytes.set(bytes);
  }

  turn(durationMs: number, replicas: number): void {
    this.#turnSeconds.observe(durationMs / 1000);
    this.#turnReplicas.add(replicas);
  }

  applyBatch(operations: number, bytes: number): void {
    this.#applyBatches.add(1);
    this.#applyOperations.add(operations);
    this.#applyBytes.add(bytes);
  }

  droppedMessage(reason: DropReason): void {
    this.#droppedMessages.add(1, { reason });
  }

  snapshot(outcome: 'sent' | 'send-failed' | 'installed' | 'refused'): void {
    this.#snapshots.add(1, { outcome });
  }

  split(): void {
    this.#splits.add(1);
  }

  checkpoint(): void {
    this.#checkpoints.add(1);
  }

  /** Replicas that sleep now. */
  quiescentReplicas(count: number): void {
    this.#quiescentReplicas.set(count);
  }

  pause(): void {
    this.#pauses.add(1);
  }
}
