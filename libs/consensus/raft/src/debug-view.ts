import type { ReplicaId } from '@cairn/base';

import type { Core } from './core.js';

/** Ids and members that a view lists; of more it says how many there are. */
const LISTED_MAX = 16;

function listOf(ids: readonly ReplicaId[]): string {
  const more = ids.length > LISTED_MAX ? `,+${ids.length - LISTED_MAX}` : '';
  return `${ids.slice(0, LISTED_MAX).join()}${more}`;
}

/** What is unusual, each by a word. */
function marksOf(core: Core): string {
  const marks = [
    core.isSupporting ? 'supporting' : '',
    core.needsFlush ? 'flush' : '',
    core.isApplyHeld ? 'apply-held' : '',
    core.isApplyLoading ? 'loading' : '',
    core.isLeaseForfeited && core.role === 'leader' ? 'no-lease' : '',
    core.installing === undefined ? '' : `installing=${core.installing.index}/t${core.installing.term}`,
    core.transferTarget === 0 ? '' : `transfer-to=${core.transferTarget}`,
    core.pendingConfigIndex > core.applied ? `config=${core.pendingConfigIndex}` : '',
    core.pendingReads.length === 0 ? '' : `reads=${core.pendingReads.length}`,
    core.forwardedReads.size === 0 ? '' : `forwarded=${core.forwardedReads.size}`,
    core.pendingPersists.length === 0 ? '' : `unsynced=${core.pendingPersists.length}`,
  ];
  return marks.filter((mark) => mark !== '').join(' ');
}

/**
 * A core for people: a line of what it is and how far, and one for each member that it leads, sixteen at
 * most. Times are as the core's clock shows them. Reading it changes nothing.
 */
export function coreText(core: Core): string {
  const { log, members } = core;
  const when = (ms: number): string => (Number.isFinite(ms) ? String(Math.round(ms)) : '-');
  const head = [
    `${core.id} ${core.role} t${core.term} vote=${core.vote} leader=${core.leaderId}`,
    `log=${log.firstIndex()}-${log.lastIndex} durable=${log.durableIndex}`,
    `commit=${core.commit} handed=${core.handedOutIndex} applied=${core.applied}`,
    `v=${listOf(members.voters)} o=${listOf(members.outgoing)} l=${listOf(members.learners)}`,
    `now=${when(core.nowMs)} held=${when(core.voteHeldUntilMs)} election=${when(core.electionDeadlineMs)}`,
    marksOf(core),
  ];
  const lines = [head.filter((part) => part !== '').join(' ')];
  if (core.role === 'leader') {
    for (const peer of core.peers.slice(0, LISTED_MAX)) lines.push(`  ${String(peer)}`);
    if (core.peers.length > LISTED_MAX) lines.push(`  +${core.peers.length - LISTED_MAX} members`);
  }
  return lines.join('\n');
}
