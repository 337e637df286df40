import {
  assert,
  NO_BYTES,
  rangeId,
  replicaId,
  RowKind,
  storeId,
  timestamp,
  timestampFromUnixMs,
  timestampToUnixMs,
  type RangeDescriptor,
  type Timestamp,
} from '@cairn/base';
import { isWrite, type MetadataGateway, type StoreConnector, type StoreLink } from '@cairn/routing';
import { SimRng, SimScheduler } from '@cairn/runtime-sim';
import {
  decodeExecute,
  decodeReservation,
  decodeTxnRead,
  decodeTxnWrite,
  encodeTxnReply,
  KvOp,
  newKvResponse,
  packRows,
  ReadConsistency,
  type ExecuteCommand,
  type KvError,
  type KvRequest,
  type KvResponse,
  type LockInfo,
  type ReadRow,
  type ReservationCommand,
  type TxnReadCommand,
  type TxnReply,
  type TxnWriteCommand,
} from '@cairn/wire';

import { evaluateOneShot } from './evaluate-one-shot.js';
import { mapKey } from './keys.js';
import { FakeReservations } from './fake-reservations.testing.js';
import { FakeRows, type FakeLock } from './fake-rows.testing.js';

export const key = (text: string): Buffer => Buffer.from(text);

interface FakeRange {
  id: number;
  start: string;
  /** '' = the end of all. */
  end: string;
  epoch: number;
  /** What earlier leaders promised is not known: commits come behind this. */
  commitFloor: number;
}

const STORE = storeId(1);
const HELD_LOOK_MS = 5;

/** What goes wrong, by chance; each 0 to 1. */
export interface FakeFaults {
  /** The connection breaks after the request was carried out, before it is answered. */
  loseAnswer: number;
  /** The same of the request: it is never carried out. */
  loseRequest: number;
  /** A step of a transaction comes once more, much later. */
  duplicate: number;
  refuse: number;
  split: number;
  failover: number;
  /** Ways take up to so many milliseconds more. */
  delayMs: number;
}

const NO_FAULTS: FakeFaults = {
  ...{ loseAnswer: 0, loseRequest: 0, duplicate: 0, refuse: 0, split: 0, failover: 0, delayMs: 0 },
};

class FakeRefusal extends Error {
  readonly error: KvError;

  constructor(code: KvError['code'], more: Partial<KvError> = {}) {
    super(code);
    this.error = {
      ...{ code, message: `said ${code}`, retryAfterMs: 0, leaderStoreId: storeId(0), descriptors: [] },
      ...{ field: '', kind: RowKind.bytes, isUnclear: false, locks: [], ...more },
    };
  }
}

type Command = TxnReadCommand | TxnWriteCommand | ExecuteCommand | ReservationCommand;

/** A command as it was carried out. */
export interface Served {
  readonly router: string;
  readonly request: KvRequest;
  readonly command: Command | undefined;
}

/**
 * All shards of a cluster in one object on virtual time, as routers see them: versions, locks and records
 * with the rules of transactions, ranges that split, connections that break. One store leads everything.
 */
export class FakeShards {
  readonly scheduler = new SimScheduler();
  readonly rows = new FakeRows();
  readonly reservations = new FakeReservations(() => this.scheduler.nowMs);
  readonly rng: SimRng;
  faults: FakeFaults = { ...NO_FAULTS };
  latencyMs = 1;
  /** The oracle takes so much longer. */
  timestampDelayMs = 0;
  /** And so much longer to answer with what it issued. */
  timestampAnswerDelayMs = 0;
  /** Rows that one reply has at most. */
  rowsMax = Infinity;
  ranges: FakeRange[] = [{ id: 1, start: '', end: '', epoch: 1, commitFloor: 0 }];
  readonly served: Served[] = [];
  /** Called before each request is looked at; a number of milliseconds holds it back. */
  hold: (router: string, request: KvRequest) => number = () => 0;
  /** What becomes of the answer: undefined = it is lost, and the connection with it. */
  answer: (served: Served, response: KvResponse) => KvResponse | undefined = (_served, response) => response;
  /** Starts of which a decision, or the answer to it, was lost with its connection. */
  readonly lostDecisions = new Set<Timestamp>();
  readonly #outcomes = new Map<string, KvResponse>();
  readonly #dead = new Set<string>();
  #issued: number;
  #ranges = 1;

  constructor(seed = 'shards') {
    this.rng = new SimRng(seed);
    this.#issued = timestampFromUnixMs(this.scheduler.unixOriginMs);
  }

