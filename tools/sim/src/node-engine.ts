import { MemoryEngine, type KvEngine } from '@cairn/engine';
import { InlineJobs, LsmEngine } from '@cairn/lsm';
import { VERSIONED_KEYS } from '@cairn/mvcc';
import type { Logger, Rng } from '@cairn/ports';
import type { SimDisk, SimProcess, SimRng } from '@cairn/runtime-sim';

import type { EngineFaults } from './engine-faults.js';
import { FaultyEngine } from './faulty-engine.js';

/**
 * `memory`: nothing of it is a file, and a crash loses any of the newest batches, as of LevelDB. `lsm`: the
 * engine of the product, on the simulated disk.
 */
export type SimEngineKind = 'memory' | 'lsm';

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
function withFaults(inner: KvEngine, life: EngineLife, faults: EngineFaults, all: boolean): KvEngine {
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
    check: (operation) => {
      if (all || operation === 'read') faults.checkTold(operation);
    },
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
    return Promise.resolve(withFaults(this.#engine, life, this.#faults, false));
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
      runner: new InlineJobs(disk),
      versioned: VERSIONED_KEYS,
      memtableBytes: 16 * 1024,
      blockBytes: 512,
      tableBytes: 8 * 1024,
      blockCacheBytes: rng.pick([0, 4 * 1024, 1024 * 1024]),
      metaCacheBytes: rng.pick([0, 1024 * 1024]),
    });
    return withFaults(this.current, life, this.#faults, true);
  }

  died(): void {
    this.current = undefined;
  }
}
