import { CairnError, storeId } from '@cairn/base';
import { loadConfig, routerConfig } from '@cairn/config';
import { noopLogger, noopMetrics, noopTracer, type Logger } from '@cairn/ports';
import { SimNetwork, SimRng, SimScheduler } from '@cairn/runtime-sim';
import { acceptSession, createRpcServer, MetadataRpc, THIS_BUILD } from '@cairn/wire';
import { beforeEach, describe, expect, it } from '@jest/globals';

import { openRouter, type RunningRouter } from './open-router.js';

const METADATA = 'meta-1:7001';
const ADDRESS = 'router-1:7300';

describe('a router that joins', () => {
  let scheduler: SimScheduler;
  let network: SimNetwork;
  let lines: unknown[];
  let warnings: unknown[];

  beforeEach(() => {
    lines = [];
    warnings = [];
    scheduler = new SimScheduler();
    network = new SimNetwork(scheduler, new SimRng(1));
  });

  function open(...flags: string[]): RunningRouter {
    const life = scheduler.startProcess('router-1');
    const argv = ['--name', 'router-1', '--metadata-addresses', METADATA, ...flags];
    const { values: config } = loadConfig({ ...routerConfig, argv, env: {} });
    const logger: Logger = {
      ...noopLogger,
      info: (event, fields) => lines.push([event, fields?.['reason']]),
      warn: (event, fields) => warnings.push([event, fields?.['reason']]),
    };
    const ports = {
      clock: life.clock,
      rng: new SimRng(2),
      transport: network.attach(life),
      cutOff: () => undefined,
    };
    return openRouter(ports, { config, logger, metrics: noopMetrics, tracer: noopTracer });
  }

  async function listenAsOther(): Promise<void> {
    const refusal = new CairnError('CLUSTER_MISMATCH', 'this is cluster b');
    const member = scheduler.startProcess('meta-1');
    await network.attach(member).listen(METADATA, (connection) => {
      acceptSession(connection, {
        hello: () => {
          throw refusal;
        },
        onSession: () => {
          throw refusal;
        },
        clock: member.clock,
        logger: noopLogger,
      });
    });
  }

  it.each([
    ['its gRPC server listens', [], ADDRESS],
    ['the configuration advertises', ['--advertise', 'outside:7300'], 'outside:7300'],
  ])('is listed where %s', async (_, flags, listed) => {
    const member = scheduler.startProcess('meta-1');
    const rpc = createRpcServer({ clock: member.clock, logger: noopLogger });
    const asked: string[] = [];
    rpc.handle(MetadataRpc.join, ({ publicAddress }) => {
      asked.push(publicAddress);
      throw new CairnError('CLUSTER_MISMATCH', 'enough of it');
    });
    await network.attach(member).listen(METADATA, (connection) => {
      acceptSession(connection, {
        hello: () => ({
          ...{ ...THIS_BUILD, purpose: 'rpc' as const, clusterId: '', kind: 'metadata' as const },
          ...{ name: 'meta-1', storeId: storeId(0) },
        }),
        onSession: (session) => rpc.attach(session),
        clock: member.clock,
        logger: noopLogger,
      });
    });
    const router = open('--grpc-listen', '127.0.0.1:0', ...flags);
    await expect(scheduler.settle(router.join(ADDRESS))).rejects.toThrow('enough of it');
    expect(asked).toEqual([listed]);
    await scheduler.settle(router.close(0));
  });

  it('tells of a refusal that will not change', async () => {
    await listenAsOther();
    const router = open();
    await expect(scheduler.settle(router.join(ADDRESS))).rejects.toMatchObject({ code: 'CLUSTER_MISMATCH' });
    await scheduler.settle(router.close(0));
  });

  it('says within seconds that nobody answers, and as a warning when that lasts', async () => {
    const router = open();
    const joined = router.join(ADDRESS);
    const line = [
      'waiting to join the cluster',
      expect.stringMatching(
        /the metadata service did not carry out .*Join within 3000 ms; last: .*meta-1:7001/,
      ),
    ];
    await scheduler.runFor(3_500);
    expect(lines).toContainEqual(line);
    // Processes that start together wait for each other.
    await scheduler.runFor(6_000);
    expect(warnings).toEqual([]);
    await scheduler.runFor(7_000);
    expect(warnings).toContainEqual(line);
    await scheduler.settle(router.close(0));
    await scheduler.settle(joined);
  });

  it('is stopped before it has joined without a failure', async () => {
    const router = open();
    const joined = router.join(ADDRESS);
    await scheduler.runFor(50);
    await scheduler.settle(router.close(0));
    await scheduler.settle(joined);
    expect(warnings).toEqual([]);
  });
});
