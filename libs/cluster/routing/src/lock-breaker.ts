import { CairnError, rethrowInvariant, type Timestamp } from '@cairn/base';
import { sleep, type Clock } from '@cairn/ports';
import type { KvRequest, LockInfo } from '@cairn/wire';

import { isWrite, type RoutedOperation } from './operation.js';

/** Who finds out what became of transactions whose locks are in the way of an operation. */
export interface LockBreaker {
  /**
   * Settles when `request` may be sent again: what was decided is carried out, or some time has passed. Answers
   * the starts of transactions that a read may pass over. Rejects with a CairnError as a failed call does.
   */
  clear(request: KvRequest, locks: readonly LockInfo[]): Promise<readonly Timestamp[]>;
}

const POLL_MS = 20;

/** For a router that knows no transactions: whoever made the locks is waited for. */
export function patientBreaker(clock: Clock): LockBreaker {
  return {
    clear: async () => {
      await sleep(clock, POLL_MS).catch(rethrowInvariant);
      return [];
    },
  };
}

/** Both lists as one, ascending, each start once. */
function mergedStarts(one: readonly Timestamp[], other: readonly Timestamp[]): readonly Timestamp[] {
  if (other.length === 0) return one;
  return [...new Set([...one, ...other])].sort((a, b) => a - b);
}

/** What becomes of an operation that was held. */
export interface LockedEvents {
  routeOrWait(operation: RoutedOperation): void;
  fail(operation: RoutedOperation, error: CairnError): void;
  /** It is sent again after a pause. */
  wait(operation: RoutedOperation): void;
}

/**
 * The operations that met locks: each is with no store, and goes on when the breaker has looked into them. Holds
 * as many as the router has open at most; whoever ends one meanwhile says so by its state.
 */
export class LockedOperations {
  readonly #breaker: LockBreaker;
  readonly #events: LockedEvents;

  constructor(breaker: LockBreaker, events: LockedEvents) {
    this.#breaker = breaker;
    this.#events = events;
  }

  hold(operation: RoutedOperation, locks: readonly LockInfo[]): void {
    const { request } = operation;
    operation.detach();
    operation.state = 'locked';
    this.#breaker.clear(request, locks).then(
      (passedOver) => {
        if (operation.state !== 'locked') return;
        if (!isWrite(request.op)) request.ignoreLocks = mergedStarts(request.ignoreLocks, passedOver);
        this.#events.routeOrWait(operation);
      },
      (error: unknown) => {
        rethrowInvariant(error);
        if (operation.state !== 'locked') return;
        if (CairnError.is(error) && error.retryClass === 'fatal') this.#events.fail(operation, error);
        else this.#events.wait(operation);
      },
    );
  }
}
