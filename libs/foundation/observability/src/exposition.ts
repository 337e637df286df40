import type { HistogramCell, Labels, NumberCell } from './metric-cells.js';

/**
 * The Prometheus text format, version 0.0.4: one sample per line, a HELP and a TYPE line before each
 * metric.
 */

function escapeHelp(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
}

function escapeLabel(text: string): string {
  return escapeHelp(text).replaceAll('"', '\\"');
}

function showLabels(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(value)}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

function showNumber(value: number): string {
  if (value === Infinity) return '+Inf';
  if (value === -Infinity) return '-Inf';
  return String(value);
}

/** The two lines that introduce a metric. */
export function exposeHeader(name: string, help: string, type: 'counter' | 'gauge' | 'histogram'): string {
  return `# HELP ${name} ${escapeHelp(help)}\n# TYPE ${name} ${type}\n`;
}

/** The line of one counter or gauge. */
export function exposeNumber(name: string, labels: Labels, cell: NumberCell): string {
  return `${name}${showLabels(labels)} ${showNumber(cell.value)}\n`;
}

/** The lines of one histogram: cumulative buckets, the sum, the count. */
export function exposeHistogram(
  name: string,
  labels: Labels,
  bounds: readonly number[],
  cell: HistogramCell,
): string {
  let text = '';
  let cumulated = 0;
  for (const [at, bound] of bounds.entries()) {
    cumulated += cell.counts[at] ?? 0;
    text += `${name}_bucket${showLabels({ ...labels, le: showNumber(bound) })} ${cumulated}\n`;
  }
  text += `${name}_bucket${showLabels({ ...labels, le: '+Inf' })} ${cell.count}\n`;
  text += `${name}_sum${showLabels(labels)} ${showNumber(cell.sum)}\n`;
  return `${text}${name}_count${showLabels(labels)} ${cell.count}\n`;
}
