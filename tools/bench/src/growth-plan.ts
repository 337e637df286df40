import { assert } from '@cairn/base';

/** Indices of the keys that divide a data set into so many ranges of equal size, without the first. */
export function splitPoints(keys: number, ranges: number): number[] {
  assert(ranges >= 1 && ranges <= keys, 'a range holds at least one key', { keys, ranges });
  return Array.from({ length: ranges - 1 }, (_, at) => Math.floor(((at + 1) * keys) / ranges));
}

/** The same values in lists of at most `size`. */
export function batchesOf<Value>(values: readonly Value[], size: number): Value[][] {
  assert(size >= 1, 'a batch holds something', { size });
  return Array.from({ length: Math.ceil(values.length / size) }, (_, at) =>
    values.slice(at * size, (at + 1) * size),
  );
}

/** Use of CPU per window that is no longer falling: the last is not below the one before by a tenth. */
export function isQuiet(cores: readonly number[]): boolean {
  const [last, before] = [cores.at(-1), cores.at(-2)];
  return last !== undefined && before !== undefined && last >= before * 0.9 && last <= before * 1.1 + 0.02;
}
