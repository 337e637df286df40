import { assert, CairnError, messageOf, rethrowInvariant, type GateView, type StoreId } from '@cairn/base';
import { sleep, type Clock, type Logger } from '@cairn/ports';
import { METADATA_ACCEPTOR, withAccepted, type NodeIdentity } from '@cairn/store';
import {
  buildToMessage,
  type BuildVersions,
  type Hello,
  type HelloLife,
  type LeaseTiming,
} from '@cairn/wire';
import { NodeKind, type JoinResponse } from '@cairn/wire/gen/cairn/internal/v1/metadata.js';

import type { MetadataAccess } from './metadata-access.js';

const JOIN_RETRY_MS = 500;
/** One try to join, over all members; when it has failed, the log says why. */
const JOIN_TRY_MS = 3_000;

/** Whoever waits for longer needs somebody to look. */
const TROUBLE_MS = 10_000;

/** A shard node, as far as it tells others of itself. */
export interface Speaker {
  readonly identity: NodeIdentity;
  readonly build: BuildVersions;
  readonly gates: GateView;
}

export interface JoinOptions extends Speaker {
  /** Where others reach this node. */
  readonly address: string;
  readonly publicAddress: string;
  /** The directory is new, and this store, which had the name, is lost for good; 0 = none. */
  readonly replacesStoreId: number;
  readonly clock: Clock;
  readonly logger: Logger;
  metadata(hello: () => Hello): MetadataAccess;
}

/** Who the node is from now on, and what it was told. */
export interface Joined {
  readonly identity: NodeIdentity;
  readonly response: JoinResponse;
}

/** What the node says of itself when it opens a session, or is asked. */
export function helloOf(
  { identity, build, gates: { clusterVersion } }: Speaker,
  purpose: Hello['purpose'],
  timing?: LeaseTiming,
): Hello {
  return {
    ...build,
    ...(clusterVersion === 0 ? {} : { clusterVersion }),
    purpose,
    clusterId: identity.clusterId,
    kind: 'shard',
    name: identity.name,
    storeId: identity.storeId,
    ...(timing === undefined ? {} : { timing }),
  };
}

/** The metadata service tells this process from others of the same node; nobody else has to know it. */
export function metadataHelloOf(speaker: Speaker, clock: Clock): Hello {
  const { identity } = speaker;
  const life: HelloLife = {
    group: '',
    incarnation: identity.incarnation.toString('hex'),
    start: undefined,
    process: identity.process.toString('hex'),
    unixMs: clock.unixMs(),
  };
  return { ...helloOf(speaker, 'rpc'), life };
}

/**
 * Tries until the metadata service answers; a refusal that will not change is thrown. It speaks over sessions
 * of its own, under the identity that the node had before, and leaves none behind.
 */
export async function joinCluster(options: JoinOptions): Promise<Joined> {
  const { identity, clock, logger } = options;
  const metadata = options.metadata(() => metadataHelloOf(options, clock));
  const beganMs = clock.nowMs();
  try {
    for (;;) {
      try {
        const response = await join(metadata, options);
        return { identity: joinedAs(identity, response), response };
      } catch (error) {
        rethrowInvariant(error);
        if (CairnError.is(error) && error.retryClass === 'fatal' && error.code !== 'DEADLINE_EXCEEDED')
          throw error;
        // Nodes that start together wait for each other: only what lasts is trouble.
        const level = clock.nowMs() - beganMs < TROUBLE_MS ? 'info' : 'warn';
        logger[level]('waiting to join the cluster', { reason: messageOf(error) });
        await sleep(clock, JOIN_RETRY_MS);
      }
    }
  } finally {
    metadata.close();
  }
}

function join(metadata: MetadataAccess, options: JoinOptions): Promise<JoinResponse> {
  const { identity, address, publicAddress, replacesStoreId, build } = options;
  const shown = identity.starts.find(({ acceptor }) => acceptor === METADATA_ACCEPTOR);
  assert(shown !== undefined, 'an identity was opened with an offer');
  const request = {
    name: identity.name,
    kind: NodeKind.SHARD,
    incarnation: identity.incarnation,
    clusterId: identity.clusterId,
    address,
    publicAddress,
    acceptedStart: shown.accepted,
    offeredStarts: [...shown.offered],
    process: identity.process,
    // Once it has joined, the directory speaks for itself.
    replacesStoreId: identity.clusterId === '' ? replacesStoreId : 0,
    build: buildToMessage(build),
  };
  return metadata.join(request, { timeoutMs: JOIN_TRY_MS });
}

/** @throws CairnError FAILED_PRECONDITION when the service takes the directory for another store. */
function joinedAs(identity: NodeIdentity, { clusterId, storeId }: JoinResponse): NodeIdentity {
  if (storeId > 0 && (identity.clusterId === '' || identity.storeId === storeId)) {
    return { ...withAccepted(identity, METADATA_ACCEPTOR), clusterId, storeId: storeId as StoreId };
  }
  throw new CairnError(
    'FAILED_PRECONDITION',
    `the metadata service takes ${identity.name} for store ${storeId}, its data directory is of store ` +
      `${identity.storeId}: they belong to different clusters`,
  );
}
