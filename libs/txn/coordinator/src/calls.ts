import { CairnError, rethrowInvariant, timestamp, type Timestamp } from '@cairn/base';
import { perform, type RequestRouter, type SpanTimes } from '@cairn/routing';
import {
  decodeTxnReply,
  encodeExecute,
  encodeReservation,
  encodeTxnRead,
  encodeTxnWrite,
  KvOp,
  newKvRequest,
  type ExecuteCommand,
  type KvRequest,
  type KvResponse,
  type ReservationCommand,
  type TxnReadCommand,
  type TxnReply,
  type TxnWriteCommand,
} from '@cairn/wire';

type ReplyType = TxnReply['type'];
type ReplyOf<Types extends ReplyType> = Extract<TxnReply, { readonly type: Types }>;

/**
 * What a store may answer to each command. Anything else is an error of that store: INTERNAL for a read, and
 * for what may have happened OUTCOME_UNKNOWN.
 */
const REPLIES = {
  batchGet: ['rows', 'regroup', 'tooOld'],
  validate: ['valid', 'conflict', 'regroup', 'tooOld'],
  prewrite: ['prewritten', 'conflict', 'committed', 'rolledBack', 'regroup', 'tooOld'],
  commit: ['committed', 'pushed', 'rolledBack', 'regroup', 'tooOld'],
  resolve: ['resolved', 'committed', 'regroup'],
  check: ['pending', 'committed', 'rolledBack'],
  heartbeat: ['pending', 'committed', 'rolledBack'],
  execute: ['executed', 'conflict', 'regroup', 'tooOld'],
  reserve: ['reserved', 'regroup'],
  release: ['released', 'regroup'],
} as const satisfies Record<string, readonly ReplyType[]>;

type Command = TxnReadCommand | TxnWriteCommand | ExecuteCommand | ReservationCommand;
export type ReplyTo<Type extends keyof typeof REPLIES> = ReplyOf<(typeof REPLIES)[Type][number]>;

/** Sends commands of transactions through the router and reads their replies. */
export class TransactionCalls {
  readonly #router: RequestRouter;

  constructor(router: RequestRouter) {
    this.#router = router;
  }

  /**
   * Sends a command to the range of `key`. `sent` hears of the request, by which the breaker of locks knows
   * it again. Rejects with CairnError as the router does.
   */
  async send<C extends Command>(
    command: C,
    key: Uint8Array,
    times: SpanTimes,
    sent?: (request: KvRequest) => void,
  ): Promise<ReplyTo<C['type']>> {
    const request = requestOf(command);
    request.key = key;
    sent?.(request);
    const response = await perform(this.#router, request, times);
    return replyOf(command.type, response) as ReplyTo<C['type']>;
  }
}

function requestOf(command: Command): KvRequest {
  const request = newKvRequest();
  request.readTimestamp = largestTimestampOf(command);
  switch (command.type) {
    case 'batchGet':
    case 'validate':
      request.op = KvOp.txnRead;
      request.value = encodeTxnRead(command);
      return request;
    case 'execute':
      request.op = KvOp.execute;
      request.value = encodeExecute(command);
      return request;
    case 'reserve':
    case 'release':
      request.op = KvOp.reserve;
      request.value = encodeReservation(command);
      return request;
    case 'prewrite':
    case 'commit':
    case 'resolve':
    case 'check':
    case 'heartbeat':
      request.op = KvOp.txnWrite;
      request.value = encodeTxnWrite(command);
      return request;
  }
}

function largestTimestampOf(command: Command): Timestamp {
  switch (command.type) {
    case 'batchGet':
      return command.at;
    case 'validate':
    case 'commit':
    case 'resolve':
      return timestamp(Math.max(command.start, command.commit));
    case 'check':
      return timestamp(Math.max(command.start, command.pushTo));
    case 'heartbeat':
      return command.start;
    case 'prewrite':
    case 'execute':
      return timestamp(Math.max(command.start, command.owner));
    case 'reserve':
    case 'release':
      return command.owner;
  }
}

function replyOf(type: keyof typeof REPLIES, response: KvResponse): TxnReply {
  const reply = decoded(response);
  const expected: readonly ReplyType[] = REPLIES[type];
  if (reply !== undefined && expected.includes(reply.type)) return reply;
  const isRead = type === 'batchGet' || type === 'validate' || type === 'reserve' || type === 'release';
  const what = reply === undefined ? 'what cannot be read' : `"${reply.type}"`;
  throw new CairnError(
    isRead ? 'INTERNAL' : 'OUTCOME_UNKNOWN',
    `a shard node answered ${what} to the command "${type}" of a transaction`,
  );
}

/** undefined = it cannot be read. */
function decoded(response: KvResponse): TxnReply | undefined {
  if (response.value === undefined) return undefined;
  try {
    return decodeTxnReply(response.value);
  } catch (error) {
    rethrowInvariant(error);
    return undefined;
  }
}
