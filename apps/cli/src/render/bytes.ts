import { UsageError } from '../exit-codes.js';

/** How keys and values are written on the command line and shown. */
export type ByteEncoding = 'text' | 'hex' | 'base64';

const decoder = new TextDecoder('utf-8', { fatal: true });

/** The text of the bytes, or undefined when they are no UTF-8. */
export function utf8OrUndefined(bytes: Uint8Array): string | undefined {
  try {
    // Without this a leading byte order mark would be dropped, and the bytes could not be had back.
    if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) return undefined;
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}

/** Reads an argument. Errors are usage errors that name the argument. */
export function parseBytes(text: string, encoding: ByteEncoding, name: string): Buffer {
  switch (encoding) {
    case 'text':
      return Buffer.from(text, 'utf8');
    case 'hex': {
      const digits = text.startsWith('0x') ? text.slice(2) : text;
      if (!/^([0-9a-fA-F]{2})*$/.test(digits))
        throw new UsageError(`${name} "${text}" is not hexadecimal (--hex)`);
      return Buffer.from(digits, 'hex');
    }
    case 'base64': {
      const bytes = Buffer.from(text, 'base64');
      if (bytes.toString('base64').replace(/=+$/, '') !== text.replace(/=+$/, '')) {
        throw new UsageError(`${name} "${text}" is not base64 (--base64)`);
      }
      return bytes;
    }
  }
}

/**
 * For tables and messages: one line, everything unprintable as an escape (`\n`, `\x00`, `\u{200b}`, `\\`).
 */
export function showBytes(bytes: Uint8Array, encoding: ByteEncoding = 'text'): string {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (encoding !== 'text') return view.toString(encoding);
  const text = utf8OrUndefined(view);
  if (text !== undefined) return escapeText(text);
  let shown = '';
  for (const byte of view) {
    if (byte === 0x5c) shown += '\\\\';
    else if (byte >= 0x20 && byte < 0x7f) shown += String.fromCharCode(byte);
    else shown += escapeByte(byte);
  }
  return shown;
}

/** Shortens what `showBytes` made to fit a column, with an ellipsis. */
export function shorten(text: string, most: number): string {
  const characters = [...text];
  return characters.length <= most ? text : `${characters.slice(0, Math.max(1, most - 1)).join('')}…`;
}

const NAMED: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t', '\\': '\\\\' };

function escapeText(text: string): string {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}\\]/gu, (character) => {
    const code = character.codePointAt(0) ?? 0;
    return NAMED[character] ?? (code < 0x80 ? escapeByte(code) : `\\u{${code.toString(16)}}`);
  });
}

function escapeByte(byte: number): string {
  return NAMED[String.fromCharCode(byte)] ?? `\\x${byte.toString(16).padStart(2, '0')}`;
}

/** In JSON: text as a string; bytes that are no UTF-8 as `{"base64": "..."}`. */
export type JsonBytes = string | { readonly base64: string };

export function jsonBytes(bytes: Uint8Array): JsonBytes {
  const text = utf8OrUndefined(bytes);
  return text ?? { base64: Buffer.from(bytes).toString('base64') };
}

/** Whether a value read from JSON is the form that `jsonBytes` gives to what is no text. */
export function isBase64Marker(value: unknown): value is { readonly base64: string } {
  if (typeof value !== 'object' || value === null) return false;
  const { base64 } = value as { base64?: unknown };
  return typeof base64 === 'string' && Object.keys(value).length === 1;
}
