import type { Readiness } from '@cairn/observability';
import type { Reach } from '@cairn/routing';

export interface RouterState {
  readonly hasJoined: boolean;
  /** The metadata service has told it all ranges once. */
  readonly hasRanges: boolean;
  readonly isClosed: boolean;
  readonly reach: Reach;
}

/**
 * A router is ready when it can serve more than half of the ranges that it knows. One range that has lost its
 * majority is no reason to take all routers out of service, and a store that holds no replica is none at all.
 */
export function readinessOf({ hasJoined, hasRanges, isClosed, reach }: RouterState): Readiness {
  const { ranges, reachable } = reach;
  const reasons: string[] = [];
  if (!hasJoined) reasons.push('not joined yet');
  if (hasJoined && ranges === 0) reasons.push('no range is known yet');
  else if (hasJoined && !hasRanges) reasons.push('not all ranges are known yet');
  if (ranges > 0 && reachable * 2 <= ranges)
    reasons.push(`of ${ranges} known ranges ${reachable} have a majority of their replicas in reach`);
  if (isClosed) reasons.push('the router is stopping');
  return { ready: reasons.length === 0, reasons };
}
