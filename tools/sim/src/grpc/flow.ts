import { encodeCredit, GrpcFrame, type StreamWire } from './frames.js';

/** Messages a writer may queue before it is told to wait, as in the object streams of grpc-js. */
const QUEUED_MESSAGES_MAX = 16;

/** The sending half of one direction of a call: messages leave while there is credit. */
export class MessageSender {
  readonly #wire: StreamWire;
  readonly #onDrain: () => void;
  #queue: { readonly message: Uint8Array; readonly onSent: (() => void) | undefined }[] = [];
  /** May go below zero by one message; while messages are queued it is not above. */
  #credit: number;
  #isDrainOwed = false;
  #finish: (() => void) | undefined;

  /** `onDrain` is never called from inside `write`. */
  constructor(wire: StreamWire, windowBytes: number, onDrain: () => void) {
    this.#wire = wire;
    this.#credit = windowBytes;
    this.#onDrain = onDrain;
  }

  /** False: taken, but wait for `onDrain` before the next. `onSent` is called when the message has left. */
  write(message: Uint8Array, onSent?: () => void): boolean {
    this.#queue.push({ message, onSent });
    this.#pump();
    if (this.#queue.length < QUEUED_MESSAGES_MAX) return true;
    this.#isDrainOwed = true;
    return false;
  }

  grant(bytes: number): void {
    this.#credit += bytes;
    this.#pump();
    if (this.#queue.length > 0 || !this.#isDrainOwed) return;
    this.#isDrainOwed = false;
    this.#onDrain();
  }

  /** Calls `finish` once everything written so far has left. */
  end(finish: () => void): void {
    this.#finish = finish;
    this.#pump();
  }

  #pump(): void {
    let sent = 0;
    for (const { message } of this.#queue) {
      if (this.#credit <= 0) break;
      this.#credit -= message.length;
      this.#wire.send(GrpcFrame.message, message);
      sent += 1;
    }
    for (const { onSent } of this.#queue.splice(0, sent)) onSent?.();
    if (this.#queue.length > 0 || this.#finish === undefined) return;
    const finish = this.#finish;
    this.#finish = undefined;
    finish();
  }
}

/** The receiving half: keeps what arrived until it is taken, and gives credit for what was taken. */
export class MessageReceiver {
  readonly #wire: StreamWire;
  readonly #windowBytes: number;
  readonly #queue: Buffer[] = [];
  #owedBytes = 0;

  constructor(wire: StreamWire, windowBytes: number) {
    this.#wire = wire;
    this.#windowBytes = windowBytes;
  }

  get isEmpty(): boolean {
    return this.#queue.length === 0;
  }

  push(message: Buffer): void {
    this.#queue.push(message);
  }

  take(): Buffer | undefined {
    const message = this.#queue.shift();
    if (message === undefined) return undefined;
    this.#owedBytes += message.length;
    if (this.#owedBytes >= this.#windowBytes / 2) {
      this.#wire.send(GrpcFrame.credit, encodeCredit(this.#owedBytes));
      this.#owedBytes = 0;
    }
    return message;
  }
}
