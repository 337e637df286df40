import { join } from 'node:path';
import { assert, CairnError } from '@cairn/base';
import type { KvEngine } from '@cairn/engine';
import type { Clock, Disk, Logger, Rng, Transport } from '@cairn/ports';
import {
  SimDisk,
  type SimNetwork,
  type SimProcess,
  type SimRng,
  type SimScheduler,
} from '@cairn/runtime-sim';
import type { Replica } from '@cairn/store';
import { THIS_BUILD, type BuildVersions } from '@cairn/wire';

import { EngineFaults } from './engine-faults.js';
import {
  LevelNodeEngine,
  LsmNodeEngine,
  MemoryNodeEngine,
  type Death,
  type NodeEngine,
  type SimEngineKind,
} from './node-engine.js';
import type { Observer } from './observer.js';

/**
 * Clocks of nodes run at most this much too fast or too slow: any two then differ in speed by just less than
 * the tenth by which a vote hold has to exceed a lease.
 */
const DRIFT_PPM_MAX = 47_000;

export interface SimWorld {
  readonly scheduler: SimScheduler;
  readonly network: SimNetwork;
  readonly rng: SimRng;
  readonly observer: Observer;
  /** Reads of engines take up to this long; 0 = they come at once. */
  readonly engineReadMsMax: number;
  readonly engine: SimEngineKind;
  /** Where engines have real files; nodes make a directory each. */
  readonly engineDirectory?: string;
}

/** The ports of one life. */
export interface NodePorts {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly disk: Disk;
  readonly transport: Transport;
  readonly logger: Logger;
  openEngine(): Promise<KvEngine>;
}

/**
 * A machine with a disk and an engine that outlive its processes. What runs on it is up to the subclass; it
 * begins in `start`, and everything it does happens through the ports of that life.
 */
export abstract class SimNode {
  readonly name: string;
  readonly world: SimWorld;
  readonly engineFaults: EngineFaults;
  /** What the next start runs. */
  build: BuildVersions = THIS_BUILD;
  /** Called when what runs here has ended by itself: whoever looks after the machine starts it again. */
  onEnded: () => void = () => undefined;
  #disk: SimDisk;
  #engine: NodeEngine;
  #process: SimProcess | undefined;
  #lives = 0;
  #isLost = false;

  constructor(name: string, world: SimWorld) {
    this.name = name;
    this.world = world;
    this.#disk = this.#newDisk();
    this.engineFaults = new EngineFaults(() => this.#disk.freeBytes);
    this.#engine = this.#newEngine();
  }

  /** Without delays and faults, for whoever looks at the rows. */
  get engine(): KvEngine {
    assert(this.#engine.current !== undefined, 'the node has opened its engine', { node: this.name });
    return this.#engine.current;
  }

  get disk(): SimDisk {
    return this.#disk;
  }

  get isAlive(): boolean {
    return this.#process !== undefined && this.#process.state !== 'dead';
  }

  /** Its data rotted and it has noticed: it never comes back. */
  get isLost(): boolean {
    return this.#isLost;
  }

  get isPaused(): boolean {
    return this.#process?.state === 'paused';
  }

  get clock(): Clock | undefined {
    return this.#process?.clock;
  }

  /** The replicas of what runs now; none while it is not open. */
  abstract replicas(): Iterable<Replica>;

  /** Begins a life. Nodes must come back from any crash: `open` may fail only for an injected reason. */
  start(): void {
    if (this.#isLost) return;
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
      openEngine: () =>
        this.#engine.open({
          process,
          logger: observer.loggerFor(this.name),
          readMsMax: this.world.engineReadMsMax,
          rng,
        }),
    };
    process.schedule(0, () => {
      this.open(ports).catch((error: unknown) => {
        if (process.state !== 'dead') this.ended('start', error);
      });
    });
  }

