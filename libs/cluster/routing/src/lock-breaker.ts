import { CairnError, rethrowInvariant, type Timestamp } from '@cairn/base';
import { sleep, type Clock } from '@cairn/ports';
import { IGNORED_LOCKS_MAX, type KvRequest, type LockInfo } from '@cairn/wire';

import { isWrite, type RoutedOperation } from './operation.js';

/** An operation that met locks, as the one who looks into them sees it. */
export interface HeldOperation {
  /** Not to be changed. */
  readonly request: KvRequest;
  /** On the router's clock. */
  readonly deadlineMs: number;
  /** It has ended meanwhile: nobody waits for an answer about it. */
  readonly isOver: boolean;
}

/** Who finds out what became of transactions whose locks are in the way of an operation. */
export interface LockBreaker {
  /**
   * Settles when the operation may be sent again: what was decided is carried out, or some time has passed.
   * Answers the starts of transactions that a read may pass over. Rejects with a CairnError as a failed call
   * does: the operation ends with it where sending it again is of no use, and is sent again after a pause
   * otherwise. LOCKED_TOO_LONG when its time is over.
   */
  clear(held: HeldOperation, locks: readonly LockInfo[]): Promise<readonly Timestamp[]>;
}

const POLL_MS = 20;

/** The end of an operation whose time is over while locks are in its way. */
export const LOCKED_TOO_LONG = new CairnError(
  'LOCKED',
  'the deadline passed while another transaction held a key of this one',
);

/** For a router that knows no transactions: whoever made the locks is waited for. */
export function patientBreaker(clock: Clock): LockBreaker {
  return {
    clear: async () => {
      await sleep(clock, POLL_MS);
      return [];
    },
  };
}

/**
 * Both lists as one, ascending, each start once. Of more than a request may name the new ones stay: of those
 * before them most have ended, and the others are told again.
 */
function mergedStarts(before: readonly Timestamp[], fresh: readonly Timestamp[]): readonly Timestamp[] {
  if (fresh.length === 0) return before;
  const starts = [...new Set([...fresh, ...before])].slice(0, IGNORED_LOCKS_MAX);
  return starts.sort((a, b) => a - b);
}

/** What becomes of an operation that was held. */
export interface LockedEvents {
  routeOrWait(operation: RoutedOperation): void;
  fail(operation: RoutedOperation, error: CairnError): void;
  /** It is sent again after a pause. */
  wait(operation: RoutedOperation): void;
}

class Held implements HeldOperation {
  readonly #operation: RoutedOperation;

  constructor(operation: RoutedOperation) {
    this.#operation = operation;
  }

  get request(): KvRequest {
    return this.#operation.request;
  }

  get deadlineMs(): number {
    return this.#operation.deadlineMs;
  }

  get isOver(): boolean {
    return this.#operation.state !== 'locked';
  }
}

/**
 * The operations that met locks: each is with no store, and goes on when the breaker has looked into them.
 * Holds as many as the router has open at most; whoever ends one meanwhile says so by its state.
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
    const held = new Held(operation);
    this.#breaker.clear(held, locks).then(
      (passedOver) => {
        if (held.isOver) return;
        if (!isWrite(request.op)) request.ignoreLocks = mergedStarts(request.ignoreLocks, passedOver);
        this.#events.routeOrWait(operation);
      },
      (error: unknown) => {
        rethrowInvariant(error);
        if (held.isOver) return;
        if (CairnError.is(error) && isFinal(error)) this.#events.fail(operation, error);
        else this.#events.wait(operation);
      },
    );
  }
}

function isFinal({ code, retryClass }: CairnError): boolean {
  return retryClass === 'fatal' || retryClass === 'restart' || code === 'LOCKED';
}
