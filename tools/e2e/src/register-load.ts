import { setTimeout as delay } from 'node:timers/promises';
import { CairnError, messageOf } from '@cairn/base';
import type { CairnClient, WriteOrdering } from '@cairn/client';
import { RegisterHistory, type OpenWrite } from './register-history.js';

export interface RegisterLoadOptions {
  readonly client: CairnClient;
  /** All keys begin with this. */
  readonly prefix: string;
  /** Writers; each has a key of its own at a time. */
  readonly writers: number;
  readonly readers: number;
  /** Further writers that increment counters. */
  readonly counters: number;
  /** Rest of each loop between two operations. */
  readonly pauseMs: number;
}

export interface LoadStats {
  acknowledged: number;
  reads: number;
  increments: number;
  /** Refused and certainly not applied. */
  refused: number;
  /** Outcome unknown: the key was given up. */
  lost: number;
  /** Reads that ended in an error. */
  failedReads: number;
}

const VALUE_BYTES = 256;
/** The client says of these that the write did not happen. */
const NOT_APPLIED: readonly string[] = ['UNAVAILABLE', 'RESOURCE_EXHAUSTED', 'DEADLINE_EXCEEDED'];

interface Slot {
  readonly index: number;
  readonly ordering: WriteOrdering;
  register: number;
  generation: number;
  /** Of the first success since the last `mark`; 0 = none yet. */
  firstSuccessMs: number;
}

/** Distinct, ordered like the writers, and still known when a writer changes keys. */
function keyOf(prefix: string, slot: number, generation: number): string {
  return `${prefix}${String(slot).padStart(3, '0')}/${generation}`;
}

function valueOf(key: string, sequence: number): string {
  return `${key}#${sequence}#`.padEnd(VALUE_BYTES, 'x');
}

/**
 * A steady load of writers, readers and counters that remembers everything it was told. Half of the writers
 * ask for STRICT ordering. The client gives each write its request id, and sends it again under the same
 * one.
 */
export class RegisterLoad {
  readonly history = new RegisterHistory();
  readonly stats: LoadStats = {
    acknowledged: 0,
    reads: 0,
    increments: 0,
    refused: 0,
    lost: 0,
    failedReads: 0,
  };
  readonly #options: RegisterLoadOptions;
  readonly #slots: Slot[] = [];
  /** Key of each register. */
  readonly #keys: string[] = [];
  readonly #problems: string[] = [];
  #isRunning = false;
  #loops: Promise<void>[] = [];

  constructor(options: RegisterLoadOptions) {
    this.#options = options;
    for (let index = 0; index < options.writers; index += 1) {
      const ordering = index % 2 === 0 ? 'plain' : 'strict';
      const slot: Slot = { index, ordering, register: 0, generation: -1, firstSuccessMs: 0 };
      this.#slots.push(slot);
      this.#nextKey(slot);
    }
  }

  /** What went wrong: violations of the history, wrong bytes, errors that must not occur. Empty = nothing. */
  get problems(): readonly string[] {
    return [...this.#problems, ...this.history.violations];
  }

  start(): void {
    this.#isRunning = true;
    const { readers, counters } = this.#options;
    this.#loops = [
      ...this.#slots.map((slot) => this.#loop(() => this.#write(slot))),
      ...Array.from({ length: readers }, (_, at) => {
        let turn = at;
        return this.#loop(() => this.#readOne((turn += 7)));
      }),
      ...Array.from({ length: counters }, (_, at) => this.#count(at)),
    ];
  }

  /** Resolves when everything that was under way has ended. */
  async stop(): Promise<void> {
    this.#isRunning = false;
    await Promise.all(this.#loops);
  }

  /** Forgets earlier successes: `firstSuccessMs` then speaks of later ones. */
  mark(): void {
    for (const slot of this.#slots) slot.firstSuccessMs = 0;
  }

  /**
   * By writer: the key that it writes now, whether STRICT, and when it first succeeded since `mark` (0 =
   * not yet).
   */
  progress(): readonly {
    readonly key: string;
    readonly isStrict: boolean;
    readonly firstSuccessMs: number;
  }[] {
    return this.#slots.map((slot) => ({
      key: this.#keys[slot.register] ?? '',
      isStrict: slot.ordering === 'strict',
      firstSuccessMs: slot.firstSuccessMs,
    }));
  }

