import { timestamp, type Timestamp } from '@cairn/base';
import {
  decodeTxnReply,
  encodeExecute,
  encodeTxnRead,
  encodeTxnWrite,
  ExecuteOp,
  KvOp,
  LockOp,
  ReadConsistency,
  type BatchGetCommand,
  type ExecuteCommand,
  type ExecuteOperation,
  type KvRequest,
  type KvResponse,
  type Mutation,
  type TxnReadCommand,
  type TxnReply,
  type TxnWriteCommand,
} from '@cairn/wire';

import { answerOf, bytes, KvRig, type RigOptions, type Sent } from '../kv-rig.testing.js';

/** `{ a: '1', b: undefined }`: puts and deletions by key. */
export type Changes = Readonly<Record<string, string | undefined>>;

export function mutationsOf(changes: Changes): Mutation[] {
  return Object.entries(changes).map(([key, value]) => ({
    key: bytes(key),
    op: value === undefined ? LockOp.delete : LockOp.put,
    value: bytes(value ?? ''),
    ttlMs: 0,
  }));
}

const NO_OPERATION = { value: bytes(''), ttlMs: 0, delta: '0' };

export const putOf = (key: string, value: string): ExecuteOperation => ({
  ...NO_OPERATION,
  op: ExecuteOp.put,
  key: bytes(key),
  value: bytes(value),
});
export const getOf = (key: string): ExecuteOperation => ({
  ...NO_OPERATION,
  op: ExecuteOp.get,
  key: bytes(key),
});
export const deleteOf = (key: string): ExecuteOperation => ({
  ...NO_OPERATION,
  op: ExecuteOp.delete,
  key: bytes(key),
});
export const incrementOf = (key: string, delta: number): ExecuteOperation => ({
  ...NO_OPERATION,
  op: ExecuteOp.increment,
  key: bytes(key),
  delta: String(delta),
});

/** One range, and the commands of transactions to it. */
export class TxnRig {
  readonly kv: KvRig;

  constructor(kv: KvRig) {
    this.kv = kv;
  }

  static async leading(options: RigOptions = {}): Promise<TxnRig> {
    return new TxnRig(await KvRig.leading(options));
  }

  /** A timestamp that the oracle issues to a transaction; the range has not heard of it. */
  issue(): Timestamp {
    this.kv.oracle.next += 1;
    return timestamp(this.kv.oracle.next);
  }

  write(command: TxnWriteCommand): Sent {
    return this.kv.send(requestOf(command));
  }

  async tell(command: TxnWriteCommand): Promise<TxnReply> {
    return this.#settle(this.write(command));
  }

  read(command: TxnReadCommand, more: Partial<KvRequest> = {}): Sent {
    return this.kv.send({ ...readRequestOf(command), ...more });
  }

  async askRead(command: TxnReadCommand, more: Partial<KvRequest> = {}): Promise<TxnReply> {
    return this.#settle(this.read(command, more));
  }

  async batchGet(keys: readonly string[], at: Timestamp, more: Partial<KvRequest> = {}): Promise<TxnReply> {
    const command: BatchGetCommand = { type: 'batchGet', at, keys: keys.map(bytes) };
    return this.askRead(command, more);
  }

  execute(command: Partial<ExecuteCommand>, more: Partial<KvRequest> = {}): Sent {
    return this.kv.send({ ...executeRequestOf(command), ...more });
  }

  async run(command: Partial<ExecuteCommand>, more: Partial<KvRequest> = {}): Promise<TxnReply> {
    return this.#settle(this.execute(command, more));
  }

