import { assert } from '@cairn/base';
import { type Connection, type ConnectionHandlers, FRAME_BYTES_MAX, type Timer } from '@cairn/ports';
import type { SimProcess } from './sim-process.js';

/** What a frame filter may do to one frame. A delayed frame is overtaken by those sent after it. */
export type FrameAction = 'deliver' | 'drop' | 'duplicate' | { readonly delayMs: number };

/** What a connection needs from the network that carries it. */
export interface NetworkHost {
  readonly nowMs: number;
  readonly limits: ConnectionLimits;
  isBlocked(from: string, to: string): boolean;
  /** One-way travel time of a message of this size. */
  travelMs(from: string, to: string, bytes: number): number;
  actionFor(frame: Buffer, from: string, to: string): FrameAction;
  /** The frame as it travels: most often the same, sometimes with one bit flipped. */
  damaged(frame: Buffer, from: string, to: string): Buffer;
  /** Whether a process takes nothing of what another one sends. */
  isDeaf(to: string, from: string): boolean;
  /** Whether this message is where the connection breaks. */
  breaksNow(): boolean;
  /** Uniform integer in [0, bound). */
  draw(bound: number): number;
  schedule(delayMs: number, callback: () => void): Timer;
  forget(end: SimConnection): void;
}

export interface ConnectionLimits {
  /** Bytes that the operating system takes off our hands before they count as queued. */
  readonly kernelBytes: number;
  readonly highWaterBytes: number;
  readonly lowWaterBytes: number;
  /** Queued bytes above which the connection is closed. */
  readonly queuedBytesMax: number;
  /** An impaired connection with traffic breaks after this long. */
  readonly breakAfterMs: number;
}

/** Frames sent in the same instant; they arrive together. */
interface Batch {
  readonly frames: Buffer[];
  readonly sentAtMs: number;
  arriveAtMs: number;
  bytes: number;
  /** Set on the last batch: the sender closed or died. */
  readonly closing: Error | undefined;
}

type EndState = 'opening' | 'open' | 'closed';

/** One end of a simulated connection; its queue holds what is on the way to the other end. */
export class SimConnection implements Connection {
  readonly process: SimProcess;
  readonly remoteAddress: string;
  readonly remoteName: string;
  readonly #host: NetworkHost;
  #handlers: ConnectionHandlers | undefined;
  #peer: SimConnection | undefined;
  #state: EndState = 'opening';
  #queue: Batch[] = [];
  #undeliveredBytes = 0;
  #receivedBytes = 0;
  #isPaused = false;
  #frameBytesMax = FRAME_BYTES_MAX;
  #wasAboveHigh = false;
  #pump: Timer | undefined;
  #breaker: Timer | undefined;

  constructor(
    host: NetworkHost,
    process: SimProcess,
    remote: { readonly name: string; readonly address: string },
  ) {
    this.#host = host;
    this.process = process;
    this.remoteName = remote.name;
    this.remoteAddress = remote.address;
  }

  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  get isOpen(): boolean {
    return this.#state === 'open';
  }
  get queuedBytes(): number {
    return Math.max(0, this.#undeliveredBytes - this.#host.limits.kernelBytes);
  }

  setHandlers(handlers: ConnectionHandlers): void {
    this.#handlers = handlers;
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    const peer = this.#peer;
    if (peer !== undefined) peer.#schedulePump();
  }

  limitFrames(bytesMax: number): void {
    this.#frameBytesMax = bytesMax;
  }

  #takeFrame(frame: Buffer): void {
    this.#receivedBytes += frame.length;
    if (frame.length <= this.#frameBytesMax) this.#handlers?.onFrame(frame);
    else this.breakNow(`a frame of ${frame.length} bytes, of at most ${this.#frameBytesMax}`);
  }

  /** Nothing is taken by the other end: what is sent stays in the queue. */
  #isHeldBack(peer: SimConnection): boolean {
    return peer.#isPaused || this.#host.isDeaf(this.remoteName, this.process.name);
  }

  /** The two ends found each other; what was sent before starts to travel now. */
  static join(left: SimConnection, right: SimConnection): void {
    left.#peer = right;
    right.#peer = left;
    left.#state = 'open';
    right.#state = 'open';
    left.#schedulePump();
  }

  send(parts: readonly Uint8Array[]): boolean {
    if (this.#state === 'closed') return false;
    // A copy: the receiver owns what it gets, the sender keeps what it gave.
    const intact = Buffer.concat(parts);
    assert(intact.length <= FRAME_BYTES_MAX, 'frame too long', { bytes: intact.length });
    const action = this.#host.actionFor(intact, this.process.name, this.remoteName);
    const frame = this.#host.damaged(intact, this.process.name, this.remoteName);
    if (action === 'deliver') this.#enqueue(frame);
    else if (action === 'duplicate') {
      this.#enqueue(frame);
      this.#enqueue(Buffer.from(frame));
    } else if (action !== 'drop') {
      this.#host.schedule(action.delayMs, () => {
        if (this.#state !== 'closed') this.#enqueue(frame);
      });
    }
    if (this.queuedBytes > this.#host.limits.queuedBytesMax) {
      this.breakNow('the queue of unsent bytes is over its limit');
      return false;
    }
    const isBelow = this.queuedBytes <= this.#host.limits.highWaterBytes;
    if (!isBelow) this.#wasAboveHigh = true;
    return isBelow;
  }

