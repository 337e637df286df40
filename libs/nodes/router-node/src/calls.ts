import type { DecodedBatchRequest, ScanPage, WatchMessage } from '@cairn/wire';
import type { BatchResponse, ScanRequest } from '@cairn/wire/gen/cairn/v1/kv.js';
import type { WatchRequest } from '@cairn/wire/gen/cairn/v1/watch.js';
import type { Metadata, ServiceError } from '@grpc/grpc-js';

/**
 * What the doors use of the calls of grpc-js, whose own types fit these. Whoever carries gRPC in another way
 * (the simulator) supplies objects that behave the same.
 */
export interface DoorCall {
  readonly metadata: Pick<Metadata, 'get'>;
  /** Unix time, milliseconds; Infinity = none. */
  getDeadline(): Date | number;
  /** Who calls: the same for all calls of one connection. */
  getPeer(): string;
  /**
   * `cancelled`: the caller gave up, its connection is gone, or its deadline passed; it may also come at a
   * good end. One of the two comes when the call is over and its answer taken.
   */
  on(event: 'cancelled' | 'close', listener: () => void): unknown;
}

/**
 * Ends a call without waiting for its client to take what was written: that is dropped, and the client is
 * told RESOURCE_EXHAUSTED.
 */
export type CutOff = (call: DoorCall | BatchCall) => void;

export interface UnaryDoorCall<Request> extends DoorCall {
  readonly request: Request;
}

/** How a call fails: status, sentence, details. */
export type CallFailure = Pick<ServiceError, 'code' | 'details' | 'metadata'>;
export type UnaryCallback<Response> = (failure: CallFailure | null, response?: Response | null) => void;
export type UnaryDoor<Request, Response> = (
  call: UnaryDoorCall<Request>,
  callback: UnaryCallback<Response>,
) => void;

/**
 * A stream of answers. `onTaken`: the message has left for the client. An emitted `error` ends it with that
 * status.
 */
export interface StreamCall<Request, Message> extends UnaryDoorCall<Request> {
  write(message: Message, onTaken: () => void): unknown;
  end(): unknown;
  emit(event: 'error', failure: CallFailure): unknown;
}

export type PageCall<Request> = StreamCall<Request, ScanPage>;
export type ScanCall = PageCall<ScanRequest>;
export type WatchCall = StreamCall<WatchRequest, WatchMessage>;

/** Both directions; `data` comes once it is listened to, unless paused. `close` comes last, always. */
export interface BatchCall {
  getPeer(): string;
  /** `onTaken`: the message has left for the client, or never will. */
  write(response: BatchResponse, onTaken: () => void): boolean;
  end(): unknown;
  pause(): unknown;
  resume(): unknown;
  on(event: 'data', listener: (request: DecodedBatchRequest) => void): unknown;
  on(event: 'drain' | 'end' | 'cancelled' | 'error' | 'close', listener: () => void): unknown;
}
