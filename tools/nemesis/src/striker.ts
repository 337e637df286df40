import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '@cairn/base';
import type { LocalCluster } from '@cairn/local-cluster';
import { SimRng } from '@cairn/runtime-sim';
import { flipEngineByte, flipLogByte, type Flip } from './flip.js';
import type { FaultyNetwork } from './network.js';
import type { FaultName } from './options.js';
import type { PlannedFault, Schedule } from './schedule.js';
import type { SmallDisk } from './small-disk.js';

export interface StrikerOptions {
  readonly cluster: LocalCluster;
  readonly network: FaultyNetwork;
  readonly disk: SmallDisk | undefined;
  /** A line about what happens, for people. */
  readonly say: (text: string) => void;
  /** Ends everything early. */
  readonly signal: AbortSignal;
}

/** A node that was started counts as coming up for this long; then the lane goes on without it. */
const READY_WAIT_MS = 15_000;
const FLAP_MS = [150, 700] as const;
/** Of a nearly full disk, this much stays free: less than the node's reserve. */
const NEARLY_FULL_BYTES = 6 * 2 ** 20;

/** Carries a schedule out on a cluster, and takes back what it did. */
export class Striker {
  /** How often each fault struck. */
  readonly struck = new Map<FaultName, number>();
  /** What a fault found out that must not be. */
  readonly findings: string[] = [];
  readonly #options: StrikerOptions;
  /** Faults by node that damage its files or fill its disk: it may refuse to run. */
  readonly #excuses = new Map<string, number>();
  /** Nodes that the lane of processes stops and starts right now. */
  readonly #handled = new Set<string>();

  constructor(options: StrikerOptions) {
    this.#options = options;
  }

