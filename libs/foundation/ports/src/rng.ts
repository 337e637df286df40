/** The only way chance enters. */
export interface Rng {
  /** Uniform in [0, 1). */
  next(): number;
  /** Uniform integer in [0, bound). `bound` is 1 .. 2^53-1. */
  integer(bound: number): number;
  /** Fresh random bytes, owned by the caller. */
  bytes(length: number): Uint8Array;
}
