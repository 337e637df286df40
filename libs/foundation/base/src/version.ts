/** The version of the product, which programs say of themselves. */
export const VERSION = '0.1.0';

/** Whole numbers from `min` to `max`, both included: versions that something reads, speaks or runs with. */
export interface VersionRange {
  readonly min: number;
  readonly max: number;
}

export function isWithin(version: number, { min, max }: VersionRange): boolean {
  return version >= min && version <= max;
}

/** `3`, or `3 to 5`. */
export function rangeText({ min, max }: VersionRange): string {
  return min === max ? `${max}` : `${min} to ${max}`;
}