  /** A node ended by itself. */
  onDeath(name: string, how: string, lastLines: readonly string[]): void {
    const reason = lastLines.at(-1) ?? '';
    if ((this.#excuses.get(name) ?? 0) > 0) {
      this.#options.say(`${name} ended (${how}), as it may now: ${reason.slice(0, 200)}`);
      return;
    }
    this.findings.push(`${name} ended by itself (${how}):\n    ${lastLines.slice(-4).join('\n    ')}`);
  }

  /**
   * Resolves when the last fault is over, or the signal said so. A lane that fell behind, because nodes took
   * their time to start, leaves out what would begin after `lengthMs`.
   */
  async run(schedule: Schedule, lengthMs: number): Promise<void> {
    const startedMs = performance.now();
    const lane = async (faults: readonly PlannedFault[]): Promise<void> => {
      for (const fault of faults) {
        await this.#sleep(Math.max(0, fault.atMs - (performance.now() - startedMs)));
        if (this.#options.signal.aborted || performance.now() - startedMs > lengthMs) return;
        await this.#carryOut(fault);
      }
    };
    await Promise.all([lane(schedule.processes), lane(schedule.surroundings)]);
  }

  /** Makes everything sound again and starts every node that does not run. */
  async heal(): Promise<void> {
    const { cluster, network, disk } = this.#options;
    await network.heal();
    disk?.free();
    this.#excuses.clear();
    const stopped = cluster.nodes.filter(({ name }) => cluster.processId(name) === undefined);
    await Promise.all(stopped.map(({ name }) => this.#start(name)));
  }

  async #carryOut(fault: PlannedFault): Promise<void> {
    this.struck.set(fault.name, (this.struck.get(fault.name) ?? 0) + 1);
    const excused = ['flip-log', 'flip-engine', 'disk-full'].includes(fault.name) ? fault.victims : [];
    for (const name of excused) this.#excuse(name, 1);
    try {
      await this.#strike(fault);
    } catch (error) {
      this.findings.push(`${fault.name} of ${fault.victims.join(', ')} failed: ${messageOf(error)}`);
      this.#options.say(`! ${fault.name} failed: ${messageOf(error)}`);
    } finally {
      for (const name of excused) this.#excuse(name, -1);
    }
  }

  #excuse(name: string, change: 1 | -1): void {
    this.#excuses.set(name, Math.max(0, (this.#excuses.get(name) ?? 0) + change));
  }

  async #strike(fault: PlannedFault): Promise<void> {
    const { cluster, say } = this.#options;
    const [victim = ''] = fault.victims;
    const what = fault.name === 'kill-all' ? 'everything' : fault.victims.join(', ');
    say(`${fault.name} ${what} for ${fault.durationMs} ms`);
    switch (fault.name) {
      case 'kill':
      case 'kill-all':
        return this.#restartAfter(fault, 'SIGKILL');
      case 'terminate':
        return this.#restartAfter(fault, 'SIGTERM');
      case 'pause-short':
      case 'pause-long':
        await cluster.kill(victim, 'SIGSTOP');
        await this.#sleep(fault.durationMs).finally(() => cluster.kill(victim, 'SIGCONT'));
        return;
      case 'flip-log':
        return this.#flip(fault, victim, flipLogByte);
      case 'flip-engine':
        return this.#flip(fault, victim, flipEngineByte);
      case 'cut':
      case 'deaf':
      case 'mute':
      case 'slow':
        return this.#break({ kind: fault.name, node: victim }, fault.durationMs);
      case 'partition':
        return this.#break({ kind: 'partition', nodes: fault.victims }, fault.durationMs);
      case 'flap':
        return this.#flap(fault, victim);
      case 'disk-full':
        return this.#fillDisk(fault, victim);
    }
  }

  async #restartAfter({ victims, durationMs }: PlannedFault, signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const { cluster } = this.#options;
    for (const name of victims) this.#handled.add(name);
    await Promise.all(victims.map((name) => cluster.kill(name, signal)));
    await this.#sleep(durationMs);
    this.#handled.clear();
    await Promise.all(victims.map((name) => this.#start(name)));
  }

  /** Starts a node and waits for it a while; a cut network may keep it from becoming ready. */
  async #start(name: string): Promise<void> {
    const { cluster, signal } = this.#options;
    if (signal.aborted) return;
    // Whether it becomes ready is judged when all faults are over.
    const ready = cluster.restart(name).catch(() => undefined);
    const isDead = async (): Promise<void> => {
      while (cluster.processId(name) !== undefined && !signal.aborted) await this.#sleep(50);
    };
    await Promise.race([ready, isDead(), this.#sleep(READY_WAIT_MS)]);
  }

  /** The node must not run on what was damaged, or do so without harm; what clients were told shows which. */
  async #flip(
    fault: PlannedFault,
    victim: string,
    flip: (dataDirectory: string, rng: SimRng) => Flip | undefined,
  ): Promise<void> {
    const { cluster, say } = this.#options;
    const plan = cluster.nodes.find(({ name }) => name === victim);
    this.#handled.add(victim);
    await cluster.kill(victim);
    const flipped = flip(plan?.dataDirectory ?? '', new SimRng(fault.chance));
    if (flipped === undefined) {
      say(`  there is nothing to damage yet`);
      this.#handled.delete(victim);
      return this.#start(victim);
    }
    say(`  flipped a byte of ${flipped.path} at ${flipped.offset}`);
    await this.#start(victim);
    await this.#sleep(fault.durationMs);
    const ran = cluster.processId(victim) !== undefined;
    await cluster.kill(victim);
    const isBack = flipped.restore(ran);
    say(`  ${victim} ${ran ? 'ran with it' : 'refused it'}; ${isBack ? 'put right' : 'left as it is'}`);
    this.#handled.delete(victim);
    await this.#start(victim);
  }

  async #break(how: Parameters<FaultyNetwork['break']>[0], durationMs: number): Promise<void> {
    const { network } = this.#options;
    try {
      await network.break(how);
      await this.#sleep(durationMs);
    } finally {
      await network.heal();
    }
  }

  async #flap({ durationMs, chance }: PlannedFault, victim: string): Promise<void> {
    const rng = new SimRng(chance);
    const endMs = performance.now() + durationMs;
    while (performance.now() < endMs && !this.#options.signal.aborted) {
      await this.#break({ kind: rng.pick(['cut', 'deaf', 'mute']), node: victim }, rng.between(...FLAP_MS));
      await this.#sleep(rng.between(...FLAP_MS));
    }
  }

  async #fillDisk({ durationMs, chance }: PlannedFault, victim: string): Promise<void> {
    const { cluster, disk, say } = this.#options;
    if (disk === undefined) return;
    const isFull = new SimRng(chance).chance(0.5);
    try {
      await disk.fill(isFull ? 0 : NEARLY_FULL_BYTES);
      say(`  the disk of ${victim} has ${disk.freeBytes} bytes free`);
      await this.#sleep(durationMs);
    } finally {
      disk.free();
    }
    // One that starts while the disk is full may take a moment to find out.
    await this.#sleep(200);
    // Otherwise the other lane starts it again.
    const isDown = cluster.processId(victim) === undefined && !this.#handled.has(victim);
    if (isDown) await this.#start(victim);
  }

  /** Returns early when the run is to end. */
  async #sleep(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: this.#options.signal }).catch(() => undefined);
  }
}
