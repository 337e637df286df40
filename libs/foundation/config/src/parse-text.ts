import type { FieldKind, PeerAddress } from './fields.js';

const FACTORS: Readonly<Record<string, number>> = { '': 1, kib: 2 ** 10, mib: 2 ** 20, gib: 2 ** 30 };

function parseWhole(text: string): number | string {
  return /^-?\d{1,15}$/.test(text) ? Number(text) : text;
}

function parseBytes(text: string): number | string {
  const match = /^(\d{1,15})\s*([a-z]*)$/i.exec(text);
  const factor = FACTORS[(match?.[2] ?? '?').toLowerCase()];
  return match === null || factor === undefined ? text : Number(match[1]) * factor;
}

function parseMilliseconds(text: string): number | string {
  const match = /^(\d{1,12})\s*(ms|s)?$/.exec(text);
  return match === null ? text : Number(match[1]) * (match[2] === 's' ? 1000 : 1);
}

/** `name=host:port`; what has another form stays text and fails the field's own check. */
export function parsePeer(text: string): PeerAddress | string {
  const at = text.indexOf('=');
  return at < 0 ? text : { name: text.slice(0, at).trim(), address: text.slice(at + 1).trim() };
}

function splitList(text: string): string[] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
}

/**
 * Text from a flag or an environment variable as the value it stands for. Never fails: text that does not fit
 * stays text, so that the field's own check refuses it with the offending value in the message.
 */
export function parseText(kind: FieldKind, text: string): unknown {
  const trimmed = text.trim();
  switch (kind) {
    case 'integer':
      return parseWhole(trimmed);
    case 'bytes':
      return parseBytes(trimmed);
    case 'milliseconds':
      return parseMilliseconds(trimmed);
    case 'ratio':
      return /^\d*\.?\d+$/.test(trimmed) ? Number(trimmed) : trimmed;
    case 'boolean':
      return trimmed === 'true' ? true : trimmed === 'false' ? false : trimmed;
    case 'address-list':
      return splitList(trimmed);
    case 'peer-list':
      return splitList(trimmed).map(parsePeer);
    case 'text':
    case 'choice':
    case 'address':
      return trimmed;
  }
}

/** A value out of a YAML file: typed already, but units and lists may come as text. */
export function parseYamlValue(kind: FieldKind, value: unknown): unknown {
  if (typeof value === 'string') return parseText(kind, value);
  if (kind === 'peer-list' && Array.isArray(value)) {
    return value.map((peer: unknown) => (typeof peer === 'string' ? parsePeer(peer) : peer));
  }
  return value;
}
