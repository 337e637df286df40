import type { RangeDescriptor } from '@cairn/base';

type Span = Pick<RangeDescriptor, 'startKey' | 'endKey'>;

/** Whether the key is in the span; an empty end is that of the key space. */
export function covers(span: Span, key: Uint8Array): boolean {
  return (
    Buffer.compare(key, span.startKey) >= 0 &&
    (span.endKey.length === 0 || Buffer.compare(key, span.endKey) < 0)
  );
}

/** Whether some key is in both. */
export function overlap(one: Span, other: Span): boolean {
  const startsBeforeEnd = one.endKey.length === 0 || Buffer.compare(other.startKey, one.endKey) < 0;
  const endsAfterStart = other.endKey.length === 0 || Buffer.compare(other.endKey, one.startKey) > 0;
  return startsBeforeEnd && endsAfterStart;
}
