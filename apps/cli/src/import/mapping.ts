import { isBase64Marker, parseBytes, type JsonBytes } from '../render/bytes.js';
import { fieldOf, fillTemplate, parseTemplate, RejectedRow, type Row, type Template } from './template.js';

/**
 * Longest line or record that is read; a longer one is rejected without being held in memory. What `cairn
 * export` makes of the largest key and value that a cluster can allow is shorter, see `isWasteful`.
 */
export const SOURCE_ROW_BYTES_MAX = 16 * 1024 * 1024;

/** What a row becomes. */
export interface MappedRow {
  readonly key: Buffer;
  readonly value: Buffer;
  /** When it is to disappear by itself; undefined = never, or as the command says for all. */
  readonly expiresAtMs?: number;
}

/** One line or record of the source, understood or not. */
export interface ImportItem {
  /** The line that it begins in, 1-based; `next.line` is the one that it ends in. */
  readonly line: number;
  /** Where to go on once this item and all before it are done. */
  readonly next: ResumePoint;
  readonly row: MappedRow | undefined;
  /** Why there is no row. */
  readonly reason: string;
  /** As it stands in the source, for --rejects; empty when it was too long to be held. */
  readonly text: JsonBytes;
}

/** A place between two records of a source. */
export interface ResumePoint {
  /** Bytes before it. */
  readonly offset: number;
  /** Lines before it. */
  readonly line: number;
}

export const START: ResumePoint = { offset: 0, line: 0 };

/** How rows become keys and values. */
export interface MappingOptions {
  readonly key?: string;
  readonly keyField?: string;
  readonly valueField?: string;
}

/**
 * Makes key and value of a row; throws RejectedRow. `source` is the row's own JSON text where there is one.
 */
export type Mapping = (row: Row, source: string | undefined) => MappedRow;

/** The fields without which no row can be taken. */
export function neededFields({ key, keyField, valueField }: MappingOptions): string[] {
  const ofKey =
    key === undefined
      ? [keyField ?? 'key']
      : parseTemplate(key).parts.flatMap((part) => ('field' in part ? [part.field] : []));
  const isWholeRow = valueField === undefined && (key !== undefined || keyField !== undefined);
  return isWholeRow ? ofKey : [...ofKey, valueField ?? 'value'];
}

/**
 * - With a key template (or field) and no value field, the value is the whole row as JSON.
 * - Without a template the fields are `key` and `value`, as export writes them; an `encoding` field of
 *   `base64` says that both are base64, and `expires` when the key is to disappear.
 */
export function mappingOf(options: MappingOptions): Mapping {
  const template = options.key === undefined ? undefined : parseTemplate(options.key);
  if (template === undefined && options.keyField === undefined) {
    const valueField = options.valueField ?? 'value';
    return (row) => {
      const isBase64 = row['encoding'] === 'base64';
      return {
        key: bytesOf(row, 'key', isBase64),
        value: bytesOf(row, valueField, isBase64),
        ...expiryOf(row['expires']),
      };
    };
  }
  const { keyField, valueField } = options;
  return (row, source) => ({
    key: keyOf(row, template, keyField),
    value:
      valueField === undefined ? Buffer.from(source ?? JSON.stringify(row)) : bytesOf(row, valueField, false),
  });
}

function keyOf(row: Row, template: Template | undefined, keyField: string | undefined): Buffer {
  return template === undefined
    ? bytesOf(row, keyField ?? 'key', false)
    : textBytes(fillTemplate(template, row), 'the key');
}

function expiryOf(expires: unknown): { readonly expiresAtMs?: number } {
  if (expires === undefined || expires === '') return {};
  const expiresAtMs = typeof expires === 'string' ? Date.parse(expires) : NaN;
  if (Number.isNaN(expiresAtMs))
    throw new RejectedRow('field "expires" is not a date like 2030-01-31T12:00:00Z');
  return { expiresAtMs };
}

function bytesOf(row: Row, field: string, isBase64: boolean): Buffer {
  const value = fieldOf(row, field);
  if (isBase64) {
    if (typeof value !== 'string') throw new RejectedRow(`field "${field}" is not base64`);
    return base64Of(value, field);
  }
  if (isBase64Marker(value)) return base64Of(value.base64, field);
  // A value that is neither text nor marked bytes is kept as its JSON text.
  return typeof value === 'string'
    ? textBytes(value, `field "${field}"`)
    : Buffer.from(JSON.stringify(value));
}

/** Half a surrogate pair (`"\\ud800"`) can be written in JSON and has no bytes. */
function textBytes(text: string, what: string): Buffer {
  if (!text.isWellFormed()) throw new RejectedRow(`${what} is not text: it has half of a surrogate pair`);
  return Buffer.from(text);
}

function base64Of(text: string, field: string): Buffer {
  try {
    return parseBytes(text, 'base64', field);
  } catch {
    throw new RejectedRow(`field "${field}" is not base64`);
  }
}
