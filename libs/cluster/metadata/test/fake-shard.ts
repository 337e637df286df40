import type { Timestamp } from '@cairn/base';
import { THIS_BUILD } from '@cairn/wire';

import type { MetadataClient } from '../src/metadata-client.js';
import {
  buildToMessage,
  NodeKind,
  type BuildVersions,
  type HeartbeatRequest,
  type HeartbeatResponse,
  type JoinResponse,
  type RangeDescriptorMessage,
  type RangeReport,
} from '../src/wire-binding.js';

/** A shard node as the metadata service sees one: joins, heartbeats, makes the replicas it is told to. */
export class FakeShard {
  storeId = 0;
  clusterId = '';
  address: string;
  incarnation: Buffer;
  acceptedStart = '';
  offeredStart: string;
  /** Of this start. */
  process: Buffer;
  replacesStoreId = 0;
  build: BuildVersions = THIS_BUILD;
  sequence = 0;
  storesVersion = 0;
  settingsVersion = 0;
  wantFull = true;
  readonly ranges = new Map<number, RangeReport>();
  /** Every replica it was told to make, in order. */
  readonly created: RangeDescriptorMessage[] = [];
  last: HeartbeatResponse | undefined;
  oldestLock = 0;
  /** Made since the last heartbeat. */
  #fresh: RangeReport[] = [];
  readonly #client: MetadataClient;

  readonly name: string;

  constructor(client: MetadataClient, name: string, seed: number) {
    this.#client = client;
    this.name = name;
    this.address = `${name}:7200`;
    this.incarnation = Buffer.alloc(16, seed);
    this.process = Buffer.alloc(8, seed);
    this.offeredStart = tokenOf(seed);
  }

  async join(): Promise<JoinResponse> {
    const response = await this.#client.join({
      name: this.name,
      kind: NodeKind.SHARD,
      incarnation: this.incarnation,
      clusterId: this.clusterId,
      address: this.address,
      publicAddress: '',
      acceptedStart: this.acceptedStart,
      offeredStarts: [this.offeredStart],
      process: this.process,
      replacesStoreId: this.replacesStoreId,
      build: buildToMessage(this.build),
    });
    this.storeId = response.storeId;
    this.clusterId = response.clusterId;
    return response;
  }

  request(facts: Partial<HeartbeatRequest> = {}): HeartbeatRequest {
    this.sequence += 1;
    return {
      name: this.name,
      storeId: this.storeId,
      incarnation: this.incarnation,
      full: this.wantFull,
      ranges: this.wantFull ? [...this.ranges.values()] : this.#fresh,
      removedRangeIds: [],
      replicas: this.ranges.size,
      leaders: 0,
      dataBytes: 0,
      diskFreeBytes: 0,
      readsPerSecond: 0,
      writesPerSecond: 0,
      startedUnixMs: 1,
      kind: NodeKind.SHARD,
      address: this.address,
      publicAddress: '',
      sequence: this.sequence,
      storesVersion: this.storesVersion,
      settingsVersion: this.settingsVersion,
      waitingReplicas: [],
      process: this.process,
      diskFull: false,
      diskLow: false,
      diskHangs: false,
      replicasCatchingUp: 0,
      build: buildToMessage(this.build),
      oldestTransaction: 0,
      oldestLock: this.oldestLock,
      heardGcSafePoint: this.last?.gcSafePoint ?? 0,
      ...facts,
    };
  }

  async heartbeat(facts: Partial<HeartbeatRequest> = {}): Promise<HeartbeatResponse> {
    const request = this.request(facts);
    this.#fresh = [];
    const response = await this.#client.heartbeat(request);
    this.last = response;
    this.wantFull = response.wantFull;
    this.storesVersion = response.storesVersion;
    this.settingsVersion = response.settingsVersion;
    for (const { command } of response.commands) {
      if (command === undefined || command.$case === 'forgetReplica') continue;
      this.created.push(command.value);
      const report = reportOf(command.value);
      this.ranges.set(command.value.rangeId, report);
      this.#fresh.push(report);
    }
    return response;
  }

  get latest(): Timestamp {
    return this.#client.latest;
  }
}

/** A start's token. */
export function tokenOf(seed: number): string {
  return Buffer.alloc(8, seed).toString('hex');
}

export function reportOf(descriptor: RangeDescriptorMessage, leaderTerm = 0): RangeReport {
  return {
    descriptor,
    leaderTerm,
    bytes: 10,
    readsPerSecond: 1,
    writesPerSecond: 2,
    liveReplicaIds: [],
    laggingReplicaIds: [],
  };
}
