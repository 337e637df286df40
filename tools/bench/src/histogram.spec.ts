import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Histogram } from './histogram.js';

function exactPercentile(values: readonly number[], quantile: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.ceil(quantile * sorted.length) - 1] ?? 0;
}

describe('Histogram', () => {
  test('knows nothing before the first value', () => {
    const histogram = new Histogram();
    expect([histogram.count, histogram.percentileMs(0.5), histogram.maxMs]).toEqual([0, 0, 0]);
  });

  test('is never more than 0.8 % (or 100 ns) away from the percentile of the sorted values', () => {
    const latencies = fc.array(fc.double({ min: 0, max: 200_000, noNaN: true }), {
      minLength: 1,
      maxLength: 200,
    });
    fc.assert(
      fc.property(latencies, fc.constantFrom(0.01, 0.5, 0.9, 0.99, 0.999, 1), (values, quantile) => {
        const histogram = new Histogram();
        for (const value of values) histogram.recordMs(value);
        const exact = exactPercentile(values, quantile);
        const error = Math.abs(histogram.percentileMs(quantile) - exact);
        expect(error).toBeLessThanOrEqual(Math.max(exact * 0.008, 0.0001));
        expect(histogram.count).toBe(values.length);
      }),
    );
  });

  test('tells apart what lies in a long tail', () => {
    const histogram = new Histogram();
    for (let at = 0; at < 989; at += 1) histogram.recordMs(1);
    for (let at = 0; at < 11; at += 1) histogram.recordMs(50);
    expect(histogram.percentileMs(0.5)).toBeCloseTo(1, 1);
    expect(histogram.percentileMs(0.989)).toBeCloseTo(1, 1);
    expect(histogram.percentileMs(0.99)).toBeCloseTo(50, 0);
    expect(histogram.maxMs).toBe(50);
  });

  test('counts what is too long as the longest it can hold', () => {
    const histogram = new Histogram();
    histogram.recordMs(1e9);
    expect(histogram.maxMs).toBeCloseTo(214_748, 0);
    expect(histogram.percentileMs(0.5) / histogram.maxMs).toBeGreaterThan(0.992);
  });

  test('refuses negative latencies and quantiles that are none', () => {
    const histogram = new Histogram();
    expect(() => histogram.recordMs(-1)).toThrow('negative');
    expect(() => histogram.recordMs(Number.NaN)).toThrow('negative');
    expect(() => histogram.percentileMs(0)).toThrow('quantile');
    expect(() => histogram.percentileMs(1.1)).toThrow('quantile');
  });
});
