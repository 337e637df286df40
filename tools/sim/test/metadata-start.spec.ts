import { CairnError } from '@cairn/base';
import { loadConfig, metadataConfig } from '@cairn/config';
import { MemoryEngine } from '@cairn/engine';
import { openMember, type RunningMember } from '@cairn/metadata';
import { noopLogger, noopMetrics, type Transport } from '@cairn/ports';
import { SimDisk, SimNetwork, SimRng, SimScheduler } from '@cairn/runtime-sim';
import { beforeEach, describe, expect, it } from '@jest/globals';

/** Goal: a metadata member leaves nothing open behind. Method: let each part of its start fail. */
describe('a metadata member', () => {
  let scheduler: SimScheduler;
  let network: SimNetwork;
  let disk: SimDisk;
  let closed: string[];

  beforeEach(() => {
    scheduler = new SimScheduler();
    network = new SimNetwork(scheduler, new SimRng(1));
    disk = new SimDisk(new SimRng(2));
    closed = [];
  });

  class TracedEngine extends MemoryEngine {
    override close(): Promise<void> {
      closed.push('engine');
      return super.close();
    }
  }

  function start(openEngine: () => Promise<MemoryEngine>, leaseDurationMs?: number): Promise<RunningMember> {
    const life = scheduler.startProcess('meta-1');
    const inner = network.attach(life);
    const transport: Transport = {
      connect: (...given) => inner.connect(...given),
      listen: async (...given) => {
        const { address, close } = await inner.listen(...given);
        return {
          address,
          close: () => {
            closed.push('listener');
            return close();
          },
        };
      },
    };
    const argv = ['--name', 'meta-1', '--data-directory', '/data', '--peers', 'meta-1=meta-1:7000'];
    const { values } = loadConfig({ ...metadataConfig, argv, env: {} });
    const ports = { clock: life.clock, rng: new SimRng(3), disk: disk.attach(life), transport, openEngine };
    const starting = openMember(ports, {
      ...{ config: values, logger: noopLogger, metrics: noopMetrics },
      ...(leaseDurationMs === undefined ? {} : { storeConfig: { leaseDurationMs } }),
      onFatal: (error) => {
        throw error;
      },
    });
    return scheduler.settle(starting, 60_000);
  }

  const openEngine = (): Promise<MemoryEngine> => Promise.resolve(new TracedEngine());

  it('closes the door before what is behind it when it stops', async () => {
    const member = await start(openEngine);
    await scheduler.settle(member.close(), 60_000);
    expect(closed).toEqual(['listener', 'engine']);
  });

  it.each<[string, () => Promise<RunningMember>, string[]]>([
    ['engine', () => start(() => Promise.reject(new CairnError('CORRUPTION', 'no engine'))), ['listener']],
    ['store', () => start(openEngine, -1), ['engine', 'listener']],
  ])('closes what was opened, the last first, when its %s does not open', async (_, failing, order) => {
    await expect(failing()).rejects.toThrow(CairnError);
    expect(closed).toEqual(order);
    const member = await start(openEngine);
    await scheduler.settle(member.close(), 60_000);
  });
});