  protected abstract open(ports: NodePorts): Promise<void>;
  /** The life is over: what it was must not be looked at any more. */
  protected abstract forget(): void;

  /**
   * What runs here gave up, did not come up, or did not stop cleanly: the process ends. A violation, unless
   * the cause is an injected fault, or a flipped bit that was noticed in the very file that has one. A full
   * disk is no reason for what runs: log and engine wait for room. Only the engine in memory fails then.
   */
  protected ended(checker: 'fatal' | 'start' | 'stop', error: unknown): void {
    const { observer, scheduler } = this.world;
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    if (this.isNoticedRot(error)) {
      this.#isLost = true;
      observer.note(this.name, `is lost: ${text}`);
    } else if (checker === 'fatal' && this.world.engine === 'lsm' && isDiskFull(error)) {
      observer.violate(checker, `${this.name} ends because its disk is full: ${text}`);
    } else if (this.#disk.isInjected(error) || this.engineFaults.isInjected(error)) {
      observer.note(this.name, `ends (${checker}): ${text}`);
    } else {
      observer.violate(checker, `${this.name}: ${text}`);
    }
    // Not now: whoever reports this is still running.
    const process = this.#process;
    scheduler.schedule(0, () => {
      if (process === undefined || this.#process !== process) return;
      this.die('process');
      this.onEnded();
    });
  }

  /**
   * Whether the error names a file of this node that has a flipped bit, as the reason why it cannot be read.
   */
  isNoticedRot(error: unknown): boolean {
    if (!CairnError.is(error) || (error.code !== 'CORRUPTION' && error.code !== 'FORMAT_TOO_NEW'))
      return false;
    const path = error.details['path'];
    return typeof path === 'string' && this.#disk.isRotten(path);
  }

  /** The disk takes only so much more, until the returned function is called. */
  fill(roomBytes: number): () => void {
    this.#disk.setBytesMax(this.#disk.usedBytes + roomBytes);
    return () => {
      this.#disk.setBytesMax(Number.MAX_SAFE_INTEGER);
    };
  }

  /** The machine gets a new disk; whoever runs it has to say so. */
  loseDirectory(): void {
    assert(this.#process === undefined, 'only a dead machine gets a new disk', { node: this.name });
    this.#disk = this.#newDisk();
    this.#engine = this.#newEngine();
  }

  #newDisk(): SimDisk {
    return new SimDisk(this.world.rng.fork(`${this.name}/disk`), { cutsAtBytes: true });
  }

  #newEngine(): NodeEngine {
    const { engine, engineDirectory, rng, scheduler } = this.world;
    switch (engine) {
      case 'lsm':
        return new LsmNodeEngine(this.#disk, this.engineFaults);
      case 'memory':
        return new MemoryNodeEngine(this.engineFaults, rng.fork(`${this.name}/engine`));
      case 'classic-level': {
        assert(engineDirectory !== undefined, 'an engine with real files has a place for them');
        // Another one after the loss of a disk.
        const directory = join(engineDirectory, `${this.name}-${this.#lives}`);
        return new LevelNodeEngine(directory, scheduler, this.engineFaults);
      }
    }
  }

  stepWallClock(byMs: number): void {
    this.#process?.stepWallClock(byMs);
  }

  die(death: Death): void {
    if (this.#process === undefined) return;
    this.world.observer.note(this.name, `dies (${death})`);
    this.#process.kill();
    this.#process = undefined;
    if (death === 'power') this.#disk.crash();
    this.#engine.died(death, this.world.rng.fork(`${this.name}/crash-${this.#lives}`));
    this.forget();
  }

  /** Goes on after a suspension: its monotonic clock shows what it showed when it was paused. */
  wake(sleptMs: number): void {
    if (!this.isPaused) return;
    this.#process?.stoodStill(sleptMs);
    this.resume();
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

function isDiskFull(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause)
    if ((at as { readonly code?: unknown }).code === 'DISK_FULL') return true;
  return false;
}
