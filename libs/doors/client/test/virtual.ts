import type { Clock, Rng, Timer } from '@cairn/ports';
import { CairnError } from '@cairn/base';
import type {
  BatchChannelHandlers,
  RouterConnector,
  RouterLink,
  ScanStream,
  UnaryMethod,
  WatchStream,
} from '../src/router-link.js';
import type {
  BatchOperation,
  BatchRequest,
  BatchResponse,
  BatchResult,
  ScanPage,
  WatchRequest,
  WatchResponse,
} from '../src/wire-binding.js';

interface Due {
  readonly atMs: number;
  readonly order: number;
  readonly callback: () => void;
}

/** A clock that moves only when told. */
export class VirtualClock implements Clock {
  #nowMs = 0;
  #order = 0;
  #due: Due[] = [];

  nowMs(): number {
    return this.#nowMs;
  }

  unixMs(): number {
    return this.#nowMs;
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    const due: Due = { atMs: this.#nowMs + delayMs, order: this.#order, callback };
    this.#order += 1;
    this.#due.push(due);
    return {
      cancel: () => {
        this.#due = this.#due.filter((other) => other !== due);
      },
    };
  }

  defer(callback: () => void): void {
    this.setTimer(0, callback);
  }

  /** Timers that are set. */
  get pending(): number {
    return this.#due.length;
  }

  /** Moves on, calling what falls due in order; promise reactions run in between. */
  async advance(byMs: number): Promise<void> {
    const untilMs = this.#nowMs + byMs;
    for (;;) {
      await settle();
      const next = this.#due
        .filter(({ atMs }) => atMs <= untilMs)
        .toSorted((left, right) => left.atMs - right.atMs || left.order - right.order)[0];
      if (next === undefined) break;
      this.#due = this.#due.filter((due) => due !== next);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.callback();
    }
    this.#nowMs = untilMs;
  }
}

/** Lets promise reactions that are ready run; enough rounds for any chain in this package. */
async function settle(): Promise<void> {
  for (let round = 0; round < 20; round += 1) await Promise.resolve();
}

/** Chance that is always in the middle. */
export const evenRng: Rng = {
  next: () => 0.5,
  integer: (bound) => Math.floor(bound / 2),
  bytes: (length) => new Uint8Array(length),
};

/** One connection of a `ScriptedConnector`, in the hands of the test. */
export class ScriptedLink implements RouterLink {
  readonly endpoint: string;
  readonly sent: BatchRequest[] = [];
  isClosed = false;
  /** What `send` answers. */
  hasRoom = true;
  #handlers: BatchChannelHandlers | undefined;

  constructor(endpoint: string) {
    this.endpoint = endpoint;
  }

  openBatch(handlers: BatchChannelHandlers): ReturnType<RouterLink['openBatch']> {
    this.#handlers = handlers;
    return {
      // Messages are sent by reference and change at the next sending: keep what they were.
      send: (request) => {
        this.sent.push(structuredClone(request));
        return this.hasRoom;
      },
      close: () => {
        this.isClosed = true;
      },
    };
  }

  get operations(): BatchOperation[] {
    return this.sent.flatMap(({ operations }) => operations);
  }

  hello(timestamp = 100): void {
    const hello = { clusterId: 'c', serverVersion: 'v', keyBytesMax: 4096, valueBytesMax: 1024 };
    this.#handlers?.onMessage({ results: [], hello, timestamp });
  }

  answer(...results: BatchResult[]): void {
    this.#handlers?.onMessage({ results, hello: undefined, timestamp: 200 });
  }

  refuse(call: number, code: string, retryAfterMs = 0): void {
    const value = { code, message: `refused: ${code}`, retryClass: 0, retryAfterMs, field: '', kind: 0 };
    this.answer({ call, result: { $case: 'error', value } });
  }

  drain(): void {
    this.hasRoom = true;
    this.#handlers?.onDrain();
  }

  fail(message = 'gone'): void {
    this.#handlers?.onClose(new CairnError('UNAVAILABLE', message));
  }

  /** What scans answer, page by page. */
  pages: readonly ScanPage[] = [];
  /** What calls answer. */
  answerUnary: (request: unknown) => unknown = () => {
    throw new CairnError('INTERNAL', 'nothing was scripted');
  };

  scan(): ScanStream {
    const pages = [...this.pages];
    return { next: () => Promise.resolve(pages.shift()), cancel: () => undefined };
  }

  /** What watches were asked for, … */
  readonly watched: WatchRequest[] = [];
  /** … and what the next of them are told; behind the last word of one nothing comes. */
  watches: (WatchResponse['event'] | CairnError)[][] = [];
  cancelledWatches = 0;

  watch(request: WatchRequest): WatchStream {
    this.watched.push(request);
    const script = this.watches.shift() ?? [];
    return {
      next: () => {
        const said = script.shift();
        if (said === undefined) return new Promise(() => undefined);
        return CairnError.is(said) ? Promise.reject(said) : Promise.resolve({ event: said });
      },
      cancel: () => {
        this.cancelledWatches += 1;
      },
    };
  }

  unary<Request, Response>(_method: UnaryMethod<Request, Response>, request: Request): Promise<Response> {
    return Promise.resolve(this.answerUnary(request) as Response);
  }

  /** Any message, true or not. */
  say(response: BatchResponse): void {
    this.#handlers?.onMessage(response);
  }

  close(): void {
    this.isClosed = true;
  }
}

/** Hands out links that do nothing by themselves. */
export class ScriptedConnector implements RouterConnector {
  readonly links: ScriptedLink[] = [];
  readonly keptAlive: boolean[] = [];

  connect(endpoint: string): ScriptedLink {
    const link = new ScriptedLink(endpoint);
    this.links.push(link);
    return link;
  }

  keepAlive(needed: boolean): void {
    this.keptAlive.push(needed);
  }

  /** The newest connection. */
  get link(): ScriptedLink {
    const link = this.links.at(-1);
    if (link === undefined) throw new Error('nothing was connected');
    return link;
  }
}
