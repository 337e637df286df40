import { NO_BYTES, timestamp, type Timestamp } from '@cairn/base';
import { checkRow, type VersionRow } from '@cairn/mvcc';
import { encodeChangesReply, type ChangesReply } from '@cairn/wire';

import { failRead } from '../damage.js';
import type { KvCall } from '../kv-call.js';
import type { KvEnvironment } from '../kv-environment.js';
import type { ServedRange } from '../served-range.js';
import type { CatchUpMarks } from './catch-up-marks.js';
import { changeOf, ChangePage } from './change-page.js';
import { EngineCatchUp } from './engine-catch-up.js';
import type { LiveRing } from './live-ring.js';
import type { OpenQuestion, Resolved } from './open-question.js';
import { encodeResumeToken } from './resume-token.js';
import { cutBefore, type FoundRow, type RingCut, type RingRows } from './ring-page.js';
import { olderThan, pastVersionsOf } from './version-spans.js';

/** Previous versions that are looked up together. */
const LOOK_UPS_PER_STEP = 8;

export interface ChangeAnswerParts {
  readonly range: Pick<ServedRange, 'replica' | 'descriptor' | 'readableSince' | 'refusesAsMoved'>;
  readonly live: Pick<LiveRing, 'visibleIndex'>;
  readonly marks: CatchUpMarks;
}

/** What is told of the ring: everything up to `index`, as far as it was not cut. */
export interface RingAnswer {
  readonly found: RingRows;
  readonly index: number;
  readonly resolved: Resolved;
}

/** Answers questions, from the ring or from the engine. Reads of the engine take a place among the scans. */
export class ChangeAnswers {
  readonly #environment: KvEnvironment;
  readonly #parts: ChangeAnswerParts;

  constructor(environment: KvEnvironment, parts: ChangeAnswerParts) {
    this.#environment = environment;
    this.#parts = parts;
  }

  reply(call: KvCall, reply: ChangesReply): void {
    const { counts } = this.#environment.changes;
    if (reply.type === 'page') counts.changes += reply.changes.length;
    if (reply.type === 'reset') counts.resets += 1;
    const response = call.newResponse();
    response.value = encodeChangesReply(reply);
    call.respond(response);
  }

  fromRing({ asked, call }: OpenQuestion, answer: RingAnswer): void {
    this.#environment.changes.counts.fromRing += 1;
    const { rows, cut } = answer.found;
    if (asked.withPrevious && rows.length > 0) {
      this.#occupy(call, () => this.#withPrevious(call, answer));
      return;
    }
    const page = new ChangePage(asked.bytesMax);
    const ended = addAll(page, rows, (row) => changeOf(row.changed.row, undefined));
    this.#replyFromRing(call, page, { ...answer, found: { rows, cut: ended ?? cut } });
  }

  #replyFromRing(call: KvCall, { changes }: ChangePage, { found, index, resolved }: RingAnswer): void {
    const { rangeId } = this.#parts.range.descriptor;
    const { cut } = found;
    this.reply(call, {
      ...{ type: 'page', rangeId, index: cut?.index ?? index, changes },
      resolved: cut === undefined ? resolved.at : timestamp(0),
      resume:
        cut === undefined || cut.rows === 0 ? NO_BYTES : encodeResumeToken({ type: 'entry', rows: cut.rows }),
    });
  }

  async #withPrevious(call: KvCall, answer: RingAnswer): Promise<void> {
    const { asked } = call.question;
    const { rows, cut } = answer.found;
    const page = new ChangePage(asked.bytesMax);
    let ended: RingCut | undefined;
    for (let from = 0; from < rows.length && ended === undefined; from += LOOK_UPS_PER_STEP) {
      if (this.#isOver(call)) return;
      const step = rows.slice(from, from + LOOK_UPS_PER_STEP);
      const previous = await Promise.all(step.map((row) => Promise.resolve(this.#previousOf(row))));
      ended = addAll(page, step, (row, at) => changeOf(row.changed.row, previous[at]), rows[from - 1]);
    }
    this.#replyFromRing(call, page, { ...answer, found: { rows, cut: ended ?? cut } });
  }

  /** The version below a change, as the engine has it: it stays while the change is above the safe point. */
  #previousOf({ changed, previous }: FoundRow): VersionRow | undefined | Promise<VersionRow | undefined> {
    if (previous !== undefined) return previous;
    const [key] = changed.row;
    const found = this.#environment.engine.first(olderThan(key), pastVersionsOf(key));
    return found instanceof Promise ? found.then(checked) : checked(found);
  }

  /** `at`: where a catch-up goes on that is known; undefined = it begins. */
  fromEngine(question: OpenQuestion, resolved: Resolved, mark: Timestamp | undefined): void {
    const { call } = question;
    this.#environment.changes.counts.fromEngine += 1;
    this.#occupy(call, () => this.#catchUp(question, resolved, mark));
  }

  async #catchUp(
    { asked, call, resume }: OpenQuestion,
    resolved: Resolved,
    mark: Timestamp | undefined,
  ): Promise<void> {
    const { live, marks, range } = this.#parts;
    if (this.#isOver(call)) return;
    if (range.replica.term !== resolved.term) {
      call.failNotLeader(range.replica.leaderStoreId);
      return;
    }
    // Everything at or below `resolved` is in the view that is taken now.
    const index = live.visibleIndex;
    const from = mark === undefined || resume?.type === 'entry' ? undefined : resume;
    const read = await new EngineCatchUp(this.#environment, asked, () => this.#isOver(call)).read(from);
    if (read === undefined) return;
    const isWhole = read.resume === undefined;
    if (mark === undefined && !isWhole) marks.begun(index, resolved.at);
    this.reply(call, {
      ...{ type: 'page', rangeId: range.descriptor.rangeId, changes: read.changes },
      index: mark === undefined ? index : asked.index,
      resolved: isWhole ? (mark ?? resolved.at) : timestamp(0),
      resume: read.resume === undefined ? NO_BYTES : encodeResumeToken(read.resume),
    });
  }

  /** Asked wherever a view is taken: what was purged since, or has moved, would be missed. */
  #isOver(call: KvCall): boolean {
    const { range } = this.#parts;
    if (call.isDone || range.refusesAsMoved(call)) return true;
    if (call.isAbandoned(this.#environment.clock.nowMs())) {
      call.fail('DEADLINE_EXCEEDED', 'the deadline passed while changes were read');
      return true;
    }
    if (call.question.asked.after >= range.readableSince) return false;
    this.reply(call, { type: 'reset', oldest: range.readableSince });
    return true;
  }

  #occupy(call: KvCall, work: () => Promise<void>): void {
    const isTaken = this.#environment.scanSlots.run(call, async () => {
      try {
        await work();
      } catch (error) {
        failRead(this.#environment, call, error);
      }
    });
    if (!isTaken) call.fail('RESOURCE_EXHAUSTED', 'too many scans wait on this node', { retryAfterMs: 50 });
  }
}

/** Adds the rows as far as there is room; answers where the page ends if that is before the last. */
function addAll(
  page: ChangePage,
  rows: readonly FoundRow[],
  changeAt: (row: FoundRow, at: number) => ReturnType<typeof changeOf>,
  before?: FoundRow,
): RingCut | undefined {
  let last = before;
  for (const [at, row] of rows.entries()) {
    if (!page.add(changeAt(row, at))) return last === undefined ? undefined : cutBefore(row, last);
    last = row;
  }
  return undefined;
}

function checked(found: VersionRow | undefined): VersionRow | undefined {
  if (found !== undefined) checkRow(found[0], found[1]);
  return found;
}
