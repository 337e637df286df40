import type { Clock } from '@cairn/ports';

import type { RangeSummary } from './cluster-view.js';
import type { LeaderMemory } from './leader-memory.js';
import type { MetadataMember } from './leadership.js';
import type { MetadataView } from './metadata-state.js';
import { ROUTER_MEMORY_MS } from './node-table.js';
import type { TimestampOracle } from './timestamp-oracle.js';

/** Names in one sentence; more are counted. */
const NAMES_MAX = 8;

/** The first range has a leader within this time, or something is wrong. */
const FIRST_RANGE_MS = 10_000;

/** The two sides of a split are reported within this time; a hole that stays longer is one. */
const SPLIT_MS = 2_000;

/** Routers that run make themselves heard within this time: they report every second. */
const ROUTERS_SPEAK_MS = 1_500;

export interface ProblemParts {
  readonly state: MetadataView;
  readonly memory: LeaderMemory;
  readonly summary: RangeSummary;
  readonly oracle: TimestampOracle;
  readonly self: MetadataMember;
  readonly members: readonly MetadataMember[];
  readonly clock: Clock;
  /** Why the first range was not made at the last look; empty = not known. */
  readonly waitingReason: string;
  /** For how long another member has not been connected; undefined = it is. */
  memberAwayMs(member: MetadataMember): number | undefined;
}

/** How the cluster is, as far as its leader can know. Healthy = both are empty. */
export interface Health {
  /** All that keeps the cluster from being healthy, in sentences, the worst first. */
  readonly problems: string[];
  /** What is not known yet, in sentences: then nothing is said of ranges, because it may not be so. */
  readonly unsettled: string[];
}

export function healthOf(parts: ProblemParts): Health {
  const unsettled = unsettledOf(parts);
  const isKnown = unsettled.length === 0;
  return {
    problems: [
      ...(isKnown ? keyProblems(parts) : []),
      ...storeProblems(parts),
      ...(isKnown ? replicaProblems(parts) : []),
      ...catchingUp(parts),
      ...otherProblems(parts),
    ],
    unsettled,
  };
}

/** A leader knows of ranges only what it has heard since it leads. */
function unsettledOf({ state, memory, clock, waitingReason }: ProblemParts): string[] {
  const nowMs = clock.nowMs();
  if (state.bootstrap === undefined) {
    const why = waitingReason === '' ? '' : `: ${waitingReason}`;
    return [`the cluster has no range yet${why}`];
  }
  const firstMs = memory.firstRangeMs;
  if (firstMs !== undefined && nowMs - firstMs < FIRST_RANGE_MS && !hadLeader(memory)) {
    return ['the first range is being made'];
  }
  const silent = memory.nodes.unheard(state);
  if (silent.length > 0) {
    return [`shard nodes that have not told the metadata leader their ranges yet: ${listed(silent)}`];
  }
  if (nowMs - memory.sinceMs < ROUTERS_SPEAK_MS) {
    return ['the metadata leader is new: routers may not have told it of themselves yet'];
  }
  memory.look(nowMs);
  const gapsMs = memory.gapsForMs(nowMs);
  return gapsMs !== undefined && gapsMs < SPLIT_MS
    ? ['a part of the key space is in no range that was reported: one may be splitting']
    : [];
}

function hadLeader(memory: LeaderMemory): boolean {
  for (const { leaderTerm } of memory.ranges.entries()) if (leaderTerm > 0) return true;
  return false;
}

function keyProblems({ memory, summary }: ProblemParts): string[] {
  const problems: string[] = [];
  const { gaps, conflicts, firstGap } = memory.coverage;
  if (gaps > 0) {
    const hex = Buffer.from(firstGap ?? []).toString('hex');
    const from = hex === '' ? 'the first key' : `key 0x${hex}`;
    problems.push(`${count(gaps, 'part')} of the key space in no range, the first from ${from} on`);
  }
  if (conflicts > 0) problems.push(`${count(conflicts, 'range')} in conflict with another one`);
  if (summary.withoutLeader > 0)
    problems.push(`${count(summary.withoutLeader, 'range')} without a live leader`);
  return problems;
}

function storeProblems({ state, memory }: ProblemParts): string[] {
  const down: string[] = [];
  const full: string[] = [];
  const low: string[] = [];
  const hanging: string[] = [];
  for (const [name, { isLost }] of state.nodes) {
    if (isLost) continue;
    const contact = memory.nodes.get(name);
    if (contact?.isLive !== true) {
      down.push(name);
      continue;
    }
    if (contact.numbers.isDiskHanging) hanging.push(name);
    if (contact.numbers.isDiskFull) full.push(name);
    else if (contact.numbers.isDiskLow) low.push(name);
  }
  const problems: string[] = [];
  if (hanging.length > 0) problems.push(`disk does not answer: ${listed(hanging)}`);
  if (full.length > 0) problems.push(`disk full, writes refused: ${listed(full)}`);
  if (down.length > 0) problems.push(`shard nodes not heard from: ${listed(down)}`);
  if (low.length > 0) problems.push(`disk nearly full: ${listed(low)}`);
  return problems;
}

function replicaProblems({ summary }: ProblemParts): string[] {
  const problems: string[] = [];
  if (summary.underReplicated > 0) {
    problems.push(`${count(summary.underReplicated, 'range')} with fewer live voters than wanted`);
  }
  if (summary.onLostStores > 0) {
    problems.push(`${count(summary.onLostStores, 'range')} with a member on a store that was declared lost`);
  }
  if (summary.catchingUp > 0) {
    problems.push(`${count(summary.catchingUp, 'range')} with replicas that have not caught up`);
  }
  return problems;
}

function catchingUp({ state, memory }: ProblemParts): string[] {
  const behind: string[] = [];
  for (const contact of memory.nodes.contacts()) {
    if (contact.kind !== 'shard' || !contact.isLive || !state.nodes.has(contact.name)) continue;
    if (contact.numbers.replicasCatchingUp > 0) behind.push(contact.name);
  }
  return behind.length > 0 ? [`shard nodes that are catching up: ${listed(behind)}`] : [];
}

function otherProblems({ oracle, self, members, memory, ...parts }: ProblemParts): string[] {
  const problems: string[] = [];
  const away = members.filter(
    (member) => member.name !== self.name && parts.memberAwayMs(member) !== undefined,
  );
  if (away.length > 0) problems.push(`metadata members not reached: ${listed(away.map(({ name }) => name))}`);
  if (oracle.isClockRefused) {
    problems.push(
      'the wall clocks of the metadata members are not followed: they disagree, or are far behind',
    );
  }
  const routers: string[] = [];
  for (const contact of memory.nodes.contacts()) {
    if (contact.kind === 'router' && !contact.isLive) routers.push(contact.name);
  }
  if (routers.length > 0) {
    const seconds = ROUTER_MEMORY_MS / 1_000;
    problems.push(`routers not heard from, each forgotten after ${seconds} s of silence: ${listed(routers)}`);
  }
  return problems;
}

function count(number: number, noun: string): string {
  return number === 1 ? `1 ${noun}` : `${number} ${noun}s`;
}

/** The first names, and how many more there are. */
export function listed(names: readonly string[]): string {
  const more = names.length - NAMES_MAX;
  const shown = names.slice(0, NAMES_MAX).join(', ');
  return more > 0 ? `${shown} and ${more} more` : shown;
}
