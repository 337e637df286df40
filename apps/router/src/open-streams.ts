import { constants, type ServerHttp2Stream } from 'node:http2';

import { Holder, SharedRoom } from '@cairn/base';
import type { Clock, Metrics } from '@cairn/ports';
import { status, type ServerInterceptingCallInterface } from '@grpc/grpc-js';

/**
 * Of all streams that are open, what they bring aside: some 15,000 calls with the headers that clients send.
 */
const STREAM_BYTES_MAX = 128 * 1024 * 1024;
/** What an open stream takes here, its headers aside: measured. */
const STREAM_BYTES = 8 * 1024;
/** Headers are kept as text, by name and once more as they came. */
const HEADER_BYTES_FACTOR = 2;
/**
 * The first streams of a connection, up to this, are never ended for others: clients keep one open for days.
 * Those of all connections together leave room in the bound.
 */
const KEPT_BYTES = 3 * (STREAM_BYTES + 1024);
const TOO_MANY = 'too many calls are open at this router';

/** What the library's innermost call of the server keeps to itself. */
interface CallOverHttp2 {
  readonly stream: ServerHttp2Stream;
}

/** Ends a call with a status, and its stream with it, also when the other side would keep it open. */
export function refuseCall(call: ServerInterceptingCallInterface, details: string): void {
  call.sendStatus({ code: status.RESOURCE_EXHAUSTED, details });
  (call as unknown as CallOverHttp2).stream.close(constants.NGHTTP2_NO_ERROR);
}

/** A stream that is open, for whatever it is. */
export class OpenStream extends Holder {
  readonly caller: string;
  readonly #room: SharedRoom;
  readonly #stream: ServerHttp2Stream;
  /** By this server, not by its client. */
  isCut = false;

  constructor(room: SharedRoom, caller: string, stream: ServerHttp2Stream) {
    super();
    this.#room = room;
    this.caller = caller;
    this.#stream = stream;
  }

  /** Something came on it. */
  heard(nowMs: number): void {
    this.heldSinceMs = nowMs;
  }

  /** gRPC clients read this code as RESOURCE_EXHAUSTED. */
  cutOff(): void {
    this.isCut = true;
    this.#room.release(this);
    this.#stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
  }
}

/**
 * Bounds the streams of all connections together. A call that is open costs kilobytes before anything is
 * asked for, and nothing ends one that says nothing: a connection may have a thousand, and a host thousands
 * of connections. Connections have the shares of `FairShare`; when there is no room, the calls of the
 * connection end that has had most for longest without a word; the first few of a connection stay.
 */
export class OpenStreams {
  readonly #room: SharedRoom;

  /** `bytesMax`: for tests. */
  constructor(clock: Pick<Clock, 'nowMs'>, metrics: Metrics, bytesMax = STREAM_BYTES_MAX) {
    const bounds = { name: 'open calls', limit: bytesMax, sparedBytes: KEPT_BYTES };
    this.#room = new SharedRoom(bounds, () => clock.nowMs());
    const open = metrics.gauge('cairn_router_open_calls', 'gRPC calls that are open, streams among them');
    const held = metrics.gauge('cairn_router_open_call_bytes', 'What open calls take, their messages aside');
    const ended = metrics.counter(
      'cairn_router_open_calls_ended_total',
      'Calls ended because they said nothing while others found no room',
    );
    let counted = 0;
    metrics.onCollect(() => {
      open.set(this.#room.count);
      held.set(this.#room.used);
      ended.add(this.#room.ended - counted);
      counted = this.#room.ended;
    });
  }

  /**
   * Room for a call with so many bytes of headers, until its stream has closed; undefined when there is none,
   * and it was refused.
   */
  open(peer: string, call: ServerInterceptingCallInterface, headerBytes: number): OpenStream | undefined {
    const { stream } = call as unknown as CallOverHttp2;
    const opened = new OpenStream(this.#room, peer, stream);
    if (!this.#room.tryTake(opened, STREAM_BYTES + headerBytes * HEADER_BYTES_FACTOR)) {
      refuseCall(call, TOO_MANY);
      return undefined;
    }
    stream.once('close', () => {
      this.#room.release(opened);
    });
    return opened;
  }
}
