import type { CairnError } from '@cairn/base';
import { invalidField } from '@cairn/routing';
import { ExecuteOp } from '@cairn/wire';

import { tooLarge, type TransactionLimits } from './limits.js';
import type { OneShot } from './types.js';

const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;

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
    const sum = BigInt(delta);
    if (sum < INT64_MIN || sum > INT64_MAX) return invalidField('delta', 'delta must fit into 64 bits');
  }
  return undefined;
}
