import { ELEMENTS_MAX, FLAT, type MessageShape } from './grpc-message-bounds.js';

/** Keys that a transaction reads and writes, and spans that it reads, all together. */
export const TRANSACTION_KEYS_MAX = 100_000;
/** Conditions and operations of a transaction in one call, those of both lists. */
export const EXECUTE_OPERATIONS_MAX = 128;

/** A message whose fields of these numbers are flat messages. */
export function flatAt(...fields: readonly number[]): MessageShape {
  return { nested: new Map(fields.map((field) => [field, FLAT])) };
}

export const SNAPSHOT_GET: MessageShape = { elements: { field: 1, name: 'keys', max: ELEMENTS_MAX } };

export const COMMIT: MessageShape = {
  elements: { field: 3, name: 'reads', max: TRANSACTION_KEYS_MAX },
  more: new Map([
    [4, { name: 'spans', max: TRANSACTION_KEYS_MAX, shape: FLAT }],
    [5, { name: 'writes', max: TRANSACTION_KEYS_MAX, shape: flatAt(1, 2) }],
    [6, { name: 'reserved', max: TRANSACTION_KEYS_MAX }],
  ]),
};

const EXECUTE_OPERATION = flatAt(1, 2, 3, 4);

export const EXECUTE: MessageShape = {
  elements: { field: 1, name: 'conditions', max: EXECUTE_OPERATIONS_MAX, shape: FLAT },
  more: new Map([
    [2, { name: 'then', max: EXECUTE_OPERATIONS_MAX, shape: EXECUTE_OPERATION }],
    [3, { name: 'otherwise', max: EXECUTE_OPERATIONS_MAX, shape: EXECUTE_OPERATION }],
  ]),
};

export const RESERVE: MessageShape = { elements: { field: 2, name: 'keys', max: ELEMENTS_MAX } };

export const TXN_GET: MessageShape = { elements: { field: 2, name: 'keys', max: ELEMENTS_MAX } };
