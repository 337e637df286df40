import { setTimeout as delay } from 'node:timers/promises';
import { CairnError, messageOf } from '@cairn/base';
import { connect, type CairnClient } from '@cairn/client';
import { CairnSystem } from './cairn-system.js';
import type { Experiment } from './experiment.js';
import { cpuBetween, residentBytes, snapshotCpu } from './process-stats.js';
import type { Stage, Startable } from './stage.js';
import { watchPartsOf, watchesConfig, type WatchesConfig, type WatchPart } from './watches-config.js';
import { fanoutLine, idleLine, showWatches, type WatchesLine } from './watches-results.js';

/** A client has so many watches at most; each is a stream of its connection. */
const WATCHES_PER_CLIENT = 500;
/** Watches that begin at a time. */
const STARTS_AT_ONCE = 100;
const TOLD_LIMIT_MS = 30_000;
/** Memory that the start took comes back before it counts. */
const SETTLE_MS = 3_000;
const US_PER_MS = 1_000;

/** Watches of this process, with the clients that have them. */
class Watchers implements Startable {
  readonly name = 'watches';
  readonly #endpoints: readonly string[];
  readonly #clients: CairnClient[] = [];
  #ended: unknown;
  /** Called with each change. */
  onChange: () => void = () => undefined;

  constructor(endpoints: readonly string[]) {
    this.#endpoints = endpoints;
  }

  /** Resolves when all have begun; rejects when one of them does not. */
  async open(keys: readonly string[], stage: Stage): Promise<void> {
    for (let from = 0; from < keys.length; from += STARTS_AT_ONCE) {
      stage.signal.throwIfAborted();
      const some = keys.slice(from, from + STARTS_AT_ONCE);
      await Promise.all(some.map((key, at) => this.#start(key, this.#clientOf(from + at))));
    }
  }

  /** Throws what ended one of them. */
  check(): void {
    if (this.#ended === undefined) return;
    throw new CairnError('UNAVAILABLE', `a watch has ended: ${messageOf(this.#ended)}`);
  }

  #clientOf(at: number): CairnClient {
    const number = Math.floor(at / WATCHES_PER_CLIENT);
    const known = this.#clients[number];
    if (known !== undefined) return known;
    const client = connect({ endpoints: this.#endpoints });
    this.#clients.push(client);
    return client;
  }

  async #start(key: string, client: CairnClient): Promise<void> {
    const watch = client.watch({ key });
    await watch.start();
    const follow = async (): Promise<void> => {
      for await (const change of watch) if (change.type === 'put') this.onChange();
    };
    follow().catch((error: unknown) => {
      this.#ended ??= error;
    });
  }

  stop(): Promise<void> {
    for (const client of this.#clients) client.close();
    return Promise.resolve();
  }
}

interface Scene {
  readonly stage: Stage;
  readonly config: WatchesConfig;
  readonly system: CairnSystem;
}

function openWatchers({ stage, system }: Scene): Promise<Watchers> {
  return stage.start('Opening watches …', () => Promise.resolve(new Watchers(system.endpoints)));
}

async function measureIdle(scene: Scene): Promise<WatchesLine> {
  const { stage, config, system } = scene;
  const router = [...system.processIds()].find(([name]) => name.startsWith('router'))?.[1];
  if (router === undefined) throw new CairnError('UNAVAILABLE', 'There is no router.');
  const rssBytesBefore = residentBytes(router) ?? Number.NaN;
  const watchers = await openWatchers(scene);
  const beganMs = performance.now();
  const keys = Array.from({ length: config.idleWatches }, (_, at) => `idle/${at}`);
  await stage.unlessInterrupted(watchers.open(keys, stage));
  const openedMs = performance.now() - beganMs;
  await stage.unlessInterrupted(delay(SETTLE_MS));
  const before = snapshotCpu([router], performance.now());
  await stage.unlessInterrupted(delay(config.idleSeconds * 1_000));
  const after = snapshotCpu([router], performance.now());
  watchers.check();
  const usedUs = cpuBetween(before, after).processesUs[String(router)] ?? Number.NaN;
  const line = idleLine({
    ...{ watches: config.idleWatches, seconds: config.idleSeconds, rssBytesBefore, openedMs },
    rssBytes: residentBytes(router) ?? Number.NaN,
    cores: usedUs / ((after.atMs - before.atMs) * US_PER_MS),
  });
  await stage.end(watchers);
  return line;
}

async function measureFanout(scene: Scene): Promise<WatchesLine> {
  const { stage, config, system } = scene;
  const watchers = await openWatchers(scene);
  const keys = Array.from({ length: config.watchers }, () => 'fanout');
  await stage.unlessInterrupted(watchers.open(keys, stage));
  const writer = connect({ endpoints: system.endpoints });
  const tookMs: number[] = [];
  try {
    await writer.ready();
    for (let put = 0; put < config.puts; put += 1) {
      let left = config.watchers;
      const told = Promise.withResolvers<number>();
      watchers.onChange = () => {
        left -= 1;
        if (left === 0) told.resolve(performance.now());
      };
      await stage.unlessInterrupted(writer.put('fanout', `value ${put}`));
      const acknowledgedMs = performance.now();
      const signal = AbortSignal.timeout(TOLD_LIMIT_MS);
      signal.addEventListener('abort', () => {
        told.reject(new CairnError('UNAVAILABLE', `${left} watchers were not told of put ${put}.`));
      });
      // The last of them may have been told before the writer was.
      tookMs.push(Math.max(0, (await stage.unlessInterrupted(told.promise)) - acknowledgedMs));
      watchers.check();
    }
  } finally {
    writer.close();
  }
  await stage.end(watchers);
  return fanoutLine(config.watchers, tookMs);
}

function measure(part: WatchPart, scene: Scene): Promise<WatchesLine> {
  return part === 'watch-idle' ? measureIdle(scene) : measureFanout(scene);
}

/** `npm run bench -- watches`. */
export const watches: Experiment<typeof watchesConfig.schema> = {
  config: watchesConfig,
  run: (stage, config) => {
    return stage.run(config.dataDir, async (directory) => {
      const system = await stage.start('Starting a cluster …', () =>
        CairnSystem.start({
          ...{ endpoints: [], engine: config.engine, dataDirectory: directory },
          ...{ keys: 1, valueBytes: 16, kvload: '' },
          ...{ children: stage.children, stopRequested: stage.stopRequested },
        }),
      );
      await stage.unlessInterrupted(system.waitSettled());
      const lines: WatchesLine[] = [];
      try {
        for (const part of watchPartsOf(config)) {
          const line = await measure(part, { stage, config, system });
          lines.push(line);
          if (config.json) stage.out(`${JSON.stringify(line)}\n`);
        }
      } finally {
        if (!config.json && lines.length > 0) stage.out(showWatches(lines));
      }
    });
  },
};
