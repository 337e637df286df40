import { MemoryEngine, type KvEngine } from '@cairn/engine';
import type { Clock, Disk, Logger, Rng, Transport } from '@cairn/ports';
import {
  SimDisk,
  type SimNetwork,
  type SimProcess,
  type SimRng,
  type SimScheduler,
} from '@cairn/runtime-sim';
import type { Replica } from '@cairn/store';

import type { Observer } from './observer.js';
import { SlowEngine } from './slow-engine.js';

/** Virtual time of an engine write and of a flush, milliseconds. */
const ENGINE_WRITE_MS = { low: 0.01, high: 0.2 };
const ENGINE_FLUSH_MS = { low: 0.5, high: 5 };
/** Clocks of nodes run at most this much too fast or too slow. */
const DRIFT_PPM_MAX = 200;
/** A dying process keeps every write the operating system has taken: nothing is lost. */
const LOSE_NOTHING: Rng = { next: () => 0, integer: () => 0, bytes: (length) => new Uint8Array(length) };

export interface SimWorld {
  readonly scheduler: SimScheduler;
  readonly network: SimNetwork;
  readonly rng: SimRng;
  readonly observer: Observer;
  /** Reads of engines take up to this long; 0 = they come at once. */
  readonly engineReadMsMax: number;
}

/** The ports of one life. */
export interface NodePorts {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly disk: Disk;
  readonly transport: Transport;
  readonly logger: Logger;
  readonly engine: KvEngine;
}

/** How a life ends: the machine loses power (unsynced data is lost), or only the process dies. */
export type Death = 'power' | 'process';

/**
 * A machine with a disk and an engine that outlive its processes. What runs on it is up to the subclass; it
 * begins in `start`, and everything it does happens through the ports of that life.
 */
export abstract class SimNode {
  readonly name: string;
  readonly world: SimWorld;
  readonly #disk: SimDisk;
  #engine: MemoryEngine;
  #process: SimProcess | undefined;
  #lives = 0;

  constructor(name: string, world: SimWorld) {
    this.name = name;
    this.world = world;
    this.#disk = new SimDisk(world.rng.fork(`${name}/disk`));
    const delays = world.rng.fork(`${name}/engine`);
    this.#engine = new MemoryEngine({
      delay: (operation) => {
        const process = this.#process;
        if (process === undefined) return Promise.resolve();
        const bounds = operation === 'flush' ? ENGINE_FLUSH_MS : ENGINE_WRITE_MS;
        return new Promise((resolve) => {
          process.schedule(delays.between(bounds.low, bounds.high), resolve);
        });
      },
    });
  }

  get engine(): MemoryEngine {
    return this.#engine;
  }

  get disk(): SimDisk {
    return this.#disk;
  }

  get isAlive(): boolean {
    return this.#process !== undefined && this.#process.state !== 'dead';
  }

  get isPaused(): boolean {
    return this.#process?.state === 'paused';
  }

  get clock(): Clock | undefined {
    return this.#process?.clock;
  }

  /** The replicas of what runs now; none while it is not open. */
  abstract replicas(): Iterable<Replica>;

  /** Begins a life. A failure of `open` is a violation: nodes must come back from any crash. */
  start(): void {
    this.#lives += 1;
    const { scheduler, network, observer } = this.world;
    const rng = this.world.rng.fork(`${this.name}/life-${this.#lives}`);
    const process = scheduler.startProcess(this.name, {
      offsetMs: rng.between(0, 1_000_000),
      driftPpm: rng.between(-DRIFT_PPM_MAX, DRIFT_PPM_MAX),
    });
    this.#process = process;
    observer.note(this.name, `starts life ${this.#lives}`);
    const ports: NodePorts = {
      clock: process.clock,
      rng,
      disk: this.#disk.attach(process),
      transport: network.attach(process),
      logger: observer.loggerFor(this.name),
      engine: this.#engineFor(process, rng),
    };
    process.schedule(0, () => {
      this.open(ports).catch((error: unknown) => {
        if (process.state === 'dead') return;
        const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
        observer.violate('start', `${this.name} did not start: ${text}`);
      });
    });
  }

  #engineFor(process: SimProcess, rng: SimRng): KvEngine {
    const { engineReadMsMax } = this.world;
    if (engineReadMsMax === 0) return this.#engine;
    const delays = rng.fork('reads');
    return new SlowEngine(
      this.#engine,
      () =>
        new Promise((resolve) => {
          // Most reads are quick, some take their time.
          process.schedule(delays.next() ** 4 * engineReadMsMax, resolve);
        }),
    );
  }

  protected abstract open(ports: NodePorts): Promise<void>;
  /** The life is over: what it was must not be looked at any more. */
  protected abstract forget(): void;

  /** For `onFatal` of what runs here: without injected disk errors no node may give up. */
  protected fatal(error: unknown): void {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.world.observer.violate('fatal', `${this.name}: ${text}`);
  }

  die(death: Death): void {
    if (this.#process === undefined) return;
    this.world.observer.note(this.name, `dies (${death})`);
    this.#process.kill();
    this.#process = undefined;
    if (death === 'power') this.#disk.crash();
    this.#engine = this.#engine.crash(
      death === 'power' ? this.world.rng.fork(`${this.name}/crash-${this.#lives}`) : LOSE_NOTHING,
    );
    this.forget();
  }

  pause(): void {
    if (!this.isAlive) return;
    this.world.observer.note(this.name, 'pauses');
    this.#process?.pause();
  }

  resume(): void {
    if (!this.isPaused) return;
    this.world.observer.note(this.name, 'resumes');
    this.#process?.resume();
  }
}
