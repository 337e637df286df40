import { CairnError, errorCodeOf } from '@cairn/base';
import { ByteReader, ByteWriter } from '@cairn/codec';

/** Longer sentences are cut. */
const ERROR_MESSAGE_LENGTH_MAX = 4_096;
/** Longer details are left out: no caller repairs anything by so many. */
const ERROR_DETAILS_LENGTH_MAX = 1024 * 1024;

/** id u32, time left u32 (ms), method name, then the request to the end of the frame. */
export function encodeRpcRequest(id: number, timeoutMs: number, method: string): Buffer {
  const writer = new ByteWriter(64);
  writer.u32(id);
  writer.u32(Math.min(0xffffffff, Math.ceil(timeoutMs)));
  writer.string(method);
  return writer.take();
}

export interface RpcRequestFrame {
  readonly id: number;
  readonly timeoutMs: number;
  readonly method: string;
  readonly body: Buffer;
}

export function decodeRpcRequest(frame: Buffer): RpcRequestFrame {
  const reader = new ByteReader(frame);
  const id = reader.u32();
  const timeoutMs = reader.u32();
  const method = reader.string();
  return { id, timeoutMs, method, body: reader.raw(reader.remaining) };
}

/** id u32, 0, then the response follows as the next part of the frame. */
export function encodeRpcSuccess(id: number): Buffer {
  const writer = new ByteWriter(8);
  writer.u32(id);
  writer.u8(0);
  return writer.take();
}

export function encodeRpcFailure(id: number, error: CairnError): Buffer {
  const writer = new ByteWriter(256);
  writer.u32(id);
  writer.u8(1);
  const details = JSON.stringify(error.details);
  writer.string(error.code);
  writer.string(error.message.slice(0, ERROR_MESSAGE_LENGTH_MAX));
  writer.varint(Math.max(0, Math.ceil(error.retryAfterMs)));
  writer.string(details.length <= ERROR_DETAILS_LENGTH_MAX ? details : '{}');
  return writer.take();
}

export type RpcResponseFrame =
  | { readonly id: number; readonly type: 'success'; readonly body: Buffer }
  | { readonly id: number; readonly type: 'failure'; readonly error: CairnError };

export function decodeRpcResponse(frame: Buffer): RpcResponseFrame {
  const reader = new ByteReader(frame);
  const id = reader.u32();
  if (reader.u8() === 0) return { id, type: 'success', body: reader.raw(reader.remaining) };
  const code = errorCodeOf(reader.string());
  const message = reader.string().slice(0, ERROR_MESSAGE_LENGTH_MAX);
  const retryAfterMs = reader.varint();
  return {
    id,
    type: 'failure',
    error: new CairnError(code, message, { retryAfterMs, details: parse(reader.string()) }),
  };
}

function parse(text: string): Record<string, unknown> {
  if (text.length > ERROR_DETAILS_LENGTH_MAX) return {};
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch (error) {
    throw new CairnError('CORRUPTION', 'error details that are no JSON', { cause: error });
  }
}

export function encodeRpcCancel(id: number): Buffer {
  const frame = Buffer.allocUnsafe(4);
  frame.writeUInt32LE(id);
  return frame;
}
