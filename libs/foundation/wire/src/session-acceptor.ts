import { messageOf } from '@cairn/base';
import {
  type Clock,
  type Connection,
  type Counter,
  LogBudget,
  type Logger,
  type Metrics,
  type Transport,
} from '@cairn/ports';

import { hostOf } from './host-of.js';
import {
  acceptSession,
  BAD_FRAME_EVENT,
  REFUSED_EVENT,
  type AcceptSessionOptions,
  type SessionWatcher,
} from './session.js';
import type { Session } from './session-types.js';

export interface AcceptLimits {
  /** Connections that were accepted and are open, in all. Default 4,096. */
  readonly connectionsMax: number;
  /** So many of them may come from one host. Default 1,024. */
  readonly connectionsPerHostMax: number;
  /** So many of them may not have shaken hands yet … Default 512. */
  readonly unshakenMax: number;
  /** … and so many of these may come from one host. Default 256. */
  readonly unshakenPerHostMax: number;
}

export const DEFAULT_ACCEPT_LIMITS: AcceptLimits = {
  connectionsMax: 4_096,
  connectionsPerHostMax: 1_024,
  unshakenMax: 512,
  unshakenPerHostMax: 256,
};

/** What one host has of the places. */
interface HostCounts {
  readonly open: number;
  readonly unshaken: number;
}

export interface SessionAcceptorOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly limits?: Partial<AcceptLimits>;
  /** The transport that the connections come in by. */
  readonly transport?: Pick<Transport, 'connectionsMax'>;
}

/** The bounds below which no cluster works: a node has some sessions to every other one. */
const ACCEPT_LIMITS_MIN: AcceptLimits = {
  connectionsMax: 32,
  connectionsPerHostMax: 32,
  unshakenMax: 16,
  unshakenPerHostMax: 8,
};

/**
 * The default bounds, or the same parts of fewer connections: when all files that may be open were
 * connections, none would be left for the storage engine, and the node would end.
 */
export function acceptLimitsFor(connectionsMax = Infinity): AcceptLimits {
  const part = Math.min(1, connectionsMax / DEFAULT_ACCEPT_LIMITS.connectionsMax);
  const bound = (name: keyof AcceptLimits): number =>
    Math.max(ACCEPT_LIMITS_MIN[name], Math.floor(DEFAULT_ACCEPT_LIMITS[name] * part));
  return {
    connectionsMax: bound('connectionsMax'),
    connectionsPerHostMax: bound('connectionsPerHostMax'),
    unshakenMax: bound('unshakenMax'),
    unshakenPerHostMax: bound('unshakenPerHostMax'),
  };
}

/**
 * Takes in the connections of one listener: counts them, bounds them, shakes hands. What is over a bound is
 * closed at once. Nobody can hold places by silence: a connection without a handshake is closed in seconds,
 * and one host has only a part of the places for them.
 */
export class SessionAcceptor {
  readonly #options: SessionAcceptorOptions;
  readonly #limits: AcceptLimits;
  readonly #sessions = new Set<Session>();
  /** By host; only of those that have connections. */
  readonly #hosts = new Map<string, HostCounts>();
  #unshaken = 0;
  readonly #refused: Counter;
  readonly #neverShaken: Counter;
  readonly #badFrames: Counter;
  readonly #pauses: Counter;
  readonly #refusals: LogBudget;
  readonly #silences: LogBudget;
  readonly #badFrameLines: LogBudget;
  readonly #refusedLines: LogBudget;

