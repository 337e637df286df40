import type { Intake } from './intake.js';
import type { LeaseGuard } from './lease-guard.js';
import type { Replica, ReplicaHost } from './replica.js';
import type { RunQueue } from './run-queue.js';

/** What the replicas of a store ask of it. */
export class StoreHost implements ReplicaHost {
  readonly #queue: RunQueue;
  readonly #intake: Intake;
  readonly #leases: LeaseGuard;

  constructor(queue: RunQueue, intake: Intake, leases: LeaseGuard) {
    this.#queue = queue;
    this.#intake = intake;
    this.#leases = leases;
  }

  enqueue(replica: Replica): void {
    this.#queue.enqueue(replica);
  }

  proposed(replica: Replica): void {
    if (replica !== this.#queue.current) this.#queue.enqueue(replica);
  }

  get isBehind(): boolean {
    return this.#intake.isBehind;
  }

  guardLeases(nowMs: number): void {
    this.#leases.check(nowMs);
  }

  tookIn(replica: Replica, bytes: number): void {
    this.#intake.tookIn(replica, bytes);
  }
}
