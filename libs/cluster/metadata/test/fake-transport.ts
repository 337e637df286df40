import type { Clock, Connection, ConnectionHandlers, Listener, Transport } from '@cairn/ports';

/** One end of a pair. Frames take a turn of the virtual clock; a close lets those before it arrive. */
class FakeConnection implements Connection {
  readonly remoteAddress: string;
  isOpen = true;
  peer: FakeConnection | undefined;
  readonly queuedBytes = 0;
  readonly receivedBytes = 0;
  readonly #clock: Clock;
  #handlers: ConnectionHandlers | undefined;

  constructor(clock: Clock, remoteAddress: string) {
    this.#clock = clock;
    this.remoteAddress = remoteAddress;
  }

  setHandlers(handlers: ConnectionHandlers): void {
    this.#handlers = handlers;
  }

  send(parts: readonly Uint8Array[]): boolean {
    const frame = Buffer.concat(parts);
    this.#clock.defer(() => {
      if (this.peer?.isOpen === true) this.peer.#handlers?.onFrame(frame);
    });
    return true;
  }

  pause(): void {
    throw new Error('nothing is held back here');
  }

  resume(): void {
    throw new Error('nothing is held back here');
  }

  limitFrames(): void {
    // All frames are small.
  }

  close(): void {
    this.end(undefined);
    this.#clock.defer(() => this.peer?.end(new Error('closed by the other side')));
  }

  end(error: Error | undefined): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.#clock.defer(() => this.#handlers?.onClose(error));
  }
}

/** Connections inside one process. */
export class FakeTransport implements Transport {
  readonly #clock: Clock;
  readonly #listeners = new Map<string, (connection: Connection) => void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  listen(address: string, onConnection: (connection: Connection) => void): Promise<Listener> {
    this.#listeners.set(address, onConnection);
    const close = (): Promise<void> => {
      this.#listeners.delete(address);
      return Promise.resolve();
    };
    return Promise.resolve({ address, close });
  }

  connect(address: string): Connection {
    const near = new FakeConnection(this.#clock, address);
    const onConnection = this.#listeners.get(address);
    if (onConnection === undefined) {
      near.end(new Error(`nothing listens at ${address}`));
      return near;
    }
    const far = new FakeConnection(this.#clock, 'client');
    near.peer = far;
    far.peer = near;
    onConnection(far);
    return near;
  }
}
