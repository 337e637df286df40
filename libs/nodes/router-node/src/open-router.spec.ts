import { CairnError } from '@cairn/base';
import { loadConfig, routerConfig } from '@cairn/config';
import { noopLogger, noopMetrics, noopTracer, type Logger } from '@cairn/ports';
import { SimNetwork, SimRng, SimScheduler } from '@cairn/runtime-sim';
import { acceptSession } from '@cairn/wire';
import { beforeEach, describe, expect, it } from '@jest/globals';

import { openRouter, type RunningRouter } from './open-router.js';

const METADATA = 'meta-1:7001';

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

  function open(): RunningRouter {
    const life = scheduler.startProcess('router-1');
    const argv = ['--name', 'router-1', '--metadata-addresses', METADATA];
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

  async function refused(): Promise<RunningRouter> {
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
    const router = open();
    await scheduler.runFor(100);
    return router;
  }

  it('ends no process by a refusal that nobody has asked for yet', async () => {
    // Nobody looks at `joined` here: a rejection without a handler would fail this test.
    const router = await refused();
    await scheduler.settle(router.close(0));
  });

  it('tells of a refusal whoever asks later', async () => {
    const router = await refused();
    await expect(router.joined).rejects.toMatchObject({ code: 'CLUSTER_MISMATCH' });
    await scheduler.settle(router.close(0));
  });

  it('says within seconds that nobody answers, and as a warning when that lasts', async () => {
    const router = open();
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
  });

  it('is stopped before it has joined without a failure', async () => {
    const router = open();
    await scheduler.runFor(50);
    await scheduler.settle(router.close(0));
    await scheduler.settle(router.joined);
    expect(warnings).toEqual([]);
  });
});
