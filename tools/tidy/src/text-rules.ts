import { swallowedAssertions } from './catch-rules.js';
import type { TreeFile } from './tree.js';

/** Columns of code; prose, tables and generated text may be wider. */
export const COLUMNS_MAX = 110;
/** A line that is nothing but a sentence: breaking it helps nobody, and the formatter leaves it. */
const SENTENCE = /^\s*(['"`/]|it\(['"`])/;
/** Lines of a source file; tests may be longer, because scenarios read best whole. */
export const FILE_LINES_MAX = 700;
export const TEST_LINES_MAX = 1_200;

/** Written apart, so that this file does not find itself. */
const LEFTOVERS = new RegExp(`\\b(${['TO' + 'DO', 'FIX' + 'ME', 'XX' + 'X', 'HA' + 'CK'].join('|')})\\b`);
const MACHINE_PATH = new RegExp(['/ho' + 'me/', '/wo' + 'rk/', '/Us' + 'ers/', '/ro' + 'ot/'].join('|'));
const REGISTRY_HOST = new RegExp(`registry\\.(npm${''}js|yarn${''}pkg)\\.|npm\\.pkg\\.`);
const CODE = /\.(ts|mjs|proto)$/;

export function isTest(path: string): boolean {
  return /\.spec\.ts$|\/test\/|\/src\/testing\.ts$/.test(path);
}

function numbered(file: TreeFile, isBad: (line: string) => boolean, what: string): string[] {
  return file.text
    .split('\n')
    .flatMap((line, index) => (isBad(line) ? [`${file.path}:${index + 1}: ${what}`] : []));
}

/** Lines that are too wide. */
export function wideLines(file: TreeFile): string[] {
  if (!CODE.test(file.path)) return [];
  return numbered(
    file,
    (line) => line.length > COLUMNS_MAX && !SENTENCE.test(line),
    `wider than ${COLUMNS_MAX} columns`,
  );
}

/** Files that are too long. */
export function longFiles(file: TreeFile): string[] {
  if (!CODE.test(file.path)) return [];
  const lines = file.text.split('\n').length;
  const max = isTest(file.path) ? TEST_LINES_MAX : FILE_LINES_MAX;
  return lines > max ? [`${file.path}: ${lines} lines, at most ${max}: split it by operation`] : [];
}

/** Notes to oneself. */
export function leftovers(file: TreeFile): string[] {
  return numbered(
    file,
    (line) => LEFTOVERS.test(line),
    'a note to oneself; do it, or write it where work is planned',
  );
}

/** Paths of one machine and hosts of package registries. */
export function placesOfOneMachine(file: TreeFile): string[] {
  return numbered(
    file,
    (line) => MACHINE_PATH.test(line) || REGISTRY_HOST.test(line),
    'a path or host of one machine',
  );
}

/** Markdown files have exactly one title. Lines in fenced code are not titles. */
export function titles(file: TreeFile): string[] {
  if (!file.path.endsWith('.md')) return [];
  const prose = file.text.replace(/^```[\s\S]*?^```/gm, '');
  const count = prose.split('\n').filter((line) => line.startsWith('# ')).length;
  return count === 1 ? [] : [`${file.path}: ${count} first-level titles, must be one`];
}

const METRIC = /\.(?:counter|gauge|histogram)\(\s*['"](cairn_[a-z_]+)['"],\s*(['"])((?:(?!\2)[^\\]|\\.)*)\2/g;

/** Words about a metric (HELP) are no sentence: they end without a stop. */
export function stoppedHelps(file: TreeFile): string[] {
  if (!file.path.endsWith('.ts') || file.path.endsWith('.spec.ts')) return [];
  return [...file.text.matchAll(METRIC)].flatMap(([, name = '', , help = '']) =>
    help.endsWith('.') ? [`${file.path}: the words about ${name} end with a stop`] : [],
  );
}

export const TEXT_RULES = [
  wideLines,
  longFiles,
  leftovers,
  placesOfOneMachine,
  titles,
  swallowedAssertions,
] as const;
