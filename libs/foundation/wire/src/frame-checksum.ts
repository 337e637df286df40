import { CairnError } from '@cairn/base';
import { crc32, crc32Short } from '@cairn/codec';

import { FrameType } from './session-types.js';

/*
 * Every frame of a session: its type (u8), the CRC-32 of type and body (u32, little endian), its body. What a
 * flipped bit changed is noticed before anything is decoded.
 */

const FRAME_HEAD_BYTES = 5;
const FRAME_TYPE_MAX = FrameType.pong;

/** Up to here the checksum in script is cheaper than a native call. */
const SHORT_BYTES = 48;
/** The checksum of the type byte alone, by type. */
const TYPE_CRCS: readonly number[] = Array.from({ length: FRAME_TYPE_MAX + 1 }, (_, type) =>
  crc32Short(Uint8Array.of(type), { from: 0, to: 1 }),
);

function crcOver(bytes: Uint8Array, previous: number): number {
  if (bytes.length > SHORT_BYTES) return crc32(bytes, previous);
  return crc32Short(bytes, { from: 0, to: bytes.length }, previous);
}

/** The first part of a frame with this body. */
export function frameHead(type: FrameType, parts: readonly Uint8Array[]): Buffer {
  let crc = TYPE_CRCS[type] as number;
  for (const part of parts) crc = crcOver(part, crc);
  const head = Buffer.allocUnsafe(FRAME_HEAD_BYTES);
  head[0] = type;
  head.writeUInt32LE(crc, 1);
  return head;
}

/** The body of a frame. Throws CORRUPTION for a frame that is not as it was sent. */
export function checkedBody(frame: Buffer): Buffer {
  if (frame.length < FRAME_HEAD_BYTES) {
    throw new CairnError('CORRUPTION', `a frame of ${frame.length} bytes is too short for its head`);
  }
  const type = frame[0] as number;
  if (type < 1 || type > FRAME_TYPE_MAX) throw new CairnError('CORRUPTION', `frame of unknown type ${type}`);
  const body = frame.subarray(FRAME_HEAD_BYTES);
  if (crcOver(body, TYPE_CRCS[type] as number) !== frame.readUInt32LE(1)) {
    throw new CairnError('CORRUPTION', `a frame of type ${type} does not match its checksum`);
  }
  return body;
}
