import { EventEmitter } from 'node:events';

import type { Clock, Timer } from '@cairn/ports';
import type { CallFailure, CutOff } from '@cairn/router-node';
import { completedFailure, notDecoded, STATUS_DETAILS_KEY, toServiceError } from '@cairn/wire';

import { MessageReceiver, MessageSender } from './flow.js';
import { encodeStatus, GrpcFrame, STATUS_OK, type GrpcStatus, type StreamWire } from './frames.js';

const DEADLINE_EXCEEDED = 4;
const RESOURCE_EXHAUSTED = 8;

export interface ServerCallParts<Request, Response> {
  readonly wire: StreamWire;
  readonly clock: Clock;
  readonly windowBytes: number;
  /** 0 = none. */
  readonly timeoutMs: number;
  readonly isWrite: boolean;
  /** The connection that it came over. */
  readonly peer: string;
  readonly codec: {
    readonly requestDeserialize: (bytes: Buffer) => Request;
    readonly responseSerialize: (response: Response) => Uint8Array;
  };
  /** The call is over on this side. */
  onOver(): void;
}

export function statusOf(failure: CallFailure): GrpcStatus {
  const packed = failure.metadata.get(STATUS_DETAILS_KEY)[0];
  return {
    code: failure.code,
    message: failure.details,
    details: typeof packed === 'string' || packed === undefined ? Buffer.alloc(0) : packed,
  };
}

/** The request, unless it cannot be decoded: then `refuse` is told why. */
export function decoded<Request, Response>(
  parts: Pick<ServerCallParts<Request, Response>, 'codec'>,
  bytes: Buffer,
  refuse: (failure: CallFailure) => void,
): Request | undefined {
  try {
    return parts.codec.requestDeserialize(bytes);
  } catch (error) {
    refuse(toServiceError(notDecoded(error)));
    return undefined;
  }
}

/**
 * The server's side of one call, with the events that the doors know from grpc-js: `data` and `end` for what
 * the client sends, `drain`, `cancelled` when the client, its connection or the deadline ends the call, and
 * `close` last. Emitting `error` ends it with that status.
 */
export class ServerCall<Request, Response> extends EventEmitter {
  readonly metadata = { get: (): never[] => [] };
  readonly #parts: ServerCallParts<Request, Response>;
  readonly #sender: MessageSender;
  readonly #receiver: MessageReceiver;
  readonly #deadlineUnixMs: number;
  #deadline: Timer | undefined;
  #isPaused = false;
  #isFlowDue = false;
  #hasClientEnded = false;
  #isEnding = false;
  #isOver = false;

  constructor(parts: ServerCallParts<Request, Response>) {
    super();
    this.#parts = parts;
    const { wire, clock, windowBytes, timeoutMs } = parts;
    this.#sender = new MessageSender(wire, windowBytes, () => this.emit('drain'));
    this.#receiver = new MessageReceiver(wire, windowBytes);
    this.#deadlineUnixMs = timeoutMs === 0 ? Number.POSITIVE_INFINITY : clock.unixMs() + timeoutMs;
    if (timeoutMs > 0) {
      this.#deadline = clock.setTimer(timeoutMs, () => {
        this.#expire(timeoutMs);
      });
    }
    this.on('error', (failure: CallFailure) => {
      this.#finish(statusOf(failure));
    });
  }

  getDeadline(): number {
    return this.#deadlineUnixMs;
  }

  getPeer(): string {
    return this.#parts.peer;
  }

  /** `onTaken`: the response has left. */
  write(response: Response, onTaken?: () => void): boolean {
    if (this.#isEnding) return true;
    return this.#sender.write(this.#parts.codec.responseSerialize(response), onTaken);
  }

  end(): void {
    this.#finish(STATUS_OK);
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#flowSoon();
  }

  onMessage(bytes: Buffer): void {
    this.#receiver.push(bytes);
    this.#flow();
  }

  onClientEnd(): void {
    this.#hasClientEnded = true;
    this.#flow();
  }

  onCredit(bytes: number): void {
    this.#sender.grant(bytes);
  }

  /** The client cancelled, or the connection is gone. */
  cancel(): void {
    if (this.#isOver) return;
    this.emit('cancelled');
    this.#over();
  }

  /** Ends it without waiting for the client to take what was written. */
  cutOff(): void {
    if (this.#isOver) return;
    this.#refuse(completedFailure(RESOURCE_EXHAUSTED, 'the client takes nothing', this.#parts.isWrite));
  }

  #expire(timeoutMs: number): void {
    if (this.#isOver) return;
    const said = `the call took longer than ${timeoutMs} ms`;
    this.#refuse(completedFailure(DEADLINE_EXCEEDED, said, this.#parts.isWrite));
  }

  #flowSoon(): void {
    if (this.#isFlowDue) return;
    this.#isFlowDue = true;
    this.#parts.clock.defer(() => {
      this.#isFlowDue = false;
      this.#flow();
    });
  }

  #flow(): void {
    while (!this.#isPaused && !this.#isOver) {
      const bytes = this.#receiver.take();
      if (bytes === undefined) {
        if (!this.#hasClientEnded) return;
        this.#hasClientEnded = false;
        this.emit('end');
        return;
      }
      const request = decoded(this.#parts, bytes, (failure) => {
        this.#refuse(failure);
      });
      if (request !== undefined) this.emit('data', request);
    }
  }

  /** What was sent cannot be decoded: the call ends, and its handler sees that it was given up. */
  #refuse(failure: CallFailure): void {
    this.#parts.wire.send(GrpcFrame.status, encodeStatus(statusOf(failure)));
    this.cancel();
  }

  #finish(status: GrpcStatus): void {
    if (this.#isEnding || this.#isOver) return;
    this.#isEnding = true;
    this.#sender.end(() => {
      if (this.#isOver) return;
      this.#parts.wire.send(GrpcFrame.status, encodeStatus(status));
      this.#over();
    });
  }

  #over(): void {
    this.#isOver = true;
    this.#deadline?.cancel();
    this.#parts.onOver();
    this.#parts.clock.defer(() => this.emit('close'));
  }
}

/** A call whose one request has come. */
export class RequestCall<Request, Response> extends ServerCall<Request, Response> {
  readonly request: Request;

  constructor(parts: ServerCallParts<Request, Response>, request: Request) {
    super(parts);
    this.request = request;
  }

  /** Answers a unary call. */
  answer(failure: CallFailure | null, response: Response | null | undefined): void {
    if (failure !== null) this.emit('error', failure);
    else if (response !== null && response !== undefined) {
      this.write(response);
      this.end();
    }
  }
}

export const cutOff: CutOff = (call) => {
  (call as unknown as ServerCall<unknown, unknown>).cutOff();
};
