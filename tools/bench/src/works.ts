/** What one operation of a work is; `scan` counts rows. */
export const WORKS = ['put', 'get', 'mix', 'stale', 'scan', 'unary'] as const;

export type WorkName = (typeof WORKS)[number];

/** Share of reads in `mix`. */
export const MIX_READ_SHARE = 0.9;

/** For the table and `--help`. */
export const WORK_MEANING: Readonly<Record<WorkName, string>> = {
  put: 'put of a random key',
  get: 'linearizable get of a random key',
  mix: '90 % linearizable get, 10 % put',
  stale: 'get from any replica; of etcd a serializable get',
  scan: 'all rows in order, one scan at a time: rows per second, latency of a whole scan',
  unary: 'put as a plain unary gRPC call, both systems under the native generator',
};

/** One measurement: which work, and how many operations are open at any time. */
export interface Cell {
  readonly work: WorkName;
  readonly outstanding: number;
}

/** All cells of a plan, in the order of the works. A scan is one reader, whatever the others are. */
export function cellsOf(works: readonly WorkName[], outstanding: readonly number[]): Cell[] {
  return works.flatMap((work): Cell[] =>
    work === 'scan' ? [{ work, outstanding: 1 }] : outstanding.map((each) => ({ work, outstanding: each })),
  );
}
