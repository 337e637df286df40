import { rangeText } from '@cairn/base';

import type { LeaderMemory } from './leader-memory.js';
import type { MetadataMember } from './leadership.js';
import type { MetadataView } from './metadata-state.js';
import { listed } from './problems.js';
import type { Evaluation } from './proposer.js';
import { settingOf } from './settings.js';
import type { BuildVersions } from './wire-binding.js';

type NodeVersions = Pick<BuildVersions, 'build' | 'clusterVersions'>;

export interface UpgradeParts {
  readonly memory: LeaderMemory;
  readonly members: readonly MetadataMember[];
  /** What a member of the metadata group runs now; undefined while it is not connected. */
  memberBuild(member: MetadataMember): NodeVersions | undefined;
}

/** How far an upgrade of the cluster has come. */
export interface UpgradeView {
  /** What the cluster version may rise to now; what it is, when it may not. */
  readonly next: number;
  /** The newest that any node runs with: above the cluster version while an upgrade is not over. */
  readonly newest: number;
  /** What keeps the cluster version from `newest`, in sentences. */
  readonly waits: readonly string[];
}

/**
 * Whether the cluster version may rise. As in CockroachDB and etcd it does so by itself when nobody is left
 * who could not read what the new version brings, unless an operator holds it: then the way back to the
 * release before stays free. A shard node is judged by the row of its last start that was accepted, which no
 * other process of it can come before; whoever is not heard now may come back with an older release, and
 * would be refused for good, so the cluster waits until somebody has said what becomes of it.
 */
export function upgradeOf(state: MetadataView, parts: UpgradeParts): UpgradeView {
  const nodes = nodesOf(state, parts);
  const { clusterVersion } = state;
  let newest = clusterVersion;
  let common = Infinity;
  for (const { clusterVersions } of nodes.heard) {
    newest = Math.max(newest, clusterVersions.max);
    common = Math.min(common, clusterVersions.max);
  }
  if (clusterVersion === 0 || newest === clusterVersion) return { next: clusterVersion, newest, waits: [] };
  const hold = settingOf(state.settings, 'cluster.version_hold');
  const isHeld = hold > 0 && hold < newest;
  const isSettled = parts.memory.nodes.hasListened;
  const isWaiting = nodes.silent.length > 0 || !isSettled;
  const waits = [
    ...(isHeld ? [`held at ${Math.max(hold, clusterVersion)} by the setting cluster.version_hold`] : []),
    ...(isSettled ? [] : ['the metadata leader is new: routers may not have told it of themselves yet']),
    ...(nodes.silent.length > 0 ? [`not heard from: ${listed(nodes.silent)}`] : []),
    ...olderThan(newest, nodes.heard),
  ];
  const allowed = isHeld ? Math.min(common, hold) : common;
  return { next: isWaiting ? clusterVersion : Math.max(clusterVersion, allowed), newest, waits };
}

interface NamedVersions extends NodeVersions {
  readonly name: string;
}

function nodesOf(
  state: MetadataView,
  parts: UpgradeParts,
): { readonly heard: NamedVersions[]; readonly silent: string[] } {
  const heard: NamedVersions[] = [];
  const silent: string[] = [];
  const { nodes } = parts.memory;
  for (const member of parts.members) {
    const known = parts.memberBuild(member);
    if (known === undefined) silent.push(member.name);
    else heard.push({ ...known, name: member.name });
  }
  for (const [name, { isLost, build, clusterVersions }] of state.nodes) {
    if (isLost) continue;
    heard.push({ name, build, clusterVersions });
    const contact = nodes.get(name);
    if (contact?.isLive !== true || !contact.hasContact) silent.push(name);
  }
  for (const { kind, name, isLive, build } of nodes.contacts()) {
    if (kind !== 'router') continue;
    if (build === undefined || !isLive) silent.push(name);
    else heard.push({ ...build, name });
  }
  return { heard, silent };
}

/** One sentence for each release that knows less than the newest. */
function olderThan(newest: number, nodes: readonly NamedVersions[]): string[] {
  const byRelease = new Map<string, string[]>();
  for (const { name, build, clusterVersions } of nodes) {
    if (clusterVersions.max >= newest) continue;
    const release = `Cairn ${build}, which runs with ${rangeText(clusterVersions)}`;
    const names = byRelease.get(release);
    if (names === undefined) byRelease.set(release, [name]);
    else names.push(name);
  }
  return [...byRelease].map(([release, names]) => `still ${release}: ${listed(names)}`);
}

/** Raises the cluster version as far as it may rise by what is known now; answers what it is then. */
export function evaluateRise(state: MetadataView, parts: UpgradeParts): Evaluation<number> {
  const { next } = upgradeOf(state, parts);
  if (next <= state.clusterVersion) return { changes: [], result: state.clusterVersion };
  return { changes: [{ type: 'cluster-version', value: next }], result: next };
}
