import { assert } from '@cairn/base';
import type { Connection, Listener, Timer, Transport } from '@cairn/ports';
import {
  type ConnectionLimits,
  type FrameAction,
  type NetworkHost,
  SimConnection,
} from './sim-connection.js';
import type { SimProcess } from './sim-process.js';
import type { SimRng } from './sim-rng.js';
import type { SimScheduler } from './sim-scheduler.js';

const MIB = 1024 * 1024;

export interface SimNetworkOptions {
  /** One-way delay: uniform between the two. Default [0.05, 0.25]. */
  readonly latencyMs?: readonly [number, number];
  /** Default 100,000 (about 100 MB/s) for each connection. */
  readonly bytesPerMs?: number;
  /** A connection with traffic over a blocked path breaks after this long. Default 5,000. */
  readonly breakAfterMs?: number;
  /** Default 3,000. */
  readonly connectTimeoutMs?: number;
  /**
   * When the peers of a killed process see their connections close: uniform between the two. Default [0, 1].
   */
  readonly deathNoticeMs?: readonly [number, number];
  /** Chance, for each batch of frames sent in one instant, that the connection breaks. Default 0. */
  readonly breakChance?: number;
  /** Chance, for each frame, that one bit of it is flipped on its way. Default 0. */
  readonly flipChance?: number;
  /** Default 256 KiB. */
  readonly kernelBytes?: number;
  /** Default 4 MiB. */
  readonly highWaterBytes?: number;
  /** Default 1 MiB. */
  readonly lowWaterBytes?: number;
  /** Default 256 MiB, as TCP has it. */
  readonly queuedBytesMax?: number;
}

interface ListenerEntry {
  readonly process: SimProcess;
  readonly onConnection: (connection: Connection) => void;
}

/** Says whether frames from one process to another may be damaged. */
export type FlipSubject = (from: string, to: string) => boolean;

export type FrameFilter = (frame: Buffer, from: string, to: string) => FrameAction;

function pathKey(from: string, to: string): string {
  return `${from} > ${to}`;
}

/**
 * Connects simulated processes. Paths between processes are named by process name, in each direction; a
 * blocked path holds back what is sent over it, in order, until it is free again or the connection breaks.
 */
export class SimNetwork {
  readonly #scheduler: SimScheduler;
  readonly #rng: SimRng;
  readonly #latencyMs: readonly [number, number];
  readonly #bytesPerMs: number;
  readonly #connectTimeoutMs: number;
  readonly #deathNoticeMs: readonly [number, number];
  readonly #listeners = new Map<string, ListenerEntry>();
  readonly #ends = new Set<SimConnection>();
  /** How many faults block a path: overlapping partitions and flaps each count. */
  readonly #blocks = new Map<string, number>();
  readonly #pathLatencyMs = new Map<string, readonly [number, number]>();
  /** Processes whose death is noticed only after so long, by name. */
  readonly #lateNoticesMs = new Map<string, number>();
  readonly #host: NetworkHost;
  #breakChance: number;
  #flipChance: number;
  #flips: FlipSubject = () => true;
  /** Frames that lost a bit so far; for checks. */
  #flippedFrames = 0;
  /** Paths whose end reads nothing: how many faults each. */
  readonly #deaf = new Map<string, number>();
  #filter: FrameFilter | undefined;
  #nextPort = 20_000;

  constructor(scheduler: SimScheduler, rng: SimRng, options: SimNetworkOptions = {}) {
    this.#scheduler = scheduler;
    this.#rng = rng;
    this.#latencyMs = options.latencyMs ?? [0.05, 0.25];
    this.#bytesPerMs = options.bytesPerMs ?? 100_000;
    this.#connectTimeoutMs = options.connectTimeoutMs ?? 3_000;
    this.#deathNoticeMs = options.deathNoticeMs ?? [0, 1];
    this.#breakChance = options.breakChance ?? 0;
    this.#flipChance = options.flipChance ?? 0;
    const limits: ConnectionLimits = {
      kernelBytes: options.kernelBytes ?? 256 * 1024,
      highWaterBytes: options.highWaterBytes ?? 4 * MIB,
      lowWaterBytes: options.lowWaterBytes ?? MIB,
      queuedBytesMax: options.queuedBytesMax ?? 256 * MIB,
      breakAfterMs: options.breakAfterMs ?? 5_000,
    };
    assert(limits.lowWaterBytes <= limits.highWaterBytes, 'the low-water mark lies above the high one');
    assert(limits.highWaterBytes <= limits.queuedBytesMax, 'the high-water mark lies above the hard limit');
    this.#host = this.#makeHost(limits);
  }

