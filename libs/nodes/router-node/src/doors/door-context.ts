import type { CairnError, Timestamp } from '@cairn/base';
import { parseTraceparent } from '@cairn/observability/traceparent.js';
import type { Clock, Counter, Histogram, LogFields, Metrics, Span, Tracer } from '@cairn/ports';
import type { AnswersUnderWay, KeyValueLimits, RequestRouter } from '@cairn/routing';
import { KvOp, type KvRequest } from '@cairn/wire';

import type { CutOff } from '../calls.js';
import { asCairnError } from './convert.js';
import { Callers, type CallersBounds } from './callers.js';
import { TransactionGate, type TransactionParts } from './transaction-gate.js';

const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];

/** What transactions are asked for, by the names of the metrics. */
export const TRANSACTION_OPS = [
  'snapshot_get',
  'get_timestamp',
  'commit',
  'execute',
  'atomic_batch',
  'txn_begin',
  'txn_get',
  'txn_get_for_update',
  'reserve_keys',
  'release_keys',
  'txn_scan',
  'txn_write',
  'txn_commit',
  'txn_rollback',
] as const;
export type TransactionOp = (typeof TRANSACTION_OPS)[number];

/** What is measured. */
export type DoorOp = KvOp | TransactionOp;

const NAMES: Readonly<Record<KvOp, string>> = {
  [KvOp.get]: 'get',
  [KvOp.put]: 'put',
  [KvOp.delete]: 'delete',
  [KvOp.compareAndSet]: 'compare_and_set',
  [KvOp.increment]: 'increment',
  [KvOp.expire]: 'expire',
  [KvOp.deleteRange]: 'delete_range',
  [KvOp.scan]: 'scan',
  [KvOp.txnRead]: 'txn_read',
  [KvOp.txnWrite]: 'txn_write',
  [KvOp.execute]: 'execute',
  [KvOp.changes]: 'changes',
  [KvOp.reserve]: 'reserve',
};

function nameOf(op: DoorOp): string {
  return typeof op === 'number' ? NAMES[op] : op;
}

export interface DoorContextParts {
  readonly router: RequestRouter;
  readonly clock: Clock;
  readonly tracer: Tracer;
  readonly metrics: Metrics;
  /** 32 bits that no client knows: it names the operations of a stream itself. */
  readonly idSeed: number;
  /** Deadline of requests that bring none. */
  readonly requestTimeoutMs: number;
  readonly callers: CallersBounds;
  readonly cutOff: CutOff;
  /** Hears what there is room for. */
  readonly answers?: Pick<AnswersUnderWay, 'takenBy'>;
  /** A timestamp issued after the call. */
  freshTimestamp(): Promise<Timestamp>;
  /** Limits of now: settings change. */
  limits(): KeyValueLimits;
  readonly transactions: TransactionParts;
}

/** What all doors share: the router behind them, limits, and how a request is measured and traced. */
export class DoorContext {
  readonly router: RequestRouter;
  readonly clock: Clock;
  readonly requestTimeoutMs: number;
  readonly idSeed: number;
  readonly callers: Callers;
  readonly cutOff: CutOff;
  readonly transactions: TransactionGate;
  readonly #parts: DoorContextParts;
  readonly #requests: Counter;
  readonly #seconds: Histogram;
  /** By operation. Made once: metrics find their cells by the identity of the label object. */
  readonly #okLabels: Readonly<Record<string, string>>[] = [];
  readonly #opLabels: Readonly<Record<string, string>>[] = [];
  /** The same of transactions. */
  readonly #labels = new Map<
    TransactionOp,
    Readonly<Record<'ok' | 'op', Readonly<Record<string, string>>>>
  >();
  readonly #spanAttributes: LogFields[] = [];

