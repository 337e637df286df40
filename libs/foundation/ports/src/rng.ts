/** The only way chance enters. */
export interface Rng {
  /** Draws a number, uniform in [0, 1). */
  next(): number;
  /** Draws an integer, uniform in [0, bound). `bound` is 1 .. 2^53-1. */
  integer(bound: number): number;
  /** Draws fresh bytes, which belong to the caller. */
  bytes(length: number): Uint8Array;
}
