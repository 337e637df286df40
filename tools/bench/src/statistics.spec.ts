import { describe, expect, test } from '@jest/globals';
import { median, rounded, spreadOf } from './statistics.js';

describe('a statistic', () => {
  test('of the middle is the middle, or the mean of the two there', () => {
    expect(median([7])).toBe(7);
    expect(median([9, 1, 5])).toBe(5);
    expect(median([100, 2, 4, 1])).toBe(3);
  });

  test('does not change what it is given', () => {
    const values = [3, 1, 2];
    median(values);
    expect(values).toEqual([3, 1, 2]);
  });

  test('of the spread has the smallest and the largest', () => {
    expect(spreadOf([3, 1, 2])).toEqual([1, 3]);
    expect(() => spreadOf([])).toThrow();
    expect(() => median([])).toThrow();
  });

  test('is rounded to significant digits, not to decimals', () => {
    expect(rounded(123_456)).toBe(123_500);
    expect(rounded(0.000123456)).toBe(0.0001235);
    expect(rounded(0)).toBe(0);
  });
});
