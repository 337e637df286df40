import type { Operation } from '@cairn/checkers';

/**
 * Of two STRICT writes, of whatever keys, the one that began after the other was acknowledged has no smaller
 * timestamp: no snapshot sees it and misses the earlier one. Answers what is wrong.
 */
export function strictOrderFaults(operations: readonly Operation[]): string[] {
  const strict = operations.filter(
    ({ action, strict: isStrict, timestamp = 0, returnedMs }) =>
      action.f !== 'read' && isStrict === true && timestamp > 0 && Number.isFinite(returnedMs),
  );
  const byReturn = strict.toSorted((one, other) => one.returnedMs - other.returnedMs);
  const faults: string[] = [];
  let newest: Operation | undefined;
  let next = 0;
  for (const write of strict.toSorted((one, other) => one.invokedMs - other.invokedMs)) {
    for (; (byReturn[next]?.returnedMs ?? Number.POSITIVE_INFINITY) < write.invokedMs; next += 1) {
      const over = byReturn[next];
      if ((over?.timestamp ?? 0) > (newest?.timestamp ?? 0)) newest = over;
    }
    if (newest === undefined || (newest.timestamp ?? 0) <= (write.timestamp ?? 0)) continue;
    const before = `after the STRICT write of ${newest.key} at ${newest.timestamp} was acknowledged`;
    faults.push(`${write.key}: STRICT write at ${write.timestamp}, ${before}`);
  }
  return faults;
}
