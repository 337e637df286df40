import type { PeerAddress } from './fields.js';

function isPeer(value: unknown): value is PeerAddress {
  return typeof value === 'object' && value !== null && 'name' in value && 'address' in value;
}

/** A configuration value the way a person would write it in a flag; text in quotes. */
export function showValue(value: unknown): string {
  if (value === undefined) return 'missing';
  if (Array.isArray(value)) {
    const parts = value.map((part: unknown) => {
      if (isPeer(part)) return `${part.name}=${part.address}`;
      return typeof part === 'string' ? part : JSON.stringify(part);
    });
    return JSON.stringify(parts.join(','));
  }
  return JSON.stringify(value);
}
