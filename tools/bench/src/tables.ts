import type { FailoverLine, FailoverSummary } from './failover-campaign.js';
import type { ResultLine, Summary } from './results.js';
import type { Spread } from './statistics.js';
import { WORK_MEANING } from './works.js';

/** Text in columns: the first left, the others right. */
export function columns(rows: readonly (readonly string[])[]): string[] {
  const count = Math.max(...rows.map((row) => row.length));
  const widths = Array.from({ length: count }, (_, at) =>
    Math.max(...rows.map((row) => row[at]?.length ?? 0)),
  );
  return rows.map((row) =>
    row
      .map((cell, at) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0)))
      .join('  ')
      .trimEnd(),
  );
}

/** 12345.6 → `12,346`. */
export function showRate(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

/** Three digits, and never an exponent. */
export function showNumber(value: number): string {
  if (value >= 100) return value.toFixed(0);
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

function showRange([min, max]: Spread, show: (value: number) => string): string {
  return `${show(min)}..${show(max)}`;
}

const SUMMARY_TITLES = ['/s', 'min..max', 'p50 ms', 'p99', 'p99.9'];

function summaryCells(summary: Summary): string[] {
  return [
    showRate(summary.opsPerSecond),
    showRange(summary.spread.opsPerSecond, showRate),
    showNumber(summary.p50Ms),
    showNumber(summary.p99Ms),
    showNumber(summary.p999Ms),
  ];
}

function resultCells(line: ResultLine, hasPeer: boolean): string[] {
  const cells = [line.work, String(line.outstanding), ...summaryCells(line.ours)];
  if (!hasPeer) return cells;
  const { peer, throughputRatio, p99Ratio, ratioSpread } = line;
  return [
    ...cells,
    ...(peer === undefined ? SUMMARY_TITLES.map(() => '') : summaryCells(peer)),
    throughputRatio === undefined ? '' : showNumber(throughputRatio),
    ratioSpread === undefined ? '' : showRange(ratioSpread.throughput, showNumber),
    p99Ratio === undefined ? '' : showNumber(p99Ratio),
    ratioSpread === undefined ? '' : showRange(ratioSpread.p99, showNumber),
  ];
}

function resultTable(lines: readonly ResultLine[]): string[] {
  const peer = lines.find((line) => line.peer !== undefined)?.peer;
  const titles = [
    'work',
    'open',
    ...SUMMARY_TITLES.map((title, at) => (at === 0 ? `ours${title}` : title)),
    ...(peer === undefined
      ? []
      : SUMMARY_TITLES.map((title, at) => (at === 0 ? `${peer.system}${title}` : title))),
    ...(peer === undefined ? [] : ['ratio', 'min..max', 'p99 ratio', 'min..max']),
  ];
  return columns([titles, ...lines.map((line) => resultCells(line, peer !== undefined))]);
}

/** Microseconds of CPU per operation, one row per cell and system. */
function cpuTable(lines: readonly ResultLine[]): string[] {
  const rows = lines.flatMap((line) =>
    [line.ours, line.peer]
      .filter((summary) => summary !== undefined && Object.keys(summary.cpuUsPerOp).length > 0)
      .map((summary) => ({ line, summary: summary as Summary })),
  );
  if (rows.length === 0) return [];
  const roles = [...new Set(rows.flatMap(({ summary }) => Object.keys(summary.cpuUsPerOp)))].sort(byRole);
  const cells = rows.map(({ line, summary }) => [
    `${line.work} ${line.outstanding} ${summary.system}`,
    ...roles.map((role) => {
      const value = summary.cpuUsPerOp[role];
      return value === undefined ? '' : showNumber(value);
    }),
    summary.otherCores === undefined ? '' : summary.otherCores.toFixed(2),
  ]);
  return columns([['CPU µs per operation', ...roles, 'others use (cores)'], ...cells]);
}

/** Works with transactions beside what they are compared with. */
function versusTable(lines: readonly ResultLine[]): string[] {
  const rows = lines.flatMap((line) =>
    (line.versus ?? []).map(({ work, throughputRatio, throughputSpread, p99Ratio, cpuRatio }) => [
      `${line.work} ${line.outstanding} / ${work}`,
      showNumber(throughputRatio),
      showRange(throughputSpread, showNumber),
      showNumber(p99Ratio),
      cpuRatio === undefined ? '' : showNumber(cpuRatio),
    ]),
  );
  if (rows.length === 0) return [];
  return columns([['ratio to another work', 'throughput', 'min..max', 'p99', 'CPU per operation'], ...rows]);
}

/** What it was like for those who had to wait for others. */
function contentionTable(lines: readonly ResultLine[]): string[] {
  const rows = lines.flatMap(({ work, outstanding, ours: { restartsPerOp, starvationMs } }) =>
    restartsPerOp === undefined || starvationMs === undefined
      ? []
      : [[`${work} ${outstanding}`, showNumber(restartsPerOp), showNumber(starvationMs)]],
  );
  if (rows.length === 0) return [];
  return columns([['contention', 'runs again per operation', 'longest without success ms'], ...rows]);
}

const ROLE_ORDER = ['client', 'router', 'leader', 'follower', 'shard', 'metadata', 'member', 'total'];

function byRole(a: string, b: string): number {
  return ROLE_ORDER.indexOf(a) - ROLE_ORDER.indexOf(b);
}

function memoryTable(lines: readonly ResultLine[]): string[] {
  const last = lines.at(-1);
  const all = { ...last?.ours.rssBytes, ...last?.peer?.rssBytes };
  const rows = Object.entries(all).map(([name, bytes]) => [name, (bytes / 2 ** 20).toFixed(0)]);
  return rows.length === 0 ? [] : columns([['memory after the runs', 'MiB'], ...rows]);
}

function describe(summary: Summary, works: readonly string[]): string {
  return `${summary.system} ${summary.version} under the ${summary.driver} (${works.join(', ')})`;
}

/** Which system was driven by what, one line each. */
function driverLines(lines: readonly ResultLine[]): string[] {
  const byText = new Map<string, { summary: Summary; works: Set<string> }>();
  for (const line of lines) {
    for (const summary of [line.ours, line.peer]) {
      if (summary === undefined) continue;
      const key = `${summary.system} ${summary.driver}`;
      const found = byText.get(key) ?? { summary, works: new Set<string>() };
      found.works.add(line.work);
      byText.set(key, found);
    }
  }
  return [...byText.values()].map(({ summary, works }) => describe(summary, [...works]));
}

/** Errors and misses, one line each; nothing when there were none. */
function troubleLines(lines: readonly ResultLine[]): string[] {
  return lines.flatMap((line) =>
    [line.ours, line.peer]
      .filter((summary) => summary !== undefined)
      .filter(({ errors, misses }) => errors > 0 || misses > 0)
      .map(({ system, errors, misses, firstError }) => {
        const what = firstError === undefined ? '' : ` First error: ${firstError}`;
        const where = `${line.work} ${line.outstanding}, ${system}`;
        return `! ${where}: ${errors} errors, ${misses} reads without a row.${what}`;
      }),
  );
}

/** What the columns mean. */
function legend(lines: readonly ResultLine[]): string[] {
  const runs = Math.max(...lines.map((line) => line.ours.runs));
  const works = [...new Set(lines.map((line) => line.work))];
  return [
    `open = operations open at any time; medians of ${runs} ${runs === 1 ? 'run' : 'runs'}.`,
    ...works.map((work) => `${work} = ${WORK_MEANING[work]}`),
  ];
}

/** Everything that was measured, for people. At least one line. */
export function showResults(lines: readonly ResultLine[]): string {
  const parts = [
    resultTable(lines),
    troubleLines(lines),
    legend(lines),
    driverLines(lines),
    versusTable(lines),
    contentionTable(lines),
    cpuTable(lines),
    memoryTable(lines),
  ];
  return `${parts
    .filter((part) => part.length > 0)
    .map((part) => part.join('\n'))
    .join('\n\n')}\n`;
}

function failoverCells({ gapMs, spreadMs, failures }: FailoverSummary): string[] {
  return [showNumber(gapMs), showRange(spreadMs, showNumber), String(failures)];
}

const FAILOVER_TITLES = ['gap ms', 'min..max', 'failed'];

/** Failovers, for people. */
export function showFailovers(lines: readonly FailoverLine[]): string {
  return lines.map((line) => `${failoverTable(line).join('\n')}\n`).join('\n');
}

function failoverTable({ ours, peer, gapRatio, ratioSpread, writers, timeoutMs }: FailoverLine): string[] {
  const hasPeer = peer !== undefined && gapRatio !== undefined && ratioSpread !== undefined;
  const titles = hasPeer ? ['', ...FAILOVER_TITLES, 'ratio', 'min..max'] : ['', ...FAILOVER_TITLES];
  const ratios = hasPeer ? [showNumber(gapRatio), showRange(ratioSpread, showNumber)] : [];
  const rows = [
    titles,
    [`failover ${ours.system}`, ...failoverCells(ours), ...ratios],
    ...(peer === undefined ? [] : [[`failover ${peer.system}`, ...failoverCells(peer)]]),
  ];
  return [
    ...columns(rows),
    '',
    `failover = from SIGKILL of the leader to the first put that began and succeeded after it; ${writers} writers, ` +
      `call timeout ${timeoutMs} ms, ${ours.runs} kills each.`,
  ];
}
