/**
 * Whether voters hold their votes for so much longer than leaders believe in their leases that no clock of
 * either side can be wrong enough to matter: a tenth, far beyond what two clocks of one second drift apart.
 * In whole numbers, for a tenth has no end in binary.
 */
export function outlastsLease(voteHoldMs: number, leaseDurationMs: number): boolean {
  return leaseDurationMs * 11 <= voteHoldMs * 10;
}
