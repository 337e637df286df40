import type { ConditionInput } from '../transaction-options.js';
import type { Lease } from './lease.js';

export interface LockOptions {
  /**
   * How long the lock outlives a holder that is gone or cut off: whole milliseconds from 500 to a day;
   * default 10,000. It is renewed three times within that.
   */
  readonly ttlMs?: number;
  /** How long to wait for it: 0 = one try, Infinity = without end; default 10,000 milliseconds. */
  readonly waitMs?: number;
  /** Who this is, for others who ask; text of at most 16,384 characters, not secret. */
  readonly value?: string;
  /** Ends the wait. A lock that is held is not concerned. */
  readonly signal?: AbortSignal;
}

/**
 * A lock that was acquired; made by `client.lock`. It is renewed until it is released or lost.
 *
 * No lock of this kind keeps a holder that is paused from acting late: whatever must not be done by two is to
 * be guarded by `token` or `guard()`, where it is done.
 */
export class Lock {
  readonly name: string;
  readonly #lease: Lease;

  /** Callers use `client.lock`. */
  constructor(name: string, lease: Lease) {
    this.name = name;
    this.#lease = lease;
  }

  /**
   * The fencing token: larger than that of every earlier acquisition of this name. What the lock protects
   * keeps the largest that it was shown, and refuses smaller ones.
   */
  get token(): bigint {
    return this.#lease.token;
  }

  /**
   * Whether it is still held. True only while the store cannot have given it to somebody else, if clocks run
   * equally fast to a tenth. It can change at any time.
   */
  get isHeld(): boolean {
    return this.#lease.isHeld;
  }

  /** Milliseconds for which it is held even if no renewal gets through any more; 0 when it is not held. */
  get remainingMs(): number {
    return this.#lease.remainingMs;
  }

  /** Aborted when the lock is lost, with the error as reason; not when it is released. */
  get signal(): AbortSignal {
    return this.#lease.signal;
  }

  /**
   * Throws FAILED_PRECONDITION unless it is held; `coordinationReasonOf` tells whether it is lost or
   * released.
   */
  check(): void {
    this.#lease.check();
  }

  /**
   * A condition for `client.execute`: nobody has acquired the lock since. What is carried out under it is
   * never carried out after the writes of a later holder.
   */
  guard(): ConditionInput {
    return this.#lease.guard();
  }

  /**
   * Lets others have it at once. Resolves with false if it was lost, or released before. When it rejects the
   * lock is free after its time to live; it is not held here in any case.
   */
  release(): Promise<boolean> {
    return this.#lease.end();
  }
}
