import { CairnError } from '@cairn/base';

/** Longest key and value, in bytes; cluster settings. */
export interface KeyValueLimits {
  readonly keyBytesMax: number;
  readonly valueBytesMax: number;
}

export const DEFAULT_KEY_VALUE_LIMITS: KeyValueLimits = { keyBytesMax: 4_096, valueBytesMax: 1_048_576 };

/**
 * No setting allows more. What was stored stays readable, can be expected and deleted when a limit is
 * lowered: only what makes rows is held to the settings of now.
 */
export const WIDEST_KEY_VALUE_LIMITS: KeyValueLimits = {
  keyBytesMax: 32 * 1024,
  valueBytesMax: 8 * 1024 * 1024,
};

/** INVALID_ARGUMENT that names the field; the same words as the SDK uses. */
export function invalidField(field: string, message: string): CairnError {
  return new CairnError('INVALID_ARGUMENT', message, { details: { field } });
}

/** The error of a key that cannot be used, or undefined. */
export function checkKey(key: Uint8Array, limits: KeyValueLimits, field = 'key'): CairnError | undefined {
  if (key.length === 0) return invalidField(field, `${field} must not be empty`);
  return checkLength(key, limits.keyBytesMax, limits, field);
}

/** As `checkKey` for the bound of a span, where empty means open. */
export function checkBound(key: Uint8Array, limits: KeyValueLimits, field: string): CairnError | undefined {
  // A page may go on at the key right behind the longest one: a zero byte more.
  return checkLength(key, limits.keyBytesMax + 1, limits, field);
}

function checkLength(
  key: Uint8Array,
  bytesMax: number,
  limits: KeyValueLimits,
  field: string,
): CairnError | undefined {
  if (key.length <= bytesMax) return undefined;
  return invalidField(field, `${field} has ${key.length} bytes; the limit is ${limits.keyBytesMax}`);
}

export function checkValue(
  value: Uint8Array,
  limits: KeyValueLimits,
  field = 'value',
): CairnError | undefined {
  if (value.length <= limits.valueBytesMax) return undefined;
  return invalidField(field, `${field} has ${value.length} bytes; the limit is ${limits.valueBytesMax}`);
}