  constructor(options: SessionAcceptorOptions) {
    this.#options = options;
    this.#limits = { ...acceptLimitsFor(options.transport?.connectionsMax), ...options.limits };
    const { clock, logger, metrics } = options;
    const { connectionsMax } = this.#limits;
    if (connectionsMax < DEFAULT_ACCEPT_LIMITS.connectionsMax && options.limits === undefined) {
      logger.warn('few files may be open (ulimit -n), so few connections are taken', { connectionsMax });
    }
    this.#refused = metrics.counter(
      'cairn_connections_refused_total',
      'Connections between nodes closed because too many are open or their hello was refused',
      ['reason'],
    );
    this.#neverShaken = metrics.counter(
      'cairn_connections_without_handshake_total',
      'Connections between nodes that closed before their handshake was done',
    );
    this.#badFrames = metrics.counter(
      'cairn_session_bad_frames_total',
      'Sessions closed because of a frame that could not be understood',
    );
    this.#pauses = metrics.counter(
      'cairn_session_pauses_total',
      'Times a session was not read from because its other side did not take the answers',
    );
    this.#refusals = new LogBudget({ clock, logger, event: 'connection refused' });
    this.#silences = new LogBudget({ clock, logger, event: 'connection closed before its handshake' });
    this.#badFrameLines = new LogBudget({ clock, logger, event: BAD_FRAME_EVENT });
    this.#refusedLines = new LogBudget({ clock, logger, event: REFUSED_EVENT, level: 'info' });
    const open = metrics.gauge('cairn_sessions_open', 'Sessions that were accepted and are open');
    const unshaken = metrics.gauge(
      'cairn_connections_unshaken',
      'Connections that have not shaken hands yet',
    );
    const queued = metrics.gauge('cairn_session_queued_bytes', 'Bytes that wait in accepted sessions');
    metrics.onCollect(() => {
      open.set(this.#sessions.size - this.#unshaken);
      unshaken.set(this.#unshaken);
      let bytes = 0;
      for (const session of this.#sessions) bytes += session.queuedBytes;
      queued.set(bytes);
    });
  }

  accept(connection: Connection, options: Pick<AcceptSessionOptions, 'hello' | 'onSession'>): void {
    const host = hostOf(connection.remoteAddress);
    const reason = this.#refusalOf(host);
    if (reason !== undefined) {
      this.#refused.add(1, { reason });
      this.#refusals.write({ peer: connection.remoteAddress, reason });
      connection.setHandlers({ onFrame: () => undefined, onClose: () => undefined });
      connection.close();
      return;
    }
    this.#count(host, { open: 1, unshaken: 1 });
    const { clock, logger } = this.#options;
    this.#sessions.add(acceptSession(connection, { ...options, clock, logger, watcher: this.#watch(host) }));
  }

  #refusalOf(host: string): string | undefined {
    const { connectionsMax, connectionsPerHostMax, unshakenMax, unshakenPerHostMax } = this.#limits;
    const ofHost = this.#hosts.get(host);
    if (this.#sessions.size >= connectionsMax) return 'connections';
    if (this.#unshaken >= unshakenMax) return 'without-handshake';
    if (ofHost === undefined) return undefined;
    if (ofHost.open >= connectionsPerHostMax) return 'connections-of-host';
    return ofHost.unshaken >= unshakenPerHostMax ? 'without-handshake-of-host' : undefined;
  }

  #watch(host: string): SessionWatcher {
    let isShaken = false;
    let isRefused = false;
    return {
      onShaken: () => {
        isShaken = true;
        this.#count(host, { open: 0, unshaken: -1 });
      },
      onEnd: (session, error) => {
        this.#sessions.delete(session);
        this.#count(host, { open: -1, unshaken: isShaken ? 0 : -1 });
        if (isShaken || isRefused) return;
        this.#neverShaken.add(1);
        this.#silences.write({ peer: session.remoteAddress, reason: messageOf(error) });
      },
      onPause: () => {
        this.#pauses.add(1);
      },
      onRefused: (line) => {
        isRefused = true;
        this.#refused.add(1, { reason: 'hello' });
        this.#refusedLines.write(line);
      },
      onBadFrame: (line) => {
        this.#badFrames.add(1);
        this.#badFrameLines.write(line);
      },
    };
  }

  #count(host: string, change: HostCounts): void {
    const known = this.#hosts.get(host);
    const open = (known?.open ?? 0) + change.open;
    const unshaken = (known?.unshaken ?? 0) + change.unshaken;
    this.#unshaken += change.unshaken;
    if (open === 0) this.#hosts.delete(host);
    else this.#hosts.set(host, { open, unshaken });
  }
}
