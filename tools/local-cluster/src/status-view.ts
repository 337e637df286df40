import type { StatusResponse } from '@cairn/client';

/** What the live status shows of one process. */
export interface NodeStatusRow {
  readonly name: string;
  readonly state: string;
  readonly replicas: number | undefined;
  readonly leaders: number | undefined;
  readonly dataBytes: number | undefined;
  readonly operationsPerSecond: number | undefined;
}

/** 1234567 → `1.2 M`; below a thousand as it is. */
export function showCount(value: number): string {
  if (value >= 1e6) return `${(value / 1e6).toFixed(1)} M`;
  if (value >= 1e4) return `${(value / 1e3).toFixed(1)} k`;
  return value >= 100 || Number.isInteger(value) ? value.toFixed(0) : value.toFixed(1);
}

/** Bytes in a binary unit. */
export function showSize(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1_024 && unit < units.length - 1) {
    value /= 1_024;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? value.toFixed(0) : value.toFixed(1)} ${units[unit] ?? ''}`;
}

const COLUMNS = ['node', 'state', 'ranges', 'leads', 'data', 'ops/s'] as const;

function cellsOf(row: NodeStatusRow): readonly string[] {
  const shown = (value: number | undefined, show: (value: number) => string): string =>
    value === undefined ? '' : show(value);
  return [
    row.name,
    row.state,
    shown(row.replicas, String),
    shown(row.leaders, String),
    shown(row.dataBytes, showSize),
    shown(row.operationsPerSecond, showCount),
  ];
}

/** Rows per process: those the tool runs, with what the cluster says about them where it does. */
export function rowsOf(
  names: readonly string[],
  isRunning: (name: string) => boolean,
  status: StatusResponse | undefined,
): NodeStatusRow[] {
  return names.map((name) => {
    const known = status?.nodes.find((node) => node.name === name);
    const isShard = known !== undefined && known.storeId > 0;
    const state = !isRunning(name)
      ? 'stopped'
      : known?.live === false
        ? 'silent'
        : known?.leader
          ? 'leader'
          : 'up';
    return {
      name,
      state,
      replicas: isShard ? known.replicas : undefined,
      leaders: isShard ? known.leaders : undefined,
      dataBytes: isShard ? known.dataBytes : undefined,
      operationsPerSecond: isShard ? known.readsPerSecond + known.writesPerSecond : undefined,
    };
  });
}

function summaryOf(status: StatusResponse): string {
  const settling = status.unsettled.map((sentence) => `settling: ${sentence}`);
  const health = [...status.problems, ...settling].join('; ') || 'healthy';
  const plural = status.ranges === 1 ? 'range' : 'ranges';
  return (
    `${status.ranges} ${plural} (${health}), ${showCount(status.readsPerSecond)} reads/s, ` +
    `${showCount(status.writesPerSecond)} writes/s`
  );
}

/** The live area: a table and a summary, one string per line. */
export function statusLines(rows: readonly NodeStatusRow[], status: StatusResponse | undefined): string[] {
  const table = [[...COLUMNS], ...rows.map(cellsOf)];
  const widths = COLUMNS.map((_, column) => Math.max(...table.map((cells) => cells[column]?.length ?? 0)));
  const lines = table.map((cells) =>
    cells
      .map((cell, column) =>
        column < 2 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd(),
  );
  return [...lines, status === undefined ? 'The routers do not answer right now.' : summaryOf(status)];
}

/** The same in one line, for logs. */
export function statusLine(rows: readonly NodeStatusRow[], status: StatusResponse | undefined): string {
  const running = rows.filter((row) => row.state !== 'stopped').length;
  const text = status === undefined ? 'the routers do not answer right now' : summaryOf(status);
  return `${running} of ${rows.length} processes run; ${text}`;
}
