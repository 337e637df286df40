/** A range as one store holds it; an empty `endKey` is the end of the key space. */
export interface HeldSpan {
  readonly rangeId: number;
  readonly startKey: Uint8Array;
  readonly endKey: Uint8Array;
}

function show(key: Uint8Array): string {
  return JSON.stringify(Buffer.from(key).toString('latin1'));
}

/** Gaps and overlaps of spans that together should be the whole key space; empty = none. */
export function coverageFaults(spans: readonly HeldSpan[]): string[] {
  const faults: string[] = [];
  const sorted = [...spans].sort((a, b) => Buffer.compare(a.startKey, b.startKey));
  let reached: Uint8Array | undefined = new Uint8Array(0);
  for (const span of sorted) {
    if (reached === undefined || Buffer.compare(span.startKey, reached) < 0) {
      faults.push(`range ${span.rangeId} from ${show(span.startKey)} overlaps another`);
    } else if (Buffer.compare(span.startKey, reached) > 0) {
      faults.push(`nobody holds ${show(reached)} to ${show(span.startKey)}`);
    }
    if (reached !== undefined && (span.endKey.length === 0 || Buffer.compare(span.endKey, reached) > 0)) {
      reached = span.endKey.length === 0 ? undefined : span.endKey;
    }
  }
  if (reached !== undefined) faults.push(`nobody holds what follows ${show(reached)}`);
  return faults;
}

/** Like `coverageFaults`, while splits are under way: only what no moment may show, which is overlap. */
export function overlapFaults(spans: readonly HeldSpan[]): string[] {
  return coverageFaults(spans).filter((fault) => fault.includes('overlaps'));
}
