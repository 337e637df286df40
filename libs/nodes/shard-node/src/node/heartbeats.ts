import {
  CairnError,
  messageOf,
  rethrowInvariant,
  type RangeDescriptor,
  type RangeId,
  type ReplicaId,
  type Timestamp,
} from '@cairn/base';
import { descriptorFromMessage } from '@cairn/metadata';
import type { Timer } from '@cairn/ports';
import { buildToMessage } from '@cairn/wire';
import { NodeKind, type HeartbeatResponse } from '@cairn/wire/gen/cairn/internal/v1/metadata.js';

import type { KvMachine } from '../kv/kv-machine.js';
import { FreeSpace } from './free-space.js';
import type { OpenedNode } from './open-parts.js';
import { RangeRounds } from './range-rounds.js';

const HEARTBEAT_INTERVAL_MS = 1_000;
/** Changes wait this long for company before a heartbeat of their own. */
const CHANGE_DELAY_MS = 20;

/**
 * Tells the metadata service once a second, and when something changed, what the node has; and does what the
 * answers say. Each heartbeat looks at a part of the ranges, and with it the work goes on that ranges need
 * once in a while: splitting, garbage collection, members that are lost.
 */
export class Heartbeats {
  readonly #node: OpenedNode;
  readonly #freeSpace: FreeSpace;
  readonly #rounds: RangeRounds<KvMachine>;
  /** Ranges that are being created here: they are told of when they are durable. */
  readonly #creating = new Set<RangeId>();
  /** The machines that the heartbeat under way has looked at. */
  #looked: readonly KvMachine[] = [];
  #sequence = 0;
  #timer: Timer | undefined;
  #isBeating = false;
  #isStopped = false;
  #lastHeardMs: number | undefined;

