import type { Timestamp } from '@cairn/base';
import { COMMIT_SEQUENCE } from '@cairn/wire';

const VERSION_TOKEN_BYTES = 12;

/** The version token of the rows that a two-phase commit leaves, as clients see it. */
export function committedVersion(commit: Timestamp): Buffer {
  const token = Buffer.allocUnsafe(VERSION_TOKEN_BYTES);
  token.writeUInt32BE(Math.floor(commit / 2 ** 32), 0);
  token.writeUInt32BE(commit >>> 0, 4);
  token.writeUInt32BE(COMMIT_SEQUENCE, 8);
  return token;
}
