import { columns, showNumber } from './tables.js';

const MIB = 1024 * 1024;

/** What watches cost that have nothing to tell. */
export interface IdleWatchesLine {
  readonly part: 'watch-idle';
  readonly watches: number;
  readonly seconds: number;
  /** Resident memory of the router before the first of them, and at the end. */
  readonly rssBytesBefore: number;
  readonly rssBytes: number;
  readonly bytesPerWatch: number;
  /** Of the router, while they are open. */
  readonly cores: number;
  /** Until all of them had begun. */
  readonly openedMs: number;
}

/** From the acknowledged put until the last watcher was told. */
export interface FanoutLine {
  readonly part: 'watch-fanout';
  readonly watchers: number;
  readonly puts: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly longestMs: number;
}

export type WatchesLine = IdleWatchesLine | FanoutLine;

/** `share` of the numbers are at most this. */
function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? 0;
}

/** `tookMs`: of each put, at least one. */
export function fanoutLine(watchers: number, tookMs: readonly number[]): FanoutLine {
  const sorted = tookMs.toSorted((a, b) => a - b);
  const longestMs = quantile(sorted, 1);
  const [p50Ms, p99Ms] = [quantile(sorted, 0.5), quantile(sorted, 0.99)];
  return { part: 'watch-fanout', watchers, puts: tookMs.length, p50Ms, p99Ms, longestMs };
}

export function idleLine(
  facts: Pick<IdleWatchesLine, 'watches' | 'seconds' | 'rssBytesBefore' | 'rssBytes' | 'cores' | 'openedMs'>,
): IdleWatchesLine {
  const bytesPerWatch = (facts.rssBytes - facts.rssBytesBefore) / facts.watches;
  return { part: 'watch-idle', ...facts, bytesPerWatch };
}

/** Shows the results to people. */
export function showWatches(lines: readonly WatchesLine[]): string {
  const rows = lines.flatMap((line): string[][] => {
    if (line.part === 'watch-fanout') {
      return [
        ['watchers of one key', String(line.watchers)],
        ['  from a put to the last of them, p50 ms', showNumber(line.p50Ms)],
        ['  p99', showNumber(line.p99Ms)],
        ['  longest', showNumber(line.longestMs)],
      ];
    }
    return [
      ['idle watches', String(line.watches)],
      ['  opened within s', showNumber(line.openedMs / 1_000)],
      ['  memory of the router before, MiB', showNumber(line.rssBytesBefore / MIB)],
      ['  memory with them, MiB', showNumber(line.rssBytes / MIB)],
      ['  bytes per watch', showNumber(line.bytesPerWatch)],
      ['  cores of the router', showNumber(line.cores)],
    ];
  });
  return `${columns(rows).join('\n')}\n`;
}
