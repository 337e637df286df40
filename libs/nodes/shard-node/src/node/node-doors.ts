import type { Clock, Connection, Logger, Metrics, Transport } from '@cairn/ports';
import type { SessionLinks, Store } from '@cairn/store';
import {
  SessionAcceptor,
  type Hello,
  type Session,
  type SessionHandlers,
  type SessionRpcServer,
} from '@cairn/wire';

import type { KvService } from '../kv/kv-service.js';

export interface NodeDoorsParts {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly transport: Transport;
  readonly service: KvService;
  readonly links: SessionLinks;
  readonly store: Store;
  readonly rpc: SessionRpcServer;
  hello(purpose: Hello['purpose']): Hello;
}

/** Which part of an open node a session belongs to, by what it is for. */
export class NodeDoors {
  readonly #parts: NodeDoorsParts;
  readonly #acceptor: SessionAcceptor;
  readonly #sessions = new Set<Session>();

  constructor(parts: NodeDoorsParts) {
    this.#parts = parts;
    this.#acceptor = new SessionAcceptor(parts);
  }

  /** A connection from a router or another node. */
  accept(connection: Connection): void {
    this.#acceptor.accept(connection, {
      hello: (remote) => {
        if (remote.purpose === 'raft' || remote.purpose === 'bulk') this.#parts.links.checkRemote(remote);
        return this.#parts.hello(remote.purpose);
      },
      onSession: (session, remote) => this.#handlersFor(session, remote),
    });
  }

  closeSessions(): void {
    for (const session of this.#sessions) session.close();
  }

  #handlersFor(session: Session, remote: Hello): SessionHandlers {
    const door = this.#doorFor(session, remote);
    this.#sessions.add(session);
    return {
      onFrame: (type, body) => {
        door.onFrame(type, body);
      },
      onClose: (error) => {
        this.#sessions.delete(session);
        door.onClose(error);
      },
    };
  }

  /** Throws CairnError for a session that is refused. */
  #doorFor(session: Session, remote: Hello): SessionHandlers {
    const { service, links, store, rpc } = this.#parts;
    switch (remote.purpose) {
      case 'kv': {
        const accepted = service.accept(session);
        return {
          onFrame: (type, body) => {
            accepted.onFrame(type, body);
          },
          onClose: () => {
            service.closed(accepted);
          },
        };
      }
      case 'raft':
      case 'bulk':
        return links.handlersFor(session, remote, store);
      case 'rpc':
        return rpc.attach(session);
    }
  }
}
