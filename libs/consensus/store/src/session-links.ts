import { CairnError, messageOf, type RangeId, type StoreId } from '@cairn/base';
import { LogBudget, type Clock, type Logger, type Metrics, type Rng, type Transport } from '@cairn/ports';
import type { Message } from '@cairn/raft';
import { RaftMessageEncoder } from '@cairn/raft-wire';
import {
  FrameType,
  openSession,
  ReconnectingSession,
  type Hello,
  type Session,
  type SessionHandlers,
} from '@cairn/wire';

import { ENTRY_FORMAT } from './entry-format.js';
import type { PeerLinks, RangeHint } from './peer-links.js';
import { SessionSnapshotChannel, snapshotReceiverHandlers } from './snapshot-channel.js';
import type { SnapshotChannel } from './snapshot-send.js';
import type { Store } from './store.js';

/** A peer whose queue holds more than this gets no further frames until it drains: Raft sends again. */
const QUEUED_BYTES_MAX = 64 * 1024 * 1024;

/** What a store that was dialled may send at a time: signs of life, and sentences about a snapshot. */
const ANSWER_FRAME_BYTES_MAX = 64 * 1024;

export interface SessionLinksOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly storeId: StoreId;
  hello(purpose: Hello['purpose'], to: StoreId): Hello;
  /** A stream from or to the store broke. */
  peerLost(storeId: StoreId): void;
  /** The store has taken the hello of a link. */
  linkUp?(storeId: StoreId): void;
  /** A link broke or could not be opened; the next attempt is planned. */
  linkFailed?(storeId: StoreId, error: Error | undefined): void;
}

interface PeerLink {
  address: string;
  readonly session: ReconnectingSession;
  readonly encoder: RaftMessageEncoder;
}

/** Links to other stores over framed sessions: each side dials for what it sends. */
export class SessionLinks implements PeerLinks {
  readonly #options: SessionLinksOptions;
  readonly #links = new Map<StoreId, PeerLink>();
  readonly #addresses = new Map<StoreId, string>();
  /** Raft sessions that other stores opened, by store; only of stores that are known. */
  readonly #incoming = new Map<StoreId, number>();
  readonly #refusedSnapshots: LogBudget;
  /** Links that have something to send in this turn. */
  #pending: PeerLink[] = [];
  readonly #dropped;
  #isClosed = false;

