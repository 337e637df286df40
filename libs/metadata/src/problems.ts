import type { RangeSummary } from './cluster-view.js';
import type { LeaderMemory } from './leader-memory.js';
import type { MetadataMember } from './leadership.js';
import type { MetadataView } from './metadata-state.js';
import type { TimestampOracle } from './timestamp-oracle.js';

/** Names in one sentence; more are counted. */
const NAMES_MAX = 8;

export interface ProblemParts {
  readonly state: MetadataView;
  readonly memory: LeaderMemory;
  readonly summary: RangeSummary;
  readonly oracle: TimestampOracle;
  readonly self: MetadataMember;
  readonly members: readonly MetadataMember[];
  isMemberLive(member: MetadataMember): boolean;
}

/** All that keeps the cluster from being healthy, in sentences, the worst first; none = healthy. */
export function problemsOf(parts: ProblemParts): string[] {
  return [...keyProblems(parts), ...storeProblems(parts), ...replicaProblems(parts), ...otherProblems(parts)];
}

function keyProblems({ state, memory, summary }: ProblemParts): string[] {
  if (state.bootstrap === undefined)
    return ['the cluster has no range yet: not enough shard nodes have joined'];
  const problems: string[] = [];
  const coverage = memory.ranges.coverage();
  if (coverage.gaps > 0) {
    const from = Buffer.from(coverage.firstGap ?? []).toString('hex');
    problems.push(
      `${count(coverage.gaps, 'part')} of the key space in no range, the first from key 0x${from}`,
    );
  }
  if (coverage.conflicts > 0)
    problems.push(`${count(coverage.conflicts, 'range')} in conflict with another one`);
  if (summary.withoutLeader > 0)
    problems.push(`${count(summary.withoutLeader, 'range')} without a live leader`);
  return problems;
}

function storeProblems({ state, memory }: ProblemParts): string[] {
  const down: string[] = [];
  const full: string[] = [];
  const low: string[] = [];
  for (const [name, { isLost }] of state.nodes) {
    if (isLost) continue;
    const contact = memory.nodes.get(name);
    if (contact?.isLive !== true) down.push(name);
    else if (contact.numbers.isDiskFull) full.push(name);
    else if (contact.numbers.isDiskLow) low.push(name);
  }
  const problems: string[] = [];
  if (full.length > 0) problems.push(`disk full, writes refused: ${listed(full)}`);
  if (down.length > 0) problems.push(`shard nodes not heard from: ${listed(down)}`);
  if (low.length > 0) problems.push(`disk nearly full: ${listed(low)}`);
  return problems;
}

function replicaProblems({ state, memory, summary }: ProblemParts): string[] {
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
  const behind: string[] = [];
  for (const contact of memory.nodes.contacts()) {
    if (contact.kind !== 'shard' || !contact.isLive || !state.nodes.has(contact.name)) continue;
    if (contact.numbers.replicasCatchingUp > 0) behind.push(contact.name);
  }
  if (behind.length > 0) problems.push(`shard nodes that are catching up: ${listed(behind)}`);
  return problems;
}

function otherProblems({ oracle, self, members, memory, ...parts }: ProblemParts): string[] {
  const problems: string[] = [];
  const away = members.filter((member) => member.name !== self.name && !parts.isMemberLive(member));
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
  if (routers.length > 0) problems.push(`routers not heard from: ${listed(routers)}`);
  return problems;
}

function count(number: number, noun: string): string {
  return number === 1 ? `1 ${noun}` : `${number} ${noun}s`;
}

function listed(names: readonly string[]): string {
  const more = names.length - NAMES_MAX;
  const shown = names.slice(0, NAMES_MAX).join(', ');
  return more > 0 ? `${shown} and ${more} more` : shown;
}
