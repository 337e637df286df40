import { printableLines } from '@cairn/base';

export interface Column {
  readonly title: string;
  readonly align?: 'left' | 'right';
}

const WIDE =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\u{1f300}-\u{1faff}]/u;

/** Columns a text takes on a terminal: two for wide East Asian characters and emoji, none for marks. */
function widthOf(text: string): number {
  let width = 0;
  for (const character of text) {
    if (/\p{M}/u.test(character)) continue;
    width += WIDE.test(character) ? 2 : 1;
  }
  return width;
}

function pad(text: string, width: number, align: 'left' | 'right'): string {
  const spaces = ' '.repeat(Math.max(0, width - widthOf(text)));
  return align === 'left' ? text + spaces : spaces + text;
}

/** Lines of at most so many columns, broken between words; a longer word has a line of its own. */
export function wrap(text: string, columns: number): string {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && widthOf(`${line} ${word}`) > columns) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line].join('\n');
}

/**
 * An aligned table with a ruled head and a count below, newline at its end. A cell may have several lines; of
 * what nodes say in it, nothing moves the cursor.
 * `noun` counts the rows: "1 node", "7 nodes".
 */
export function renderTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  noun: string,
): string {
  const shown = rows.map((row) => row.map(printableLines));
  const widths = columns.map(({ title }, index) =>
    shown.reduce(
      (most, row) =>
        (row[index] ?? '').split('\n').reduce((wide, part) => Math.max(wide, widthOf(part)), most),
      widthOf(title),
    ),
  );
  const line = (cells: readonly string[], aligns: readonly ('left' | 'right')[]): string =>
    ` ${cells.map((cell, at) => pad(cell, widths[at] ?? 0, aligns[at] ?? 'left')).join(' | ')}`.trimEnd();
  const aligns = columns.map(({ align }) => align ?? 'left');
  const head = line(
    columns.map(({ title }) => title),
    aligns,
  );
  const rule = widths.map((width) => '-'.repeat(width + 2)).join('+');
  const body = shown.flatMap((row) => {
    const cells = row.map((cell) => cell.split('\n'));
    const height = Math.max(1, ...cells.map((lines) => lines.length));
    return Array.from({ length: height }, (_, at) =>
      line(
        cells.map((lines) => lines[at] ?? ''),
        aligns,
      ),
    );
  });
  return `${[head, rule, ...body, countLine(rows.length, noun)].join('\n')}\n`;
}

/** "(1 row)", "(7 rows)". */
export function countLine(count: number, noun: string): string {
  return `(${count} ${count === 1 ? noun : `${noun}s`})`;
}
