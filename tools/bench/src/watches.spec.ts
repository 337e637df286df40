import { describe, expect, test } from '@jest/globals';
import { checkWatches, watchesSchema, watchPartsOf } from './watches-config.js';
import { fanoutLine, idleLine, showWatches } from './watches-results.js';

describe('the flags of watches', () => {
  test('name all parts by default, in one order', () => {
    const config = watchesSchema.parse({});
    expect([checkWatches(config), watchPartsOf(config)]).toEqual([[], ['watch-idle', 'watch-fanout']]);
    expect(watchPartsOf({ parts: 'watch-fanout, watch-idle' })).toEqual(['watch-idle', 'watch-fanout']);
    expect(watchPartsOf({ parts: 'watch-fanout' })).toEqual(['watch-fanout']);
  });

  test('are refused when they name none', () => {
    expect(checkWatches({ parts: 'watch-idle,sky' })).toEqual([
      'parts names "sky": there are watch-idle, watch-fanout.',
    ]);
  });
});

describe('the results of watches', () => {
  test('are quantiles over puts, and memory by watch', () => {
    const tookMs = Array.from({ length: 200 }, (_, at) => 200 - at);
    const fanout = fanoutLine(1_000, tookMs);
    expect(fanout).toMatchObject({ puts: 200, p50Ms: 100, p99Ms: 198, longestMs: 200 });
    const facts = { watches: 1_024, seconds: 20, cores: 0.031, openedMs: 2_500 };
    const idle = idleLine({ ...facts, rssBytesBefore: 100 * 2 ** 20, rssBytes: 108 * 2 ** 20 });
    expect(idle.bytesPerWatch).toBe(8_192);
    const text = showWatches([idle, fanout]);
    expect(text).toMatch(
      /memory with them, MiB +108\n.*bytes per watch +8192\n.*cores of the router +0\.03\n/,
    );
    expect(text).toMatch(/to the last of them, p50 ms +100\n/);
  });
});
