import { timestamp, type Timestamp } from '@cairn/base';
import type { LogIndex } from '@cairn/base';
import type { Entry } from '@cairn/raft';

import { readConfirmed } from '../confirmed-view.js';
import type { KvCall, Submitter } from '../kv-call.js';
import type { KvEnvironment } from '../kv-environment.js';
import type { Leadership } from '../leadership.js';
import type { PublishWaiters } from '../publish-waiters.js';
import type { RangeTime } from '../range-time.js';
import type { ServedRange } from '../served-range.js';
import { infoOf, type Lock } from '../txn/lock-table.js';
import type { TxnState } from '../txn/txn-state.js';
import { CatchUpMarks } from './catch-up-marks.js';
import { ChangeAnswers } from './change-answers.js';
import type { ChangeRing } from './change-ring.js';
import { LiveRing } from './live-ring.js';
import { judgeQuestion, OpenQuestion, type Resolved } from './open-question.js';
import { rowsFrom, unresolvedFor } from './ring-page.js';

/** After a question that found no place to wait in. */
const NO_PLACE_RETRY_MS = 100;

/** What the change stream of a range needs of it. */
export interface RangeChangesParts {
  readonly range: Pick<ServedRange, 'replica' | 'descriptor' | 'readableSince' | 'refusesAsMoved'>;
  readonly queue: Submitter;
  readonly time: Pick<RangeTime, 'appliedTimestamp'>;
  readonly leadership: Pick<Leadership, 'since'>;
  readonly waiters: Pick<PublishWaiters, 'whenPublished'>;
  readonly txn: Pick<TxnState, 'locks'>;
}

/**
 * Tells routers what was changed in a range, and how far that is resolved: below which timestamp nothing will
 * be changed any more (T16). A question is looked at when it comes, whenever something became visible, and
 * when a timestamp came that it waits for. Each look goes one way: how far the range is resolved, by what is
 * evaluated now; then what is evaluated now becomes visible; then the leadership is confirmed; then the
 * question is answered with everything that is visible by then, or held.
 */
export class RangeChanges {
  readonly #environment: KvEnvironment;
  readonly #parts: RangeChangesParts;
  readonly #live: LiveRing;
  readonly #marks = new CatchUpMarks();
  readonly #answers: ChangeAnswers;
  /** Of this turn. */
  #arrived: OpenQuestion[] = [];
  readonly #held = new Set<OpenQuestion>();

