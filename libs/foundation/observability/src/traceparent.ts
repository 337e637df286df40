import type { TraceContext } from '@cairn/ports';

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const FLAG_SAMPLED = 1;

/**
 * Reads the `traceparent` header of W3C Trace Context. Undefined for a malformed one and for one that is not
 * sampled: both mean that there is nothing to continue.
 */
export function parseTraceparent(text: string): TraceContext | undefined {
  const match = TRACEPARENT.exec(text);
  if (match === null) return undefined;
  const [, version = '', traceId = '', spanId = '', flags = '', rest] = match;
  const known = version !== 'ff' && (version !== '00' || rest === undefined);
  if (!known || /^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined;
  if ((Number.parseInt(flags, 16) & FLAG_SAMPLED) === 0) return undefined;
  return { traceId: Buffer.from(traceId, 'hex'), spanId: Buffer.from(spanId, 'hex') };
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex');
}

/** Writes the header of a sampled context, version 00. */
export function formatTraceparent(context: TraceContext): string {
  return `00-${hex(context.traceId)}-${hex(context.spanId)}-01`;
}
