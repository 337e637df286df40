// Timeline: docs/timelines/failover.md
import { assert, type LogIndex, type ReplicaId, type Term } from '@cairn/base';

import { type Core } from './core.js';
import { TERM_MAX } from './plausible.js';
import { jointVote, type VoteOutcome } from './quorum.js';
import { becomeCandidate, becomeFollower, becomeLeader, becomePreCandidate } from './roles.js';
import type { TimeoutNow, VoteRequest, VoteResponse } from './types.js';

/** After the leader's store was lost: spread of the first campaign, and how failed ones are retried. */
const STORE_LOST_JITTER_MS = 50;
const FAST_CAMPAIGNS_MAX = 4;
const FAST_RETRY_MS = 50;
const FAST_RETRY_JITTER_MS = 150;

/**
 * Voter, not busy with a snapshot, no committed change of the voters that it has not applied, and a term left
 * to lead in.
 */
export function mayCampaign(core: Core): boolean {
  if (!core.isVoter || core.installing !== undefined || core.term >= TERM_MAX) return false;
  return core.applied >= Math.min(core.commit, core.pendingConfigIndex);
}

/**
 * Forced campaign: ignores the election timer, but never this replica's own vote hold, which it waits out.
 */
export function campaign(core: Core): void {
  if (core.role === 'leader') return;
  const heldUntilMs = core.voteHeldUntilMs;
  if (core.nowMs < heldUntilMs || !mayCampaign(core)) {
    core.electionDeadlineMs = Math.min(core.electionDeadlineMs, Math.max(heldUntilMs, core.nowMs));
    return;
  }
  startPreVote(core);
}

export function leaderStoreLost(core: Core, delayMs: number): void {
  if (core.role === 'leader') return;
  core.fastCampaigns = FAST_CAMPAIGNS_MAX;
  const jitterMs = core.random() * STORE_LOST_JITTER_MS;
  const earliest = Math.max(core.nowMs, core.voteHeldUntilMs) + delayMs + jitterMs;
  core.electionDeadlineMs = Math.min(core.electionDeadlineMs, earliest);
}

/** The election timer ran out. */
export function onElectionTimeout(core: Core): void {
  // Whatever holds the vote also starts the timer anew, and no timer is set to end within a hold.
  assert(core.nowMs >= core.voteHeldUntilMs, 'the election timer ran out within a hold', {
    now: core.nowMs,
    heldUntil: core.voteHeldUntilMs,
  });
  if (!mayCampaign(core)) {
    armRetry(core);
    return;
  }
  startPreVote(core);
}

function armRetry(core: Core): void {
  core.armElection();
  if (core.fastCampaigns === 0) return;
  core.fastCampaigns -= 1;
  const retryAtMs = core.nowMs + FAST_RETRY_MS + core.random() * FAST_RETRY_JITTER_MS;
  // A campaign that a handover began within a hold: what comes after it waits for the hold, like any other.
  core.electionDeadlineMs = Math.max(retryAtMs, core.voteHeldUntilMs);
}

function startPreVote(core: Core): void {
  becomePreCandidate(core);
  armRetry(core);
  core.isTransferCandidate = false;
  core.votes.set(core.id, true);
  if (outcome(core) === 'won') startVote(core);
  else requestVotes(core, 'pre-vote', core.term + 1);
}

function startVote(core: Core): void {
  becomeCandidate(core);
  armRetry(core);
  // The own vote counts once it is durable: see countOwnVote.
  requestVotes(core, 'vote', core.term);
}

function requestVotes(core: Core, type: VoteRequest['type'], term: number): void {
  for (const peer of core.peers) {
    if (peer.isLearner) continue;
    core.send({
      type,
      from: core.id,
      to: peer.id,
      term: term as Term,
      lastIndex: core.log.lastIndex as LogIndex,
      lastTerm: core.log.lastTerm,
      transfer: core.isTransferCandidate,
    });
  }
}

function outcome(core: Core): VoteOutcome {
  return jointVote(core.members.voters, core.members.outgoing, core.votes);
}

/** Something became durable: a candidate's vote for itself may count now. */
export function countOwnVote(core: Core): void {
  if (core.role !== 'candidate' || core.votes.has(core.id)) return;
  if (core.durableTerm !== core.term || core.durableVote !== core.id) return;
  core.votes.set(core.id, true);
  decide(core);
}

