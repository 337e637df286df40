import { timestampToUnixMs, type Timestamp } from '@cairn/base';
import { ByteWriter } from '@cairn/codec';

import type { Change } from './changes-messages.js';
import { WatchChange, WatchResponse } from './gen/cairn/v1/watch.js';
import { varintBytes } from './grpc-proto-sizes.js';

/** A message of a watch: changes that were encoded before by `encodeWatchChange`, or anything else. */
export type WatchMessage =
  | { readonly type: 'changes'; readonly changes: readonly Uint8Array[] }
  | { readonly type: 'other'; readonly response: WatchResponse };

const VERSION_BYTES = 12;
/** Of `changes` in the response, and of each change in it. */
const CHANGES_TAG = 18;
const CHANGE_TAG = 10;

/** A `WatchChange`. */
export function encodeWatchChange(change: Change, token: Buffer): Uint8Array {
  const { key, type, value, kind, previous } = change;
  return WatchChange.encode({
    ...{ key: asBuffer(key), deleted: type === 'delete', value: asBuffer(value), kind },
    version: versionOf(change),
    expiresUnixMs: unixMsOf(change.expiresAt),
    timestamp: change.timestamp,
    transaction: change.start,
    previous: previous && {
      value: asBuffer(previous.value),
      timestamp: previous.timestamp,
      expiresUnixMs: unixMsOf(previous.expiresAt),
    },
    token,
  }).finish();
}

/** A `WatchResponse`; byte for byte what the generated encoder makes. */
export function encodeWatchMessage(message: WatchMessage): Buffer {
  if (message.type === 'other') return Buffer.from(WatchResponse.encode(message.response).finish());
  let bytes = 0;
  for (const { length } of message.changes) bytes += 1 + varintBytes(length) + length;
  const writer = new ByteWriter(1 + varintBytes(bytes) + bytes);
  writer.u8(CHANGES_TAG);
  writer.varint(bytes);
  for (const change of message.changes) {
    writer.u8(CHANGE_TAG);
    writer.bytes(change);
  }
  return writer.take();
}

/** The version token of what a change has made, as other answers have it. */
function versionOf({ timestamp, sequence }: Change): Buffer {
  const version = Buffer.allocUnsafe(VERSION_BYTES);
  version.writeUInt32BE(Math.floor(timestamp / 2 ** 32), 0);
  version.writeUInt32BE(timestamp >>> 0, 4);
  version.writeUInt32BE(sequence, 8);
  return version;
}

function unixMsOf(expiresAt: Timestamp): number {
  return expiresAt === 0 ? 0 : timestampToUnixMs(expiresAt);
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