  constructor(environment: KvEnvironment, parts: RangeChangesParts) {
    this.#environment = environment;
    this.#parts = parts;
    this.#live = new LiveRing(environment.changes, parts);
    this.#answers = new ChangeAnswers(environment, {
      range: parts.range,
      live: this.#live,
      marks: this.#marks,
    });
  }

  /** Questions that wait here. */
  get heldCount(): number {
    return this.#held.size;
  }

  /** A question, at a leader that serves; it is looked at when the writes of the turn are in the log. */
  add(call: KvCall): void {
    const { asked } = call.question;
    const { endKey } = this.#parts.range.descriptor;
    const isInside = endKey.length === 0 || (asked.end.length > 0 && Buffer.compare(asked.end, endKey) <= 0);
    if (!isInside) {
      this.#answers.reply(call, { type: 'regroup' });
      return;
    }
    // As long as a scan page, where it has to wait for a place among those.
    call.request.pageBytes = asked.bytesMax;
    // It may have to wait.
    call.detach();
    const nowMs = this.#environment.clock.nowMs();
    this.#live.ask(nowMs);
    this.#arrived.push(
      new OpenQuestion(call, nowMs, (question) => {
        this.#release(question);
        call.fail('UNAVAILABLE', 'the connection closed');
      }),
    );
  }

  /** The writes of the turn are in the log. */
  flush(): void {
    if (this.#arrived.length > 0) this.#look(this.#arrived.splice(0));
  }

  /** An entry is applied; `newest`: of its newest version, 0 = it has none. */
  applied(entry: Pick<Entry, 'index' | 'payload'>, newest: Timestamp): void {
    this.#live.applied(entry, newest);
  }

  /** The engine shows everything up to `index`, and locks are as that says. */
  published(index: LogIndex): void {
    this.#live.published(index);
    if (this.#held.size > 0) this.#lookAgain(() => true);
  }

  timeTold(isTold: boolean): void {
    this.#lookAgain((question) => {
      if (!question.wantsTime) return false;
      question.wantsTime = false;
      question.isUntimed = !isTold;
      return true;
    });
  }

  #lookAgain(isMeant: (question: OpenQuestion) => boolean): void {
    const questions = [...this.#held].filter(isMeant);
    for (const question of questions) this.#held.delete(question);
    if (questions.length > 0) this.#look(questions);
  }

  #look(questions: readonly OpenQuestion[]): void {
    const resolved = this.#resolved();
    this.#parts.waiters.whenPublished(() => {
      this.#confirm(questions, resolved);
    });
  }

  /**
   * Plain writes and transactions of one range come above the largest timestamp, others at or above the least
   * that their locks name, and locks that are made from now on name one above the largest. A lock counts
   * until the engine shows what came in its place: its end may still come to nothing.
   */
  #resolved(): Resolved {
    const { max } = this.#environment.timestamps;
    const least = this.#parts.txn.locks.leastCommit;
    const isHeldBack = least !== undefined && least <= max;
    const { term } = this.#parts.range.replica;
    const at = isHeldBack ? timestamp(least - 1) : max;
    return { at, isHeldBack, applied: this.#parts.time.appliedTimestamp, term };
  }

  /** Behind `resolved`: who leads next begins above all that was issued by then. */
  #confirm(questions: readonly OpenQuestion[], resolved: Resolved): void {
    const { replica } = this.#parts.range;
    const refused = (): void => {
      for (const question of questions) this.#notLeader(question);
    };
    readConfirmed<true>(replica, this.#environment.clock, 'this-leader', {
      take: () => true,
      use: () => {
        if (!replica.isLeader || replica.term !== resolved.term) refused();
        else for (const question of questions) this.#settle(question, resolved);
      },
      drop: () => undefined,
      refused,
    });
  }

  #notLeader(question: OpenQuestion): void {
    this.#release(question);
    question.call.failNotLeader(this.#parts.range.replica.leaderStoreId);
  }

  #settle(question: OpenQuestion, resolved: Resolved): void {
    const { call } = question;
    const nowMs = this.#environment.clock.nowMs();
    if (call.isAbandoned(nowMs)) call.fail('DEADLINE_EXCEEDED', 'the deadline passed on the shard');
    if (call.isDone || this.#parts.range.refusesAsMoved(call)) {
      this.#release(question);
      return;
    }
    const ring = this.#live.ask(nowMs);
    if (this.#isInRing(question, ring)) this.#tellFromRing(question, ring, resolved);
    else this.#tellFromEngine(question, resolved);
  }

  /** Whether the ring has everything that the question has not been told. */
  #isInRing({ asked: { after, index, rangeId }, resume }: OpenQuestion, ring: ChangeRing): boolean {
    if (resume !== undefined && resume.type !== 'entry') return false;
    const { descriptor, readableSince } = this.#parts.range;
    // Whoever begins behind all that was applied before needs no more than it.
    if (index === 0) return resume === undefined && after >= Math.max(ring.newestBefore, readableSince);
    const told = Math.max(this.#live.visibleIndex, ring.lowWater);
    return rangeId === descriptor.rangeId && index <= told && index >= ring.lowWater;
  }

  #tellFromRing(question: OpenQuestion, ring: ChangeRing, resolved: Resolved): void {
    const { asked, call, resume } = question;
    const since = asked.index === 0 ? ring.lowWater : asked.index;
    // When the ring has just begun, what comes before it need not be visible yet: nobody asks for that.
    const index = Math.max(this.#live.visibleIndex, since) as LogIndex;
    const from = Math.max(since, question.seenIndex);
    const rowsTold = resume?.type === 'entry' && from === asked.index ? resume.rows : 0;
    const found = rowsFrom(ring, { asked, from, to: index, rowsTold });
    question.unresolved ??= unresolvedFor(ring, asked, since);
    const least = found.rows.reduce((sum, { changed }) => Math.min(sum, changed.timestamp), Infinity);
    const news = {
      least: timestamp(least === Infinity ? 0 : least),
      readTimestamp: call.request.readTimestamp,
    };
    if (found.rows.length === 0) question.seenIndex = index;
    const verdict = found.cut === undefined ? judgeQuestion(question, news, resolved) : 'answer';
    if (verdict === 'answer') {
      if (found.rows.length === 0 && this.#isLocked(question, resolved)) return;
      this.#release(question);
      this.#answers.fromRing(question, { found, index, resolved });
      return;
    }
    this.#hold(question, resolved, verdict === 'fetch');
  }

  #tellFromEngine(question: OpenQuestion, resolved: Resolved): void {
    const { asked, resume } = question;
    const isGoingOn = resume !== undefined && asked.rangeId === this.#parts.range.descriptor.rangeId;
    const mark = isGoingOn ? this.#marks.find(asked.index) : undefined;
    const isStuck = question.isDue || question.isUntimed || resolved.isHeldBack;
    // What is told is resolved if that takes no more than a timestamp: nobody would look for it later.
    if (mark === undefined && !isStuck && resolved.at < resolved.applied) {
      this.#hold(question, resolved, true);
      return;
    }
    this.#release(question);
    this.#answers.fromEngine(question, resolved, mark);
  }

  #hold(question: OpenQuestion, resolved: Resolved, wantsTime: boolean): void {
    if (!wantsTime && this.#isLocked(question, resolved)) return;
    const { changes, clock, timestamps } = this.#environment;
    if (wantsTime && timestamps.max > resolved.at) {
      // A later one came meanwhile.
      this.#look([question]);
      return;
    }
    if (!question.hasPlace) {
      if (!changes.held.take(question)) {
        question.call.fail('RESOURCE_EXHAUSTED', 'too many questions for changes wait on this node', {
          retryAfterMs: NO_PLACE_RETRY_MS,
        });
        return;
      }
      question.hasPlace = true;
      question.timer = clock.setTimer(Math.max(0, question.untilMs - clock.nowMs()), () => {
        question.isDue = true;
        if (this.#held.delete(question)) this.#look([question]);
      });
    }
    this.#held.add(question);
    question.wantsTime = wantsTime;
    if (wantsTime) changes.time.ask(this);
  }

  /**
   * Locks that nobody may come back for hold everything back: whoever asks looks into them first, as a read
   * that meets them does.
   */
  #isLocked(question: OpenQuestion, resolved: Resolved): boolean {
    if (!resolved.isHeldBack) return false;
    const { call } = question;
    const { extrapolated } = this.#environment.timestamps;
    const late: readonly Lock[] = this.#parts.txn.locks.overdue(extrapolated, call.request.ignoreLocks);
    if (late.length === 0) return false;
    this.#release(question);
    call.failLocked(late.map(infoOf));
    return true;
  }

  #release(question: OpenQuestion): void {
    question.timer?.cancel();
    this.#held.delete(question);
    if (question.hasPlace) this.#environment.changes.held.give(question);
    question.hasPlace = false;
  }

  /** The span may have been cut: whoever waits for another is told in the next turn. */
  moved(): void {
    const { version } = this.#parts.range.descriptor.epoch;
    this.#submit([...this.#held].filter(({ call }) => call.request.epochVersion !== version));
  }

  /** The leadership is lost, or the range is gone: what is remembered is of no use to the next one. */
  lost(): void {
    this.#live.drop();
    this.#marks.clear();
    this.#submit([...this.#arrived.splice(0), ...this.#held]);
  }

  #submit(questions: readonly OpenQuestion[]): void {
    for (const question of questions) {
      this.#release(question);
      this.#parts.queue.submit(question.call);
    }
  }
}
