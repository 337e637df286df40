import type { Timestamp } from '@cairn/base';

const VERSION_TOKEN_BYTES = 12;
/** All rows of a two-phase commit are at the first step of its commit timestamp. */
const COMMIT_SEQUENCE = 2 ** 21;

/** The version token of the rows that a two-phase commit leaves, as clients see it. */
export function committedVersion(commit: Timestamp): Buffer {
  const token = Buffer.allocUnsafe(VERSION_TOKEN_BYTES);
  token.writeUInt32BE(Math.floor(commit / 2 ** 32), 0);
  token.writeUInt32BE(commit >>> 0, 4);
  token.writeUInt32BE(COMMIT_SEQUENCE, 8);
  return token;
}