  constructor(options: SessionLinksOptions) {
    this.#options = options;
    const { clock, logger } = options;
    this.#refusedSnapshots = new LogBudget({ clock, logger, event: 'snapshot not received', level: 'info' });
    this.#dropped = options.metrics.counter(
      'cairn_store_link_dropped_frames_total',
      'Frames for a peer store dropped',
      ['reason'],
    );
  }

  /**
   * Tells where all stores are. Links to new ones are opened at once, those to moved ones follow when they
   * break. What is named no more was declared lost and never comes back: it is dialled no more, and no
   * session of it is taken.
   */
  setPeers(peers: readonly { readonly storeId: StoreId; readonly address: string }[]): void {
    if (this.#isClosed) return;
    const named = new Set(peers.map(({ storeId }) => storeId));
    for (const [storeId, { session }] of this.#links) {
      if (named.has(storeId)) continue;
      this.#links.delete(storeId);
      this.#addresses.delete(storeId);
      session.close();
    }
    for (const { storeId, address } of peers) {
      if (storeId === this.#options.storeId) continue;
      this.#addresses.set(storeId, address);
      const known = this.#links.get(storeId);
      if (known !== undefined && known.address !== address) {
        known.session.close();
        this.#links.delete(storeId);
      }
      if (!this.#links.has(storeId)) this.#open(storeId, address);
    }
  }

  #open(storeId: StoreId, address: string): void {
    const { transport, clock, rng, logger } = this.#options;
    const link: PeerLink = {
      address,
      encoder: new RaftMessageEncoder(ENTRY_FORMAT),
      session: new ReconnectingSession({
        transport,
        address: () => this.#addresses.get(storeId) ?? address,
        hello: () => this.#options.hello('raft', storeId),
        clock,
        rng,
        logger,
        isOther: (remote) => otherStore(storeId, remote),
        frameBytesMax: ANSWER_FRAME_BYTES_MAX,
        onFrame: (type) => {
          // Each side dials for what it sends: nothing comes back but signs of life.
          throw new CairnError('CORRUPTION', `frame ${type} from a store that was dialled`);
        },
        onUp: () => {
          this.#options.linkUp?.(storeId);
        },
        onDown: (error, wasUp) => {
          if (this.#isClosed) return;
          if (wasUp) this.#options.peerLost(storeId);
          if (this.#addresses.has(storeId)) this.#options.linkFailed?.(storeId, error);
        },
      }),
    };
    this.#links.set(storeId, link);
  }

  post(to: StoreId, rangeId: RangeId, message: Message, hint: RangeHint | undefined): void {
    const link = this.#links.get(to);
    if (link === undefined || !link.session.isUp) {
      this.#dropped.add(1, { reason: 'down' });
      return;
    }
    if (link.session.queuedBytes > QUEUED_BYTES_MAX) {
      this.#dropped.add(1, { reason: 'full' });
      return;
    }
    link.encoder.add(rangeId, message, hint);
    if (link.encoder.count === 1) this.#pending.push(link);
    if (link.encoder.isFull) link.session.send(FrameType.raftMessages, link.encoder.take());
  }

  sendHeartbeat(to: StoreId, frame: Buffer): boolean {
    const link = this.#links.get(to);
    if (link === undefined || !link.session.isUp || link.session.queuedBytes > QUEUED_BYTES_MAX) return false;
    link.session.send(FrameType.storeHeartbeat, [frame]);
    return true;
  }

  flush(): void {
    if (this.#pending.length === 0) return;
    const pending = this.#pending;
    this.#pending = [];
    for (const { encoder, session } of pending) {
      if (encoder.count > 0) session.send(FrameType.raftMessages, encoder.take());
    }
  }

  openSnapshotChannel(to: StoreId): SnapshotChannel {
    const address = this.#addresses.get(to);
    if (address === undefined) throw new CairnError('UNAVAILABLE', `no address of store ${to} is known`);
    const { transport, clock, logger } = this.#options;
    const hello = this.#options.hello('bulk', to);
    return new SessionSnapshotChannel(clock, (handlers) =>
      openSession({
        ...{ transport, clock, logger, address, hello, handlers },
        frameBytesMax: ANSWER_FRAME_BYTES_MAX,
        isOther: (remote) => otherStore(to, remote),
      }),
    );
  }

  /**
   * Throws UNAVAILABLE, which refuses the session, for a store that is not known here: nothing is kept for
   * whatever ids somebody names. It tries again, and at once when this store has heard of it and dials. To be
   * asked before the handshake is answered: a session that was up and breaks is a lost store for the other
   * side.
   */
  checkRemote(remote: Hello): void {
    if (this.#addresses.has(remote.storeId)) return;
    throw new CairnError('UNAVAILABLE', `store ${remote.storeId} is not known here yet`);
  }

  /** What to do with the frames of a session that another store opened, and that `checkRemote` let pass. */
  handlersFor(session: Session, remote: Hello, store: Store): SessionHandlers {
    this.checkRemote(remote);
    if (remote.purpose === 'bulk') {
      return snapshotReceiverHandlers(session, remote.storeId, store.snapshotReceiver, (error) => {
        this.#refusedSnapshots.write({ from: remote.name, reason: messageOf(error) });
      });
    }
    // Whoever dials us listens, too: a store that was away for long is not waited for another two seconds.
    if (remote.purpose === 'raft') this.#links.get(remote.storeId)?.session.retryNow();
    this.#countIncoming(remote.storeId, 1);
    const source = store.raftSource(remote.storeId, (error) => {
      session.fail(error);
    });
    return {
      onFrame: (type, body) => {
        if (type === FrameType.raftMessages) store.receiveRaftFrame(source, body);
        else if (type === FrameType.storeHeartbeat) store.receiveHeartbeat(remote.storeId, body);
        else throw new CairnError('CORRUPTION', `frame ${type} on a session between stores`);
      },
      onClose: () => {
        // As long as another session of the store stands, it is there; what was lost with this one its own
        // side knows.
        if (this.#countIncoming(remote.storeId, -1) === 0) store.peerLost(remote.storeId);
      },
    };
  }

  #countIncoming(storeId: StoreId, change: 1 | -1): number {
    const count = (this.#incoming.get(storeId) ?? 0) + change;
    if (count === 0) this.#incoming.delete(storeId);
    else this.#incoming.set(storeId, count);
    return count;
  }

  close(): void {
    this.#isClosed = true;
    for (const link of this.#links.values()) link.session.close();
    this.#links.clear();
  }
}

/** A node that replaces a lost one may have its address: what is for the one must not reach the other. */
function otherStore(wanted: StoreId, remote: Hello): CairnError | undefined {
  if (remote.storeId === wanted) return undefined;
  return new CairnError(
    'UNAVAILABLE',
    `store ${remote.storeId} (${remote.name}) is where store ${wanted} was`,
  );
}
