import { checkKey, checkValue, invalidArgument, toBuffer, WIDEST_SIZES, type SizeLimits } from './bytes.js';
import { ttlOf, type SizedOperation } from './operations.js';
import type { WriteOperationInput } from './options.js';
import { TransactionState, type BufferedWrite } from './transaction-state.js';
import { Isolation } from './wire-binding.js';

const OVERHEAD_BYTES = 64;

/** Where writes that happen together committed: reads at or above it see all of them. */
export interface AtomicReceipt {
  readonly timestamp: number;
}

/**
 * Writes that happen together, as a transaction that reads nothing. INVALID_ARGUMENT for what is no put and
 * no delete, and for a key that is written twice; TRANSACTION_TOO_LARGE for too much.
 */
export function atomicOperation(sizes: SizeLimits, inputs: readonly WriteOperationInput[]): SizedOperation {
  const state = new TransactionState(false);
  for (let index = 0; index < inputs.length; index += 1) {
    const input = inputs[index];
    if (input !== undefined && 'put' in input && 'delete' in input)
      throw invalidArgument('operations', `operation ${index} is both a put and a delete`);
    const write = writeOf(input, sizes);
    if (write === undefined) {
      throw invalidArgument(
        'operations',
        `operation ${index} is no put and no delete: an atomic writeMany has only those; ` +
          'compare and count in execute or in a transaction',
      );
    }
    if (state.written(write.key) !== undefined)
      throw invalidArgument('operations', `operation ${index} writes a key that one before it writes`);
    state.write(write);
  }
  const { writes, bytes } = state;
  const value = {
    start: 0,
    isolation: Isolation.SERIALIZABLE,
    reads: [],
    reserved: [],
    owner: 0,
    spans: [],
    writes,
  };
  return { operation: { $case: 'commit', value }, byteLength: bytes + OVERHEAD_BYTES };
}

function writeOf(input: WriteOperationInput | undefined, sizes: SizeLimits): BufferedWrite | undefined {
  if (input === undefined) return undefined;
  if ('put' in input) {
    const key = toBuffer(input.put.key, 'key');
    const value = toBuffer(input.put.value, 'value');
    checkKey(key, sizes);
    checkValue(value, sizes);
    return { key, value, ttlMs: ttlOf(input.put.ttlMs) };
  }
  if (!('delete' in input)) return undefined;
  const key = toBuffer(input.delete.key, 'key');
  checkKey(key, WIDEST_SIZES);
  return { key, value: undefined, ttlMs: 0 };
}
