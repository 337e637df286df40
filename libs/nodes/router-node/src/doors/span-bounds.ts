import {
  checkBound,
  checkStart,
  compareKeys,
  invalidField,
  prefixEnd,
  RESERVED_KEYS_START,
  WIDEST_KEY_VALUE_LIMITS,
} from '@cairn/routing';

/**
 * The span of a deletion. One that names nothing is refused, and so is one that names something and says
 * `all`: an empty variable must not remove everything. Throws INVALID_ARGUMENT.
 */
export function deletedSpanOf(message: Parameters<typeof spanOf>[0] & { readonly all: boolean }): {
  start: Uint8Array;
  end: Uint8Array;
} {
  const isNamed = message.start.length > 0 || message.end.length > 0 || message.prefix.length > 0;
  if (!isNamed && !message.all) {
    throw invalidField(
      'all',
      'a range deletion names a prefix, a start or an end, or says all for every key',
    );
  }
  if (isNamed && message.all)
    throw invalidField('all', 'all cannot be given together with prefix, start or end');
  return spanOf(message);
}

/**
 * The span that a request names, by prefix or by bounds; it ends before the reserved keys. Throws
 * INVALID_ARGUMENT.
 */
export function spanOf(message: {
  readonly start: Uint8Array;
  readonly end: Uint8Array;
  readonly prefix: Uint8Array;
}): { start: Uint8Array; end: Uint8Array } {
  const { start, end, prefix } = message;
  const problem =
    checkStart(start, WIDEST_KEY_VALUE_LIMITS, 'start') ??
    checkStart(prefix, WIDEST_KEY_VALUE_LIMITS, 'prefix') ??
    checkBound(end, WIDEST_KEY_VALUE_LIMITS, 'end');
  if (problem !== undefined) throw problem;
  if (prefix.length > 0) {
    if (start.length > 0 || end.length > 0) {
      throw invalidField('prefix', 'prefix cannot be given together with start or end');
    }
    return { start: prefix, end: visibleEnd(prefixEnd(prefix)) };
  }
  if (end.length > 0 && compareKeys(start, end) > 0) throw invalidField('end', 'end lies before start');
  return { start, end: visibleEnd(end) };
}

function visibleEnd(end: Uint8Array): Uint8Array {
  return end.length === 0 || compareKeys(end, RESERVED_KEYS_START) > 0 ? RESERVED_KEYS_START : end;
}
