import { assert, type LogIndex, type Term } from '@cairn/base';

import type { Core } from './core.js';
import { becomeFollower } from './roles.js';
import { EntryKind } from './types.js';
import type {
  AppendRequest,
  AppendResponse,
  HeartbeatRequest,
  Message,
  SnapshotMeta,
  SnapshotRequest,
} from './types.js';

/** A message that only the leader of the current term sends. */
function followSender(core: Core, message: Message): void {
  assert(core.role !== 'leader', 'two leaders in one term', { term: core.term, other: message.from });
  if (core.role !== 'follower' || core.leaderId !== message.from)
    becomeFollower(core, core.term, message.from);
  core.heardFromLeader();
}

function respond(
  core: Core,
  to: AppendRequest | SnapshotRequest,
  fields: Pick<AppendResponse, 'index'> & Partial<AppendResponse>,
): void {
  const { index } = fields;
  const response: AppendResponse = {
    type: 'append-response',
    from: core.id,
    to: to.from,
    term: core.termNumber,
    index,
    rejected: fields.rejected ?? false,
    hintIndex: fields.hintIndex ?? (0 as LogIndex),
    hintTerm: fields.hintTerm ?? (0 as Term),
    sentAtMs: to.type === 'append' ? to.sentAtMs : 0,
  };
  // Accepting is a promise about the disk.
  if (!response.rejected && index > core.log.durableIndex) core.sendAfterPersist(response);
  else core.send(response);
}

export function commitTo(core: Core, index: number): void {
  if (index <= core.commit) return;
  assert(index <= core.log.lastIndex, 'the leader committed entries that this log has lost', {
    index,
    lastIndex: core.log.lastIndex,
  });
  core.commit = index;
}

export function handleAppend(core: Core, message: AppendRequest): void {
  followSender(core, message);
  if (core.installing !== undefined) return;
  const { previousIndex, entries } = message;
  // Everything up to the own commit index is the same on every leader to come.
  const agrees = previousIndex <= core.commit || agreesAt(core, previousIndex, message.previousTerm);
  if (!agrees) {
    rejectAppend(core, message);
    return;
  }
  const last = previousIndex + entries.length;
  appendAfter(core, message);
  commitTo(core, Math.min(message.commit, last));
  respond(core, message, { index: Math.max(last, Math.min(core.commit, core.log.lastIndex)) as LogIndex });
}

function agreesAt(core: Core, index: number, term: number): boolean {
  return index <= core.log.lastIndex && core.log.termOf(index) === term;
}

/** Appends what is new; the first entry that differs in term cuts the own log there. */
function appendAfter(core: Core, message: AppendRequest): void {
  const { log } = core;
  for (const entry of message.entries) {
    if (entry.index <= log.lastIndex) {
      if (entry.index <= core.commit || log.termOf(entry.index) === entry.term) continue;
      assert(entry.index > core.handedOutIndex, 'a conflict below what was handed out', {
        index: entry.index,
      });
      log.truncateFrom(entry.index);
      for (const pending of core.pendingPersists)
        pending.lastIndex = Math.min(pending.lastIndex, log.lastIndex);
    }
    log.append(entry);
    if (entry.kind === EntryKind.config)
      core.pendingConfigIndex = Math.max(core.pendingConfigIndex, entry.index);
  }
}

/** Suggests the last place where the logs can still agree, one step per term instead of one per entry. */
function rejectAppend(core: Core, message: AppendRequest): void {
  const { log } = core;
  const start = Math.min(message.previousIndex, log.lastIndex);
  const hintIndex = log.lastIndexWithTermAtMost(start, message.previousTerm, core.commit);
  const hintTerm = log.termOf(hintIndex);
  assert(hintTerm !== 'compacted', 'truncated above the commit index', { hintIndex });
  respond(core, message, {
    index: message.previousIndex,
    rejected: true,
    hintIndex: hintIndex as LogIndex,
    hintTerm,
  });
}

export function handleHeartbeat(core: Core, message: HeartbeatRequest): void {
  followSender(core, message);
  if (core.installing === undefined) commitTo(core, message.commit);
  core.send({
    type: 'heartbeat-response',
    from: core.id,
    to: message.from,
    term: core.termNumber,
    readContext: message.readContext,
    sentAtMs: message.sentAtMs,
  });
}

export function handleSnapshot(core: Core, message: SnapshotRequest): void {
  followSender(core, message);
  if (core.installing !== undefined) return;
  const { meta } = message;
  const isKnown = meta.index <= core.commit || agreesAt(core, meta.index, meta.term);
  if (isKnown) {
    commitTo(core, meta.index);
    respond(core, message, { index: core.commit as LogIndex });
    return;
  }
  core.installing = meta;
  core.offeredSnapshot = meta;
}

/** The host replaced log and state: the log is empty behind the snapshot, everything in it is applied. */
export function snapshotInstalled(core: Core, meta: SnapshotMeta): void {
  assert(core.installing !== undefined, 'installed a snapshot that nobody offered', { index: meta.index });
  assert(meta.index > core.commit, 'a snapshot behind the commit index', {
    index: meta.index,
    commit: core.commit,
  });
  core.installing = undefined;
  core.offeredSnapshot = undefined;
  core.log.reset(meta.index, meta.term);
  for (const pending of core.pendingPersists) pending.lastIndex = 0;
  core.commit = meta.index;
  core.applied = meta.index;
  core.handedOutIndex = meta.index;
  core.isApplyLoading = false;
  core.pendingConfigIndex = 0;
  core.setMembers(meta.config);
  if (core.leaderId === 0 || core.leaderId === core.id) return;
  core.send({
    type: 'append-response',
    from: core.id,
    to: core.leaderId,
    term: core.termNumber,
    index: meta.index,
    rejected: false,
    hintIndex: 0 as LogIndex,
    hintTerm: 0 as Term,
    sentAtMs: 0,
  });
}
