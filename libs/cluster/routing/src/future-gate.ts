import { CairnError, rethrowInvariant, type Timestamp } from '@cairn/base';
import type { Clock, Timer } from '@cairn/ports';
import { ReadConsistency, STAMP_FIELD, type KvRequest } from '@cairn/wire';

import type { MetadataGateway } from './metadata-gateway.js';
import { isTransaction, type RoutedOperation } from './operation.js';

/** Operations held here are looked at this often, and a store is asked each time. */
const LOOK_INTERVAL_MS = 20;
/** Longer than a metadata service takes that is there; what is held longer is refused. */
const PATIENCE_MS = 1_000;

export interface FutureGateOptions {
  readonly clock: Clock;
  readonly gateway: MetadataGateway;
  /** The largest timestamp that the oracle is known to have issued. */
  latest(): number;
  /** The oracle has issued it. */
  issued(fresh: Timestamp): void;
  /** Asks the leader of the operation's range for anything: its answer names the timestamps that it knows. */
  askStore(operation: RoutedOperation): void;
  passed(operation: RoutedOperation): void;
  refused(operation: RoutedOperation, error: CairnError): void;
}

/**
 * Holds operations whose timestamp, which comes from a client, is newer than any that is known here: one that
 * the oracle has not issued must not reach a shard. The metadata service can say; so can, while it is down, a
 * store that another router has brought the timestamp to. What nobody confirms within a second is
 * UNAVAILABLE: it was not sent, and its caller shall know that.
 *
 * Holds as many as the router has open at most; asks the metadata service one question at a time, and
 * stores one every 20 ms.
 */
export class FutureGate {
  readonly #options: FutureGateOptions;
  #held: RoutedOperation[] = [];
  #isAsking = false;
  #looks = 0;
  #timer: Timer | undefined;

  constructor(options: FutureGateOptions) {
    this.#options = options;
  }

  isFromTheFuture(request: KvRequest): boolean {
    const namesTimestamp = doesNameTimestamp(request);
    if (!namesTimestamp && request.requestId === undefined) return false;
    const latest = this.#options.latest();
    if (namesTimestamp && request.readTimestamp > latest) return true;
    return request.requestId !== undefined && request.requestId.stamp > latest;
  }

  hold(operation: RoutedOperation): void {
    this.#held.push(operation);
    this.#ask();
    this.#lookLater();
  }

  /** A newer timestamp became known: lets those through that are not ahead of it. */
  recheck(): void {
    if (this.#held.length > 0) this.#settle(() => undefined);
  }

  close(): void {
    this.#timer?.cancel();
    this.#held = [];
  }

  #ask(): void {
    if (this.#isAsking || this.#held.length === 0) return;
    this.#isAsking = true;
    const asked = new Set(this.#held);
    this.#options.gateway.timestamp().then(
      (fresh) => {
        this.#isAsking = false;
        this.#options.issued(fresh);
        this.#settle((operation) => (asked.has(operation) ? notIssued(operation.request) : undefined));
        this.#ask();
      },
      (error: unknown) => {
        rethrowInvariant(error);
        // Asked again at the next look; patience ends by itself.
        this.#isAsking = false;
      },
    );
  }

  #lookLater(): void {
    if (this.#held.length === 0) return;
    this.#timer ??= this.#options.clock.setTimer(LOOK_INTERVAL_MS, () => {
      this.#timer = undefined;
      this.#look();
    });
  }

  #look(): void {
    const nowMs = this.#options.clock.nowMs();
    this.#settle((operation) =>
      nowMs - operation.startedAtMs >= PATIENCE_MS
        ? new CairnError('UNAVAILABLE', 'no timestamp can be had', { retryAfterMs: 50 })
        : undefined,
    );
    this.#ask();
    const next = this.#held[this.#looks % Math.max(1, this.#held.length)];
    this.#looks += 1;
    if (next !== undefined) this.#options.askStore(next);
    this.#lookLater();
  }

  /** Lets those go that may pass, and those that `judge` has an error for. */
  #settle(judge: (operation: RoutedOperation) => CairnError | undefined): void {
    const held = this.#held;
    this.#held = [];
    for (const operation of held) {
      if (operation.state === 'done') continue;
      if (!this.isFromTheFuture(operation.request)) {
        this.#options.passed(operation);
        continue;
      }
      const error = judge(operation);
      if (error === undefined) this.#held.push(operation);
      else this.#options.refused(operation, error);
    }
  }
}

/** Reads as of a timestamp, and all commands of transactions: the client may have kept their timestamps. */
function doesNameTimestamp({ op, consistency }: KvRequest): boolean {
  return consistency === ReadConsistency.timestamp || isTransaction(op);
}

function notIssued(request: KvRequest): CairnError {
  const field = doesNameTimestamp(request) ? 'timestamp' : STAMP_FIELD;
  return new CairnError('INVALID_ARGUMENT', `${field} lies in the future: this cluster has not issued it`, {
    details: { field },
  });
}
