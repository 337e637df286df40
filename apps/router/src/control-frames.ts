import { constants, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';

import type { Clock, Counter, Logger, Metrics } from '@cairn/ports';
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
/** After a flood nobody is taken in from that host for so long: otherwise it would begin again at once. */
const REFUSED_MS = 5_000;
/** Hosts that are remembered for it; of more the first is forgotten. */
const REFUSED_HOSTS_MAX = 1_000;

/** For the HTTP/2 server; the library passes none of them by itself. */
export const FLOOD_OPTIONS = { streamResetBurst: STREAM_RESET_BURST, streamResetRate: STREAM_RESET_RATE };

/**
 * Of the HTTP/2 library below Node: a thousand answers to such frames wait, and the other side takes none.
 */
const NGHTTP2_ERR_FLOODED = -904;

type Kind = 'settings' | 'pings' | 'resets';

const LIMITS: Readonly<Record<Kind, number>> = {
  settings: SETTINGS_MAX,
  pings: PINGS_MAX,
  resets: EARLY_RESETS_MAX,
};

interface Watched {
  readonly session: ServerHttp2Session;
  readonly host: string;
  readonly counts: Record<Kind, number>;
  streams: number;
  beganMs: number;
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
    const counts = { settings: 0, pings: 0, resets: 0 };
    const watched: Watched = { session, host, counts, streams: 0, beganMs: this.#clock.nowMs() };
    this.#watched.set(peer, watched);
    session.once('close', () => {
      if (this.#watched.get(peer) === watched) this.#watched.delete(peer);
    });
    session.on('remoteSettings', () => {
      this.#count(watched, 'settings');
    });
    session.on('ping', () => {
      this.#count(watched, 'pings');
    });
    session.on('stream', (stream: Partial<ServerHttp2Stream>) => {
      watched.streams += 1;
      // Taken back already, in the same piece of what came: nobody can tell any more whose it was.
      if (stream.session === undefined) this.#countReset(watched);
    });
    session.once('error', (error: Error & { readonly errno?: number }) => {
      if (error.errno === NGHTTP2_ERR_FLOODED) this.#end(watched, 'answers', 1);
    });
  }

  /** A call was taken back before its message was read. `peer`: as the library calls its connection. */
  resetEarly(peer: string): void {
    const watched = this.#watched.get(peer);
    if (watched !== undefined) this.#countReset(watched);
  }

  /** Few of many calls are no attack; whoever makes one does little else. */
  #countReset(watched: Watched): void {
    this.#count(watched, 'resets', (watched.counts.resets + 1) * 2 > watched.streams);
  }

  isRefused(host: string): boolean {
    const untilMs = this.#refusedUntilMs.get(host);
    if (untilMs === undefined) return false;
    if (this.#clock.nowMs() < untilMs) return true;
    this.#refusedUntilMs.delete(host);
    return false;
  }

  #count(watched: Watched, kind: Kind, mayEnd = true): void {
    const nowMs = this.#clock.nowMs();
    const { counts, session } = watched;
    if (nowMs - watched.beganMs >= WINDOW_MS) {
      watched.beganMs = nowMs;
      watched.streams = 0;
      counts.settings = counts.pings = counts.resets = 0;
    }
    counts[kind] += 1;
    if (counts[kind] > LIMITS[kind] && mayEnd && !session.destroyed) {
      this.#end(watched, kind, counts[kind]);
      session.destroy(undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM);
    }
  }

  #end({ host }: Watched, kind: Kind | 'answers', count: number): void {
    this.#floods.add(1, { kind });
    this.#lines.write({ peer: host, kind, count, withinMs: WINDOW_MS });
    this.#refuse(host, this.#clock.nowMs());
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
