import type { Core } from './core.js';
import type { AppendRequest, AppendResponse, HeartbeatRequest, Message, SnapshotRequest } from './types.js';

/** The largest term and index that a log record and a vote can hold. */
export const TERM_MAX = 2 ** 48 - 1;
export const INDEX_MAX = 2 ** 48 - 1;

/** Terms up to here are never doubted, whatever the wall clock shows. */
const TERM_UNDOUBTED = 2 ** 32;

/**
 * Whether a group can have got to the term by `unixMs`. Each election takes a quorum a durable write and a
 * round trip, so there are fewer of them than milliseconds since 1970. The bound moves on faster than terms
 * do: who was lied to up to it is believed by all others a moment later, and has 2^48 milliseconds left.
 */
export function isTermBelievable(term: number, unixMs: number): boolean {
  return term <= TERM_UNDOUBTED || term <= unixMs;
}

/**
 * Why no replica that runs this algorithm can have sent the message; undefined for one that it can have sent.
 * Asked before anything changes: what passes can neither end the process nor leave numbers behind that will.
 * It is no proof of honesty. Whether there was time for so many terms the host asks
 * (`isTermBelievable`). The entries of an append follow each other: their decoder has checked that.
 */
export function implausibility(core: Core, message: Message): string | undefined {
  const { term } = message;
  // The host's own mistake, which `step` asserts.
  if (message.to !== core.id) return undefined;
  if (term < 1 || term > TERM_MAX) return `terms are from 1 to ${TERM_MAX}, not ${term}`;
  if (message.from === core.id) return `it names replica ${core.id} itself as its sender`;
  // Of an older term nothing but the term is looked at.
  if (term < core.term) return undefined;
  switch (message.type) {
    case 'append':
      return ofSecondLeader(core, message) ?? ofAppend(core, message);
    case 'append-response':
      return ofAppendResponse(core, message);
    case 'heartbeat':
      return ofSecondLeader(core, message) ?? ofHeartbeat(core, message);
    case 'heartbeat-response':
      if (core.role !== 'leader' || term !== core.term) return undefined;
      if (message.readContext > core.readRound) {
        return `read round ${message.readContext} of ${core.readRound} is confirmed`;
      }
      return ofEcho(core, message.sentAtMs);
    case 'snapshot':
      return ofSecondLeader(core, message) ?? ofSnapshot(message);
    case 'pre-vote':
    case 'vote':
      if (message.lastTerm < term && message.lastIndex <= INDEX_MAX) return undefined;
      return `a candidate of term ${term} has entry ${message.lastIndex} of term ${message.lastTerm}`;
    default:
      return undefined;
  }
}

/** Only who leads knows for certain who does. */
function ofSecondLeader(core: Core, message: Message): string | undefined {
  if (core.role !== 'leader' || message.term !== core.term) return undefined;
  return `replica ${message.from} claims to lead term ${core.term}, which replica ${core.id} leads`;
}

function ofAppend(core: Core, message: AppendRequest): string | undefined {
  const { previousIndex, previousTerm, term, commit, entries, sentAtMs } = message;
  if (previousTerm > term || previousIndex + entries.length > INDEX_MAX || commit > INDEX_MAX) {
    return `an append of term ${term} follows entry ${previousIndex} of term ${previousTerm}`;
  }
  if (!Number.isFinite(sentAtMs)) return `sent at ${sentAtMs}`;
  if (core.installing !== undefined || previousIndex > core.commit) return undefined;
  const followed = core.log.termOf(previousIndex);
  if (followed !== 'compacted' && followed !== previousTerm) {
    return `entry ${previousIndex} of term ${previousTerm} contradicts the committed one of term ${followed}`;
  }
  // What is committed is the same on every leader to come. The last such entry decides what may follow it.
  const entry = entries[core.commit - previousIndex - 1];
  if (entry === undefined) return undefined;
  const own = core.log.termOf(core.commit);
  if (own === 'compacted' || own === entry.term) return undefined;
  return `entry ${core.commit} of term ${entry.term} contradicts the committed one of term ${own}`;
}

function ofAppendResponse(core: Core, message: AppendResponse): string | undefined {
  if (core.role !== 'leader' || message.term !== core.term) return undefined;
  if (!message.rejected && message.index > core.log.lastIndex) {
    return `entry ${message.index} of a log that ends at ${core.log.lastIndex} is acknowledged`;
  }
  return ofEcho(core, message.sentAtMs);
}

function ofHeartbeat(core: Core, message: HeartbeatRequest): string | undefined {
  if (!Number.isFinite(message.sentAtMs)) return `sent at ${message.sentAtMs}`;
  if (core.installing !== undefined || message.commit <= core.log.lastIndex) return undefined;
  return beyondLog(core, message.commit);
}

/** A leader tells its commit index up to what the member has acknowledged. */
export function beyondLog(core: Core, commit: number): string {
  return `entry ${commit} is committed, and the log that is said to have it ends at ${core.log.lastIndex}`;
}

/** It was made by the clock of this process. */
function ofEcho(core: Core, sentAtMs: number): string | undefined {
  return sentAtMs <= core.stampMs
    ? undefined
    : `an answer to what is sent at ${sentAtMs}, now is ${core.stampMs}`;
}

function ofSnapshot({ meta, term }: SnapshotRequest): string | undefined {
  const isPlausible =
    meta.index > 0 && meta.index <= INDEX_MAX && meta.term <= term && meta.config.voters.length > 0;
  return isPlausible ? undefined : `a snapshot of entry ${meta.index} of term ${meta.term} in term ${term}`;
}
