import { assert, type LogIndex, type Term, unreachable } from '@cairn/base';

import { type Core, NO_REPLICA } from './core.js';
import { handlePreVote, handleTimeoutNow, handleVote, handleVoteResponse } from './election.js';
import { handleAppend, handleHeartbeat, handleSnapshot } from './follower.js';
import { handleAppendResponse, handleHeartbeatResponse } from './leader.js';
import { handleReadIndex, handleReadIndexResponse } from './read-index.js';
import { becomeFollower } from './roles.js';
import type { Message } from './types.js';

/** Takes one message in. Messages of older terms are answered where the sender could otherwise stay stuck. */
export function step(core: Core, message: Message): void {
  assert(message.to === core.id, 'message for another replica', { to: message.to, id: core.id });
  assert(message.term > 0, 'message without a term', { type: message.type });
  if (message.term < core.term) {
    answerStale(core, message);
    return;
  }
  if (message.term > core.term && raisesTerm(message)) {
    const isFromLeader =
      message.type === 'append' || message.type === 'heartbeat' || message.type === 'snapshot';
    becomeFollower(core, message.term, isFromLeader ? message.from : NO_REPLICA);
  }
  dispatch(core, message);
}

/** Candidacies are judged before the term moves; a granted pre-vote names a term nobody has entered. */
function raisesTerm(message: Message): boolean {
  if (message.type === 'pre-vote' || message.type === 'vote') return false;
  return !(message.type === 'pre-vote-response' && message.granted);
}

function answerStale(core: Core, message: Message): void {
  switch (message.type) {
    case 'pre-vote':
      handlePreVote(core, message);
      return;
    case 'vote':
      handleVote(core, message);
      return;
    case 'append':
    case 'heartbeat':
    case 'snapshot':
      // A leader of the past, or one that this replica outran while cut off: it must learn the term.
      core.send({
        type: 'append-response',
        from: core.id,
        to: message.from,
        term: core.termNumber,
        index: 0 as LogIndex,
        rejected: true,
        hintIndex: 0 as LogIndex,
        hintTerm: 0 as Term,
        sentAtMs: 0,
      });
      return;
    default:
  }
}

function dispatch(core: Core, message: Message): void {
  switch (message.type) {
    case 'pre-vote':
      handlePreVote(core, message);
      return;
    case 'vote':
      handleVote(core, message);
      return;
    case 'pre-vote-response':
    case 'vote-response':
      handleVoteResponse(core, message);
      return;
    case 'append':
      handleAppend(core, message);
      return;
    case 'append-response':
      handleAppendResponse(core, message);
      return;
    case 'heartbeat':
      handleHeartbeat(core, message);
      return;
    case 'heartbeat-response':
      handleHeartbeatResponse(core, message);
      return;
    case 'snapshot':
      handleSnapshot(core, message);
      return;
    case 'timeout-now':
      handleTimeoutNow(core, message);
      return;
    case 'read-index':
      handleReadIndex(core, message);
      return;
    case 'read-index-response':
      handleReadIndexResponse(core, message);
      return;
    default:
      unreachable(message);
  }
}
