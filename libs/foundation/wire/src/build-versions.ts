import { CairnError, CLUSTER_VERSIONS, VERSION, type VersionRange } from '@cairn/base';

import type { NodeBuild } from './gen/cairn/internal/v1/metadata.js';

/** What a release says of itself, in every hello, join and heartbeat. */
export interface BuildVersions {
  /** The release that it is, for people. */
  readonly build: string;
  /** The protocols between nodes that it speaks. */
  readonly protocols: VersionRange;
  /** The cluster versions that it runs with. */
  readonly clusterVersions: VersionRange;
}

/**
 * Protocols that this build speaks. `max` counts up with every change that older nodes would misread; `min`
 * follows when no release that is still upgraded from speaks it.
 */
const PROTOCOLS: VersionRange = { min: 7, max: 7 };

export const THIS_BUILD: BuildVersions = {
  build: VERSION,
  protocols: PROTOCOLS,
  clusterVersions: CLUSTER_VERSIONS,
};

/** Longest name of a release. */
const RELEASE_CHARS_MAX = 128;
const RELEASE = /^[\x21-\x7e]+$/;

/** Highest version that a node is believed to know: each release adds a few at most. */
const VERSION_MAX = 1_000;

export function buildToMessage({ build, protocols, clusterVersions }: BuildVersions): NodeBuild {
  return {
    release: build,
    clusterVersionMin: clusterVersions.min,
    clusterVersionMax: clusterVersions.max,
    protocolMin: protocols.min,
    protocolMax: protocols.max,
  };
}

/** Whether a release may call itself so: people read it on their terminals. */
export function isRelease(text: string): boolean {
  return text.length <= RELEASE_CHARS_MAX && RELEASE.test(text);
}

/** Of a node that may say anything: it is kept, and shown to people. @throws CairnError INVALID_ARGUMENT. */
export function buildFromMessage(message: NodeBuild | undefined): BuildVersions {
  if (message === undefined) throw new CairnError('INVALID_ARGUMENT', 'a node says nothing of its release');
  const { release, clusterVersionMin, clusterVersionMax, protocolMin, protocolMax } = message;
  if (!isRelease(release)) {
    const shown = release.slice(0, 32).replace(/[^\x20-\x7e]/g, '?');
    throw new CairnError('INVALID_ARGUMENT', `a node says that its release is "${shown}"`);
  }
  return {
    build: release,
    protocols: rangeOf('protocols', protocolMin, protocolMax),
    clusterVersions: rangeOf('cluster versions', clusterVersionMin, clusterVersionMax),
  };
}

function rangeOf(what: string, min: number, max: number): VersionRange {
  if (min >= 1 && min <= max && max <= VERSION_MAX) return { min, max };
  throw new CairnError('INVALID_ARGUMENT', `a node says that it knows the ${what} ${min} to ${max}`);
}