  /** Cuts the key space there. */
  split(...at: string[]): void {
    for (const edge of at) {
      const range = this.ranges.find(({ start, end }) => start < edge && (end === '' || edge < end));
      if (range === undefined) continue;
      this.#ranges += 1;
      const epoch = range.epoch + 1;
      this.ranges.push({ ...range, id: this.#ranges, start: edge, epoch });
      Object.assign(range, { end: edge, epoch });
    }
    this.ranges.sort((a, b) => (a.start < b.start ? -1 : 1));
  }

  /** Another leader: what was promised to readers is forgotten, and kept by refusing commits. */
  failOver(range: FakeRange): void {
    for (const [at, lock] of this.rows.locks) if (holds(range, at)) lock.pushedTo = 0;
    this.reservations.lose();
    range.commitFloor = this.issue();
  }

  issue(): Timestamp {
    this.#issued = Math.max(this.#issued + 1, this.now());
    return timestamp(this.#issued);
  }

  /** Oracle time, from the clock. */
  now(): number {
    return timestampFromUnixMs(Math.floor(this.scheduler.unixOriginMs + this.scheduler.nowMs));
  }

  /** Nothing more is heard of it, nor does it hear. */
  kill(router: string): void {
    this.#dead.add(router);
  }

  gatewayFor(router: string): MetadataGateway {
    const later = <T>(make: () => T, delays = { askedMs: 0, answeredMs: 0 }): Promise<T> =>
      new Promise((resolve) => {
        this.#later(router, this.#travelMs() + delays.askedMs, () => {
          const made = make();
          this.#later(router, this.#travelMs() + delays.answeredMs, () => {
            resolve(made);
          });
        });
      });
    let latest = timestamp(0);
    return {
      routes: () =>
        later(() => ({
          routes: this.ranges.map((range) => ({ descriptor: descriptorOf(range), leaderStoreId: STORE })),
          stores: [{ storeId: STORE, address: 'store', live: true }],
        })),
      timestamp: async () => {
        const issued = await later(() => this.issue(), {
          askedMs: this.timestampDelayMs,
          answeredMs: this.timestampAnswerDelayMs,
        });
        latest = timestamp(Math.max(latest, issued));
        return issued;
      },
      get latestTimestamp() {
        return latest;
      },
    };
  }

  connectorFor(router: string): StoreConnector {
    return {
      connect: (_id, _address, handlers): StoreLink => {
        let isOpen = true;
        const drop = (): void => {
          if (!isOpen) return;
          isOpen = false;
          handlers.onDown(new Error('connection reset'));
        };
        this.#later(router, this.latencyMs, () => {
          handlers.onUp();
        });
        return {
          queuedBytes: 0,
          largeBytes: 0,
          send: (requests) => {
            for (const request of requests)
              this.#arrive(router, { ...request }, { isOpen: () => isOpen, drop, handlers });
          },
          cancel: () => undefined,
          close: () => {
            isOpen = false;
          },
        };
      },
    };
  }

  #later(router: string, delayMs: number, callback: () => void): void {
    this.scheduler.schedule(delayMs, () => {
      if (!this.#dead.has(router)) callback();
    });
  }

  #travelMs(): number {
    return this.latencyMs + (this.faults.delayMs > 0 ? this.rng.next() * this.faults.delayMs : 0);
  }

  #arrive(router: string, request: KvRequest, link: FakeEnd): void {
    if (this.#dead.has(router)) return;
    // What is on its way arrives, also from a router that dies.
    this.#carry(router, request, link, { afterMs: this.#travelMs() + this.hold(router, request), heldMs: 0 });
  }

  /** Waits for reservations are looked at every few milliseconds. */
  #carry(
    router: string,
    request: KvRequest,
    link: FakeEnd,
    times: { afterMs: number; heldMs: number },
  ): void {
    const { afterMs, heldMs } = times;
    this.scheduler.schedule(afterMs, () => {
      const asked = commandOf(request);
      if (asked?.type === 'reserve' && heldMs < asked.waitMs && this.reservations.waits(asked)) {
        this.#carry(router, request, link, { afterMs: HELD_LOOK_MS, heldMs: heldMs + HELD_LOOK_MS });
        return;
      }
      const isLost = this.rng.chance(this.faults.loseRequest);
      if (isLost || !link.isOpen()) {
        this.#lost({ command: commandOf(request) });
        link.drop();
        return;
      }
      this.#happen();
      const response = this.#serve(router, request);
      const served = this.served[this.served.length - 1] as Served;
      if (request.op === KvOp.txnWrite && this.rng.chance(this.faults.duplicate)) {
        this.scheduler.schedule(this.rng.between(1, 4_000), () => this.#serve('late', { ...request }));
      }
      const told = this.rng.chance(this.faults.loseAnswer) ? undefined : this.answer(served, response);
      if (told === undefined) this.#lost(served);
      this.#later(router, this.#travelMs(), () => {
        if (!link.isOpen()) this.#lost(served);
        else if (told === undefined) link.drop();
        else link.handlers.onResponses([told], timestamp(this.#issued));
      });
    });
  }

  /** Chance of what befalls ranges. */
  #happen(): void {
    if (this.rng.chance(this.faults.split)) this.split(`k${this.rng.integer(100)}`);
    if (this.rng.chance(this.faults.failover)) this.failOver(this.rng.pick(this.ranges));
  }

  #lost({ command }: Pick<Served, 'command'>): void {
    if (command?.type === 'commit' || command?.type === 'execute') this.lostDecisions.add(command.start);
  }

  #serve(router: string, request: KvRequest): KvResponse {
    const command = commandOf(request);
    const served: Served = { router, request, command };
    this.served.push(served);
    try {
      this.#admit(request);
      const outcome = this.#outcomes.get(idOf(request));
      if (outcome !== undefined && request.requestId?.isRetry === true) {
        return { ...outcome, sequence: request.sequence };
      }
      const response = this.#carryOut(request, command);
      if (request.requestId !== undefined) this.#outcomes.set(idOf(request), response);
      return response;
    } catch (error) {
      if (!(error instanceof FakeRefusal)) throw error;
      return { ...newKvResponse(request.sequence, request.op), error: error.error };
    }
  }

  #admit(request: KvRequest): void {
    const range = this.ranges.find(({ id }) => rangeId(id) === request.rangeId);
    if (range === undefined || range.epoch !== request.epochVersion) {
      throw new FakeRefusal('EPOCH_MISMATCH', { descriptors: this.ranges.map(descriptorOf) });
    }
    if (this.rng.chance(this.faults.refuse)) throw new FakeRefusal('UNAVAILABLE');
    assert(request.readTimestamp <= this.#issued, 'no timestamp of nobody reaches a shard');
    this.rows.observe(request.readTimestamp);
  }

  #carryOut(request: KvRequest, command: Served['command']): KvResponse {
    const response = newKvResponse(request.sequence, request.op);
    switch (request.op) {
      case KvOp.get:
        this.#get(request, response);
        break;
      case KvOp.put: {
        this.#refuseLocked([request.key], isWrite(request.op) ? [] : request.ignoreLocks);
        this.#refuseReserved([request.key], 0);
        const { ts } = this.rows.write(request.key, request.value, { start: 0, ttlMs: request.ttlMs });
        response.timestamp = timestamp(ts);
        break;
      }
      case KvOp.scan:
        this.#scan(request, response);
        break;
      case KvOp.txnRead:
      case KvOp.txnWrite:
      case KvOp.execute:
      case KvOp.reserve:
        if (command !== undefined) response.value = encodeTxnReply(this.#reply(request, command));
        break;
      default:
        throw new FakeRefusal('INTERNAL');
    }
    return response;
  }

  #get(request: KvRequest, response: KvResponse): void {
    const at = request.consistency === ReadConsistency.timestamp ? request.readTimestamp : Infinity;
    this.#refuseRead([request.key], at, request.ignoreLocks);
    const version = this.rows.liveAt(request.key, at, this.now());
    response.found = version !== undefined;
    if (version?.value !== undefined) response.value = version.value;
  }

  #scan(request: KvRequest, response: KvResponse): void {
    const range = this.ranges.find(({ id }) => rangeId(id) === request.rangeId) as FakeRange;
    const at = request.readTimestamp;
    const from = Buffer.from(request.key).toString('latin1');
    const to = Buffer.from(request.endKey).toString('latin1');
    const isWithin = (name: string): boolean =>
      holds(range, name) && name >= from && (to === '' || name < to);
    this.#refuseRead(
      [...this.rows.locks.keys()].filter(isWithin).map((name) => Buffer.from(name, 'latin1')),
      at,
      request.ignoreLocks,
    );
    const names = [...this.rows.versions.keys()].filter(isWithin).sort();
    if (request.reverse) names.reverse();
    const rows = names.flatMap((name) => {
      const at1 = this.rows.liveAt(Buffer.from(name, 'latin1'), at, at);
      if (at1?.value === undefined) return [];
      const more = { version: Buffer.alloc(12, 1), kind: 0, expiresUnixMs: 0 };
      return [{ key: Buffer.from(name, 'latin1'), value: at1.value, ...more }];
    });
    // Three rows a page, so that there are pages.
    const page = rows.slice(0, Math.min(3, request.limit));
    response.rows = packRows(page);
    const last = page[page.length - 1];
    if (last !== undefined && page.length < rows.length) {
      response.resumeKey = request.reverse ? last.key : Buffer.concat([last.key, Buffer.of(0)]);
    } else if (request.reverse) {
      if (range.start !== '') response.resumeKey = key(range.start);
    } else if (range.end !== '' && (to === '' || range.end < to)) {
      response.resumeKey = key(range.end);
    }
  }

  #refuseRead(keys: readonly Uint8Array[], at: number, ignored: readonly Timestamp[]): void {
    const isInTheWay = (lock: FakeLock): boolean => lock.minCommit <= at;
    this.#refuseLocked(keys, ignored, isInTheWay);
  }

  #refuseLocked(
    keys: readonly Uint8Array[],
    ignored: readonly Timestamp[],
    isInTheWay: (lock: FakeLock) => boolean = () => true,
    own = 0,
  ): void {
    const locks = keys.flatMap((at): LockInfo[] => {
      const lock = this.rows.locks.get(mapKey(at));
      if (lock === undefined || lock.start === own || ignored.includes(timestamp(lock.start))) return [];
      return isInTheWay(lock)
        ? [
            {
              key: at,
              primary: lock.primary,
              start: timestamp(lock.start),
              deadline: timestamp(lock.deadline),
              owner: timestamp(0),
            },
          ]
        : [];
    });
    if (locks.length > 0) throw new FakeRefusal('LOCKED', { locks: locks.slice(0, 64) });
  }

  #refuseReserved(keys: readonly Uint8Array[], own: number): void {
    const locks = keys.flatMap((at): LockInfo[] =>
      this.reservations.inTheWay(at, own).map((owner) => ({
        ...{ key: at, primary: at, start: owner, deadline: timestamp(0), owner },
      })),
    );
    if (locks.length > 0) throw new FakeRefusal('LOCKED', { locks: locks.slice(0, 64) });
  }

  #reply(request: KvRequest, command: Command): TxnReply {
    const range = this.ranges.find(({ id }) => rangeId(id) === request.rangeId) as FakeRange;
    if (!keysOf(command).every((at) => holds(range, mapKey(at)))) return { type: 'regroup' };
    const { rows } = this;
    switch (command.type) {
      case 'batchGet': {
        if (command.at > 0 && command.at < rows.readableSince) return rows.tooOld();
        const at = command.at > 0 ? command.at : Infinity;
        this.#refuseRead(command.keys, at, request.ignoreLocks);
        return {
          type: 'rows',
          rows: command.keys.slice(0, this.rowsMax).map((each) => this.#rowAt(each, at)),
        };
      }
      case 'validate': {
        if (
          command.spans.some(({ end }) => range.end !== '' && (end.length === 0 || mapKey(end) > range.end))
        )
          return { type: 'regroup' };
        if (command.start < rows.readableSince) return rows.tooOld();
        const inSpans = rows.namesIn(command.spans).map((name) => Buffer.from(name, 'latin1'));
        const keys = [...command.keys, ...inSpans];
        const isInTheWay = (lock: FakeLock): boolean => lock.minCommit <= command.commit;
        this.#refuseLocked(keys, request.ignoreLocks, isInTheWay, command.start);
        return rows.validate(keys, command.start, command.commit);
      }
      case 'prewrite':
        return this.#prewrite(command);
      case 'commit':
        return rows.commit(command, range.commitFloor);
      case 'resolve':
        return rows.resolve(command);
      case 'check':
        return rows.check(command, this.now());
      case 'heartbeat':
        return rows.heartbeat(command, this.now());
      case 'execute':
        return this.#execute(command, request);
      case 'reserve':
        this.#refuseLocked(command.keys, []);
        return this.reservations.reserve(command, (each) => ({
          row: this.#rowAt(each, Infinity),
          newest: timestamp(rows.newest(each)),
        }));
      case 'release':
        this.reservations.release(command.owner, command.keys);
        return { type: 'released' };
    }
  }

  #prewrite(command: Extract<TxnWriteCommand, { type: 'prewrite' }>): TxnReply {
    const { rows } = this;
    if (command.start < rows.readableSince) return rows.tooOld();
    const before = rows.decidedAt(command);
    if (before !== undefined) return before;
    const conflict = rows.conflictOf(
      command.mutations.map((each) => each.key),
      command.start,
    );
    if (conflict !== undefined) return conflict;
    const keys = command.mutations.map((each) => each.key);
    this.#refuseLocked(keys, [], undefined, command.start);
    this.#refuseReserved(keys, command.owner);
    this.reservations.release(command.owner, keys);
    return rows.prewrite(command, this.now());
  }

  #rowAt(at: Uint8Array, when: number): ReadRow {
    const version = this.rows.liveAt(at, when, when === Infinity ? this.now() : when);
    if (version?.value === undefined) {
      return { found: false, value: NO_BYTES, version: NO_BYTES, kind: 0, expiresUnixMs: 0 };
    }
    const expiresUnixMs = version.expiry === 0 ? 0 : timestampToUnixMs(timestamp(version.expiry));
    return {
      found: true,
      value: version.value,
      version: tokenOf(version),
      kind: RowKind.bytes,
      expiresUnixMs,
    };
  }

  #execute(command: ExecuteCommand, request: KvRequest): TxnReply {
    const { rows } = this;
    if (command.start > 0 && command.start < rows.readableSince) return rows.tooOld();
    const keys = keysOf(command);
    this.#refuseLocked(keys, []);
    const written = [...command.then, ...command.otherwise]
      .filter(({ op }) => op !== 1)
      .map((each) => each.key);
    this.#refuseReserved(written, command.owner);
    const checked = [...command.reads, ...(command.checksWrites ? written : [])];
    const conflict = command.start > 0 ? rows.conflictOf(checked, command.start) : undefined;
    if (conflict !== undefined) return conflict;
    const current = new Map(keys.map((at) => [mapKey(at), this.#rowAt(at, Infinity)]));
    const { succeeded, writes, resultsAt } = evaluateOneShot(command, current, timestamp(this.now()));
    const commit = rows.derived;
    for (const write of writes) {
      const value = write.type === 'put' ? write.value : undefined;
      const ttlMs = write.type === 'put' ? write.ttlMs : 0;
      rows.write(write.key, value, { start: command.start, ttlMs });
    }
    this.reservations.release(
      command.owner,
      writes.map((write) => write.key),
    );
    rows.positions.set(command.start > 0 ? String(command.start) : idOf(request), {
      ts: commit,
      seq: rows.lastSeq,
    });
    return {
      ...{ type: 'executed', commit: timestamp(commit), succeeded },
      ...{ results: resultsAt(timestamp(commit)), isForgotten: false },
    };
  }
}

interface FakeEnd {
  readonly handlers: Parameters<StoreConnector['connect']>[2];
  isOpen(): boolean;
  drop(): void;
}

export function idOf({ requestId }: KvRequest): string {
  return requestId === undefined ? '' : `${requestId.client}/${requestId.sequence}`;
}

function tokenOf({ ts, seq }: { ts: number; seq: number }): Buffer {
  const token = Buffer.alloc(12);
  token.writeBigUInt64BE(BigInt(ts));
  token.writeUInt32BE(seq, 8);
  return token;
}

function holds({ start, end }: FakeRange, name: string): boolean {
  return name >= start && (end === '' || name < end);
}

function descriptorOf({ id, start, end, epoch }: FakeRange): RangeDescriptor {
  return {
    rangeId: rangeId(id),
    startKey: key(start),
    endKey: key(end),
    epoch: { version: epoch, confVersion: 1 },
    replicas: [{ replicaId: replicaId(id), storeId: STORE, role: 'voter' }],
  };
}

function commandOf({ op, value }: KvRequest): Served['command'] {
  const body = value ?? NO_BYTES;
  if (op === KvOp.txnRead) return decodeTxnRead(body);
  if (op === KvOp.txnWrite) return decodeTxnWrite(body);
  if (op === KvOp.reserve) return decodeReservation(body);
  return op === KvOp.execute ? decodeExecute(body) : undefined;
}

function keysOf(command: Command): readonly Uint8Array[] {
  switch (command.type) {
    case 'batchGet':
    case 'resolve':
    case 'reserve':
    case 'release':
      return command.keys;
    case 'validate':
      return [...command.keys, ...command.spans.map(({ start }) => start)];
    case 'prewrite':
      return command.mutations.map((each) => each.key);
    case 'commit':
      return [command.primary, ...command.keys];
    case 'check':
    case 'heartbeat':
      return [command.primary];
    case 'execute':
      return [
        ...command.reads,
        ...[...command.conditions, ...command.then, ...command.otherwise].map((each) => each.key),
      ];
  }
}
