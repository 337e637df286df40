import type { Entry } from '@cairn/client';

/** What JSON says of a key that disappears by itself; nothing of others. */
export function jsonExpiry({ expiresAtMs }: Entry): { readonly expires?: string } {
  return expiresAtMs === undefined ? {} : { expires: new Date(expiresAtMs).toISOString() };
}
