import { Closers, messageOf, rethrowInvariant, type StoreId } from '@cairn/base';
import { HandOver, METADATA_ACCEPTOR, openIdentity, saveIdentity, type Store } from '@cairn/store';

import { Heartbeats } from './heartbeats.js';
import { HeardVersion } from './heard-version.js';
import { joinCluster, metadataHelloOf } from './join-cluster.js';
import type { NodeDoors } from './node-doors.js';
import type { ShardNodeOptions } from './node-options.js';
import { openParts, type JoinedNode, type OpenedNode } from './open-parts.js';
import { aliveWhile } from './sign-of-life.js';

/** Leaders hand over this long at most before the node stops. */
const DRAIN_TIMEOUT_MS = 5_000;
/** Without an answer of the metadata service for so long, the node is not ready. */
const SILENT_MS_MAX = 30_000;

/** A shard node that serves: one store of key ranges, its place in the cluster, and its doors. */
export interface ShardNode {
  readonly address: string;
  readonly storeId: StoreId;
  readonly store: Store;
  /** Why the node is not ready; empty = it is. */
  readiness(): string[];
  /** Hands its leaderships over, writes a checkpoint and closes everything. The second call waits, too. */
  stop(): Promise<void>;
}

/** Lets connections in once there are doors for them. */
interface Entrance {
  doors: NodeDoors | undefined;
}

/**
 * Joins the cluster, recovers what the directory holds and serves. Rejects with a sentence for people when it
 * must not; then everything is closed again that was opened.
 *
 * The order of a start: identity, listener, membership, engine, links, store, doors, heartbeats. A stop goes
 * backward, except that the listener is closed before the sessions that came in by it.
 *
 * Timeline: docs/timelines/restart.md
 */
export async function startShardNode(options: ShardNodeOptions): Promise<ShardNode> {
  const closers = new Closers();
  const entrance: Entrance = { doors: undefined };
  try {
    const joined = await joinedNode(options, entrance, closers);
    const opened = await aliveWhile({ ...options, metadata: joined.metadata }, () =>
      openParts(joined, closers),
    );
    return serve(opened, entrance, new Heartbeats(opened), closers);
  } catch (error) {
    rethrowInvariant(error);
    await closers.close().catch((failure: unknown) => {
      rethrowInvariant(failure);
      options.logger.warn('the node that did not start is not closed', { reason: messageOf(failure) });
    });
    throw error;
  }
}

async function joinedNode(
  options: ShardNodeOptions,
  entrance: Entrance,
  closers: Closers,
): Promise<JoinedNode> {
  const { advertise, build, clock, directory, disk, name, transport } = options;
  // Before anything is changed: the directory may be none for this build.
  const version = await HeardVersion.open(options);
  const offered = await openIdentity(options, directory, { name, kind: 'shard' }, [METADATA_ACCEPTOR]);
  const listener = await transport.listen(options.listen, (connection) => {
    if (entrance.doors === undefined) connection.close();
    else entrance.doors.accept(connection);
  });
  closers.add('listener', () => listener.close());
  const address = advertise ?? listener.address;
  const { gates } = version;
  const { identity, response } = await joinCluster({ ...options, identity: offered, gates, address });
  // Before anything else is written: from now on every copy that was made before is an older one.
  await saveIdentity(disk, directory, identity);
  await version.keep(response.clusterVersion);
  const metadata = options.metadata(() => metadataHelloOf({ identity, build, gates }, clock));
  closers.add('metadata', () => {
    metadata.close();
  });
  return {
    options,
    identity,
    version,
    listener,
    address,
    metadata,
    startedUnixMs: clock.unixMs(),
    joined: response,
  };
}

function serve(node: OpenedNode, entrance: Entrance, heartbeats: Heartbeats, closers: Closers): ShardNode {
  const { address, catchUp, doors, garbage, identity, listener, options, store } = node;
  const { clock } = options;
  closers.add('sessions', () => {
    doors.closeSessions();
  });
  closers.add('listener', () => listener.close());
  catchUp.start();
  closers.add('catch-up', () => {
    catchUp.stop();
  });
  closers.add('garbage collection', () => {
    garbage.stop();
  });
  entrance.doors = doors;
  heartbeats.start();
  closers.add('heartbeats', () => {
    heartbeats.stop();
  });
  const handOver = new HandOver({ clock, replicas: () => store.replicas() });
  const stop = async (): Promise<void> => {
    await handOver.drain(DRAIN_TIMEOUT_MS);
    await closers.close();
  };
  let stopping: Promise<void> | undefined;
  return {
    address,
    storeId: identity.storeId,
    store,
    readiness: () => reasonsOf(node, heartbeats),
    stop: () => (stopping ??= stop()),
  };
}

function reasonsOf({ catchUp, options, store }: OpenedNode, { lastHeardMs }: Heartbeats): string[] {
  const reasons: string[] = [];
  const { hangsMs } = store.disk;
  if (hangsMs > 0) reasons.push(`the disk has not answered for ${Math.round(hangsMs / 1000)} s`);
  const behind = catchUp.pending;
  if (behind > 0) reasons.push(`${behind} replicas have not caught up with their leaders since the start`);
  if (lastHeardMs === undefined) {
    reasons.push('not heard by the metadata service yet');
    return reasons;
  }
  const silentMs = options.clock.nowMs() - lastHeardMs;
  if (silentMs > SILENT_MS_MAX) {
    reasons.push(`no metadata member answered for ${Math.round(silentMs / 1000)} s`);
  }
  return reasons;
}
