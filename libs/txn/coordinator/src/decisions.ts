import { timestamp, type Timestamp } from '@cairn/base';
import type { Clock } from '@cairn/ports';
import type { SpanTimes } from '@cairn/routing';

import type { ReplyTo, TransactionCalls } from './calls.js';
import type { TransactionMetrics } from './metrics.js';

/** Outcomes that are remembered: as many as the locks of a busy moment belong to. */
const REMEMBERED_MAX = 4_096;
/** One question may take so long; who waits for it for less is told by its own deadline. */
const QUESTION_TIMEOUT_MS = 2_000;

/** What is known of a transaction of whoever. */
export type TransactionState =
  | { readonly type: 'pending'; readonly minCommit: Timestamp }
  | { readonly type: 'committed'; readonly commit: Timestamp }
  | { readonly type: 'rolledBack' };

/** What is asked about, and why. */
export interface Asked {
  readonly start: Timestamp;
  readonly primary: Uint8Array;
  /** One that is pending will not commit at or below it; 0 = wherever it likes. */
  readonly pushTo: Timestamp;
  /** Of the lock because of which is asked: until then that of the primary may be on its way. */
  readonly lockDeadline: Timestamp;
}

interface Question {
  /** Of those who came while it was under way: the next question is theirs. */
  next: { asked: Asked; readonly answer: PromiseWithResolvers<TransactionState> } | undefined;
}

/** Times of what the coordinator does for itself, or for several who have deadlines of their own. */
export function ownTimes(clock: Clock, timeoutMs: number): SpanTimes {
  return {
    deadlineMs: clock.nowMs() + timeoutMs,
    // One for each: its listeners are those of one step.
    signal: new AbortController().signal,
    nowMs: () => clock.nowMs(),
  };
}

/**
 * Asks primaries what became of transactions. One question is under way for each; who comes meanwhile shares
 * the next, because the answer to the one under way may be older than what it asks about. What was decided is
 * remembered, of the last 4,096.
 */
export class Decisions {
  readonly #clock: Clock;
  readonly #calls: TransactionCalls;
  readonly #metrics: TransactionMetrics;
  readonly #decided = new Map<Timestamp, TransactionState>();
  readonly #questions = new Map<Timestamp, Question>();

  constructor(clock: Clock, calls: TransactionCalls, metrics: TransactionMetrics) {
    this.#clock = clock;
    this.#calls = calls;
    this.#metrics = metrics;
  }

  /** What has become of it at some moment after this call. Rejects as a failed call does. */
  async ask(asked: Asked): Promise<TransactionState> {
    const { start } = asked;
    const known = this.#decided.get(start);
    if (known !== undefined) return known;
    const question = this.#questions.get(start);
    if (question === undefined) return this.#put(asked);
    question.next ??= { asked, answer: Promise.withResolvers() };
    question.next.asked = both(question.next.asked, asked);
    return question.next.answer.promise;
  }

  async #put(asked: Asked): Promise<TransactionState> {
    const { start, primary } = asked;
    const question: Question = { next: undefined };
    this.#questions.set(start, question);
    try {
      const reply = await this.#calls.send(
        { type: 'check', ...asked },
        primary,
        ownTimes(this.#clock, QUESTION_TIMEOUT_MS),
      );
      const state = stateOf(reply);
      this.#metrics.checked(state.type);
      if (state.type !== 'pending') this.#remember(start, state);
      return state;
    } finally {
      this.#questions.delete(start);
      const { next } = question;
      // Through the front door: what was decided meanwhile need not be asked.
      if (next !== undefined) next.answer.resolve(this.ask(next.asked));
    }
  }

  #remember(start: Timestamp, state: TransactionState): void {
    if (this.#decided.size >= REMEMBERED_MAX) {
      const [oldest] = this.#decided.keys();
      if (oldest !== undefined) this.#decided.delete(oldest);
    }
    this.#decided.set(start, state);
  }
}

function both(one: Asked, other: Asked): Asked {
  return {
    ...one,
    pushTo: timestamp(Math.max(one.pushTo, other.pushTo)),
    lockDeadline: timestamp(Math.max(one.lockDeadline, other.lockDeadline)),
  };
}

function stateOf(reply: ReplyTo<'check'>): TransactionState {
  switch (reply.type) {
    case 'pending':
      return { type: 'pending', minCommit: reply.minCommit };
    case 'committed':
      return { type: 'committed', commit: reply.commit };
    case 'rolledBack':
      return { type: 'rolledBack' };
  }
}
