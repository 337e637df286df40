import { constants, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';

import { type Clock, type Counter, LogBudget, type Logger, type Metrics, type Timer } from '@cairn/ports';

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
 * Streams of all connections of a host that the HTTP/2 library reset by itself for their headers (too many,
 * too long): nobody is told of them, so they are counted by their numbers. Clients that open more calls than
 * they may before they know how many have some, once.
 */
const REJECTED_STREAMS_MAX = 8_000;
/** How often connections are looked at for that, and what one must have sent since: less is no flood. */
const LOOK_INTERVAL_MS = 250;
const LOOK_BYTES_MIN = 64 * 1024;
/**
 * A limit that was announced holds from the moment that the other side has said so: clients do it at once.
 */
const ACKNOWLEDGE_TIMEOUT_MS = 10_000;
/** Headers of a call, gRPC's own included; the library resets a call that has more. */
const HEADER_LIST_BYTES_MAX = 32 * 1024;
/** After a flood nobody is taken in from that host for so long: otherwise it would begin again at once. */
const REFUSED_MS = 5_000;
/**
 * Unless others are there who call: one address may be that of many, behind a balancer or a gateway. Then one
 * connection is taken in per so long, so that a client that tries again gets in.
 */
const ADMIT_INTERVAL_MS = 250;
/** Hosts that are remembered for it; of more the first is forgotten. */
const REFUSED_HOSTS_MAX = 1_000;

/** For the HTTP/2 server; the library passes none of them by itself. */
export const FLOOD_OPTIONS = { streamResetBurst: STREAM_RESET_BURST, streamResetRate: STREAM_RESET_RATE };
export const FLOOD_SETTINGS = { maxHeaderListSize: HEADER_LIST_BYTES_MAX };

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
  /** Streams of its whole life that were told of. */
  told: number;
  /** Those that were not, and bytes, at the last look. */
  rejected: number;
  bytes: number;
  /** Of them, those before the window in which its host is counted. */
  rejectedBefore: number;
}

/** A host after a flood. */
interface Refused {
  readonly untilMs: number;
  /** When it is looked again whether one may be taken in all the same. */
  lookAgainMs: number;
}

export interface ControlFramesContext {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/**
 * HTTP/2 frames that carry no call cost their sender next to nothing and the router a turn through JavaScript
 * each. A connection has a budget of them; one that is above it ends, and its host is refused for some
 * seconds, or let in slowly when others there make calls.
 */
export class ControlFrames {
  readonly #clock: Clock;
  readonly #floods: Counter;
  readonly #lines: LogBudget;
  /** Open connections, by what the library calls their peer. */
  readonly #watched = new Map<string, Watched>();
  readonly #refused = new Map<string, Refused>();
  #looking: Timer | undefined;
  /** Streams of each host that were rejected since then. */
  readonly #rejected = new Map<string, number>();
  #rejectedSinceMs = 0;

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
    const watched: Watched = {
      ...{ session, host, counts, streams: 0, beganMs: this.#clock.nowMs() },
      ...{ told: 0, rejected: 0, rejectedBefore: 0, bytes: 0 },
    };
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
      this.#look();
      if (this.#watched.size > 0) this.#lookLater();
    });
  }

  #look(): void {
    const nowMs = this.#clock.nowMs();
    const isNew = nowMs - this.#rejectedSinceMs >= WINDOW_MS;
    if (isNew) {
      this.#rejected.clear();
      this.#rejectedSinceMs = nowMs;
    }
    let mostOfHost = 0;
    for (const watched of this.#watched.values()) {
      if (isNew) watched.rejectedBefore = watched.rejected;
      const more = moreRejected(watched);
      if (more <= 0) continue;
      watched.rejected += more;
      const ofHost = (this.#rejected.get(watched.host) ?? 0) + more;
      this.#rejected.set(watched.host, ofHost);
      mostOfHost = Math.max(mostOfHost, ofHost);
    }
    if (mostOfHost > REJECTED_STREAMS_MAX) this.#endRejected();
  }

  /** The connections of hosts that are above their budget, as far as they have a part in it. */
  #endRejected(): void {
    for (const watched of [...this.#watched.values()]) {
      const { host, session, rejected, rejectedBefore } = watched;
      const ofHost = this.#rejected.get(host) ?? 0;
      if (ofHost <= REJECTED_STREAMS_MAX || rejected === rejectedBefore || session.destroyed) continue;
      this.#end(watched, 'headers', rejected - rejectedBefore);
      session.destroy(undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM);
    }
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
    const refused = this.#refused.get(host);
    if (refused === undefined) return false;
    const nowMs = this.#clock.nowMs();
    if (nowMs >= refused.untilMs) {
      this.#refused.delete(host);
      return false;
    }
    if (nowMs < refused.lookAgainMs) return true;
    refused.lookAgainMs = nowMs + ADMIT_INTERVAL_MS;
    return !this.#hasCallers(host);
  }

  /** Whether connections of the host are open that have made calls. */
  #hasCallers(host: string): boolean {
    for (const watched of this.#watched.values()) {
      if (watched.host === host && watched.told > 0 && !watched.session.destroyed) return true;
    }
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

  #end({ host }: Watched, kind: Kind | 'answers' | 'headers', count: number): void {
    this.#tell(host, kind, count);
    this.#refuse(host, this.#clock.nowMs());
  }

  #tell(peer: string, kind: string, count: number): void {
    this.#floods.add(1, { kind });
    this.#lines.write({ peer, kind, count, withinMs: WINDOW_MS });
  }

  #refuse(host: string, nowMs: number): void {
    const [first] = this.#refused.keys();
    if (this.#refused.size >= REFUSED_HOSTS_MAX && first !== undefined) this.#refused.delete(first);
    this.#refused.delete(host);
    this.#refused.set(host, { untilMs: nowMs + REFUSED_MS, lookAgainMs: nowMs + ADMIT_INTERVAL_MS });
  }
}

/** Streams that were rejected since the last look; not looked for when little came, because it costs. */
function moreRejected(watched: Watched): number {
  const { session, told, rejected } = watched;
  if (session.destroyed) return 0;
  const bytes = session.socket.bytesRead;
  if (bytes - watched.bytes < LOOK_BYTES_MIN) return 0;
  watched.bytes = bytes;
  const { lastProcStreamID = 0 } = session.state;
  return Math.ceil(lastProcStreamID / 2) - told - rejected;
}
