import { join, resolve } from 'node:path';
import {
  benchConfig,
  endpointsOf,
  outstandingOf,
  wantsFailover,
  worksOf,
  type BenchConfig,
} from './bench-config.js';
import { CairnSystem } from './cairn-system.js';
import { Campaign } from './campaign.js';
import type { Experiment } from './experiment.js';
import { FailoverCampaign, type FailoverLine } from './failover-campaign.js';
import { findEtcd, isOldEtcd, type EtcdBinary } from './etcd-binary.js';
import { EtcdSystem } from './etcd-system.js';
import type { ResultLine } from './results.js';
import type { Stage } from './stage.js';
import type { BenchSystem } from './system.js';
import { showFailovers, showResults } from './tables.js';
import { cellsOf, isTransactionWork } from './works.js';

interface Systems {
  readonly ours: BenchSystem;
  readonly peer: BenchSystem | undefined;
}

function startCairn(stage: Stage, config: BenchConfig, directory: string): Promise<CairnSystem> {
  const { keys, valueBytes, kvload, engine } = config;
  return CairnSystem.start({
    engine,
    endpoints: endpointsOf(config),
    dataDirectory: join(directory, 'cairn'),
    keys,
    valueBytes,
    kvload: kvload === '' ? '' : resolve(kvload),
    children: stage.children,
    stopRequested: stage.stopRequested,
  });
}

function startEtcd(
  stage: Stage,
  config: BenchConfig,
  directory: string,
  binary: EtcdBinary,
): Promise<EtcdSystem> {
  const { keys, valueBytes, kvload } = config;
  return EtcdSystem.start({
    binary,
    dataDirectory: join(directory, 'etcd'),
    keys,
    valueBytes,
    kvload: kvload === '' ? '' : resolve(kvload),
    children: stage.children,
    stopRequested: stage.signal,
  });
}

async function runCells(stage: Stage, config: BenchConfig, systems: Systems): Promise<void> {
  const campaign = new Campaign({
    ...systems,
    cells: cellsOf(worksOf(config), outstandingOf(config)),
    repetitions: config.repetitions,
    warmupMs: config.warmup * 1_000,
    durationMs: config.duration * 1_000,
    signal: stage.signal,
    onRun: (text) => stage.say(`  ${text}`),
  });
  try {
    await stage.unlessInterrupted(campaign.run());
  } finally {
    report(stage, config.json, campaign.results(), showResults);
  }
}

/** After the other works: whoever leads afterwards is another node, and cold. */
async function runFailovers(stage: Stage, config: BenchConfig, systems: Systems): Promise<void> {
  if (!wantsFailover(config)) return;
  const campaign = new FailoverCampaign({
    ...systems,
    repetitions: config.repetitions,
    warmupMs: config.warmup * 1_000,
    signal: stage.signal,
    onRun: (text) => stage.say(`  ${text}`),
  });
  try {
    await stage.unlessInterrupted(campaign.run());
  } finally {
    const line = campaign.result();
    report(stage, config.json, line === undefined ? [] : [line], showFailovers);
  }
}

function report<Line extends ResultLine | FailoverLine>(
  stage: Stage,
  isJson: boolean,
  lines: readonly Line[],
  show: (lines: readonly Line[]) => string,
): void {
  if (lines.length === 0) return;
  if (!isJson) return stage.out(`\n${show(lines)}`);
  for (const line of lines) stage.out(`${JSON.stringify(line)}\n`);
}

/** `npm run bench` without a name: all works, on request in turn with a peer. */
export const comparison: Experiment<typeof benchConfig.schema> = {
  config: benchConfig,
  async run(stage, config, searchPath) {
    const etcd = config.peer === 'etcd' ? findEtcd(config.etcd, searchPath) : undefined;
    if (etcd !== undefined) {
      stage.say(`etcd ${etcd.version} (${etcd.path})`);
      if (isOldEtcd(etcd.version))
        stage.say('! This etcd is older than 3.5: its reads degrade after writes.');
    }
    return stage.run(config.dataDir, async (directory) => {
      const ours = await stage.start('Starting Cairn …', () => startCairn(stage, config, directory));
      const peer =
        etcd === undefined
          ? undefined
          : await stage.start('Starting etcd …', () => startEtcd(stage, config, directory, etcd));
      for (const system of [ours, peer].filter((each) => each !== undefined)) {
        stage.say(`Loading ${config.keys.toLocaleString('en-US')} keys into ${system.name} …`);
        await stage.unlessInterrupted(system.preload());
      }
      if (worksOf(config).some(isTransactionWork)) {
        stage.say('Cutting the data set into two ranges …');
        await stage.unlessInterrupted(ours.splitInTwo());
      }
      await runCells(stage, config, { ours, peer });
      await runFailovers(stage, config, { ours, peer });
    });
  },
};
