import { rmSync } from 'node:fs';
import { CairnError, messageOf } from '@cairn/base';
import type { Environment } from '@cairn/config';
import { Children } from './children.js';
import { makeDataPlace } from './data-place.js';

/** What `npm run bench` needs of its surroundings. */
export interface SessionIo {
  readonly argv: readonly string[];
  readonly env: Environment;
  readonly workingDirectory: string;
  /** Writes results. */
  readonly out: (text: string) => void;
  /** Writes progress and problems. */
  readonly say: (text: string) => void;
  /** Calls back on every request to stop: Ctrl-C, SIGTERM, a closed terminal. */
  onStopRequest(listener: () => void): void;
}

/** Exit codes of `npm run bench`; `slower` and `noReference` are of `against`. */
export const EXIT = {
  measured: 0,
  failed: 1,
  usage: 2,
  slower: 3,
  noReference: 4,
  interrupted: 130,
} as const;

/** Something that was started and has to be ended. */
export interface Startable {
  readonly name: string;
  stop(): Promise<void>;
}

/** Where an experiment takes place: all that it starts is ended with it, however it ends. */
export class Stage {
  readonly children = new Children();
  readonly #io: SessionIo;
  readonly #aborter = new AbortController();
  readonly #stopRequested = Promise.withResolvers<void>();
  readonly #interrupted = Promise.withResolvers<never>();
  readonly #started: Startable[] = [];
  #stopRequests = 0;

  constructor(io: SessionIo) {
    this.#io = io;
    // Whoever waits at that moment hears of it; nobody may be waiting.
    this.#interrupted.promise.catch(() => undefined);
    io.onStopRequest(() => this.#onStopRequest());
  }

  /** Aborted on the first request to stop. */
  get signal(): AbortSignal {
    return this.#aborter.signal;
  }

  /** Resolves on the first request to stop. */
  get stopRequested(): Promise<void> {
    return this.#stopRequested.promise;
  }

  /** Says how far it is. */
  say(text: string): void {
    this.#io.say(text);
  }

  /** Results. */
  out(text: string): void {
    this.#io.out(text);
  }

  /** Starts something and ends it with the stage. @throws when a stop was requested. */
  async start<System extends Startable>(text: string, start: () => Promise<System>): Promise<System> {
    this.say(text);
    this.signal.throwIfAborted();
    const system = await start();
    this.#started.push(system);
    this.signal.throwIfAborted();
    return system;
  }

  /** Ends one of the things that were started, earlier than the others. */
  async end(system: Startable): Promise<void> {
    const at = this.#started.indexOf(system);
    if (at >= 0) this.#started.splice(at, 1);
    await system.stop();
  }

  /** Waits for work, or rejects as soon as a stop is requested. */
  unlessInterrupted<Value>(work: Promise<Value>): Promise<Value> {
    // When the interruption wins, what becomes of the work does not matter any more: it fails, because
    // everything it talks to is stopped.
    work.catch(() => undefined);
    return Promise.race([work, this.#interrupted.promise]);
  }

  /**
   * Runs an experiment in a temporary directory and resolves with the exit code. Everything it started has
   * ended by then; the directory is kept after a failure only, because the logs are in it.
   */
  async run(dataDir: string, experiment: (directory: string) => Promise<void>): Promise<number> {
    const place = makeDataPlace(dataDir, this.#io.workingDirectory);
    if (place.warning !== '') this.say(`! ${place.warning}`);
    let keepsData = false;
    try {
      await experiment(place.directory);
      return EXIT.measured;
    } catch (error) {
      if (this.#stopRequests > 0) return EXIT.interrupted;
      keepsData = true;
      this.say(`${messageOf(error)}\nThe data and logs of this run are kept in ${place.directory}.`);
      return EXIT.failed;
    } finally {
      await this.#stopAll();
      if (!keepsData) rmSync(place.directory, { recursive: true, force: true });
    }
  }

  #onStopRequest(): void {
    this.#stopRequests += 1;
    if (this.#stopRequests > 1) {
      // The exit handlers of whatever was started kill it.
      process.exit(EXIT.interrupted);
    }
    this.say('Stopping … (again to kill)');
    this.#stopRequested.resolve();
    this.#aborter.abort();
    this.#interrupted.reject(new CairnError('CANCELLED', 'stopped on request'));
  }

  async #stopAll(): Promise<void> {
    const stops = await Promise.allSettled(this.#started.map((system) => system.stop()));
    for (const [at, stop] of stops.entries()) {
      if (stop.status === 'fulfilled') continue;
      this.say(`${this.#started[at]?.name} did not stop as it should: ${messageOf(stop.reason)}`);
    }
    await this.children.stop();
  }
}