  #enqueue(frame: Buffer): void {
    const nowMs = this.#host.nowMs;
    this.#undeliveredBytes += frame.length;
    const last = this.#queue.at(-1);
    if (last?.sentAtMs === nowMs && last.closing === undefined) {
      last.frames.push(frame);
      last.bytes += frame.length;
      return;
    }
    this.#pushBatch([frame], frame.length, undefined);
    if (this.#host.breaksNow()) {
      this.#host.schedule(0, () => {
        this.breakNow('the connection was reset');
      });
    }
  }

  #pushBatch(frames: Buffer[], bytes: number, closing: Error | undefined): void {
    const nowMs = this.#host.nowMs;
    const travelMs = this.#host.travelMs(this.process.name, this.remoteName, bytes);
    const before = this.#queue.at(-1)?.arriveAtMs ?? 0;
    this.#queue.push({
      frames,
      bytes,
      closing,
      sentAtMs: nowMs,
      arriveAtMs: Math.max(before, nowMs + travelMs),
    });
    this.#schedulePump();
  }

  /** Also called by the network when a fault begins or ends. */
  refresh(): void {
    if (this.#isImpaired()) {
      this.#armBreaker();
      return;
    }
    this.#breaker?.cancel();
    this.#breaker = undefined;
    this.#schedulePump();
    // An end that is gone is not told any more, but its last words still have to travel.
    const peer = this.#peer;
    if (peer !== undefined && peer.#state === 'closed') peer.#schedulePump();
  }

  #isImpaired(): boolean {
    const here = this.process.name;
    return this.#host.isBlocked(here, this.remoteName) || this.#host.isBlocked(this.remoteName, here);
  }

  /**
   * Without traffic nobody notices that a path is gone; with traffic, missing acknowledgements break it in
   * time.
   */
  #armBreaker(): void {
    const peer = this.#peer;
    const hasTraffic = this.#queue.length > 0 || (peer !== undefined && peer.#queue.length > 0);
    if (this.#breaker !== undefined || !hasTraffic || this.#state === 'closed') return;
    this.#breaker = this.#host.schedule(this.#host.limits.breakAfterMs, () => {
      this.#breaker = undefined;
      if (this.#isImpaired()) this.#endWith(new Error('the connection timed out'));
    });
  }

  #schedulePump(): void {
    const head = this.#queue[0];
    const peer = this.#peer;
    if (head === undefined || peer === undefined || this.#pump !== undefined || this.#isHeldBack(peer))
      return;
    if (this.#isImpaired()) this.#armBreaker();
    if (this.#host.isBlocked(this.process.name, this.remoteName)) return;
    // Runs in the receiver's process: a paused receiver lets the queue grow, a dead one never takes anything.
    this.#pump = peer.process.schedule(Math.max(0, head.arriveAtMs - this.#host.nowMs), () => {
      this.#pump = undefined;
      this.#deliver(peer);
    });
  }

  #deliver(peer: SimConnection): void {
    while (!this.#host.isBlocked(this.process.name, this.remoteName) && !this.#isHeldBack(peer)) {
      const head = this.#queue[0];
      if (head === undefined || head.arriveAtMs > this.#host.nowMs) break;
      this.#queue.shift();
      this.#undeliveredBytes -= head.bytes;
      for (const frame of head.frames) {
        if (peer.#state === 'closed') break;
        peer.#takeFrame(frame);
      }
      // The other end gave up alone, without a word: its machine answers what comes for it with a reset.
      if (peer.#state === 'closed' && peer.#queue.length === 0) {
        this.#endWith(new Error('the connection was reset'));
      }
      if (head.closing !== undefined) peer.#endWith(head.closing);
    }
    if (this.#wasAboveHigh && this.#state === 'open' && this.queuedBytes < this.#host.limits.lowWaterBytes) {
      this.#wasAboveHigh = false;
      this.process.schedule(0, () => {
        if (this.#state === 'open') this.#handlers?.onDrain?.();
      });
    }
    this.#schedulePump();
  }

  close(): void {
    if (this.#state === 'closed') return;
    this.#leave(new Error('the other side closed the connection'), 0);
    this.process.schedule(0, () => {
      this.#handlers?.onClose(undefined);
    });
  }

  /** The process of this end died. The other end hears of it `noticeMs` later. */
  die(noticeMs: number): void {
    if (this.#state === 'closed') return;
    this.#leave(new Error('the other process ended'), noticeMs);
  }

  /**
   * This end sees the connection break now; the other one only `noticeMs` later, and sends into the void
   * until then.
   */
  breakAlone(noticeMs: number): void {
    if (this.#state === 'closed') return;
    this.#leave(new Error('the connection was reset'), noticeMs);
    this.process.schedule(0, () => {
      this.#handlers?.onClose(new Error('the connection was reset'));
    });
  }

  /** An unknown part of what is on the way still arrives, then the peer sees the end. */
  #leave(reason: Error, noticeMs: number): void {
    this.#state = 'closed';
    this.#breaker?.cancel();
    this.#host.forget(this);
    const kept = this.#host.draw(this.#queue.length + 1);
    this.#queue.length = kept;
    if (this.#peer === undefined) return;
    this.#pushBatch([], 0, reason);
    const last = this.#queue.at(-1);
    if (last !== undefined) last.arriveAtMs += noticeMs;
  }

  /** Both ends see an error; what is on the way is lost. */
  breakNow(reason: string): void {
    const peer = this.#peer;
    this.#endWith(new Error(reason));
    if (peer !== undefined) peer.#endWith(new Error(reason));
  }

  /** This end is over, for a reason that is not its own. */
  #endWith(reason: Error): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#queue.length = 0;
    this.#undeliveredBytes = 0;
    this.#pump?.cancel();
    this.#pump = undefined;
    this.#breaker?.cancel();
    this.#host.forget(this);
    this.process.schedule(0, () => {
      this.#handlers?.onClose(reason);
    });
  }

  /** The connection never came to be. */
  fail(reason: string): void {
    this.#endWith(new Error(reason));
  }
}
