import { setTimeout as delay } from 'node:timers/promises';
import type { CairnClient, StoredValue } from '@cairn/client';
import { SimRng } from '@cairn/runtime-sim';
import { Ladder } from './ladder.js';
import type { Caller, Recorder } from './recorder.js';

export interface WorkloadOptions {
  readonly clients: readonly CairnClient[];
  readonly recorder: Recorder;
  readonly seed: string;
}

const TIMEOUT_MS = 3_000;
const PAUSE_MS = 12;
const REGISTERS = 6;
const COUNTERS = 3;
/** A key is left for a new one after this: the search for an order of its operations stays short. */
const OPERATIONS_PER_KEY = 400;
const UNKNOWN_PER_KEY = 10;
const LADDERS = 2;

/** Values have a size, so that tables and logs fill; what pads them is no part of what the history says. */
const VALUE_BYTES = 400;
const PADDING = '~';

/** Where the workload's keys are cut into ranges, so that several leaders share them. */
export const SPLIT_KEYS: readonly string[] = [
  'counter/1',
  'ladder/1',
  'ladder/3',
  'register/2',
  'register/4',
];

function padded(value: string): string {
  return value.padEnd(VALUE_BYTES, PADDING);
}

/** The value as it was written; bytes that no writer made stay as they are, and match nothing. */
function unpadded(text: string): string {
  const value = text.slice(0, text.indexOf(PADDING));
  return padded(value) === text ? value : text;
}

/** The value of what was found, if anything was. */
function valueOf(entry: StoredValue | undefined): string | undefined {
  return entry === undefined ? undefined : unpadded(entry.text());
}

/** A place for keys: at any time it has one key in use. */
class Slot {
  readonly keys: string[] = [];
  readonly #name: string;
  #operations = 0;
  #unknown = 0;

  constructor(name: string) {
    this.#name = name;
    this.#next();
  }

  /** The key for one more operation. */
  take(): string {
    if (this.#operations >= OPERATIONS_PER_KEY || this.#unknown >= UNKNOWN_PER_KEY) this.#next();
    this.#operations += 1;
    return this.keys.at(-1) ?? '';
  }

  lost(): void {
    this.#unknown += 1;
  }

  #next(): void {
    this.keys.push(`${this.#name}/${String(this.keys.length).padStart(4, '0')}`);
    this.#operations = this.#unknown = 0;
  }
}

/**
 * What clients do while faults strike: writes, reads, deletes, compare-and-sets and scans of a few registers,
 * increments and reads of counters, and ladders of STRICT writes that scans look at. Every outcome goes to
 * the recorder.
 */
export class Workload {
  readonly ladders: readonly Ladder[];
  readonly #options: WorkloadOptions;
  readonly #registers = Array.from({ length: REGISTERS }, (_, at) => new Slot(`register/${at}`));
  readonly #counters = Array.from({ length: COUNTERS }, (_, at) => new Slot(`counter/${at}`));
  /** What a key probably holds: makes compare-and-sets succeed now and then. */
  readonly #guesses = new Map<string, string | undefined>();
  #values = 0;
  #isRunning = false;
  #loops: Promise<void>[] = [];

  constructor(options: WorkloadOptions) {
    this.#options = options;
    this.ladders = Array.from({ length: LADDERS }, (_, at) => new Ladder(at, options.recorder));
  }

  get registerKeys(): readonly string[] {
    return this.#registers.flatMap(({ keys }) => keys);
  }

  get counterKeys(): readonly string[] {
    return this.#counters.flatMap(({ keys }) => keys);
  }

  start(): void {
    this.#isRunning = true;
    const { clients, seed } = this.#options;
    this.#loops = clients.map((client, at) => this.#loop(client, at, new SimRng(`${seed}/client ${at}`)));
  }

  /** Resolves when everything that was under way has ended. */
  async stop(): Promise<void> {
    this.#isRunning = false;
    await Promise.all(this.#loops);
  }

  /** Reads every key that was ever written once more, one by one and as a scan. After `stop`. */
  async readBack(client: CairnClient): Promise<void> {
    const caller = this.#options.recorder.newCaller();
    for (const key of this.registerKeys) await this.#read(client, caller, key);
    await this.#scanRegisters(client, caller, 'register/', this.registerKeys);
    for (const ladder of this.ladders) await ladder.look(client, caller, TIMEOUT_MS);
  }

  async #loop(client: CairnClient, at: number, rng: SimRng): Promise<void> {
    const caller = this.#options.recorder.newCaller();
    const ladder = this.ladders[at];
    while (this.#isRunning) {
      if (ladder !== undefined && rng.chance(0.6)) await ladder.climb(client, caller, TIMEOUT_MS);
      else await this.#step(client, caller, rng);
      await delay(rng.between(0, PAUSE_MS * 2));
    }
  }

