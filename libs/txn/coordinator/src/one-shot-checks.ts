import { isInt64, type CairnError } from '@cairn/base';
import { invalidField } from '@cairn/routing';
import { ExecuteOp } from '@cairn/wire';

import { tooLarge, type TransactionLimits } from './limits.js';
import type { OneShot } from './types.js';

/** What is wrong with a one-shot transaction, before anybody looks at a row; undefined = nothing. */
export function invalidOneShot(
  { conditions, otherwise, then }: OneShot,
  { oneShotOperationsMax }: TransactionLimits,
): CairnError | undefined {
  const count = conditions.length + then.length + otherwise.length;
  if (count === 0) return invalidField('then', 'a transaction has at least one operation or condition');
  if (count > oneShotOperationsMax) {
    return tooLarge('conditions and operations in its one-shot form', oneShotOperationsMax);
  }
  for (const { op, delta } of [...then, ...otherwise]) {
    if (op !== ExecuteOp.increment) continue;
    if (!isInt64(BigInt(delta))) return invalidField('delta', 'delta must fit into 64 bits');
  }
  return undefined;
}
