import type { Connection } from '@cairn/ports';

/**
 * What HTTP/2 carries for gRPC, as far as anybody can tell from outside: calls as numbered streams over one
 * connection, messages as bytes, a window of credit per stream and direction, and a status at the end.
 */
export const GrpcFrame = { open: 0, message: 1, end: 2, cancel: 3, credit: 4, status: 5 } as const;
export type GrpcFrameKind = (typeof GrpcFrame)[keyof typeof GrpcFrame];

const HEADER_BYTES = 5;

/** How a call ended. `details` is `grpc-status-details-bin`, empty when there is none. */
export interface GrpcStatus {
  readonly code: number;
  readonly message: string;
  readonly details: Buffer;
}

export const STATUS_OK: GrpcStatus = { code: 0, message: '', details: Buffer.alloc(0) };

/** One end of one call on its connection. */
export interface StreamWire {
  send(kind: GrpcFrameKind, payload?: Uint8Array): void;
}

export function wireOf(connection: Connection, stream: number): StreamWire {
  return {
    send: (kind, payload) => {
      const header = Buffer.allocUnsafe(HEADER_BYTES);
      header.writeUInt8(kind, 0);
      header.writeUInt32LE(stream, 1);
      connection.send(payload === undefined ? [header] : [header, payload]);
    },
  };
}

export function decodeFrame(frame: Buffer): { kind: number; stream: number; payload: Buffer } {
  return {
    kind: frame.readUInt8(0),
    stream: frame.readUInt32LE(1),
    payload: frame.subarray(HEADER_BYTES),
  };
}

/** `timeoutMs` 0 = no deadline. */
export function encodeOpen(path: string, timeoutMs: number): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt32LE(timeoutMs, 0);
  return Buffer.concat([head, Buffer.from(path)]);
}

export function decodeOpen(payload: Buffer): { path: string; timeoutMs: number } {
  return { timeoutMs: payload.readUInt32LE(0), path: payload.toString('utf8', 4) };
}

export function encodeCredit(bytes: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32LE(bytes, 0);
  return payload;
}

export function decodeCredit(payload: Buffer): number {
  return payload.readUInt32LE(0);
}

export function encodeStatus({ code, message, details }: GrpcStatus): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(code, 0);
  head.writeUInt32LE(details.length, 1);
  return Buffer.concat([head, details, Buffer.from(message)]);
}

export function decodeStatus(payload: Buffer): GrpcStatus {
  const end = 5 + payload.readUInt32LE(1);
  return {
    code: payload.readUInt8(0),
    details: payload.subarray(5, end),
    message: payload.toString('utf8', end),
  };
}
