import { messageOf } from '@cairn/base';
import type { CairnClient } from '@cairn/client';
import type { Rng } from '@cairn/ports';

/** Keys are written again and again: what grows is not the data. */
const KEYS = 20_000;
const VALUE_BYTES = [10, 100, 100, 1_000, 10_000] as const;
const TIMEOUT_MS = 20_000;
/** Failures that are kept to be shown; all are counted. */
const FAILURES_SHOWN_MAX = 10;

/** One client's mixed load: half reads, the rest writes of all kinds and scans. */
export class MixedLoad {
  readonly #client: CairnClient;
  readonly #rng: Rng;
  #latenciesMs: number[] = [];
  #isRunning = false;
  #loop: Promise<void> = Promise.resolve();
  readonly failures: string[] = [];
  operations = 0;
  rowsScanned = 0;
  failed = 0;

  constructor(client: CairnClient, rng: Rng) {
    this.#client = client;
    this.#rng = rng;
  }

  start(): void {
    this.#isRunning = true;
    this.#loop = this.#run();
  }

  async stop(): Promise<void> {
    this.#isRunning = false;
    await this.#loop;
  }

  /** Latencies since the last call. */
  takeLatenciesMs(): number[] {
    const taken = this.#latenciesMs;
    this.#latenciesMs = [];
    return taken;
  }

  async #run(): Promise<void> {
    while (this.#isRunning) {
      const startedMs = performance.now();
      try {
        await this.#operation();
      } catch (error) {
        this.failed += 1;
        if (this.failures.length < FAILURES_SHOWN_MAX) this.failures.push(messageOf(error));
      }
      this.#latenciesMs.push(performance.now() - startedMs);
      this.operations += 1;
    }
  }

  async #operation(): Promise<void> {
    const rng = this.#rng;
    const key = this.#key();
    const options = { timeoutMs: TIMEOUT_MS };
    const kind = rng.integer(20);
    if (kind < 10) await this.#client.get(key, options);
    else if (kind < 15) await this.#client.put(key, this.#value(), options);
    else if (kind === 15) await this.#client.put(key, this.#value(), { ...options, ttlMs: 5_000 });
    else if (kind === 16) await this.#client.delete(key, options);
    else if (kind === 17) await this.#client.increment(`counter/${rng.integer(100)}`, 1, options);
    else if (kind === 18) {
      for await (const page of this.#client.pages({ start: key, limit: 100, ...options })) {
        this.rowsScanned += page.rows.length;
      }
    } else
      await this.#client.getMany(
        Array.from({ length: 20 }, () => this.#key()),
        options,
      );
  }

  #key(): string {
    return `key/${String(this.#rng.integer(KEYS)).padStart(6, '0')}`;
  }

  #value(): Buffer {
    const bytes = VALUE_BYTES[this.#rng.integer(VALUE_BYTES.length)] as number;
    return Buffer.from(this.#rng.bytes(bytes));
  }
}
