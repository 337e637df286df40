import { CairnError, messageOf } from '@cairn/base';
import { History, type Action, type Operation } from '@cairn/checkers';

/** How an operation ended, as its caller was told. */
export type Ending = 'ok' | 'failed' | 'unknown';

export interface RecorderStats {
  succeeded: number;
  /** Refused, and certainly not applied. */
  failed: number;
  unknown: number;
}

/** A time in which nothing succeeded. */
export interface Silence {
  readonly fromMs: number;
  readonly lengthMs: number;
}

/** The client says of these that nothing happened. */
const NOT_APPLIED: readonly string[] = [
  'UNAVAILABLE',
  'RESOURCE_EXHAUSTED',
  'DEADLINE_EXCEEDED',
  'DISK_FULL',
  'LOCKED',
  'TRANSACTION_ABORTED',
];
/** And of these that it does not know. */
const UNDECIDED: readonly string[] = ['OUTCOME_UNKNOWN'];
/** Distinct messages kept of errors that should not occur. */
const ERRORS_MAX = 20;
/** Silences kept, and the shortest one that is worth it. */
const SILENCES_MAX = 5;
const SILENCE_MIN_MS = 200;

/** One client as the history knows it: after an unknown outcome it goes on as somebody else. */
export interface Caller {
  process: number;
  lastSuccessMs: number;
}

/** Remembers everything that clients were told, in milliseconds since the recorder was made. */
export class Recorder {
  readonly history = new History();
  readonly stats: RecorderStats = { succeeded: 0, failed: 0, unknown: 0 };
  /** Errors that no fault explains, each once. */
  readonly errors = new Map<string, string>();
  /** In which nothing succeeded for anybody, the longest first. */
  readonly silences: Silence[] = [];
  /** The one client that waited longest. */
  longestWait: Silence = { fromMs: 0, lengthMs: 0 };
  readonly #startedMs = performance.now();
  /** Undefined until a client is there that could succeed. */
  #lastSuccessMs: number | undefined;
  #callers = 0;

  nowMs(): number {
    return performance.now() - this.#startedMs;
  }

  newCaller(): Caller {
    const lastSuccessMs = this.nowMs();
    this.#lastSuccessMs ??= lastSuccessMs;
    return { process: this.#callers++, lastSuccessMs };
  }

  /**
   * Carries out an operation and remembers it. `intent` is what is known before it ran and holds for an
   * unknown outcome; `act` answers what it did.
   */
  async run(caller: Caller, key: string, intent: Action, act: () => Promise<Action>): Promise<Ending> {
    const invokedMs = this.nowMs();
    const add = (action: Action, returnedMs: number): void =>
      this.history.add({ process: String(caller.process), key, action, invokedMs, returnedMs });
    try {
      const action = await act();
      add(action, this.nowMs());
      this.succeeded(caller);
      return 'ok';
    } catch (error) {
      const ending = this.failed(error);
      if (ending === 'unknown') {
        add(intent, Number.POSITIVE_INFINITY);
        caller.process = this.#callers++;
      }
      return ending;
    }
  }

  succeeded(caller: Caller): void {
    const nowMs = this.nowMs();
    this.stats.succeeded += 1;
    const fromMs = this.#lastSuccessMs ?? nowMs;
    const shortestMs = this.silences.length < SILENCES_MAX ? 0 : (this.silences.at(-1)?.lengthMs ?? 0);
    if (nowMs - fromMs > Math.max(shortestMs, SILENCE_MIN_MS)) {
      this.silences.push({ fromMs, lengthMs: nowMs - fromMs });
      this.silences.sort((a, b) => b.lengthMs - a.lengthMs).splice(SILENCES_MAX);
    }
    this.longestWait = longer(this.longestWait, caller.lastSuccessMs, nowMs);
    this.#lastSuccessMs = caller.lastSuccessMs = nowMs;
  }

  /** Sorts an error; one that no fault explains is kept, and its operation counts as unknown. */
  failed(error: unknown): Ending {
    const code = CairnError.is(error) ? error.code : 'not a CairnError';
    if (NOT_APPLIED.includes(code)) {
      this.stats.failed += 1;
      return 'failed';
    }
    this.stats.unknown += 1;
    if (!UNDECIDED.includes(code) && this.errors.size < ERRORS_MAX) {
      this.errors.set(`${code}: ${messageOf(error)}`, code);
    }
    return 'unknown';
  }
}

function longer(known: Silence, fromMs: number, toMs: number): Silence {
  return toMs - fromMs > known.lengthMs ? { fromMs, lengthMs: toMs - fromMs } : known;
}

type EventType = 'invoke' | 'ok' | 'fail' | 'info';

function eventsOf(operation: Operation): readonly [number, EventType, unknown][] {
  const { action, invokedMs, returnedMs } = operation;
  const isUnknown = returnedMs === Number.POSITIVE_INFINITY;
  const endMs = isUnknown ? invokedMs : returnedMs;
  switch (action.f) {
    case 'read':
      return [
        [invokedMs, 'invoke', null],
        [endMs, 'ok', action.value ?? null],
      ];
    case 'write': {
      const value = action.value ?? null;
      return [
        [invokedMs, 'invoke', value],
        [endMs, isUnknown ? 'info' : 'ok', value],
      ];
    }
    case 'cas': {
      const value = [action.expected ?? null, action.value ?? null];
      return [
        [invokedMs, 'invoke', value],
        [endMs, isUnknown ? 'info' : action.succeeded ? 'ok' : 'fail', value],
      ];
    }
    case 'add':
      return [];
  }
}

/** Operations on registers as lines of `npm run check -- linearizability`; counters have no place there. */
export function historyLines(operations: readonly Operation[]): string[] {
  const events = operations.flatMap((operation) =>
    eventsOf(operation).map(([atMs, type, value]) => ({ atMs, type, value, operation })),
  );
  // Stable: of what happened in the same instant, an invocation stays before its end.
  events.sort((a, b) => a.atMs - b.atMs);
  return events.map(({ type, value, operation: { process, action, key } }) =>
    JSON.stringify({ process: Number(process), type, f: action.f, key, value }),
  );
}
