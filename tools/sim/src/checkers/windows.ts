import { REQUEST_WINDOW_MS, RequestWindow } from '@cairn/mvcc';
import { TIMESTAMP_LOGICAL_STEPS, timestamp } from '@cairn/base';

import { machinesOf } from './replicas.js';

/** What a replica remembers of the commands that were carried out. */
export interface HeldWindow {
  readonly node: string;
  readonly rangeId: number;
  readonly appliedIndex: number;
  readonly window: Pick<RequestWindow, 'completeSince' | 'encode'>;
  /** Its machine as one line. */
  readonly machine: string;
}

/** Format, `completeSince` and the newest timestamp stand before the outcomes. */
const HEAD_BYTES = 17;

/** The outcomes above `since`, as bytes that are equal when they are. */
function outcomesSince({ window }: HeldWindow, since: number): Buffer {
  const copy = RequestWindow.decode(window.encode());
  copy.evictAt(timestamp(since + 1 + REQUEST_WINDOW_MS * TIMESTAMP_LOGICAL_STEPS));
  return copy.encode().subarray(HEAD_BYTES);
}

/**
 * Replicas of one range at one applied index remember the same, as far back as both say that they remember
 * everything. Answers what differs: a command that one of them has forgotten it would carry out again.
 */
export function windowFaults(held: readonly HeldWindow[]): string[] {
  const faults: string[] = [];
  const first = new Map<string, HeldWindow>();
  for (const one of held) {
    const place = `${one.rangeId}@${one.appliedIndex}`;
    const other = first.get(place);
    if (other === undefined) {
      first.set(place, one);
      continue;
    }
    const since = Math.max(one.window.completeSince, other.window.completeSince);
    if (!outcomesSince(one, since).equals(outcomesSince(other, since))) {
      const what = `${other.node} and ${one.node} remember different outcomes since ${since}`;
      faults.push(`range ${place}: ${what}\n${machinesOf(other, one)}`);
    }
    // The one that goes back further is the better measure for the others.
    if (one.window.completeSince < other.window.completeSince) first.set(place, one);
  }
  return faults;
}
