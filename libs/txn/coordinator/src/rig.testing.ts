import { CairnError, timestamp, type Timestamp } from '@cairn/base';
import { noopLogger, noopMetrics, type Clock } from '@cairn/ports';
import {
  AnswersUnderWay,
  perform,
  type MetadataGateway,
  type RequestRouter,
  type SpanTimes,
} from '@cairn/routing';
import { SimRng, type SimProcess } from '@cairn/runtime-sim';
import { KvOp, newKvRequest, type KvResponse } from '@cairn/wire';

import { createCoordinatedRouter } from './coordinated-router.js';
import type { CoordinatorOptions, TransactionCoordinator } from './coordinator.js';
import { FakeShards, key } from './fake-shards.testing.js';
import type { TransactionLimits } from './limits.js';
import type { Isolation, TransactionWrite } from './types.js';

/** `{ a: '1', b: undefined }`: puts and deletions by key. */
export type Changes = Readonly<Record<string, string | undefined>>;

export function writesOf(changes: Changes): TransactionWrite[] {
  return Object.entries(changes).map(([name, value]) =>
    value === undefined
      ? { type: 'delete', key: key(name) }
      : { type: 'put', key: key(name), value: key(value), ttlMs: 0 },
  );
}

/** One router with its coordinator, before shards that others may use too. */
export class CoordinatorRig {
  readonly shards: FakeShards;
  readonly name: string;
  readonly process: SimProcess;
  readonly clock: Clock;
  readonly router: RequestRouter;
  readonly coordinator: TransactionCoordinator;
  readonly gateway: MetadataGateway;

  constructor(
    shards: FakeShards,
    name = 'router',
    limits: Partial<TransactionLimits> = {},
    deadlocks?: CoordinatorOptions['deadlocks'],
  ) {
    this.shards = shards;
    this.name = name;
    this.process = shards.scheduler.startProcess(name);
    this.clock = this.process.clock;
    this.gateway = shards.gatewayFor(name);
    const { gateway } = this;
    const made = createCoordinatedRouter(
      {
        ...{ clock: this.clock, rng: new SimRng(name), logger: noopLogger, metrics: noopMetrics },
        ...{ connector: shards.connectorFor(name), gateway, answers: new AnswersUnderWay() },
        bounds: {
          ...{ outstandingOpsMax: 10_000, outstandingBytesMax: 100_000_000 },
          ...{ outstandingOpsPerStoreMax: 5_000, outstandingScansPerStoreMax: 40 },
        },
      },
      { timestamps: gateway, limits, ...(deadlocks === undefined ? {} : { deadlocks }) },
    );
    this.router = made.router;
    this.coordinator = made.coordinator;
  }

  async ready(): Promise<this> {
    await this.shards.scheduler.settle(this.router.prefetch());
    await this.shards.scheduler.runFor(5);
    return this;
  }

  /** Nothing of it goes on. */
  die(): void {
    this.shards.kill(this.name);
    this.process.kill();
  }

  times(timeoutMs = 5_000, signal = new AbortController().signal): SpanTimes {
    return { deadlineMs: this.clock.nowMs() + timeoutMs, signal, nowMs: () => this.clock.nowMs() };
  }

  settle<T>(promise: Promise<T>): Promise<T> {
    return this.shards.scheduler.settle(promise);
  }

  run(durationMs: number): Promise<void> {
    return this.shards.scheduler.runFor(durationMs);
  }

  async begin(): Promise<Timestamp> {
    return this.settle(this.gateway.timestamp());
  }

  /** A commit of what is written at `start`, with what was read before. */
  commit(
    start: Timestamp | 0,
    changes: Changes,
    more: {
      readonly reads?: readonly string[];
      readonly isolation?: Isolation;
      readonly timeoutMs?: number;
    } = {},
  ): Promise<Timestamp> {
    const { reads = [], isolation = 'serializable', timeoutMs } = more;
    return this.coordinator
      .commit(
        { start: timestamp(start), isolation, reads: reads.map(key), spans: [], writes: writesOf(changes) },
        this.times(timeoutMs),
      )
      .then(({ commit }) => commit);
  }

  /** The texts of keys at a snapshot; undefined = not there. */
  async read(names: readonly string[], at?: Timestamp): Promise<(string | undefined)[]> {
    const { rows } = await this.settle(this.coordinator.snapshotGet(names.map(key), at, this.times()));
    return rows.map(({ found, value }) => (found ? Buffer.from(value).toString() : undefined));
  }

  put(name: string, value: string, timeoutMs?: number): Promise<KvResponse> {
    const request = newKvRequest();
    Object.assign(request, { op: KvOp.put, key: key(name), value: key(value) });
    return perform(this.router, request, this.times(timeoutMs));
  }

  get(name: string): Promise<string | undefined> {
    const request = newKvRequest();
    request.key = key(name);
    return perform(this.router, request, this.times()).then(({ found, value }) =>
      found ? Buffer.from(value ?? []).toString() : undefined,
    );
  }

  /** The commands that the shards have carried out, by type. */
  get commands(): string[] {
    return this.shards.served.flatMap(({ command }) => (command === undefined ? [] : [command.type]));
  }
}

/** The code of an error, for what is expected to fail; OK if it does not. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return 'OK';
  } catch (error) {
    if (CairnError.is(error)) return error.code;
    throw error;
  }
}

export async function clusterOf(
  splits: readonly string[] = ['m'],
  limits: Partial<TransactionLimits> = {},
): Promise<CoordinatorRig> {
  const shards = new FakeShards();
  shards.split(...splits);
  return new CoordinatorRig(shards, 'router', limits).ready();
}
