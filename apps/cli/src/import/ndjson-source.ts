import { messageOf } from '@cairn/base';
import { jsonBytes } from '../render/bytes.js';
import { numberText, parseExactJson } from './exact-json.js';
import { SOURCE_ROW_BYTES_MAX, type ImportItem, type Mapping, type ResumePoint } from './mapping.js';
import { RejectedRow, type Row } from './template.js';
import type { DecodeText } from './text-encoding.js';

const NEWLINE = 0x0a;

interface Line {
  /** undefined when it was too long. */
  readonly bytes: Buffer | undefined;
  /** Offset behind its newline. */
  readonly end: number;
}

/** Lines of a byte stream, without their newline; the last one may lack it. */
async function* linesOf(
  chunks: AsyncIterable<Buffer>,
  startOffset: number,
): AsyncGenerator<Line, void, undefined> {
  let parts: Buffer[] = [];
  let length = 0;
  let offset = startOffset;
  const take = (end: number): Line => {
    const bytes = length > SOURCE_ROW_BYTES_MAX ? undefined : Buffer.concat(parts);
    parts = [];
    length = 0;
    return { bytes, end };
  };
  for await (const chunk of chunks) {
    let from = 0;
    for (;;) {
      const at = chunk.indexOf(NEWLINE, from);
      const part = chunk.subarray(from, at === -1 ? chunk.length : at);
      length += part.length;
      if (length <= SOURCE_ROW_BYTES_MAX) parts.push(part);
      else parts = [];
      if (at === -1) break;
      from = at + 1;
      yield take(offset + from);
    }
    offset += chunk.length;
  }
  if (length > 0) yield take(offset);
}

/** Rows of newline-delimited JSON, one object per line. Blank lines are skipped. */
export async function* readNdjson(
  chunks: AsyncIterable<Buffer>,
  start: ResumePoint,
  mapping: Mapping,
  decode: DecodeText,
): AsyncGenerator<ImportItem, void, undefined> {
  let line = start.line;
  for await (const { bytes, end } of linesOf(chunks, start.offset)) {
    line += 1;
    const text = bytes === undefined ? undefined : decode(bytes)?.trim();
    if (text === '') continue;
    const next: ResumePoint = { offset: end, line };
    if (bytes === undefined) {
      yield { line, next, row: undefined, reason: `longer than ${SOURCE_ROW_BYTES_MAX} bytes`, text: '' };
    } else if (text === undefined) {
      const reason = 'cannot be decoded; see --encoding';
      yield { line, next, row: undefined, reason, text: jsonBytes(bytes) };
    } else yield itemOf(text.replace(/^\ufeff/, ''), line, next, mapping);
  }
}

function itemOf(text: string, line: number, next: ResumePoint, mapping: Mapping): ImportItem {
  try {
    return { line, next, row: mapping(parseObject(text), text), reason: '', text };
  } catch (error) {
    if (!(error instanceof RejectedRow)) throw error;
    return { line, next, row: undefined, reason: error.message, text };
  }
}

function parseObject(text: string): Row {
  let parsed: unknown;
  try {
    parsed = parseExactJson(text);
  } catch (error) {
    throw new RejectedRow(`no JSON: ${messageOf(error)}`);
  }
  // A number that kept its text is an object, too.
  const isObject = typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed);
  if (isObject && numberText(parsed) === undefined) return parsed as Row;
  throw new RejectedRow('no JSON object');
}
