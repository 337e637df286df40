import { CairnError } from '@cairn/base';
import { ExecuteOp, type ExecuteCommand, type KvRequest, type Mutation, type ReadSpan } from '@cairn/wire';

import { hasCommand, type KvCall, type TxnCommand } from '../kv-call.js';
import {
  fault,
  TIMEOUT_MS_MAX,
  TTL_MS_MAX,
  VERSION_BYTES,
  WIDEST_SIZE_LIMITS,
  type RequestFault,
  type SizeLimits,
} from '../request-checks.js';
import { keysOf } from './keys-of.js';

/** Longest command: what it locks is one log entry, and the values of what it resolves are in memory. */
export const TXN_COMMAND_BYTES_MAX = 16 * 1024 * 1024;

/**
 * What no router sends in the command of a transaction; undefined for requests without one, and for one that
 * may be served. Decodes the command, which the call keeps.
 */
export function faultOfCommand(call: KvCall, limits: SizeLimits): RequestFault | undefined {
  const { request } = call;
  if (!hasCommand(request)) return undefined;
  const bytes = request.value?.length ?? 0;
  if (bytes > TXN_COMMAND_BYTES_MAX) {
    return fault('value', `command has ${bytes} bytes; the limit is ${TXN_COMMAND_BYTES_MAX}`);
  }
  let command: TxnCommand;
  try {
    command = call.command;
  } catch (error) {
    if (error instanceof CairnError && error.code === 'CORRUPTION') return fault('value', error.message);
    throw error;
  }
  return faultOfKeys(command) ?? faultOfTimestamps(command, request) ?? faultOfParts(command, limits);
}

function faultOfKeys(command: TxnCommand): RequestFault | undefined {
  const keys = command.type === 'validate' ? command.keys : keysOf(command);
  if (keys.length === 0 && (command.type !== 'validate' || command.spans.length === 0)) {
    return fault('value', 'a command of a transaction has keys');
  }
  for (const key of keys) {
    const problem = faultOfKey(key, WIDEST_SIZE_LIMITS);
    if (problem !== undefined) return problem;
  }
  if (command.type !== 'prewrite' && command.type !== 'reserve') return undefined;
  const names = new Set(keys.map((key) => Buffer.from(key).toString('latin1')));
  if (names.size < keys.length) return fault('value', `a ${command.type} names a key twice`);
  return command.type === 'prewrite' ? faultOfKey(command.primary, WIDEST_SIZE_LIMITS) : undefined;
}

function faultOfKey(key: Uint8Array, { keyBytesMax }: SizeLimits): RequestFault | undefined {
  if (key.length === 0) return fault('key', 'key must not be empty');
  if (key.length <= keyBytesMax) return undefined;
  return fault('key', `key has ${key.length} bytes; the limit is ${keyBytesMax}`);
}

/** The largest is the request's own, which the store takes in before the command is looked at. */
function faultOfTimestamps(command: TxnCommand, { readTimestamp }: KvRequest): RequestFault | undefined {
  const named = namedBy(command);
  const largest = Math.max(0, ...named);
  if (largest > readTimestamp) {
    return fault('read_timestamp', `the command names ${largest}, above that of the request`);
  }
  switch (command.type) {
    case 'batchGet':
    case 'execute':
      return undefined;
    case 'validate':
    case 'commit':
      if (command.commit > command.start && command.start > 0) return undefined;
      break;
    case 'resolve':
      if (command.start > 0 && (command.commit === 0 || command.commit > command.start)) return undefined;
      break;
    case 'prewrite':
    case 'check':
    case 'heartbeat':
      if (command.start > 0) return undefined;
      break;
    case 'reserve':
    case 'release':
      if (command.owner > 0) return undefined;
  }
  return fault('value', 'a transaction begins at a timestamp, and commits after it');
}

function namedBy(command: TxnCommand): readonly number[] {
  switch (command.type) {
    case 'batchGet':
      return [command.at];
    case 'check':
      return [command.start, command.pushTo];
    case 'validate':
    case 'commit':
    case 'resolve':
      return [command.start, command.commit];
    case 'prewrite':
    case 'heartbeat':
    case 'execute':
      return [command.start];
    // Only names: nothing is read or written at them.
    case 'reserve':
    case 'release':
      return [];
  }
}

function faultOfParts(command: TxnCommand, limits: SizeLimits): RequestFault | undefined {
  switch (command.type) {
    case 'prewrite':
      return firstFault(command.mutations, (one) => faultOfRow(one, limits)) ?? faultOfLockTtl(command);
    case 'heartbeat':
      return faultOfLockTtl(command);
    case 'execute':
      return faultOfExecute(command, limits);
    case 'validate':
      return firstFault(command.spans, faultOfSpan);
    case 'batchGet':
    case 'commit':
    case 'resolve':
    case 'check':
    case 'release':
      return undefined;
    case 'reserve':
      if (command.ttlMs >= 1) return undefined;
      return fault('value', 'reservations live 1 ms at least');
  }
}

function faultOfExecute(command: ExecuteCommand, limits: SizeLimits): RequestFault | undefined {
  const { conditions, otherwise, then } = command;
  const makingRows = [...then, ...otherwise].filter(
    ({ op }) => op === ExecuteOp.put || op === ExecuteOp.increment,
  );
  return (
    firstFault(makingRows, (one) => faultOfRow(one, limits)) ??
    firstFault(conditions, ({ operand }) =>
      operand.length > Math.max(VERSION_BYTES, WIDEST_SIZE_LIMITS.valueBytesMax)
        ? fault('value', `a condition compares with ${operand.length} bytes`)
        : undefined,
    )
  );
}

/** Only what makes rows is held to the settings. */
function faultOfRow(
  { key, value, ttlMs }: Pick<Mutation, 'key' | 'value' | 'ttlMs'>,
  limits: SizeLimits,
): RequestFault | undefined {
  if (value.length > limits.valueBytesMax) {
    return fault('value', `value has ${value.length} bytes; the limit is ${limits.valueBytesMax}`);
  }
  if (ttlMs > TTL_MS_MAX) return fault('ttl', `ttl is ${ttlMs} ms; the limit is ${TTL_MS_MAX}`);
  return faultOfKey(key, limits);
}

function faultOfLockTtl({ lockTtlMs }: { readonly lockTtlMs: number }): RequestFault | undefined {
  if (lockTtlMs >= 1 && lockTtlMs <= TIMEOUT_MS_MAX) return undefined;
  return fault('value', `locks live ${lockTtlMs} ms; it must be 1 to ${TIMEOUT_MS_MAX}`);
}

function faultOfSpan({ start, end }: ReadSpan): RequestFault | undefined {
  const longest = Math.max(start.length, end.length);
  if (longest > WIDEST_SIZE_LIMITS.keyBytesMax)
    return fault('value', `a span with a key of ${longest} bytes`);
  if (end.length === 0 || Buffer.compare(start, end) < 0) return undefined;
  return fault('value', 'a span ends above its start');
}

function firstFault<T>(
  items: readonly T[],
  faultOf: (item: T) => RequestFault | undefined,
): RequestFault | undefined {
  for (const item of items) {
    const found = faultOf(item);
    if (found !== undefined) return found;
  }
  return undefined;
}
