import { entryText } from '@cairn/raft/testing';

import type { View } from './locals.js';

/** What is wrong with a state of the group, or undefined. */
export function faultOf(views: readonly View[]): string | undefined {
  for (const [at, one] of views.entries()) {
    for (const other of views.slice(at + 1)) {
      const fault = electionSafety(one, other) ?? logMatching(one, other) ?? stateMachineSafety(one, other);
      if (fault !== undefined) return fault;
    }
    for (const other of views) {
      const fault = other === one ? undefined : leaderCompleteness(one, other);
      if (fault !== undefined) return fault;
    }
    const lost = committedStays(one, views);
    if (lost !== undefined) return lost;
  }
  return undefined;
}

function electionSafety(one: View, other: View): string | undefined {
  for (const term of one.led)
    if (other.led.has(term)) return `election safety: ${one.id} and ${other.id} led term ${term}`;
  return undefined;
}

/** Entries of one index and term are equal, and so is everything before them. */
function logMatching(one: View, other: View): string | undefined {
  for (let at = Math.min(one.log.length, other.log.length) - 1; at >= 0; at -= 1) {
    if (positionOf(one.log[at]) !== positionOf(other.log[at])) continue;
    for (let below = 0; below <= at; below += 1) {
      if (one.log[below] !== other.log[below])
        return `log matching: ${one.id} and ${other.id} agree at ${at + 1}, not at ${below + 1}`;
    }
    return undefined;
  }
  return undefined;
}

/** Index and term. */
function positionOf(text: string | undefined): string {
  return text?.split('.', 2).join('.') ?? '';
}

function stateMachineSafety(one: View, other: View): string | undefined {
  for (const { entry } of one.handed) {
    const theirs = other.handed.find((each) => each.entry.index === entry.index);
    if (theirs !== undefined && entryText(theirs.entry) !== entryText(entry))
      return `state machine safety: ${one.id} and ${other.id} handed out different entries ${entry.index}`;
  }
  return undefined;
}

/** A leader has everything that was committed in the terms before its own. */
function leaderCompleteness(leader: View, other: View): string | undefined {
  if (leader.role !== 'leader') return undefined;
  for (const { entry, inTerm } of other.handed) {
    if (inTerm < leader.term && leader.log[entry.index - 1] !== entryText(entry))
      return `leader completeness: ${leader.id} leads term ${leader.term} without entry ${entry.index}`;
  }
  return undefined;
}

/** What anybody handed out stays durable on a majority, whoever crashes. */
function committedStays(one: View, views: readonly View[]): string | undefined {
  for (const { entry } of one.handed) {
    const text = entryText(entry);
    const holders = views.filter(({ durable }) => durable[entry.index - 1] === text).length;
    if (holders * 2 <= views.length)
      return `committed never lost: entry ${entry.index}, handed out by ${one.id}, is durable on ${holders}`;
  }
  return undefined;
}
