import { BoundedBytes, messageOf, rethrowInvariant } from '@cairn/base';
import { sleep, type Clock, type Logger } from '@cairn/ports';

export interface BackgroundOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly tasksMax: number;
  readonly bytesMax: number;
}

/**
 * What is done behind answers: locks of decided transactions go. A task that fails is left to whoever meets
 * the locks. Bounded in number and bytes: whoever has one more waits until there is room.
 */
export class Background {
  readonly #options: BackgroundOptions;
  readonly #budget: BoundedBytes;
  readonly #tasks = new Set<Promise<void>>();
  #room = Promise.withResolvers<void>();
  #isClosed = false;

  constructor(options: BackgroundOptions) {
    this.#options = options;
    const { bytesMax, tasksMax } = options;
    this.#budget = new BoundedBytes({ name: 'locks to resolve', limit: bytesMax, countLimit: tasksMax });
  }

  get tasks(): number {
    return this.#budget.count;
  }

  get bytes(): number {
    return this.#budget.used;
  }

  /** Resolves when there is room for a task of so many bytes, or at `untilMs`: then it is left to others. */
  async add(bytes: number, untilMs: number, task: () => Promise<void>): Promise<void> {
    const { clock } = this.#options;
    while (!this.#isClosed && !this.#budget.tryTakeOrAlone(bytes)) {
      const leftMs = untilMs - clock.nowMs();
      if (leftMs <= 0) return;
      await this.#roomOr(leftMs);
    }
    if (this.#isClosed) return;
    const running = this.#run(bytes, task);
    this.#tasks.add(running);
    running.finally(() => this.#tasks.delete(running)).catch(rethrowInvariant);
  }

  /** Takes nothing on any more, and waits for what is under way. */
  async close(timeoutMs: number): Promise<void> {
    this.#isClosed = true;
    this.#room.resolve();
    const over = new AbortController();
    const time = sleep(this.#options.clock, timeoutMs, over.signal).catch(() => undefined);
    await Promise.race([Promise.all(this.#tasks), time]);
    over.abort(new Error('the tasks are done'));
  }

  async #run(bytes: number, task: () => Promise<void>): Promise<void> {
    try {
      await task();
    } catch (error) {
      rethrowInvariant(error);
      this.#options.logger.debug('locks left to whoever meets them', { reason: messageOf(error) });
    } finally {
      this.#budget.give(bytes);
      this.#room.resolve();
      this.#room = Promise.withResolvers();
    }
  }

  async #roomOr(leftMs: number): Promise<void> {
    const over = new AbortController();
    const time = sleep(this.#options.clock, leftMs, over.signal).catch(() => undefined);
    await Promise.race([this.#room.promise, time]);
    over.abort(new Error('there is room'));
  }
}
