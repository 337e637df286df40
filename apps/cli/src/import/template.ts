import { UsageError } from '../exit-codes.js';
import { numberText } from './exact-json.js';

/** Why one line of an import cannot be taken; says so to the person who wrote the file. */
export class RejectedRow extends Error {
  override readonly name = 'RejectedRow';
}

/** `{country}/{name}`: literal text and field names by turns. `{{` and `}}` stand for braces. */
export interface Template {
  readonly text: string;
  readonly parts: readonly ({ readonly literal: string } | { readonly field: string })[];
}

export function parseTemplate(text: string): Template {
  const parts: ({ literal: string } | { field: string })[] = [];
  const pattern = /\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+/g;
  for (const match of text.matchAll(pattern)) {
    const [token, field] = match;
    if (token === '{{' || token === '}}') parts.push({ literal: token.charAt(0) });
    else if (field !== undefined) {
      if (field.trim() === '') throw new UsageError(`the template "${text}" has a field without a name`);
      parts.push({ field: field.trim() });
    } else if (token === '{' || token === '}') {
      throw new UsageError(`the template "${text}" has a lone brace; write {{ or }} for one`);
    } else parts.push({ literal: token });
  }
  if (!parts.some((part) => 'field' in part)) {
    throw new UsageError(`the template "${text}" names no field, so every row would have the same key`);
  }
  return { text, parts };
}

export type Row = Readonly<Record<string, unknown>>;

/** Throws RejectedRow when a field is missing or is no plain value. */
export function fillTemplate(template: Template, row: Row): string {
  let text = '';
  for (const part of template.parts) {
    text += 'literal' in part ? part.literal : plainText(fieldOf(row, part.field), part.field);
  }
  return text;
}

/** A field of the row; throws RejectedRow when it has none, or null. */
export function fieldOf(row: Row, field: string): unknown {
  const value = Object.hasOwn(row, field) ? row[field] : undefined;
  if (value === undefined) throw new RejectedRow(`no field "${field}"`);
  if (value === null) throw new RejectedRow(`field "${field}" is null`);
  return value;
}

function plainText(value: unknown, field: string): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'boolean') return String(value);
  const digits = numberText(value);
  if (digits !== undefined) return digits;
  throw new RejectedRow(`field "${field}" is not a plain value`);
}