  constructor(node: OpenedNode) {
    const { options, machines, store } = node;
    this.#node = node;
    this.#freeSpace = new FreeSpace(options);
    this.#rounds = new RangeRounds(
      () => store.replicas(),
      (rangeId) => machines.get(rangeId),
    );
  }

  /** When the metadata service last answered, on the node's clock; undefined = not yet. */
  get lastHeardMs(): number | undefined {
    return this.#lastHeardMs;
  }

  start(): void {
    this.#node.reports.watch(() => {
      this.#schedule(CHANGE_DELAY_MS);
    });
    this.#beat();
  }

  /** What the one under way brings is not carried out any more, and none follows. */
  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
  }

  #schedule(delayMs: number): void {
    if (this.#isStopped || this.#isBeating) return;
    this.#timer?.cancel();
    this.#timer = this.#node.options.clock.setTimer(delayMs, () => {
      this.#beat();
    });
  }

  /** One heartbeat, and whatever it brings; the next follows. */
  #beat(): void {
    if (this.#isStopped || this.#isBeating) return;
    this.#isBeating = true;
    this.#heartbeat()
      .catch((error: unknown) => {
        rethrowInvariant(error);
        this.#failed(error);
      })
      .finally(() => {
        const { cluster, garbage, lostReplicas, reports, splitter, store } = this.#node;
        this.#isBeating = false;
        if (this.#isStopped) return;
        if (cluster.settings !== undefined) {
          splitter.poll(this.#looked);
          garbage.poll(this.#looked);
          lostReplicas.poll(this.#looked);
        }
        for (const { replica } of this.#looked) store.markVersion(replica.rangeId);
        this.#looked = [];
        this.#schedule(reports.hasChanges ? CHANGE_DELAY_MS * 5 : HEARTBEAT_INTERVAL_MS);
      });
  }

  #failed(error: unknown): void {
    const { options } = this.#node;
    options.logger.info('heartbeat not delivered', { reason: messageOf(error) });
    if (this.#isStopped || !CairnError.is(error)) return;
    // Another process, or another store, is this node now: this one must not go on. Nothing else says so.
    if (error.code === 'NAME_TAKEN') options.onFatal(error);
  }

  async #heartbeat(): Promise<void> {
    const { cluster, identity, metadata, options, reports, service, startedUnixMs, store } = this.#node;
    const { clock, diskReserveBytes } = options;
    const waitingReplicas = this.#look(clock.nowMs());
    const { totals } = this.#rounds;
    this.#sequence += 1;
    const diskFreeBytes = await this.#freeSpace.look();
    const { heldReplicas, disk } = store;
    service.isDiskFull = disk.isOutOfRoom || diskFreeBytes < diskReserveBytes;
    const report = reports.take(store, this.#node.machines, this.#creating);
    try {
      const askedMs = clock.nowMs();
      const response = await metadata.heartbeat({
        name: identity.name,
        storeId: identity.storeId,
        incarnation: identity.incarnation,
        full: report.full,
        ranges: report.ranges,
        removedRangeIds: report.removed,
        replicas: totals.replicas,
        leaders: totals.leaders,
        dataBytes: Math.round(totals.dataBytes),
        diskFreeBytes,
        readsPerSecond: totals.readsPerSecond,
        writesPerSecond: totals.writesPerSecond,
        startedUnixMs,
        kind: NodeKind.SHARD,
        address: this.#node.address,
        publicAddress: options.publicAddress,
        sequence: this.#sequence,
        ...cluster.versions,
        waitingReplicas,
        process: identity.process,
        diskFull: service.isDiskFull || heldReplicas > 0,
        diskLow: diskFreeBytes < 2 * diskReserveBytes,
        diskHangs: disk.hangsMs > 0,
        replicasCatchingUp: totals.catchingUp + this.#node.catchUp.pending,
        build: buildToMessage(options.build),
        oldestTransaction: 0,
        // Of the ranges that the report says are led here: nothing may come between.
        oldestLock: this.#node.oldestLock(),
        heardGcSafePoint: cluster.gcSafePoint,
      });
      this.#lastHeardMs = clock.nowMs();
      if (this.#isStopped) return;
      this.#execute(response, askedMs);
    } catch (error) {
      report.failed();
      throw error;
    }
  }

  /** The next part of the ranges; loads that changed are told of. Answers replicas that wait for a state. */
  #look(nowMs: number): ReturnType<RangeRounds<KvMachine>['visit']>['waiting'] {
    const { machines, waiting } = this.#rounds.visit(nowMs);
    this.#looked = machines;
    for (const { load, replica } of machines) {
      if (!replica.isReadyLeader || !load.isWorthTelling(nowMs)) continue;
      load.told(nowMs);
      this.#node.reports.changed(replica.rangeId);
    }
    return waiting;
  }

  #execute(response: HeartbeatResponse, askedMs: number): void {
    const { cluster, links, reports, store, timestamps, version } = this.#node;
    timestamps.observe(response.timestamp as Timestamp);
    version.heard(response.clusterVersion);
    if (response.wantFull) reports.wantFull();
    cluster.hearVersions(response);
    if (cluster.hearStores(response)) links.setPeers(cluster.peers);
    cluster.hearSafePoints(response);
    cluster.hearSettings(response);
    for (const { command } of response.commands) {
      if (command?.$case === 'createReplica') {
        this.#create(descriptorFromMessage(command.value));
      } else if (command?.$case === 'removeReplica') {
        store.learnDescriptor(descriptorFromMessage(command.value));
      } else if (command?.$case === 'forgetReplica') {
        const { rangeId, replicaId } = command.value;
        store.forgetInvented(rangeId as RangeId, replicaId as ReplicaId, askedMs);
      }
    }
  }

  /**
   * The metadata service asks again, with a later heartbeat, for a replica that cannot be created now.
   * Heartbeats do not wait for it: on a disk without room it takes as long as that lasts.
   */
  #create(descriptor: RangeDescriptor): void {
    const { options, reports, store } = this.#node;
    const { rangeId } = descriptor;
    if (this.#creating.has(rangeId)) return;
    this.#creating.add(rangeId);
    store
      .createReplica(descriptor)
      .finally(() => {
        this.#creating.delete(rangeId);
      })
      .then(() => {
        reports.changed(rangeId);
      })
      .catch((error: unknown) => {
        rethrowInvariant(error);
        options.logger.warn('replica not created', { range: rangeId, reason: messageOf(error) });
      });
  }
}