  /**
   * Reads every key that was ever written, one by one and once more as a scan, and compares with what is
   * known. After `stop`.
   */
  async readBack(client: CairnClient): Promise<void> {
    const reads = this.#keys.map((_, register) => this.history.beginRead(register));
    const entries = await client.getMany(this.#keys);
    entries.forEach((entry, register) => {
      const read = reads[register];
      if (read !== undefined) this.history.endRead(read, this.#sequenceIn(register, entry?.value));
    });
    const found = new Map<string, Buffer>();
    for await (const row of client.scan({ prefix: this.#options.prefix }))
      found.set(row.keyText(), row.value);
    this.#keys.forEach((key, register) => {
      const sequence = this.#sequenceIn(register, found.get(key));
      this.history.endRead(this.history.beginRead(register), sequence);
      found.delete(key);
    });
    for (const key of found.keys()) this.#problems.push(`the scan answered ${key}, which nobody wrote`);
  }

  /** Loops end only with `stop`: what an operation throws is a finding, not a reason to fall silent. */
  async #loop(step: () => Promise<void>): Promise<void> {
    while (this.#isRunning) {
      await step().catch((error: unknown) => this.#problems.push(`unexpected: ${messageOf(error)}`));
      await delay(this.#options.pauseMs);
    }
  }

  #nextKey(slot: Slot): void {
    slot.generation += 1;
    slot.register = this.history.open();
    this.#keys[slot.register] = keyOf(this.#options.prefix, slot.index, slot.generation);
  }

  async #write(slot: Slot): Promise<void> {
    const key = this.#keys[slot.register] ?? '';
    const write = this.history.beginWrite(slot.register);
    try {
      await this.#options.client.put(key, valueOf(key, write.sequence), { ordering: slot.ordering });
    } catch (error) {
      this.#writeFailed(slot, write, error);
      return;
    }
    this.history.acknowledge(write);
    this.stats.acknowledged += 1;
    if (slot.firstSuccessMs === 0) slot.firstSuccessMs = performance.now();
  }

  #writeFailed(slot: Slot, write: OpenWrite, error: unknown): void {
    const code = CairnError.is(error) ? error.code : 'not a CairnError';
    if (NOT_APPLIED.includes(code)) {
      this.stats.refused += 1;
      this.history.refuse(write);
      return;
    }
    if (code !== 'OUTCOME_UNKNOWN') this.#problems.push(`a put failed with ${code}: ${messageOf(error)}`);
    this.stats.lost += 1;
    this.history.lose(write);
    this.#nextKey(slot);
  }

  async #readOne(turn: number): Promise<void> {
    const register = this.#slots[turn % this.#slots.length]?.register ?? 0;
    const read = this.history.beginRead(register);
    let value: Buffer | undefined;
    try {
      value = (await this.#options.client.get(this.#keys[register] ?? ''))?.value;
    } catch (error) {
      const code = CairnError.is(error) ? error.code : 'not a CairnError';
      this.stats.failedReads += 1;
      if (!NOT_APPLIED.includes(code)) this.#problems.push(`a get failed with ${code}: ${messageOf(error)}`);
      return;
    }
    this.history.endRead(read, this.#sequenceIn(register, value));
    this.stats.reads += 1;
  }

  /** A counter goes up by one with each acknowledged increment: an id that is applied twice shows here. */
  async #count(at: number): Promise<void> {
    let generation = 0;
    let value = 0n;
    await this.#loop(async () => {
      const key = keyOf(`${this.#options.prefix.replace(/\/$/, '')}-counter/`, at, generation);
      try {
        const answer = await this.#options.client.increment(key);
        if (answer !== value + 1n)
          this.#problems.push(`${key} went from ${value} to ${answer} by one increment`);
        value = answer;
        this.stats.increments += 1;
      } catch (error) {
        const code = CairnError.is(error) ? error.code : 'not a CairnError';
        if (NOT_APPLIED.includes(code)) return;
        if (code !== 'OUTCOME_UNKNOWN') {
          this.#problems.push(`an increment failed with ${code}: ${messageOf(error)}`);
        }
        generation += 1;
        value = 0n;
      }
    });
  }

  /** The number inside a value; a value that no writer of the key made is a finding. */
  #sequenceIn(register: number, value: Buffer | undefined): number {
    if (value === undefined) return 0;
    const key = this.#keys[register] ?? '';
    const text = value.toString('utf8');
    const sequence = Number(text.split('#')[1]);
    if (text !== valueOf(key, sequence)) this.#problems.push(`${key} holds bytes that nobody wrote: ${text}`);
    return sequence;
  }
}
