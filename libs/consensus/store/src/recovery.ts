import { assert, logIndex, type RangeDescriptor } from '@cairn/base';
import type { Clock, Logger } from '@cairn/ports';
import { EntryKind } from '@cairn/raft';
import type { RaftLog, RangeLog } from '@cairn/raft-log';

import type { Applier } from './applier.js';
import type { DiskWatch } from './disk-watch.js';
import type { HeldRecovery } from './held-recovery.js';
import type { HeldReplicas } from './held-replicas.js';
import { orInVain } from './or-in-vain.js';
import { recoveredReplicas, type RecoveredReplica } from './recovered-replicas.js';
import type { ReplicaMaker } from './replica-maker.js';
import type { ReplicaRemoval } from './replica-removal.js';
import type { SnapshotInstaller } from './snapshot-install.js';
import type { StateMachine } from './state-machine.js';
import type { StoreLife } from './store-life.js';

const REMEMBER_BYTES_MAX = 4 * 1024 * 1024;

export interface ReplicaOpenerParts {
  readonly installer: Pick<SnapshotInstaller, 'finishInstallation'>;
  readonly maker: Pick<ReplicaMaker, 'newReplica'>;
  readonly applier: Pick<Applier, 'unblock'>;
  machineFor(descriptor: RangeDescriptor, isInitial: boolean): StateMachine;
}

/** Brings replicas back to where the log says that they were. */
export class ReplicaOpener {
  readonly #parts: ReplicaOpenerParts;

  constructor(parts: ReplicaOpenerParts) {
    this.#parts = parts;
  }

  /** Rejects DISK_FULL while the rows of a half-installed snapshot have no room. */
  async open({ log, rangeId, state: found }: RecoveredReplica): Promise<void> {
    const { applier, installer, maker } = this.#parts;
    const state = found.installing === undefined ? found : await installer.finishInstallation(log, found);
    const { checkpoint } = log;
    assert(checkpoint !== undefined, 'recovered replicas have a checkpoint');
    const replica = maker.newReplica({
      rangeId,
      replicaId: state.replicaId,
      descriptor: state.descriptor,
      config: state.config,
      confVersionSeen: state.confVersionSeen,
      appliedIndex: checkpoint.index,
      appliedTerm: checkpoint.term,
      isInitial: false,
    });
    if (state.descriptor === undefined) return;
    const machine = this.#parts.machineFor(state.descriptor, false);
    replica.isApplyBlocked = true;
    replica.machine = machine;
    machine.attach?.(replica);
    await machine.open();
    await rememberEntries(log, machine);
    replica.isMachineOpen = true;
    // It takes part from now on: what was committed meanwhile may be applied.
    applier.unblock(replica);
    replica.wake();
  }
}

export interface RecoveryParts {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly log: Pick<RaftLog, 'rangeIds' | 'range'>;
  readonly disk: Pick<DiskWatch, 'isOutOfRoom'>;
  readonly removal: Pick<ReplicaRemoval, 'recover'>;
  readonly installer: Pick<SnapshotInstaller, 'spanOfHalfInstalled' | 'removeLeftovers'>;
  readonly held: Pick<HeldReplicas, 'add' | 'spools'>;
  readonly heldRecovery: Pick<HeldRecovery, 'attempt'>;
  readonly opener: ReplicaOpener;
  readonly life: Pick<StoreLife, 'isOver' | 'fatal'>;
}

/**
 * A start. What a range finds in the log decides what becomes of it, in this order:
 *
 * | in the log                | what the process before was doing | what is done                        |
 * | ------------------------- | --------------------------------- | ----------------------------------- |
 * | an unfinished tombstone   | removing the replica              | rows go, flush, log goes, done      |
 * | a finished tombstone      | anything                          | late messages find that it is gone  |
 * | no checkpoint             | creating it; not synced yet       | nothing: it was never here          |
 * | checkpoint, no descriptor | waiting for the first snapshot    | empty, with what it promised        |
 * | checkpoint, `installing`  | replacing the rows from a spool   | again; without room it is held      |
 * | checkpoint, descriptor    | anything else                     | entries behind it are applied again |
 *
 * Removals come first: their rows must be gone before another range may take the span. Whoever is
 * `installing` takes its span at once and its rows behind all others: what it deletes, the others must be
 * there to claim. Spools that nobody is `installing` from are removed last.
 *
 * Timeline: docs/timelines/restart.md
 */
export async function recoverReplicas(parts: RecoveryParts): Promise<void> {
  const { clock, disk, installer, log, life } = parts;
  await parts.removal.recover();
  const recovered = recoveredReplicas(log.rangeIds(), (id) => log.range(id));
  const halfInstalled = new Set<RecoveredReplica>();
  for (const one of recovered) {
    const span = await installer.spanOfHalfInstalled(one.state);
    if (span === undefined) continue;
    parts.held.add(one, span);
    halfInstalled.add(one);
  }
  for (const one of recovered) if (!halfInstalled.has(one)) await parts.opener.open(one);
  for (const one of halfInstalled) await orInVain(clock, disk, life, parts.heldRecovery.attempt(one));
  await installer.removeLeftovers(parts.held.spools);
  parts.logger.info('replicas recovered', { replicas: recovered.length });
}

/** Shows the machine the commands that the engine already covers and the log still holds. */
export async function rememberEntries(log: RangeLog, machine: StateMachine): Promise<void> {
  if (machine.remember === undefined || log.checkpoint === undefined) return;
  const endExclusive = logIndex(log.checkpoint.index + 1);
  let next = log.firstIndex();
  /** Answers false when there is nothing in memory to go on with. */
  const goOn = (): boolean => {
    const entries = log.entries(next, endExclusive, REMEMBER_BYTES_MAX);
    if (typeof entries === 'string') return false;
    for (const entry of entries) if (entry.kind === EntryKind.command) machine.remember?.(entry);
    next = logIndex(next + entries.length);
    return true;
  };
  while (next < endExclusive) {
    if (goOn()) continue;
    await log.load(next, endExclusive, REMEMBER_BYTES_MAX, () => {
      goOn();
    });
  }
}
