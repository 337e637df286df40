import { rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { CairnError, messageOf } from '@cairn/base';
import { configHelp, loadConfig, wantsHelp, type Environment } from '@cairn/config';
import { benchConfig, endpointsOf, outstandingOf, worksOf, type BenchConfig } from './bench-config.js';
import { CairnSystem } from './cairn-system.js';
import { Campaign } from './campaign.js';
import { Children } from './children.js';
import { makeDataPlace } from './data-place.js';
import { findEtcd, isOldEtcd, type EtcdBinary } from './etcd-binary.js';
import { EtcdSystem } from './etcd-system.js';
import type { ResultLine } from './results.js';
import type { BenchSystem } from './system.js';
import { showResults } from './tables.js';
import { cellsOf } from './works.js';

/** What `npm run bench` needs of its surroundings. */
export interface SessionIo {
  readonly argv: readonly string[];
  readonly env: Environment;
  readonly workingDirectory: string;
  /** Results. */
  readonly out: (text: string) => void;
  /** Progress and problems. */
  readonly say: (text: string) => void;
  /** Calls back on every request to stop: Ctrl-C, SIGTERM, a closed terminal. */
  onStopRequest(listener: () => void): void;
}

/** Exit codes of `npm run bench`. */
export const EXIT = { measured: 0, failed: 1, usage: 2, interrupted: 130 } as const;

/** All that is started and has to be ended. */
class Session {
  readonly #io: SessionIo;
  readonly #config: BenchConfig;
  readonly #children = new Children();
  readonly #aborter = new AbortController();
  readonly #stopRequested = Promise.withResolvers<void>();
  readonly #interrupted = Promise.withResolvers<never>();
  readonly #systems: BenchSystem[] = [];
  #stopRequests = 0;

  constructor(io: SessionIo, config: BenchConfig) {
    this.#io = io;
    this.#config = config;
    // Whoever waits at that moment hears of it; nobody may be waiting.
    this.#interrupted.promise.catch(() => undefined);
    io.onStopRequest(() => this.#onStopRequest());
  }

  async run(): Promise<number> {
    const { say } = this.#io;
    const etcd =
      this.#config.peer === 'etcd' ? findEtcd(this.#config.etcd, this.#io.env['PATH'] ?? '') : undefined;
    if (etcd !== undefined) {
      say(`etcd ${etcd.version} (${etcd.path})`);
      if (isOldEtcd(etcd.version)) say('! This etcd is older than 3.5: its reads degrade after writes.');
    }
    const place = makeDataPlace(this.#config.dataDir, this.#io.workingDirectory);
    if (place.warning !== '') say(`! ${place.warning}`);
    let keepsData = false;
    try {
      await this.#measure(place.directory, etcd);
      return EXIT.measured;
    } catch (error) {
      if (this.#stopRequests > 0) return EXIT.interrupted;
      keepsData = true;
      say(`${messageOf(error)}\nThe data and logs of this run are kept in ${place.directory}.`);
      return EXIT.failed;
    } finally {
      await this.#stopAll();
      if (!keepsData) rmSync(place.directory, { recursive: true, force: true });
    }
  }

  async #measure(directory: string, etcd: EtcdBinary | undefined): Promise<void> {
    const config = this.#config;
    const { say } = this.#io;
    const ours = await this.#start('Starting Cairn …', () => this.#startCairn(join(directory, 'cairn')));
    const peer =
      etcd === undefined
        ? undefined
        : await this.#start('Starting etcd …', () => this.#startEtcd(join(directory, 'etcd'), etcd));
    for (const system of this.#systems) {
      say(`Loading ${config.keys.toLocaleString('en-US')} keys into ${system.name} …`);
      await this.#unlessInterrupted(system.preload());
    }
    const campaign = new Campaign({
      ours,
      peer,
      cells: cellsOf(worksOf(config), outstandingOf(config)),
      repetitions: config.repetitions,
      warmupMs: config.warmup * 1_000,
      durationMs: config.duration * 1_000,
      signal: this.#aborter.signal,
      onRun: (text) => say(`  ${text}`),
    });
    try {
      await this.#unlessInterrupted(campaign.run());
    } finally {
      this.#report(campaign.results());
    }
  }

  async #start(text: string, start: () => Promise<BenchSystem>): Promise<BenchSystem> {
    this.#io.say(text);
    this.#aborter.signal.throwIfAborted();
    const system = await start();
    this.#systems.push(system);
    this.#aborter.signal.throwIfAborted();
    return system;
  }

  #startCairn(dataDirectory: string): Promise<BenchSystem> {
    const { keys, valueBytes, kvload, engine } = this.#config;
    return CairnSystem.start({
      engine,
      endpoints: endpointsOf(this.#config),
      dataDirectory,
      keys,
      valueBytes,
      kvload: kvload === '' ? '' : resolve(kvload),
      children: this.#children,
      stopRequested: this.#stopRequested.promise,
    });
  }

  #startEtcd(dataDirectory: string, binary: EtcdBinary): Promise<BenchSystem> {
    const { keys, valueBytes, kvload } = this.#config;
    return EtcdSystem.start({
      binary,
      dataDirectory,
      keys,
      valueBytes,
      kvload: kvload === '' ? '' : resolve(kvload),
      children: this.#children,
      stopRequested: this.#aborter.signal,
    });
  }

  #report(lines: readonly ResultLine[]): void {
    if (lines.length === 0) return;
    if (this.#config.json) {
      for (const line of lines) this.#io.out(`${JSON.stringify(line)}\n`);
    } else {
      this.#io.out(`\n${showResults(lines)}`);
    }
  }

  #unlessInterrupted<Value>(work: Promise<Value>): Promise<Value> {
    // When the interruption wins, what becomes of the work does not matter any more: it fails, because
    // everything it talks to is stopped.
    work.catch(() => undefined);
    return Promise.race([work, this.#interrupted.promise]);
  }

  #onStopRequest(): void {
    this.#stopRequests += 1;
    if (this.#stopRequests > 1) {
      // The exit handlers of whatever was started kill it.
      process.exit(EXIT.interrupted);
    }
    this.#io.say('Stopping … (again to kill)');
    this.#stopRequested.resolve();
    this.#aborter.abort();
    this.#interrupted.reject(new CairnError('CANCELLED', 'stopped on request'));
  }

  async #stopAll(): Promise<void> {
    const stops = await Promise.allSettled(this.#systems.map((system) => system.stop()));
    for (const [at, stop] of stops.entries()) {
      if (stop.status === 'fulfilled') continue;
      this.#io.say(`${this.#systems[at]?.name} did not stop as it should: ${messageOf(stop.reason)}`);
    }
    await this.#children.stop();
  }
}

/** `npm run bench`: resolves with the exit code. Everything it started has ended by then. */
export async function runSession(io: SessionIo): Promise<number> {
  if (wantsHelp(io.argv)) {
    io.out(`${configHelp(benchConfig)}\n`);
    return EXIT.measured;
  }
  let config: BenchConfig;
  try {
    // Set for the CLI, this variable must not choose a cluster to write to.
    const env = { ...io.env, CAIRN_ENDPOINT: undefined };
    config = loadConfig({ ...benchConfig, argv: io.argv, env }).values;
  } catch (error) {
    io.say(`${messageOf(error)}\nSee: npm run bench -- --help`);
    return EXIT.usage;
  }
  try {
    return await new Session(io, config).run();
  } catch (error) {
    io.say(messageOf(error));
    return EXIT.failed;
  }
}
