import { COLUMNS_MAX } from './text-rules.js';
import type { TreeFile } from './tree.js';

/** A line below this part of the width, in the middle of a paragraph, is a stump of an earlier reflow. */
const STUMP_PART = 0.6;
/** What prose is written to; the last words of a line may have gone where they were longer. */
const WIDTH = COLUMNS_MAX - 2;

interface CommentLine {
  /** Of the line in the file, from 0. */
  readonly at: number;
  /** Indentation and comment sign. */
  readonly lead: string;
  readonly words: string;
}

const COMMENT = /^(\s*(?:\/\/|\*))( ?)(.*)$/;
/** Beginnings of lines that stand for themselves: items, tags, tables, code, headings of a block. */
const OWN_LINE = /^(?:[-*+|@#>`]|\d+\.|\w+:( |$)| {2,}|$)/;
/** Words of tools, not of people. */
const DIRECTIVE = /^(?:eslint|prettier|@ts-|istanbul|<reference)/;

function paragraphsOf(text: string): CommentLine[][] {
  const paragraphs: CommentLine[][] = [];
  let open: CommentLine[] = [];
  const end = (): void => {
    if (open.length > 1) paragraphs.push(open);
    open = [];
  };
  for (const [at, line] of text.split('\n').entries()) {
    const match = COMMENT.exec(line);
    const [, lead = '', space = '', words = ''] = match ?? [];
    const isProse = match !== null && space === ' ' && !DIRECTIVE.test(words) && !words.startsWith('/');
    if (!isProse || OWN_LINE.test(words) || open.at(-1)?.lead !== lead) end();
    if (isProse && !OWN_LINE.test(words)) open.push({ at, lead, words });
  }
  end();
  return paragraphs;
}

/**
 * Stumps in comments: lines in the middle of a paragraph that end long before the width although the first
 * word of the next one would have fitted.
 */
export function stumps(file: TreeFile): string[] {
  if (!/\.(ts|mjs)$/.test(file.path)) return [];
  return paragraphsOf(file.text).flatMap((lines) =>
    lines.slice(0, -1).flatMap(({ at, lead, words }, place) => {
      const length = lead.length + 1 + words.length;
      const [next = ''] = (lines[place + 1]?.words ?? '').split(' ');
      const isShort = length < WIDTH * STUMP_PART && length + 1 + next.length <= WIDTH;
      return isShort ? [`${file.path}:${at + 1}: a stump of a line in the middle of a paragraph`] : [];
    }),
  );
}
