import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { LoopDelayMeter } from './open-loop.js';

/**
 * Node measures the delay with a timer of this interval and counts the interval in: an idle loop shows just
 * this much. The metrics of the servers use the same interval.
 */
export const LOOP_TIMER_MS = 10;

/** What is left of Node's number without the interval of its timer. */
export function loopDelayMs(measuredMs: number): number {
  return Math.max(0, measuredMs - LOOP_TIMER_MS);
}

/** Measures the event loop of this process. */
export function startLoopDelayMeter(): LoopDelayMeter {
  const histogram = monitorEventLoopDelay({ resolution: LOOP_TIMER_MS });
  histogram.enable();
  return {
    reset: () => histogram.reset(),
    p99Ms: () => loopDelayMs(histogram.percentile(99) / 1e6),
  };
}

/** The delay that a page of metrics shows since it was last read; undefined when it shows none. */
export function loopDelayP99Of(metrics: string): number | undefined {
  const found = /^nodejs_eventloop_lag_p99_seconds(?:\{[^}]*\})? (\S+)$/m.exec(metrics);
  if (found === null || !Number.isFinite(Number(found[1]))) return undefined;
  return loopDelayMs(Number(found[1]) * 1_000);
}