  #makeHost(limits: ConnectionLimits): NetworkHost {
    const scheduler = this.#scheduler;
    return {
      limits,
      get nowMs() {
        return scheduler.nowMs;
      },
      isBlocked: (from, to) => this.isBlocked(from, to),
      travelMs: (from, to, bytes) => this.#travelMs(from, to) + bytes / this.#bytesPerMs,
      actionFor: (frame, from, to) => this.#filter?.(frame, from, to) ?? 'deliver',
      damaged: (frame, from, to) => this.#damaged(frame, from, to),
      isDeaf: (to, from) => this.#deaf.size > 0 && this.#deaf.has(pathKey(from, to)),
      breaksNow: () => this.#breakChance > 0 && this.#rng.chance(this.#breakChance),
      draw: (bound) => this.#rng.integer(bound),
      schedule: (delayMs, callback) => scheduler.schedule(delayMs, callback),
      forget: (end) => {
        this.#ends.delete(end);
      },
    };
  }

  #damaged(frame: Buffer, from: string, to: string): Buffer {
    if (this.#flipChance === 0 || frame.length === 0 || !this.#flips(from, to)) return frame;
    if (!this.#rng.chance(this.#flipChance)) return frame;
    this.#flippedFrames += 1;
    const at = this.#rng.integer(frame.length);
    frame[at] = (frame[at] as number) ^ (1 << this.#rng.integer(8));
    return frame;
  }

  #travelMs(from: string, to: string): number {
    const slowed = this.#pathLatencyMs.size === 0 ? undefined : this.#pathLatencyMs.get(pathKey(from, to));
    const [low, high] = slowed ?? this.#latencyMs;
    return this.#rng.between(low, high);
  }

  /** The network as one process sees it; ends with the process. */
  attach(process: SimProcess): Transport {
    process.onDeath(() => {
      this.#forgetProcess(process);
    });
    return {
      listen: (address, onConnection) => this.#listen(address, { process, onConnection }),
      connect: (address) => this.#connect(process, address),
    };
  }

  #forgetProcess(process: SimProcess): void {
    for (const [address, entry] of this.#listeners) {
      if (entry.process === process) this.#listeners.delete(address);
    }
    const lateMs = this.#lateNoticesMs.get(process.name);
    this.#lateNoticesMs.delete(process.name);
    for (const end of [...this.#ends]) {
      if (end.process === process) end.die(lateMs ?? this.#rng.between(...this.#deathNoticeMs));
    }
  }

  #listen(wanted: string, entry: ListenerEntry): Promise<Listener> {
    const colon = wanted.lastIndexOf(':');
    let address = wanted;
    if (wanted.slice(colon + 1) === '0') {
      address = `${wanted.slice(0, colon)}:${this.#nextPort}`;
      this.#nextPort += 1;
    }
    if (this.#listeners.has(address)) return Promise.reject(new Error(`address ${address} is in use`));
    this.#listeners.set(address, entry);
    return Promise.resolve({
      address,
      close: () => {
        if (this.#listeners.get(address) === entry) this.#listeners.delete(address);
        return Promise.resolve();
      },
    });
  }

  #connect(process: SimProcess, address: string): Connection {
    // Who listens there now decides which path the attempt takes; nobody: the attempt is refused after a
    // round trip.
    const name = this.#listeners.get(address)?.process.name ?? address;
    const end = new SimConnection(this.#host, process, { name, address });
    this.#ends.add(end);
    const deadlineMs = this.#scheduler.nowMs + this.#connectTimeoutMs;
    const attempt = (): void => {
      if (!this.#ends.has(end)) return;
      if (this.isBlocked(process.name, name) || this.isBlocked(name, process.name)) {
        if (this.#scheduler.nowMs >= deadlineMs) end.fail(`connecting to ${address} timed out`);
        else this.#scheduler.schedule(Math.min(100, deadlineMs - this.#scheduler.nowMs), attempt);
        return;
      }
      const entry = this.#listeners.get(address);
      if (entry === undefined) end.fail(`connection to ${address} refused`);
      else this.#accept(end, entry);
    };
    this.#scheduler.schedule(this.#travelMs(process.name, name) * 2, attempt);
    return end;
  }

  #accept(end: SimConnection, entry: ListenerEntry): void {
    const remote = { name: end.process.name, address: `${end.process.name}:0` };
    const accepted = new SimConnection(this.#host, entry.process, remote);
    this.#ends.add(accepted);
    // Scheduled before the first delivery can be, in the same process: the handlers are set when a frame
    // comes.
    entry.process.schedule(0, () => {
      entry.onConnection(accepted);
    });
    SimConnection.join(end, accepted);
  }

  isBlocked(from: string, to: string): boolean {
    return this.#blocks.size > 0 && (this.#blocks.get(pathKey(from, to)) ?? 0) > 0;
  }

  /**
   * Holds back everything from one process to another until the returned function is called; one way only.
   */
  block(from: string, to: string): () => void {
    this.#changeBlock(from, to, 1);
    let isActive = true;
    return () => {
      if (!isActive) return;
      isActive = false;
      this.#changeBlock(from, to, -1);
    };
  }

  #changeBlock(from: string, to: string, change: number): void {
    const key = pathKey(from, to);
    const count = Math.max(0, (this.#blocks.get(key) ?? 0) + change);
    if (count === 0) this.#blocks.delete(key);
    else this.#blocks.set(key, count);
    for (const end of [...this.#ends]) {
      const isBetween =
        (end.process.name === from && end.remoteName === to) ||
        (end.process.name === to && end.remoteName === from);
      if (isBetween) end.refresh();
    }
  }

  /** Cuts two groups of processes apart, both ways, until the returned function is called. */
  partition(left: readonly string[], right: readonly string[]): () => void {
    const undo: (() => void)[] = [];
    for (const one of left) {
      for (const other of right) undo.push(this.block(one, other), this.block(other, one));
    }
    return () => {
      for (const step of undo) step();
    };
  }

  /** Blocks and frees a path, both ways, again and again, until the returned function is called. */
  flap(left: string, right: string, times: { readonly upMs: number; readonly downMs: number }): () => void {
    let heal: (() => void) | undefined;
    let timer: Timer | undefined;
    const turn = (): void => {
      if (heal === undefined) {
        heal = this.partition([left], [right]);
        timer = this.#scheduler.schedule(times.downMs, turn);
      } else {
        heal();
        heal = undefined;
        timer = this.#scheduler.schedule(times.upMs, turn);
      }
    };
    turn();
    return () => {
      timer?.cancel();
      heal?.();
    };
  }

  /** Breaks every connection between two processes at once. */
  breakConnections(left: string, right: string): void {
    for (const end of [...this.#ends]) {
      if (end.process.name === left && end.remoteName === right) end.breakNow('the connection was reset');
    }
  }

  /**
   * Leaves connections half open: `name` sees those to `other` break now, the other side only `noticeMs`
   * later (a middle box that forgot them, a machine that lost its memory of them).
   */
  breakOneSide(name: string, other: string, noticeMs: number): void {
    for (const end of [...this.#ends]) {
      if (end.process.name === name && end.remoteName === other) end.breakAlone(noticeMs);
    }
  }

  /** The next death of the process leaves its peers with half-open connections, for `noticeMs`. */
  hideNextDeath(name: string, noticeMs: number): void {
    this.#lateNoticesMs.set(name, noticeMs);
  }

  setPathLatency(from: string, to: string, latencyMs: readonly [number, number] | undefined): void {
    if (latencyMs === undefined) this.#pathLatencyMs.delete(pathKey(from, to));
    else this.#pathLatencyMs.set(pathKey(from, to), latencyMs);
  }

  setBreakChance(breakChance: number): void {
    this.#breakChance = breakChance;
  }

  /**
   * From now on each frame loses a bit by this chance: its session must end, and nothing else happen. `flips`
   * tells which paths: frames of sessions between nodes carry a checksum, what stands in for gRPC does not.
   */
  setFlipChance(flipChance: number, flips: FlipSubject = () => true): void {
    this.#flipChance = flipChance;
    this.#flips = flips;
  }

  get flippedFrames(): number {
    return this.#flippedFrames;
  }

  /**
   * `reader` takes nothing of what `sender` sends until the returned function is called: connections stay
   * open, and what is sent waits with the sender.
   */
  stopReading(reader: string, sender: string): () => void {
    const key = pathKey(sender, reader);
    this.#deaf.set(key, (this.#deaf.get(key) ?? 0) + 1);
    let isActive = true;
    return () => {
      if (!isActive) return;
      isActive = false;
      const count = (this.#deaf.get(key) ?? 1) - 1;
      if (count > 0) this.#deaf.set(key, count);
      else this.#deaf.delete(key);
      for (const end of [...this.#ends]) {
        if (end.process.name === reader && end.remoteName === sender) end.refresh();
        if (end.process.name === sender && end.remoteName === reader) end.refresh();
      }
    };
  }

  /**
   * Decides over every frame as it is sent. Real connections never drop, double or reorder frames; use it
   * only for frames whose protocol has to bear that, such as a message that may be lost at a reconnect
   * anyway.
   */
  setFrameFilter(filter: FrameFilter | undefined): void {
    this.#filter = filter;
  }

  /** Ends of open or opening connections; for checks. */
  get connectionEnds(): number {
    return this.#ends.size;
  }
}
