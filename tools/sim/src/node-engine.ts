import { MemoryEngine, type KvEngine } from '@cairn/engine';
import { openClassicLevelEngine } from '@cairn/engine/classic-level';
import { InlineJobs, LsmEngine } from '@cairn/lsm';
import { VERSIONED_KEYS } from '@cairn/mvcc';
import { noopLogger, type Logger, type Rng } from '@cairn/ports';
import type { SimDisk, SimProcess, SimRng, SimScheduler } from '@cairn/runtime-sim';

import type { EngineFaults } from './engine-faults.js';
import { FaultyEngine, type EngineHooks } from './faulty-engine.js';
import { loseUnsynced } from './level-files.js';
import { RealEngine } from './real-engine.js';

/**
 * `memory`: nothing of it is a file, and a crash loses any of the newest batches, as of LevelDB. `lsm`: the
 * engine that nodes have by default, on the simulated disk. `classic-level`: LevelDB itself, on real files.
 */
export const SIM_ENGINES = ['memory', 'lsm', 'classic-level'] as const;
export type SimEngineKind = (typeof SIM_ENGINES)[number];

/** How a life ends: the machine loses power (unsynced data is lost), or only the process dies. */
export type Death = 'power' | 'process';

/** Virtual time of an engine write and of a flush in memory, milliseconds. */
const ENGINE_WRITE_MS = { low: 0.01, high: 0.2 };
const ENGINE_FLUSH_MS = { low: 0.5, high: 5 };
/** A dying process keeps every write the operating system has taken: nothing is lost. */
const LOSE_NOTHING: Rng = { next: () => 0, integer: () => 0, bytes: (length) => new Uint8Array(length) };

/** The engine of a machine; what of it outlives a process is up to it. */
export interface NodeEngine {
  /** For one life. */
  open(life: EngineLife): Promise<KvEngine>;
  /** What the life that is running, or ran last, has; undefined before the first is open. */
  readonly current: KvEngine | undefined;
  /** The process that had it is gone. */
  died(death: Death, rng: SimRng): void;
}

export interface EngineLife {
  readonly process: SimProcess;
  readonly logger: Logger;
  /** Reads take up to this long; 0 = they come at once. */
  readonly readMsMax: number;
  readonly rng: SimRng;
}

/** Reads that take virtual time, and operations that fail as they are told. */
function withFaults(
  inner: KvEngine,
  life: EngineLife,
  faults: EngineFaults,
  check: EngineHooks['check'],
): KvEngine {
  const { process, readMsMax } = life;
  const delays = life.rng.fork('reads');
  const paces = life.rng.fork('writes');
  // One after the other, as a device does them.
  let idleFromMs = 0;
  return new FaultyEngine(inner, {
    delay: () =>
      readMsMax === 0
        ? undefined
        : new Promise((resolve) => {
            // Most reads are quick, some take their time.
            process.schedule(delays.next() ** 4 * readMsMax, resolve);
          }),
    isSlow: () => readMsMax > 0 && delays.next() < 0.5,
    linger: () => {
      if (faults.slowMs === 0) return undefined;
      const nowMs = process.clock.nowMs();
      idleFromMs = Math.max(idleFromMs, nowMs) + paces.between(faults.slowMs / 2, faults.slowMs);
      const leftMs = idleFromMs - nowMs;
      return new Promise((resolve) => {
        process.schedule(leftMs, resolve);
      });
    },
    check,
  });
}

/** Rows in memory, that outlive the process as rows on a disk would. */
export class MemoryNodeEngine implements NodeEngine {
  #engine: MemoryEngine;
  #process: SimProcess | undefined;
  readonly #faults: EngineFaults;

  constructor(faults: EngineFaults, delays: SimRng) {
    this.#faults = faults;
    this.#engine = new MemoryEngine({
      delay: (operation) => {
        const process = this.#process;
        if (process === undefined) return Promise.resolve();
        const bounds = operation === 'flush' ? ENGINE_FLUSH_MS : ENGINE_WRITE_MS;
        return new Promise((resolve) => {
          process.schedule(delays.between(bounds.low, bounds.high), resolve);
        });
      },
      beforeWrite: (bytes) => {
        faults.check('write', bytes);
      },
      beforeFlush: () => {
        faults.check('flush', 0);
      },
    });
  }

  get current(): MemoryEngine {
    return this.#engine;
  }

  open(life: EngineLife): Promise<KvEngine> {
    this.#process = life.process;
    const faults = this.#faults;
    const engine = withFaults(this.#engine, life, faults, (operation) => {
      // It asks itself before it changes anything.
      if (operation === 'read') faults.checkTold(operation);
    });
    return Promise.resolve(engine);
  }

  died(death: Death, rng: SimRng): void {
    this.#process = undefined;
    this.#engine = this.#engine.crash(death === 'power' ? rng : LOSE_NOTHING);
  }
}

