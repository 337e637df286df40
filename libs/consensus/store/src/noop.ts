import type { GateView } from '@cairn/base';

import type { Replica } from './replica.js';
import { encodeNoopCommand, type NoopCommand } from './store-commands.js';

/**
 * Once for each range that has seen no leader at the present cluster version, by whoever leads it: a command
 * that says nothing, for every replica to read. Does nothing otherwise; one that is not taken now is due
 * again.
 */
export function proposeNoop(replica: Replica | undefined, gates: GateView): void {
  const { clusterVersion } = gates;
  if (replica?.isReadyLeader !== true || replica.markedVersion >= clusterVersion) return;
  if (!gates.isOpen('storeNoop')) return;
  const result = replica.propose(encodeNoopCommand({ clusterVersion }));
  if (result.type === 'accepted') replica.markedVersion = clusterVersion;
}

/** Whoever leads next need not propose another one. */
export function noopApplied(replica: Replica, { clusterVersion }: NoopCommand): void {
  replica.markedVersion = Math.max(replica.markedVersion, clusterVersion);
}
