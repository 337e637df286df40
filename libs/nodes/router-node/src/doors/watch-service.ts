import { CairnError, opensAt, timestamp, type GateView } from '@cairn/base';
import {
  PROGRESS_MS_DEFAULT,
  PROGRESS_MS_MAX,
  PROGRESS_MS_MIN,
  type ChangeStreams,
  type KeySpan,
  type Watch,
  type WatchFrom,
  type WatchOutput,
} from '@cairn/change-stream';
import { invalidField, WIDEST_KEY_VALUE_LIMITS } from '@cairn/routing';
import { toServiceError, type WatchMessage } from '@cairn/wire';
import { WatchResetReason, type WatchRequest } from '@cairn/wire/gen/cairn/v1/watch.js';

import type { WatchCall } from '../calls.js';
import { assertKey } from './convert.js';
import type { DoorContext } from './door-context.js';
import { spanOf } from './span-bounds.js';

/** A watch that was ended may take so long to be told so; a client that takes nothing is cut off then. */
const LAST_WORD_MS = 1_000;

/** What carries watches out. */
export interface WatchParts {
  readonly streams: Pick<ChangeStreams, 'watch'>;
  readonly gates: GateView;
}

/** Handlers of the `cairn.v1.Watch` service; fit for `Server.addService` of grpc-js. */
export interface WatchHandlers {
  readonly watch: (call: WatchCall) => void;
}

/** The `cairn.v1.Watch` service. */
export function createWatchService(context: DoorContext, parts: WatchParts): WatchHandlers {
  return {
    watch: (call) => {
      void new WatchStream(context, call).run(parts);
    },
  };
}

/** One call: hands out what its watch says, one message at a time, as fast as the client takes them. */
class WatchStream {
  readonly #context: DoorContext;
  readonly #call: WatchCall;
  #watch: Watch | undefined;
  readonly #over = new AbortController();
  #isOver = false;
  /** A message is on its way to the client. */
  #writing: (() => void) | undefined;

  constructor(context: DoorContext, call: WatchCall) {
    this.#context = context;
    this.#call = call;
    call.on('cancelled', () => {
      this.#end();
    });
    call.on('close', () => {
      this.#end();
    });
  }

  /** Never rejects: the client is told. */
  async run({ streams, gates }: WatchParts): Promise<void> {
    try {
      refuseBefore(gates);
      const options = { ...optionsOf(this.#call.request), caller: this.#call.getPeer() };
      const watch = await streams.watch(options, this.#over.signal);
      this.#watch = watch;
      watch.onEnd(() => {
        this.#lastWord();
      });
      await this.#write(startedBy(watch));
      while (!this.#isOver) {
        const output = await watch.read();
        await this.#write(messageOf(output));
        if (output.type !== 'reset') continue;
        this.#call.end();
        break;
      }
    } catch (error) {
      const failure = toServiceError(error);
      if (!this.#isOver) this.#call.emit('error', failure);
    } finally {
      this.#end();
    }
  }

  /** Resolves when the message has left for the client, or the call is over. */
  #write(message: WatchMessage): Promise<void> {
    if (this.#isOver) return Promise.resolve();
    return new Promise((resolve) => {
      this.#writing = resolve;
      this.#call.write(message, () => {
        this.#written();
      });
    });
  }

  #written(): void {
    const written = this.#writing;
    this.#writing = undefined;
    written?.();
  }

  /** The watch has ended: what it says last waits behind a message that the client may never take. */
  #lastWord(): void {
    const waiting = this.#writing;
    if (waiting === undefined || this.#isOver) return;
    this.#context.clock.setTimer(LAST_WORD_MS, () => {
      if (this.#writing === waiting) this.#context.cutOff(this.#call);
    });
  }

  #end(): void {
    this.#isOver = true;
    this.#over.abort();
    this.#watch?.close();
    this.#written();
  }
}

/**
 * Throws FAILED_PRECONDITION while not all nodes know change streams, UNAVAILABLE while that is not known.
 */
function refuseBefore(gates: GateView): void {
  if (gates.isOpen('changeStreams')) return;
  const { clusterVersion } = gates;
  if (clusterVersion === 0)
    throw new CairnError('UNAVAILABLE', 'the router has not joined the cluster yet', { retryAfterMs: 100 });
  throw new CairnError(
    'FAILED_PRECONDITION',
    `change streams need cluster version ${opensAt('changeStreams')}, and the cluster is at ${clusterVersion}: ` +
      'bring all nodes to this release; `cairn upgrade status` says what is missing, and `cairn upgrade ' +
      'finalize` raises the version',
  );
}

function optionsOf(request: WatchRequest): {
  readonly span: KeySpan;
  readonly from: WatchFrom;
  readonly withPrevious: boolean;
  readonly progressMs: number;
} {
  const { withPrevious, progressMs: asked } = request;
  const progressMs = asked === 0 ? PROGRESS_MS_DEFAULT : asked;
  if (progressMs < PROGRESS_MS_MIN || progressMs > PROGRESS_MS_MAX) {
    throw invalidField(
      'progress_ms',
      `progress_ms is ${progressMs}; it must be ${PROGRESS_MS_MIN} to ${PROGRESS_MS_MAX}`,
    );
  }
  return { span: watchedSpanOf(request), from: fromOf(request), withPrevious, progressMs };
}

/** Throws INVALID_ARGUMENT. */
function watchedSpanOf(request: WatchRequest): KeySpan {
  const { key, prefix, start, end } = request;
  if (key.length === 0) {
    const span = spanOf(request);
    if (Buffer.compare(span.start, span.end) === 0) throw invalidField('end', 'the span holds no key');
    return span;
  }
  if (prefix.length > 0 || start.length > 0 || end.length > 0)
    throw invalidField('key', 'key cannot be given together with prefix, start or end');
  assertKey(key, WIDEST_KEY_VALUE_LIMITS);
  return { start: key, end: Buffer.concat([key, Buffer.of(0)]) };
}

function fromOf({ from }: WatchRequest): WatchFrom {
  switch (from?.$case) {
    case 'token':
      return { type: 'token', token: from.value };
    case 'timestamp':
      return { type: 'timestamp', timestamp: timestamp(from.value) };
    case undefined:
      return { type: 'now' };
  }
}

function startedBy({ started, startToken }: Watch): WatchMessage {
  return {
    type: 'other',
    response: { event: { $case: 'started', value: { timestamp: started, token: startToken } } },
  };
}

const REASONS = {
  history: WatchResetReason.HISTORY,
  backlog: WatchResetReason.BACKLOG,
} as const;

function messageOf(output: WatchOutput): WatchMessage {
  switch (output.type) {
    case 'changes':
      return { type: 'changes', changes: output.events.map(({ encoded }) => encoded) };
    case 'progress': {
      const { resolved, token } = output;
      return {
        type: 'other',
        response: { event: { $case: 'progress', value: { timestamp: resolved, token } } },
      };
    }
    case 'reset': {
      const { reason, oldest } = output;
      return {
        type: 'other',
        response: { event: { $case: 'reset', value: { reason: REASONS[reason], oldest } } },
      };
    }
  }
}
