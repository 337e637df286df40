import { CairnError } from './errors.js';

/** What a counter may hold: a signed number of 64 bits. */
const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;
const DECIMAL = /^[+-]?[0-9]{1,20}$/;

export function isInt64(number: bigint): boolean {
  return number >= INT64_MIN && number <= INT64_MAX;
}

/** What an increment comes to; `invalid`: why it is refused, in words. */
export type CounterSum =
  | { readonly type: 'number'; readonly number: bigint }
  | { readonly type: 'invalid'; readonly message: string };

/** The number of a counter after an increment. `value`: its bytes, decimal text; undefined = 0. */
export function addToCounter(value: Uint8Array | undefined, delta: bigint): CounterSum {
  const text = value === undefined ? '0' : Buffer.from(value).toString('latin1');
  if (!DECIMAL.test(text)) return { type: 'invalid', message: 'the value is not a decimal integer' };
  const number = BigInt(text) + delta;
  if (!isInt64(number)) return { type: 'invalid', message: 'the sum does not fit into 64 bits' };
  return { type: 'number', number };
}

/** The same for who has nothing to undo. Throws FAILED_PRECONDITION. */
export function sumOfCounter(value: Uint8Array | undefined, delta: bigint): bigint {
  const sum = addToCounter(value, delta);
  if (sum.type === 'invalid') throw new CairnError('FAILED_PRECONDITION', sum.message);
  return sum.number;
}