/**
 * The engine of the product, with sizes so small that memtables, tables and merges turn over all the time.
 */
export class LsmNodeEngine implements NodeEngine {
  current: LsmEngine | undefined;
  readonly #disk: SimDisk;
  readonly #faults: EngineFaults;

  constructor(disk: SimDisk, faults: EngineFaults) {
    this.#disk = disk;
    this.#faults = faults;
  }

  async open(life: EngineLife): Promise<KvEngine> {
    const disk = this.#disk.attach(life.process);
    const rng = life.rng.fork('engine');
    this.current = await LsmEngine.open({
      path: '/data/engine',
      disk,
      clock: life.process.clock,
      logger: life.logger,
      rng: rng.fork('directory'),
      runner: new InlineJobs(disk),
      versioned: VERSIONED_KEYS,
      memtableBytes: 16 * 1024,
      blockBytes: 512,
      tableBytes: 8 * 1024,
      compressedFromLevel: 1,
      blockCacheBytes: rng.pick([0, 4 * 1024, 1024 * 1024]),
      metaCacheBytes: rng.pick([0, 1024 * 1024]),
    });
    const faults = this.#faults;
    // The disk that it is on knows itself when it is full.
    return withFaults(this.current, life, faults, (operation) => {
      faults.checkTold(operation);
    });
  }

  died(): void {
    this.current = undefined;
  }
}

/**
 * What LevelDB has in memory before it writes a table: so much that it does that when told, and only then.
 */
const LEVEL_WRITE_BUFFER_BYTES = 64 * 1024 * 1024;
const LEVEL_BLOCK_CACHE_BYTES = 1024 * 1024;

/**
 * LevelDB in a real directory, for nobody else. Its work is done while virtual time stands still; a loss of
 * power takes what it has not synced.
 */
export class LevelNodeEngine implements NodeEngine {
  current: RealEngine | undefined;
  readonly #directory: string;
  readonly #scheduler: SimScheduler;
  readonly #faults: EngineFaults;
  /** Open, whether or not the life that opened it has heard of that. */
  #inner: KvEngine | undefined;

  constructor(directory: string, scheduler: SimScheduler, faults: EngineFaults) {
    this.#directory = directory;
    this.#scheduler = scheduler;
    this.#faults = faults;
  }

  async open(life: EngineLife): Promise<KvEngine> {
    const faults = this.#faults;
    const opening = this.#openFiles();
    // Whoever is told of a failure is the one who opens, if that process still lives.
    this.#scheduler.holdFor(opening.catch(() => undefined));
    await new Promise<void>((resolve) => {
      life.process.schedule(0, resolve);
    });
    // Over since the event above: time stood still for it.
    this.current = new RealEngine(await opening, this.#scheduler, life.process, life.rng.fork('engine'));
    return withFaults(this.current, life, faults, (operation, bytes) => {
      faults.check(operation, bytes);
    });
  }

  died(death: Death, rng: SimRng): void {
    this.current = undefined;
    const inner = this.#inner;
    this.#inner = undefined;
    this.#scheduler.holdFor(this.#leave(inner, death === 'power' ? rng : undefined));
  }

  async #openFiles(): Promise<KvEngine> {
    this.#inner = await openClassicLevelEngine({
      path: this.#directory,
      writeBufferBytes: LEVEL_WRITE_BUFFER_BYTES,
      blockCacheBytes: LEVEL_BLOCK_CACHE_BYTES,
      // It says where it is, and that is somewhere else in each run.
      logger: noopLogger,
    });
    return this.#inner;
  }

  /** Closing writes nothing: the files are those that a process leaves behind that is killed. */
  async #leave(inner: KvEngine | undefined, lost: SimRng | undefined): Promise<void> {
    await inner?.close();
    if (lost !== undefined) loseUnsynced(this.#directory, lost);
  }
}