function decide(core: Core): void {
  const result = outcome(core);
  if (result === 'pending') return;
  if (result === 'lost') standBack(core);
  else if (core.role === 'pre-candidate') startVote(core);
  else if (core.votes.has(core.id)) becomeLeader(core);
}

/** Gives a campaign up; the next one comes with the election timer, or as soon as a quick one was to. */
function standBack(core: Core): void {
  const retryAtMs = core.electionDeadlineMs;
  becomeFollower(core, core.term, 0 as ReplicaId);
  if (core.fastCampaigns > 0) core.electionDeadlineMs = retryAtMs;
}

/** Whether the sender's log is at least as new as the own one (Raft paper 5.4.1). */
function isUpToDate(core: Core, message: VoteRequest): boolean {
  const { lastTerm, lastIndex } = core.log;
  return message.lastTerm > lastTerm || (message.lastTerm === lastTerm && message.lastIndex >= lastIndex);
}

/** A leader that still has its quorum, or a promise to one, stands against any candidacy but a transfer. */
function isHeld(core: Core, message: VoteRequest): boolean {
  return !message.transfer && (core.role === 'leader' || core.nowMs < core.voteHeldUntilMs);
}

function respond(core: Core, message: VoteRequest, granted: boolean): void {
  core.send({
    type: message.type === 'pre-vote' ? 'pre-vote-response' : 'vote-response',
    from: core.id,
    to: message.from,
    // A granted pre-vote speaks about the term that was asked for; everything else about the own one.
    term: (granted && message.type === 'pre-vote' ? message.term : core.term) as Term,
    granted,
  });
}

/** Of two that ask at the same time one goes on: the newer log, between equal ones the larger id. */
function goesFirst(core: Core, message: VoteRequest): boolean {
  const { lastTerm, lastIndex } = core.log;
  if (message.lastTerm !== lastTerm || message.lastIndex !== lastIndex) return true;
  return message.from > core.id;
}

/**
 * A promise that depends on nothing but the present. A pre-candidate that grants one to whoever goes first
 * stands back: otherwise both win their pre-votes, both vote for themselves, and nobody leads.
 */
export function handlePreVote(core: Core, message: VoteRequest): void {
  const granted = message.term > core.term && !isHeld(core, message) && isUpToDate(core, message);
  respond(core, message, granted);
  if (granted && core.role === 'pre-candidate' && goesFirst(core, message)) standBack(core);
}

/** Learners and replicas that do not know their own promotion vote too: the candidate knows whom it needs. */
export function handleVote(core: Core, message: VoteRequest): void {
  if (message.term < core.term || isHeld(core, message)) {
    if (message.term <= core.term)
      respond(core, message, message.term === core.term && core.vote === message.from);
    return;
  }
  if (message.term > core.term) becomeFollower(core, message.term, 0 as ReplicaId);
  const isFree = core.vote === message.from || (core.vote === 0 && core.leaderId === 0);
  const granted = isFree && isUpToDate(core, message);
  if (granted) {
    core.vote = message.from;
    core.armElection();
  }
  respond(core, message, granted);
}

export function handleVoteResponse(core: Core, message: VoteResponse): void {
  const expected = message.type === 'vote-response' ? 'candidate' : 'pre-candidate';
  if (core.role !== expected || core.votes.has(message.from)) return;
  const answersThisRound =
    message.type === 'vote-response' || !message.granted || message.term === core.term + 1;
  if (!answersThisRound) return;
  core.votes.set(message.from, message.granted);
  decide(core);
}

/**
 * The leader hands over: campaign, the vote hold does not count; at once, or when a committed change is
 * applied.
 */
export function handleTimeoutNow(core: Core, message: TimeoutNow): void {
  if (core.role === 'leader' || message.from !== core.leaderId) return;
  core.deferredTransferTerm = core.term;
  resumeTransfer(core);
}

/** Also called after an apply: the handover may have come together with the change that made it necessary. */
export function resumeTransfer(core: Core): void {
  if (core.deferredTransferTerm === 0) return;
  const isStillAsked = core.deferredTransferTerm === core.term && core.role === 'follower';
  if (isStillAsked && !mayCampaign(core)) return;
  core.deferredTransferTerm = 0;
  if (!isStillAsked) return;
  core.isTransferCandidate = true;
  startVote(core);
}
