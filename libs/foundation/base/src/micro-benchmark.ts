/**
 * One thing that `npm run bench -- micro` times. A file `*.bench.ts` beside the code exports a function
 * `benchmarks` that makes a list of these.
 */
export interface MicroBenchmark {
  readonly name: string;
  /** How many operations one call of `run` is. */
  readonly operations: number;
  /** Does them. What it answers is not looked at, except that a promise is waited for. */
  run(): unknown;
}