  constructor(parts: DoorContextParts) {
    this.#parts = parts;
    this.router = parts.router;
    this.callers = new Callers(parts.callers, () => parts.clock.nowMs());
    this.cutOff = parts.cutOff;
    this.transactions = new TransactionGate(parts.transactions);
    parts.answers?.takenBy(this.callers);
    this.#showShares(parts.metrics);
    this.clock = parts.clock;
    this.requestTimeoutMs = parts.requestTimeoutMs;
    this.idSeed = parts.idSeed;
    this.#requests = parts.metrics.counter(
      'cairn_router_requests_total',
      'Operations answered, by kind and outcome',
      ['op', 'code'],
    );
    this.#seconds = parts.metrics.histogram(
      'cairn_router_request_seconds',
      'Time from the arrival of an operation to its answer',
      SECONDS,
      ['op'],
    );
    for (const op of Object.values(KvOp)) {
      this.#okLabels[op] = { op: NAMES[op], code: 'OK' };
      this.#opLabels[op] = { op: NAMES[op] };
      this.#spanAttributes[op] = { 'cairn.op': NAMES[op] };
    }
    for (const op of TRANSACTION_OPS) this.#labels.set(op, { ok: { op, code: 'OK' }, op: { op } });
  }

  #showShares(metrics: Metrics): void {
    const busy = metrics.gauge('cairn_router_busy_callers', 'Client connections that have something open');
    const scanBytes = metrics.gauge(
      'cairn_router_scan_page_bytes',
      'Bytes that pages of scans may take here: read ahead, or not taken by their clients',
    );
    const answerBytes = metrics.gauge(
      'cairn_router_held_answer_bytes',
      'Values that were read and that their clients have not taken',
    );
    const waiting = metrics.gauge(
      'cairn_router_waiting_scan_pages',
      'Pages of scans that wait for their turn to be asked for',
    );
    const refusals = metrics.counter(
      'cairn_router_share_refusals_total',
      'Calls, scans and values refused because their connection had its share',
    );
    const ended = metrics.counter(
      'cairn_router_untaken_calls_ended_total',
      'Calls and streams ended because their clients took nothing while others found no room',
    );
    let counted = 0;
    let endedCounted = 0;
    metrics.onCollect(() => {
      busy.set(this.callers.busy);
      scanBytes.set(this.callers.scanBytes);
      answerBytes.set(this.callers.answers.used);
      waiting.set(this.router.waitingScans);
      refusals.add(this.callers.refusals - counted);
      counted = this.callers.refusals;
      ended.add(this.callers.ended - endedCounted);
      endedCounted = this.callers.ended;
    });
  }

  get limits(): KeyValueLimits {
    return this.#parts.limits();
  }

  freshTimestamp(): Promise<Timestamp> {
    return this.#parts.freshTimestamp();
  }

  succeeded(op: DoorOp, startedAtMs: number): void {
    this.measured(op, this.clock.nowMs() - startedAtMs);
  }

  /** Like `succeeded`, for whoever knows how long it took. */
  measured(op: DoorOp, tookMs: number): void {
    this.#requests.add(1, typeof op === 'number' ? this.#okLabels[op] : this.#labels.get(op)?.ok);
    this.#seconds.observe(tookMs / 1000, this.#opLabelsOf(op));
  }

  failed(op: DoorOp, startedAtMs: number, error: CairnError): void {
    this.#requests.add(1, { op: nameOf(op), code: error.code });
    this.#seconds.observe((this.clock.nowMs() - startedAtMs) / 1000, this.#opLabelsOf(op));
  }

  #opLabelsOf(op: DoorOp): Readonly<Record<string, string>> | undefined {
    return typeof op === 'number' ? this.#opLabels[op] : this.#labels.get(op)?.op;
  }

  /** Carries out what is measured as one operation. */
  async counted<Result>(op: DoorOp, work: () => Promise<Result>): Promise<Result> {
    const startedAtMs = this.clock.nowMs();
    try {
      const result = await work();
      this.succeeded(op, startedAtMs);
      return result;
    } catch (error) {
      this.failed(op, startedAtMs, asCairnError(error));
      throw error;
    }
  }

  /** Begins a trace if the caller sent one, or chance wants one. */
  trace(request: KvRequest, traceparent: string | undefined): Span | undefined {
    const parent =
      traceparent === undefined || traceparent === '' ? undefined : parseTraceparent(traceparent);
    const span = this.#parts.tracer.startRootSpan('router.request', parent, this.#spanAttributes[request.op]);
    if (span !== undefined) request.trace = span.context;
    return span;
  }
}
