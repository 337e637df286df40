import { timestamp, type Timestamp } from '@cairn/base';
import type { Timer } from '@cairn/ports';
import type { ChangesRequest } from '@cairn/wire';

import type { KvCall, ResponseSink } from '../kv-call.js';
import type { Held } from './held-questions.js';
import type { ResumeToken } from './resume-token.js';

/** A question from its arrival until it is answered. */
export class OpenQuestion implements Held {
  readonly call: KvCall;
  readonly asked: ChangesRequest;
  readonly resume: ResumeToken | undefined;
  readonly untilMs: number;
  readonly #whenAbandoned: (question: OpenQuestion) => void;
  /** It waits for nothing any more. */
  isDue: boolean;
  /** Its changes are told unresolved: no later timestamp can be had. */
  isUntimed = false;
  /** A later timestamp was asked for. */
  wantsTime = false;
  /** Entries up to here have nothing for it; 0 = nothing was looked at. */
  seenIndex = 0;
  /** Of the newest change that its router may hold unresolved; undefined = not looked for. */
  unresolved: Timestamp | undefined = undefined;
  timer: Timer | undefined = undefined;
  hasPlace = false;

  constructor(call: KvCall, nowMs: number, whenAbandoned: (question: OpenQuestion) => void) {
    const { asked, resume } = call.question;
    this.call = call;
    this.asked = asked;
    this.resume = resume;
    this.untilMs = Math.min(nowMs + asked.waitMs, call.deadlineMs);
    this.isDue = asked.waitMs === 0;
    this.#whenAbandoned = whenAbandoned;
  }

  get caller(): ResponseSink {
    return this.call.caller;
  }

  abandoned(): void {
    this.#whenAbandoned(this);
  }
}

/** How far a range is resolved. */
export interface Resolved {
  readonly at: Timestamp;
  /** By a lock: no later timestamp helps. */
  readonly isHeldBack: boolean;
  /** Of the newest write that was applied by then. */
  readonly applied: number;
  /** Of the leadership that says so. */
  readonly term: number;
}

/** What is to be done about a question. */
export type Verdict =
  | 'answer'
  /** It waits for something new. */
  | 'hold'
  /** It waits for a later timestamp. */
  | 'fetch';

/** What is new for a question. */
export interface News {
  /** Of the oldest change that it has not been told; 0 = there is none. */
  readonly least: Timestamp;
  readonly readTimestamp: Timestamp;
}

/**
 * Whether a question is answered now. Changes are told when the first of them is resolved with them, or will
 * not be soon; and once more, without any, when those are resolved that were told before.
 */
export function judgeQuestion(
  question: OpenQuestion,
  { least, readTimestamp }: News,
  resolved: Resolved,
): Verdict {
  const { asked, isDue, isUntimed } = question;
  if (isDue) return 'answer';
  const isStuck = resolved.isHeldBack || isUntimed;
  if (least > 0) return resolved.at >= least || isStuck ? 'answer' : 'fetch';
  if (readTimestamp > asked.after && resolved.at >= readTimestamp) return 'answer';
  // Whoever begins waits to hear that nothing comes at or below the beginning any more.
  if (asked.index === 0) return resolved.at >= asked.after ? 'answer' : isStuck ? 'hold' : 'fetch';
  const unresolved = question.unresolved ?? timestamp(0);
  if (unresolved <= asked.after) return 'hold';
  if (resolved.at > asked.after && (resolved.at >= unresolved || resolved.isHeldBack)) return 'answer';
  return isStuck ? 'hold' : 'fetch';
}
