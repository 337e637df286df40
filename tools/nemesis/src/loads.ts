import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { CairnClient } from '@cairn/client';
import { SimRng } from '@cairn/runtime-sim';
import { cairnLoadClient, Caller, newLoad, type Load } from '@cairn/workloads';
import type { Caller as Waiter, Recorder } from './recorder.js';
import { verdictOf, type Verdict } from './verdict.js';

/** Loads of transactions, and of those who watch them, that run beside the other one. */
export const TRANSACTION_LOADS = ['bank', 'list-append', 'watch'] as const;

export interface TransactionLoadsOptions {
  /** Shared among the loads in turn. */
  readonly clients: readonly CairnClient[];
  readonly recorder: Recorder;
  readonly seed: string;
}

const TIMEOUT_MS = 3_000;
const PAUSE_MS = 15;
/** Values have a size, so that tables and logs fill. */
const PADDING_BYTES = 300;

/** The loads of transactions of one run, under faults, and what is to be said about them. */
export class TransactionLoads {
  readonly #options: TransactionLoadsOptions;
  readonly #loads: readonly Load[] = TRANSACTION_LOADS.map((name) =>
    newLoad(name, { paddingBytes: PADDING_BYTES }),
  );
  readonly #callers = new Map<Load, Caller[]>();
  #isRunning = false;
  #loops: Promise<void>[] = [];
  #unread: readonly string[] = [];

  constructor(options: TransactionLoadsOptions) {
    this.#options = options;
  }

  /** Where their keys are cut into ranges, so that several leaders share a transaction. */
  get splitKeys(): readonly string[] {
    return this.#loads.flatMap(({ splitKeys }) => splitKeys);
  }

  async layOut(client: CairnClient): Promise<void> {
    for (const load of this.#loads) await load.layOut(cairnLoadClient(client, { timeoutMs: TIMEOUT_MS }));
  }

  start(): void {
    this.#isRunning = true;
    this.#loops = this.#options.clients.map((client, at) => {
      const load = this.#loads[at % this.#loads.length] as Load;
      return this.#loop(load, client, `t${at}`);
    });
  }

  /** Resolves when everything that was under way has ended. */
  async stop(): Promise<void> {
    this.#isRunning = false;
    await Promise.all(this.#loops);
  }

  /**
   * Does the steps of the bank with many callers of one client at once, until the signal: whoever ends
   * the router behind it ends some of them between their locks and their decisions.
   */
  async crowd(client: CairnClient, count: number, signal: AbortSignal): Promise<void> {
    const [bank] = this.#loads as [Load];
    const work = async (caller: Caller): Promise<void> => {
      while (!signal.aborted) await bank.step(caller);
    };
    const name = (at: number): string => `crowd-${performance.now().toFixed(0)}-${at}`;
    await Promise.all(Array.from({ length: count }, (_, at) => work(this.#caller(bank, client, name(at)))));
  }

  async #loop(load: Load, client: CairnClient, name: string): Promise<void> {
    const caller = this.#caller(load, client, name);
    while (this.#isRunning) {
      await load.step(caller);
      await delay(caller.rng.between(0, PAUSE_MS * 2));
    }
  }

  #caller(load: Load, client: CairnClient, name: string): Caller {
    const { recorder, seed } = this.#options;
    const waiter: Waiter = recorder.newCaller();
    const caller = new Caller({
      ...{ name, client: cairnLoadClient(client, { timeoutMs: TIMEOUT_MS }) },
      rng: new SimRng(`${seed}/${name}`),
      nowMs: () => recorder.nowMs(),
      sleep: (ms) => delay(ms),
      // The recorder keeps errors that no fault explains.
      violate: () => undefined,
      onEnd: (type, error) => {
        if (type === 'ok') recorder.succeeded(waiter);
        else recorder.failed(error);
      },
    });
    const others = this.#callers.get(load) ?? [];
    this.#callers.set(load, [...others, caller]);
    return caller;
  }

  /** The last reads of the histories. After `stop`, with everything healed. */
  async readBack(client: CairnClient): Promise<void> {
    const unread: string[] = [];
    for (const load of this.#loads)
      unread.push(...(await load.finalReads(this.#caller(load, client, 'last'))));
    this.#unread = unread;
  }

  verdicts(): Verdict[] {
    return this.#loads.map((load, at) => {
      const operations = (this.#callers.get(load) ?? []).reduce((sum, caller) => sum + caller.operations, 0);
      const unread = at === 0 ? this.#unread.map((key) => `${key} cannot be read`) : [];
      const found = load.judge().map(({ name, message }) => `${name}: ${message}`);
      return verdictOf(load.name, `${operations} transactions and reads`, [...unread, ...found]);
    });
  }

  /** Writes the histories where they can be judged again. */
  keep(directory: string): void {
    for (const load of this.#loads) {
      const lines = load.lines?.() ?? [];
      writeFileSync(join(directory, `${load.name}.jsonl`), lines.map((line) => `${line}\n`).join(''));
    }
  }
}
