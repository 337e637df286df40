import { timestamp, type Timestamp } from '@cairn/base';
import {
  encodeReservation,
  KvOp,
  LockPolicy,
  LockStrength,
  type KvRequest,
  type PrewriteCommand,
  type ReleaseCommand,
  type ReserveCommand,
  type ReservedReply,
} from '@cairn/wire';

import { answerOf, bytes, KvRig, type RequestFields, type RigOptions, type Sent } from '../kv-rig.testing.js';
import { mutationsOf, replyOf, TxnRig, type Changes } from '../txn/txn-rig.testing.js';

export type ReserveFields = Partial<Omit<ReserveCommand, 'type' | 'owner' | 'keys'>>;

export function reserveOf(
  owner: Timestamp,
  keys: readonly string[],
  fields: ReserveFields = {},
): RequestFields {
  const command: ReserveCommand = {
    ...{ type: 'reserve', owner, keys: keys.map(bytes), strength: LockStrength.exclusive },
    ...{ waitMs: 500, policy: LockPolicy.wait, ttlMs: 10_000 },
    ...fields,
  };
  return { op: KvOp.reserve, key: bytes(keys[0] ?? ''), value: encodeReservation(command) };
}

export function releaseOf(owner: Timestamp, keys: readonly string[]): RequestFields {
  const command: ReleaseCommand = { type: 'release', owner, keys: keys.map(bytes) };
  return { op: KvOp.reserve, key: bytes(keys[0] ?? ''), value: encodeReservation(command) };
}

/** A prewrite by the owner; its primary is `a`. */
export function prewriteBy(owner: number, start: Timestamp, changes: Changes): PrewriteCommand {
  return {
    ...{ type: 'prewrite', start, primary: bytes('a'), lockTtlMs: 1_000 },
    ...{ mutations: mutationsOf(changes), owner: timestamp(owner) },
  };
}

/** `a=1 b- c!`: reserved with a value, reserved and not there, not reserved; then who is in the way. */
export function shown(sent: Sent, keys: readonly string[]): string {
  const { error } = answerOf(sent);
  if (error !== undefined) {
    const owners = error.locks.map(({ owner }) => String(owner)).join();
    return error.code === 'LOCKED' ? `LOCKED by ${owners}` : error.code;
  }
  const reply = replyOf(sent);
  if (reply.type !== 'reserved') return reply.type;
  const rows = reply.rows.map(({ isReserved, row }, at) => {
    if (!isReserved) return `${keys[at]}!`;
    return row.found ? `${keys[at]}=${Buffer.from(row.value).toString()}` : `${keys[at]}-`;
  });
  const { waitsFor } = reply;
  if (waitsFor !== undefined) {
    rows.push(`waits at ${Buffer.from(waitsFor.key).toString()} for ${waitsFor.owners.join()}`);
  }
  return rows.join(' ');
}

/** One range, and owners who reserve its keys: 1 is the oldest. */
export class ReserveRig {
  readonly kv: KvRig;
  readonly txn: TxnRig;

  constructor(kv: KvRig) {
    this.kv = kv;
    this.txn = new TxnRig(kv);
  }

  static async leading(options: RigOptions = {}): Promise<ReserveRig> {
    return new ReserveRig(await KvRig.leading(options));
  }

  send(
    owner: number,
    keys: readonly string[],
    fields: ReserveFields = {},
    more: Partial<KvRequest> = {},
  ): Sent {
    return this.kv.send({ ...reserveOf(timestamp(owner), keys, fields), ...more });
  }

  async reserve(owner: number, keys: readonly string[], fields: ReserveFields = {}): Promise<string> {
    const sent = this.send(owner, keys, fields);
    await this.kv.run();
    return shown(sent, keys);
  }

  async reply(owner: number, keys: readonly string[], fields: ReserveFields = {}): Promise<ReservedReply> {
    const sent = this.send(owner, keys, fields);
    await this.kv.run();
    const reply = replyOf(sent);
    if (reply.type !== 'reserved') throw new Error(`a ${reply.type}`);
    return reply;
  }

  async release(owner: number, ...keys: string[]): Promise<string> {
    const sent = this.kv.send(releaseOf(timestamp(owner), keys));
    await this.kv.run();
    return shown(sent, keys);
  }

  /** Time passes, and what it brings is carried out. */
  async after(ms: number): Promise<void> {
    await this.kv.clock.advance(ms);
    await this.kv.run();
  }

  /** Reservations, places in queues, and commands that are held, on the whole store. */
  get counts(): readonly [reservations: number, waiters: number, held: number] {
    const { budget, held } = this.kv.environment.reservations;
    return [budget.reservations, budget.waiters, held.count];
  }
}
