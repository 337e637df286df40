import { CairnError, RowKind } from '@cairn/base';
import {
  checkKey,
  checkValue,
  invalidArgument,
  toBuffer,
  WIDEST_SIZES,
  type BytesInput,
  type SizeLimits,
} from './bytes.js';
import { Entry } from './entry.js';
import { errorFromDetail } from './errors.js';
import { deltaOf, ttlOf, type SizedOperation } from './operations.js';
import type { DeleteReceipt, WriteReceipt } from './options.js';
import type { ConditionInput, ExecuteOperationInput } from './transaction-options.js';
import { TRANSACTION_BYTES_MAX, tooLarge } from './transaction-state.js';
import {
  WireRowKind,
  type Condition,
  type ExecuteOperation,
  type ExecuteResponse,
  type ExecuteResult as WireResult,
} from './wire-binding.js';

/** Conditions and operations of one `execute`, those of both lists. */
export const EXECUTE_OPERATIONS_MAX = 128;
const OVERHEAD_BYTES = 64;

/** What an operation of `execute` answers. A get shows a key that holds no bytes with its `kind`. */
export type ExecuteAnswer<Operation> = Operation extends { readonly get: unknown }
  ? Entry | undefined
  : Operation extends { readonly put: unknown }
    ? WriteReceipt
    : Operation extends { readonly delete: unknown }
      ? DeleteReceipt
      : Operation extends { readonly increment: unknown }
        ? bigint
        : never;

/** The answers of a list, in its order. */
export type ExecuteAnswers<Operations extends readonly ExecuteOperationInput[]> = {
  -readonly [Index in keyof Operations]: ExecuteAnswer<Operations[Index]>;
};

/** Which list was carried out, at which instant, and what its operations answer. */
export type ExecuteOutcome<
  Then extends readonly ExecuteOperationInput[],
  Else extends readonly ExecuteOperationInput[],
> =
  | { readonly succeeded: true; readonly timestamp: number; readonly results: ExecuteAnswers<Then> }
  | { readonly succeeded: false; readonly timestamp: number; readonly results: ExecuteAnswers<Else> };

/** A whole transaction in one call. */
export interface ExecuteInput<
  Then extends readonly ExecuteOperationInput[] = readonly ExecuteOperationInput[],
  Else extends readonly ExecuteOperationInput[] = readonly ExecuteOperationInput[],
> {
  /** All of them must hold for `then`; none = `then`. */
  readonly if?: readonly ConditionInput[];
  readonly then?: Then;
  readonly else?: Else;
}

/**
 * INVALID_ARGUMENT for what cannot be, with `list` and `index` in its details where one of them is meant;
 * TRANSACTION_TOO_LARGE for what does not fit into one call.
 */
export function executeOperation(sizes: SizeLimits, input: ExecuteInput): SizedOperation {
  const conditions = placed('if', input.if ?? [], conditionOf);
  const then = placed('then', input.then ?? [], (each) => operationOf(each, sizes));
  const otherwise = placed('else', input.else ?? [], (each) => operationOf(each, sizes));
  const count = conditions.length + then.length + otherwise.length;
  if (count > EXECUTE_OPERATIONS_MAX)
    throw tooLarge(`${count} conditions and operations`, EXECUTE_OPERATIONS_MAX);
  let byteLength = OVERHEAD_BYTES;
  for (const each of conditions) byteLength += conditionBytes(each);
  for (const each of [...then, ...otherwise]) byteLength += operationBytes(each);
  if (byteLength > TRANSACTION_BYTES_MAX) throw tooLarge(`${byteLength} bytes`, TRANSACTION_BYTES_MAX);
  return { operation: { $case: 'execute', value: { conditions, then, otherwise } }, byteLength };
}

/** What is wrong with one of a list says with which. */
function placed<Input, Output>(
  list: keyof ExecuteInput,
  inputs: readonly Input[],
  convert: (input: Input) => Output,
): Output[] {
  return inputs.map((input, index) => {
    try {
      return convert(input);
    } catch (error) {
      if (!CairnError.is(error) || error.code !== 'INVALID_ARGUMENT') throw error;
      throw new CairnError(error.code, `${list}[${index}]: ${error.message}`, {
        details: { ...error.details, list, index },
      });
    }
  });
}

function keyOf(key: BytesInput, sizes: SizeLimits): Buffer {
  const bytes = toBuffer(key, 'key');
  checkKey(bytes, sizes);
  return bytes;
}

const CONDITIONS: readonly string[] = ['exists', 'absent', 'version', 'value'];

/** What is said besides would be lost in silence. INVALID_ARGUMENT unless exactly one of the names is there. */
function checkOneOf(input: object, names: readonly string[], what: string): void {
  const said = names.filter((name) => Reflect.get(input, name) !== undefined);
  if (said.length === 1) return;
  const found = said.length === 0 ? 'none of them' : said.join(' and ');
  throw invalidArgument('operation', `${what} is one of ${names.join(', ')}; here is ${found}`);
}

