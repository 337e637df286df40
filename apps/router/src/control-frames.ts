import { constants, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';

import type { Clock, Counter, Logger, Metrics, Timer } from '@cairn/ports';
import { LogBudget } from '@cairn/wire';

/** Over which a connection's frames are counted. */
const WINDOW_MS = 10_000;
/** Clients say their settings once, and some again when they change their windows. */
const SETTINGS_MAX = 64;
/**
 * Clients ask every 10 s whether anybody is there. Some also measure the bandwidth by pings: one per round
 * trip while data comes, thousands in a second where the network is quick.
 */
const PINGS_MAX = 50_000;
/**
 * Calls whose caller took them back before their message was read. An application that gives up waits longer.
 */
const EARLY_RESETS_MAX = 200;
/** Streams of a connection that end by a reset, at once and per second; Node closes it above. */
const STREAM_RESET_BURST = 2_000;
const STREAM_RESET_RATE = 200;
/**
 * Streams of a connection that the HTTP/2 library reset by itself for their headers (too many, too long):
 * nobody is told of them, so they are counted by their numbers. One that opens more calls than it may before
 * it knows how many has some, once.
 */
const REJECTED_HEADERS_MAX = 2_000;
/** How often connections are looked at for that, and what one must have sent since: less is no flood. */
const LOOK_INTERVAL_MS = 250;
const LOOK_BYTES_MIN = 64 * 1024;
/** A limit that was announced holds from the moment that the other side has said so: clients do it at once. */
const ACKNOWLEDGE_TIMEOUT_MS = 10_000;
/** Headers of a call, gRPC's own included; the library resets a call that has more. */
const HEADER_LIST_BYTES_MAX = 32 * 1024;
/** After a flood nobody is taken in from that host for so long: otherwise it would begin again at once. */
const REFUSED_MS = 5_000;
/** Hosts that are remembered for it; of more the first is forgotten. */
const REFUSED_HOSTS_MAX = 1_000;

/** For the HTTP/2 server; the library passes none of them by itself. */
export const FLOOD_OPTIONS = { streamResetBurst: STREAM_RESET_BURST, streamResetRate: STREAM_RESET_RATE };
export const FLOOD_SETTINGS = { maxHeaderListSize: HEADER_LIST_BYTES_MAX };

/**
 * Of the HTTP/2 library below Node: a thousand answers to such frames wait, and the other side takes none.
 */
const NGHTTP2_ERR_FLOODED = -904;

type Kind = 'settings' | 'pings' | 'resets' | 'headers';

const LIMITS: Readonly<Record<Kind, number>> = {
  settings: SETTINGS_MAX,
  pings: PINGS_MAX,
  resets: EARLY_RESETS_MAX,
  headers: REJECTED_HEADERS_MAX,
};

interface Watched {
  readonly session: ServerHttp2Session;
  readonly host: string;
  readonly counts: Record<Kind, number>;
  streams: number;
  beganMs: number;
  /** Of its whole life: streams that were told of, those that were not, and bytes at the last look. */
  told: number;
  rejected: number;
  bytes: number;
}

export interface ControlFramesContext {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/**
 * HTTP/2 frames that carry no call cost their sender next to nothing and the router a turn through JavaScript
 * each. A connection has a budget of them; one that is above it ends, and its host is refused for some
 * seconds.
 */
export class ControlFrames {
  readonly #clock: Clock;
  readonly #floods: Counter;
  readonly #lines: LogBudget;
  /** Open connections, by what the library calls their peer. */
  readonly #watched = new Map<string, Watched>();
  /** Until when a host is refused. */
  readonly #refusedUntilMs = new Map<string, number>();
  #looking: Timer | undefined;

  constructor(context: ControlFramesContext) {
    this.#clock = context.clock;
    this.#floods = context.metrics.counter(
      'cairn_router_control_floods_total',
      'Client connections that were closed for more HTTP/2 frames without a call than clients send, by kind',
      ['kind'],
    );
    this.#lines = new LogBudget({ ...context, event: 'client connection closed for a flood of frames' });
  }

  watch(session: ServerHttp2Session): void {
    const { remoteAddress, remotePort } = session.socket;
    const host = remoteAddress ?? '';
    const peer = `${host}:${remotePort ?? 0}`;
    const counts = { settings: 0, pings: 0, resets: 0, headers: 0 };
    const beganMs = this.#clock.nowMs();
    const watched: Watched = { session, host, counts, streams: 0, beganMs, told: 0, rejected: 0, bytes: 0 };
    this.#watched.set(peer, watched);
    const acknowledged = this.#clock.setTimer(ACKNOWLEDGE_TIMEOUT_MS, () => {
      if (session.destroyed) return;
      this.#tell(host, 'not-acknowledged', 1);
      session.destroy(undefined, constants.NGHTTP2_SETTINGS_TIMEOUT);
    });
    session.once('localSettings', () => {
      acknowledged.cancel();
    });
    session.once('close', () => {
      acknowledged.cancel();
      if (this.#watched.get(peer) === watched) this.#watched.delete(peer);
    });
    this.#lookLater();
    session.on('remoteSettings', () => {
      this.#count(watched, 'settings');
    });
    session.on('ping', () => {
      this.#count(watched, 'pings');
    });
    session.on('stream', (stream: Partial<ServerHttp2Stream>) => {
      watched.streams += 1;
      watched.told += 1;
      // Taken back already, in the same piece of what came: nobody can tell any more whose it was.
      if (stream.session === undefined) this.#countReset(watched);
    });
    session.once('error', (error: Error & { readonly errno?: number }) => {
      if (error.errno === NGHTTP2_ERR_FLOODED) this.#end(watched, 'answers', 1);
    });
  }

  #lookLater(): void {
    if (this.#looking !== undefined) return;
    this.#looking = this.#clock.setTimer(LOOK_INTERVAL_MS, () => {
      this.#looking = undefined;
      for (const watched of this.#watched.values()) this.#look(watched);
      if (this.#watched.size > 0) this.#lookLater();
    });
  }

  #look(watched: Watched): void {
    const { session } = watched;
    if (session.destroyed) return;
    const bytes = session.socket.bytesRead;
    if (bytes - watched.bytes < LOOK_BYTES_MIN) return;
    watched.bytes = bytes;
    const { lastProcStreamID = 0 } = session.state;
    const rejected = Math.ceil(lastProcStreamID / 2) - watched.told;
    const more = rejected - watched.rejected;
    if (more <= 0) return;
    watched.rejected = rejected;
    this.#count(watched, 'headers', { by: more });
  }

  /** A call was taken back before its message was read. `peer`: as the library calls its connection. */
  resetEarly(peer: string): void {
    const watched = this.#watched.get(peer);
    if (watched !== undefined) this.#countReset(watched);
  }

  /** Few of many calls are no attack; whoever makes one does little else. */
  #countReset(watched: Watched): void {
    this.#count(watched, 'resets', { mayEnd: (watched.counts.resets + 1) * 2 > watched.streams });
  }

  isRefused(host: string): boolean {
    const untilMs = this.#refusedUntilMs.get(host);
    if (untilMs === undefined) return false;
    if (this.#clock.nowMs() < untilMs) return true;
    this.#refusedUntilMs.delete(host);
    return false;
  }

  #count(watched: Watched, kind: Kind, { by = 1, mayEnd = true } = {}): void {
    const nowMs = this.#clock.nowMs();
    const { counts, session } = watched;
    if (nowMs - watched.beganMs >= WINDOW_MS) {
      watched.beganMs = nowMs;
      watched.streams = 0;
      counts.settings = counts.pings = counts.resets = counts.headers = 0;
    }
    counts[kind] += by;
    if (counts[kind] > LIMITS[kind] && mayEnd && !session.destroyed) {
      this.#end(watched, kind, counts[kind]);
      session.destroy(undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM);
    }
  }

  #end({ host }: Watched, kind: Kind | 'answers', count: number): void {
    this.#tell(host, kind, count);
    this.#refuse(host, this.#clock.nowMs());
  }

  #tell(peer: string, kind: string, count: number): void {
    this.#floods.add(1, { kind });
    this.#lines.write({ peer, kind, count, withinMs: WINDOW_MS });
  }

  #refuse(host: string, nowMs: number): void {
    const [first] = this.#refusedUntilMs.keys();
    if (this.#refusedUntilMs.size >= REFUSED_HOSTS_MAX && first !== undefined) {
      this.#refusedUntilMs.delete(first);
    }
    this.#refusedUntilMs.delete(host);
    this.#refusedUntilMs.set(host, nowMs + REFUSED_MS);
  }
}