  async #step(client: CairnClient, caller: Caller, rng: SimRng): Promise<void> {
    const dice = rng.next();
    if (dice < 0.2) return this.#count(client, caller, rng.pick(this.#counters));
    if (dice < 0.24) return rng.pick(this.ladders).look(client, caller, TIMEOUT_MS);
    const slot = rng.pick(this.#registers);
    const key = slot.take();
    if (dice < 0.28) return this.#scanRegisters(client, caller, key.slice(0, 11), [key]);
    // Old keys too: what nobody writes any more has to stay as it was.
    if (dice < 0.36) return this.#read(client, caller, rng.pick(slot.keys));
    if (dice < 0.58) return this.#read(client, caller, key);
    const ending = await (dice < 0.8
      ? this.#write(client, caller, key, rng)
      : this.#compareAndSet(client, caller, key, rng));
    if (ending === 'unknown') slot.lost();
  }

  #newValue(caller: Caller): string {
    this.#values += 1;
    return `${caller.process}.${this.#values}`;
  }

  async #read(client: CairnClient, caller: Caller, key: string): Promise<void> {
    await this.#options.recorder.run(caller, key, { f: 'read', value: undefined }, async () => {
      const value = valueOf(await client.get(key, { timeoutMs: TIMEOUT_MS }));
      this.#guesses.set(key, value);
      return { f: 'read', value };
    });
  }

  #write(client: CairnClient, caller: Caller, key: string, rng: SimRng): ReturnType<Recorder['run']> {
    const value = rng.chance(0.1) ? undefined : this.#newValue(caller);
    const options = { timeoutMs: TIMEOUT_MS, ordering: rng.chance(0.3) ? 'strict' : 'plain' } as const;
    return this.#options.recorder.run(caller, key, { f: 'write', value }, async () => {
      if (value === undefined) await client.delete(key, options);
      else await client.put(key, padded(value), options);
      this.#guesses.set(key, value);
      return { f: 'write', value };
    });
  }

  #compareAndSet(client: CairnClient, caller: Caller, key: string, rng: SimRng): ReturnType<Recorder['run']> {
    const expected = rng.chance(0.9) ? this.#guesses.get(key) : undefined;
    const value = this.#newValue(caller);
    const intent = { f: 'cas', expected, value, succeeded: true, found: undefined } as const;
    return this.#options.recorder.run(caller, key, intent, async () => {
      const { succeeded, current } = await client.compareAndSet(key, {
        ...(expected === undefined ? { expectedAbsent: true } : { expectedValue: padded(expected) }),
        value: padded(value),
        timeoutMs: TIMEOUT_MS,
      });
      const found = succeeded ? undefined : valueOf(current);
      this.#guesses.set(key, succeeded ? value : found);
      return { ...intent, succeeded, found };
    });
  }

  async #count(client: CairnClient, caller: Caller, slot: Slot): Promise<void> {
    const key = slot.take();
    const intent = { f: 'add', delta: 1, result: '' } as const;
    const ending = await this.#options.recorder.run(caller, key, intent, async () => {
      const sum = await client.increment(key, 1, { timeoutMs: TIMEOUT_MS });
      return { ...intent, result: String(sum) };
    });
    if (ending === 'unknown') slot.lost();
  }

  /** A scan is a read of each of these keys, whether it answers a row for it or not. */
  async #scanRegisters(
    client: CairnClient,
    caller: Caller,
    prefix: string,
    keys: readonly string[],
  ): Promise<void> {
    const { recorder } = this.#options;
    const invokedMs = recorder.nowMs();
    const found = new Map<string, string>();
    try {
      for await (const row of client.scan({ prefix, timeoutMs: TIMEOUT_MS })) {
        found.set(row.keyText(), unpadded(row.text()));
      }
    } catch (error) {
      recorder.failed(error);
      return;
    }
    recorder.succeeded(caller);
    const returnedMs = recorder.nowMs();
    for (const key of keys) {
      const action = { f: 'read', value: found.get(key) } as const;
      recorder.history.add({ process: String(caller.process), key, action, invokedMs, returnedMs });
    }
  }
}