function conditionOf(input: ConditionInput): Condition {
  checkOneOf(input, CONDITIONS, 'a condition of execute');
  const key = keyOf(input.key, WIDEST_SIZES);
  for (const name of ['exists', 'absent'] as const) {
    const said: unknown = name in input ? Reflect.get(input, name) : true;
    if (said !== true) throw invalidArgument(name, `${name} is true; its opposite is a condition of its own`);
  }
  if ('exists' in input) return { key, condition: { $case: 'exists', value: true } };
  if ('absent' in input) return { key, condition: { $case: 'absent', value: true } };
  if ('version' in input) {
    const value = toBuffer(input.version, 'version');
    if (value.length === 0) throw invalidArgument('version', 'version must not be empty');
    return { key, condition: { $case: 'versionEquals', value } };
  }
  const value = toBuffer(input.value, 'value');
  checkValue(value, WIDEST_SIZES);
  return { key, condition: { $case: 'valueEquals', value } };
}

function operationOf(input: ExecuteOperationInput, sizes: SizeLimits): ExecuteOperation {
  checkOneOf(input, Object.keys(ANSWERS), 'an operation of execute');
  if ('get' in input)
    return { operation: { $case: 'get', value: { key: keyOf(input.get.key, WIDEST_SIZES) } } };
  if ('put' in input) {
    const value = toBuffer(input.put.value, 'value');
    checkValue(value, sizes);
    const put = { key: keyOf(input.put.key, sizes), value, ttlMs: ttlOf(input.put.ttlMs) };
    return { operation: { $case: 'put', value: put } };
  }
  if ('delete' in input)
    return { operation: { $case: 'delete', value: { key: keyOf(input.delete.key, WIDEST_SIZES) } } };
  if ('increment' in input) {
    const { key, delta = 1 } = input.increment;
    return { operation: { $case: 'increment', value: { key: keyOf(key, sizes), delta: deltaOf(delta) } } };
  }
  throw invalidArgument('operation', 'an operation of execute is a get, a put, a delete or an increment');
}

function conditionBytes({ key, condition }: Condition): number {
  const operand = condition?.$case === 'valueEquals' ? condition.value.length : 0;
  return key.length + operand + OVERHEAD_BYTES;
}

function operationBytes({ operation }: ExecuteOperation): number {
  const value = operation?.$case === 'put' ? operation.value.value.length : 0;
  return (operation?.value.key.length ?? 0) + value + OVERHEAD_BYTES;
}

/** The answer with its types; the lists say what was asked. */
export function executeOutcome<
  Then extends readonly ExecuteOperationInput[],
  Else extends readonly ExecuteOperationInput[],
>(input: ExecuteInput<Then, Else>, answer: ExecuteResponse): ExecuteOutcome<Then, Else> {
  const { succeeded, timestamp, resultsOmitted } = answer;
  if (resultsOmitted) {
    throw new CairnError(
      'OUTCOME_UNKNOWN',
      `it happened at ${timestamp}, its conditions ${succeeded ? 'held' : 'did not hold'}; ` +
        'what its operations found is not known any more',
      { details: { succeeded, timestamp } },
    );
  }
  const asked = (succeeded ? input.then : input.else) ?? [];
  if (answer.results.length !== asked.length) throw nonsense();
  const results = asked.map((each, index) => answerOf(each, answer.results[index], timestamp));
  return { succeeded, timestamp, results } as unknown as ExecuteOutcome<Then, Else>;
}

function answerOf(
  asked: ExecuteOperationInput,
  { result }: WireResult = { result: undefined },
  timestamp: number,
): unknown {
  const name = Object.keys(asked).find((key) => key in ANSWERS);
  switch (result?.$case) {
    case 'get': {
      if (name !== 'get') throw nonsense();
      const { found, value, version, expiresUnixMs } = result.value;
      return found ? new Entry(value, version, expiresUnixMs) : undefined;
    }
    case 'error': {
      const error = errorFromDetail(result.value);
      if (name !== 'get' || error.code !== 'WRONG_KIND') {
        throw new CairnError(
          error.code,
          `it happened at ${timestamp}, and what an operation found is missing: ${error.message}`,
          { cause: error, details: { timestamp } },
        );
      }
      return new Entry(Buffer.alloc(0), Buffer.alloc(0), 0, kindOf(result.value.kind));
    }
    case 'put':
    case 'delete':
      if (name !== result.$case) throw nonsense();
      return result.value;
    case 'increment':
      if (name !== 'increment' || !/^-?\d{1,20}$/.test(result.value.value)) throw nonsense();
      return BigInt(result.value.value);
    case undefined:
      throw nonsense();
  }
}

const ANSWERS = { get: true, put: true, delete: true, increment: true } as const;

function kindOf(kind: WireRowKind): RowKind {
  return kind === WireRowKind.UNSPECIFIED ? RowKind.bytes : kind;
}

function nonsense(): CairnError {
  return new CairnError('INTERNAL', 'the router answered something else than what was executed');
}
