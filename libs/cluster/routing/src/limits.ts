import { CairnError, KEY_BYTES_LIMIT_MAX, VALUE_BYTES_LIMIT_MAX } from '@cairn/base';

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
  keyBytesMax: KEY_BYTES_LIMIT_MAX,
  valueBytesMax: VALUE_BYTES_LIMIT_MAX,
};

/**
 * Keys from here on are the database's own: no text in UTF-8 begins with this byte. The doors for keys and
 * values show and take none of them.
 */
export const RESERVED_KEYS_START = Buffer.of(0xff);

/** INVALID_ARGUMENT that names the field; the same words as the SDK uses. */
export function invalidField(field: string, message: string): CairnError {
  return new CairnError('INVALID_ARGUMENT', message, { details: { field } });
}

/** The error of a key that cannot be used, or undefined. */
export function checkKey(key: Uint8Array, limits: KeyValueLimits, field = 'key'): CairnError | undefined {
  if (key.length === 0) return invalidField(field, `${field} must not be empty`);
  if (key[0] === RESERVED_KEYS_START[0]) return invalidField(field, reserved(field));
  return checkLength(key, limits.keyBytesMax, limits, field);
}

/** As `checkKey` for the bound of a span, where empty means open. */
export function checkBound(key: Uint8Array, limits: KeyValueLimits, field: string): CairnError | undefined {
  // A page may go on at the key right behind the longest one: a zero byte more.
  return checkLength(key, limits.keyBytesMax + 1, limits, field);
}

/**
 * As `checkBound` for where a span begins: behind all keys that anybody may see there is nothing to ask for.
 */
export function checkStart(key: Uint8Array, limits: KeyValueLimits, field: string): CairnError | undefined {
  if (key[0] === RESERVED_KEYS_START[0]) return invalidField(field, reserved(field));
  return checkBound(key, limits, field);
}

function reserved(field: string): string {
  return `${field} begins with the byte FF: such keys are reserved for the database itself`;
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
