import { CairnError } from '@cairn/base';

/** Eight bytes whose order is that of the numbers: 0 to 2^53 - 1. */
export function writeU64(target: Buffer, at: number, value: number): void {
  target.writeUInt32BE(Math.floor(value / 4294967296), at);
  target.writeUInt32BE(value >>> 0, at + 4);
}

/** Throws CORRUPTION above 2^53 - 1. */
export function readU64(source: Buffer, at: number): number {
  const high = source.readUInt32BE(at);
  if (high > 0x1fffff) throw new CairnError('CORRUPTION', `number above 2^53 at ${at}`);
  return high * 4294967296 + source.readUInt32BE(at + 4);
}
