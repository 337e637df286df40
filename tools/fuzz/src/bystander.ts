import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '@cairn/base';
import type { CairnClient } from '@cairn/client';

/** Where the bystander's keys begin; the cluster is cut there, so that they have a range of their own. */
export const BYSTANDER_PREFIX = 'y-bystander/';
const KEYS = 50;
const PAUSE_MS = 5;
const TIMEOUT_MS = 10_000;

/** A client that does nothing wrong: it must not notice anything but, at most, some slowness. */
export class Bystander {
  readonly #client: CairnClient;
  readonly #onViolation: (text: string) => void;
  readonly #written = new Map<string, string>();
  #latenciesMs: number[] = [];
  #isRunning = false;
  #loop: Promise<void> = Promise.resolve();
  operations = 0;

  constructor(client: CairnClient, onViolation: (text: string) => void) {
    this.#client = client;
    this.#onViolation = onViolation;
  }

  start(): void {
    this.#isRunning = true;
    this.#loop = this.#run();
  }

  async stop(): Promise<void> {
    this.#isRunning = false;
    await this.#loop;
  }

  /** Latency that 99 of 100 operations since the last call stayed below; 0 without any. */
  takeP99Ms(): number {
    const sorted = this.#latenciesMs.sort((one, other) => one - other);
    this.#latenciesMs = [];
    return sorted[Math.floor(sorted.length * 0.99)] ?? 0;
  }

  async #run(): Promise<void> {
    for (let turn = 0; this.#isRunning; turn += 1) {
      const key = `${BYSTANDER_PREFIX}${turn % KEYS}`;
      const startedMs = performance.now();
      try {
        if (turn % 2 === 0) await this.#put(key, `value ${turn}`);
        else await this.#check(`${BYSTANDER_PREFIX}${(turn - 1) % KEYS}`);
      } catch (error) {
        this.#onViolation(`a bystander's call failed: ${messageOf(error)}`);
      }
      this.#latenciesMs.push(performance.now() - startedMs);
      this.operations += 1;
      await delay(PAUSE_MS);
    }
  }

  async #put(key: string, value: string): Promise<void> {
    await this.#client.put(key, value, { timeoutMs: TIMEOUT_MS });
    this.#written.set(key, value);
  }

  async #check(key: string): Promise<void> {
    const entry = await this.#client.get(key, { timeoutMs: TIMEOUT_MS });
    const wanted = this.#written.get(key);
    if (wanted === undefined || entry?.text() === wanted) return;
    this.#onViolation(`a bystander reads ${entry?.text() ?? 'nothing'} where it wrote ${wanted}`);
  }

  /** Everything it wrote is there. */
  async checkAll(): Promise<void> {
    for (const key of this.#written.keys()) await this.#check(key);
  }
}
