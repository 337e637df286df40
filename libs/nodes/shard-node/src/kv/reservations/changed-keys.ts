import {
  ExecuteOp,
  KvOp,
  LockOp,
  type ExecuteCommand,
  type KvRequest,
  type PrewriteCommand,
} from '@cairn/wire';

import type { ChangedKey } from './range-reservations.js';

/** What a plain write does to its key. */
export function changeOfRequest({ key, op, value }: KvRequest): ChangedKey {
  const isDelete = op === KvOp.delete || (op === KvOp.compareAndSet && value === undefined);
  return { key, change: isDelete ? 'delete' : 'update' };
}

/** What a one-range transaction may do, whichever way its conditions go. Reads are in nobody's way. */
export function changesOfExecute({ otherwise, then }: ExecuteCommand): ChangedKey[] {
  return [...then, ...otherwise]
    .filter(({ op }) => op !== ExecuteOp.get)
    .map(({ key, op }) => ({ key, change: op === ExecuteOp.delete ? 'delete' : 'update' }));
}

/** A key that is held as it is counts as one that is updated: nobody else may have it then. */
export function changesOfPrewrite({ mutations }: PrewriteCommand): ChangedKey[] {
  return mutations.map(({ key, op }) => ({ key, change: op === LockOp.delete ? 'delete' : 'update' }));
}