  async #settle(sent: Sent): Promise<TxnReply> {
    await this.kv.run();
    return replyOf(sent);
  }

  async prewrite(start: Timestamp, changes: Changes, primary?: string): Promise<TxnReply> {
    return this.tell(prewriteOf(start, changes, primary));
  }

  async commit(start: Timestamp, primary: string, keys: readonly string[] = []): Promise<TxnReply> {
    return this.tell(commitOf(start, this.issue(), primary, keys));
  }

  async resolve(start: Timestamp, commit: number, ...keys: string[]): Promise<TxnReply> {
    return this.tell({ type: 'resolve', start, commit: timestamp(commit), keys: keys.map(bytes) });
  }

  async check(start: Timestamp, primary: string, pushTo = 0, lockDeadline = 0): Promise<TxnReply> {
    return this.tell(checkOf(start, primary, { pushTo, lockDeadline }));
  }

  /** The value of a key as of a timestamp; the error's code when there is one. */
  async getAt(key: string, at: Timestamp, more: Partial<KvRequest> = {}): Promise<string | undefined> {
    const response = await this.kv.ask({
      ...{ op: KvOp.get, key: bytes(key), consistency: ReadConsistency.timestamp, readTimestamp: at },
      ...more,
    });
    return textOf(response);
  }

  async get(key: string, more: Partial<KvRequest> = {}): Promise<string | undefined> {
    return textOf(await this.kv.ask({ op: KvOp.get, key: bytes(key), ...more }));
  }
}

export function prewriteOf(start: Timestamp, changes: Changes, primary?: string): TxnWriteCommand {
  const mutations = mutationsOf(changes);
  const [first] = mutations;
  const key = primary === undefined ? (first?.key ?? bytes('')) : bytes(primary);
  return { type: 'prewrite', start, primary: key, lockTtlMs: 1_000, mutations, owner: timestamp(0) };
}

export function checkOf(
  start: Timestamp,
  primary: string,
  more: { readonly pushTo?: number; readonly lockDeadline?: number } = {},
): Extract<TxnWriteCommand, { type: 'check' }> {
  const { lockDeadline = 0, pushTo = 0 } = more;
  return {
    ...{ type: 'check', start, primary: bytes(primary), pushTo: timestamp(pushTo) },
    lockDeadline: timestamp(lockDeadline),
  };
}

export function commitOf(
  start: Timestamp,
  commit: Timestamp,
  primary: string,
  keys: readonly string[] = [],
): TxnWriteCommand {
  return { type: 'commit', start, commit, primary: bytes(primary), keys: keys.map(bytes) };
}

export function textOf(response: KvResponse): string | undefined {
  if (response.error !== undefined) return response.error.code;
  return response.found ? Buffer.from(response.value ?? []).toString('latin1') : undefined;
}

/** The reply; throws for an error, with its code. */
export function replyOf(sent: Sent): TxnReply {
  const { error, value } = answerOf(sent);
  if (error !== undefined) throw new Error(`${error.code}: ${error.message}`);
  return decodeTxnReply(value ?? bytes(''));
}

export function requestOf(command: TxnWriteCommand): Partial<KvRequest> & { readonly op: KvOp } {
  return {
    op: KvOp.txnWrite,
    key: firstKeyOf(command),
    value: encodeTxnWrite(command),
    readTimestamp: timestamp(largestOf(command)),
  };
}

function firstKeyOf(command: TxnWriteCommand): Uint8Array {
  if (command.type === 'resolve') return command.keys[0] ?? bytes('');
  return command.type === 'prewrite' ? (command.mutations[0]?.key ?? bytes('')) : command.primary;
}

function largestOf(command: TxnWriteCommand): number {
  if (command.type === 'check') return Math.max(command.start, command.pushTo);
  if (command.type === 'commit' || command.type === 'resolve') {
    return Math.max(command.start, command.commit);
  }
  return command.start;
}

function readRequestOf(command: TxnReadCommand): Partial<KvRequest> & { readonly op: KvOp } {
  const isBatch = command.type === 'batchGet';
  const spanKey = isBatch ? undefined : command.spans[0]?.start;
  return {
    op: KvOp.txnRead,
    key: command.keys[0] ?? spanKey ?? bytes(''),
    value: encodeTxnRead(command),
    readTimestamp: isBatch ? command.at : command.commit,
  };
}

function executeRequestOf(command: Partial<ExecuteCommand>): Partial<KvRequest> & { readonly op: KvOp } {
  const whole: ExecuteCommand = {
    ...{ type: 'execute', start: timestamp(0), reads: [], checksWrites: false, conditions: [] },
    ...{ then: [], otherwise: [], owner: timestamp(0) },
    ...command,
  };
  const [first] = [...whole.conditions, ...whole.then, ...whole.otherwise];
  return {
    op: KvOp.execute,
    key: first?.key ?? whole.reads[0] ?? bytes(''),
    value: encodeExecute(whole),
    readTimestamp: whole.start,
  };
}
