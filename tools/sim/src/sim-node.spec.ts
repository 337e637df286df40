import { beforeEach, describe, expect, it } from '@jest/globals';
import { CairnError } from '@cairn/base';
import { SimNetwork, SimRng, SimScheduler } from '@cairn/runtime-sim';

import { Observer } from './observer.js';
import { SimNode, type NodePorts } from './sim-node.js';

// What a node may give up for: an injected fault that really is the cause, and nothing else.

class ProbeNode extends SimNode {
  #work: (ports: NodePorts) => Promise<void> = () => Promise.resolve();

  /** Starts a life that does this. */
  live(work: (ports: NodePorts) => Promise<void>): void {
    this.#work = work;
    this.start();
  }

  giveUp(error: unknown): void {
    this.ended('fatal', error);
  }

  replicas(): [] {
    return [];
  }

  protected open(ports: NodePorts): Promise<void> {
    return this.#work(ports);
  }

  protected forget(): void {
    this.#work = () => Promise.resolve();
  }
}

let scheduler: SimScheduler;
let observer: Observer;
let node: ProbeNode;
let ends = 0;

beforeEach(() => {
  scheduler = new SimScheduler();
  const rng = new SimRng(1);
  observer = new Observer(() => scheduler.nowMs);
  const network = new SimNetwork(scheduler, rng);
  node = new ProbeNode('probe', { scheduler, network, rng, observer, engineReadMsMax: 0, engine: 'memory' });
  ends = 0;
  node.onEnded = () => {
    ends += 1;
  };
});

async function write(ports: NodePorts, position = 0): Promise<void> {
  await ports.disk.makeDirectory('/data');
  const file = await ports.disk.open('/data/x', { mode: 'write', durableWrites: true });
  await file.write([Buffer.alloc(100, 1)], position);
}

describe('a simulated node', () => {
  it('violates when it gives up for no reason, and ends', async () => {
    node.live(() => Promise.reject(new Error('nothing wrong with the disk')));
    await scheduler.runFor(10);
    expect(observer.violations.map(({ checker }) => checker)).toEqual(['start']);
    expect([node.isAlive, node.isLost, ends]).toEqual([false, false, 1]);
  });

  it('may give up for an injected disk error that it names as the cause', async () => {
    node.disk.injectFault({ operation: 'write' });
    node.live((ports) =>
      write(ports).catch((error: unknown) => {
        node.giveUp(new CairnError('INTERNAL', 'cannot go on', { cause: error }));
      }),
    );
    await scheduler.runFor(10);
    expect(observer.violations).toEqual([]);
    expect([node.isAlive, node.isLost, ends]).toEqual([false, false, 1]);
    node.live(() => Promise.resolve());
    expect(node.isAlive).toBe(true);
  });

  it('may not hide behind a fault that something else met', async () => {
    node.disk.injectFault({ operation: 'write' });
    node.live((ports) =>
      write(ports).catch(() => {
        node.giveUp(new CairnError('INTERNAL', 'cannot go on'));
      }),
    );
    await scheduler.runFor(10);
    expect(observer.violations.map(({ checker }) => checker)).toEqual(['fatal']);
  });

  it('is lost when it names the file that rotted, and violates when it names another', async () => {
    node.live(async (ports) => {
      await write(ports);
      await write(ports, 100);
    });
    await scheduler.runFor(10);
    const corruption = (path: string): CairnError =>
      new CairnError('CORRUPTION', 'damaged', { details: { path } });
    expect(node.disk.rot(() => true)?.path).toBe('/data/x');
    node.giveUp(corruption('/data/y'));
    expect(observer.violations).toHaveLength(1);
    await scheduler.runFor(10);
    node.live(() => Promise.reject(corruption('/data/x')));
    await scheduler.runFor(10);
    expect(observer.violations).toHaveLength(1);
    expect(node.isLost).toBe(true);
    node.start();
    expect(node.isAlive).toBe(false);
  });

  it('fails engine writes, flushes and reads as told, and while its disk is full', async () => {
    const outcomes: string[] = [];
    const attempt = async (what: string, work: () => Promise<unknown>): Promise<void> => {
      await work().then(
        () => outcomes.push(`${what} ok`),
        (error: unknown) => {
          expect(node.engineFaults.isInjected(error)).toBe(true);
          outcomes.push(`${what} ${CairnError.is(error) ? error.code : 'other'}`);
        },
      );
    };
    node.live(async ({ openEngine }) => {
      const engine = await openEngine();
      const put = async (): Promise<void> => {
        const batch = engine.newBatch();
        batch.put(Buffer.from('k'), Buffer.from('v'));
        await engine.write(batch);
      };
      node.engineFaults.arm('read', 1);
      const range = { start: Buffer.from('a'), end: Buffer.from('z') };
      await attempt('first read', () => engine.iterate(range).next(1));
      await attempt('read', () => engine.iterate(range).next(1));
      await attempt('write', put);
      const free = node.fill(0);
      await attempt('full write', put);
      free();
      await attempt('write after a failed one', put);
    });
    await scheduler.runFor(100);
    expect(outcomes).toEqual([
      'first read ok',
      'read INTERNAL',
      'write ok',
      'full write DISK_FULL',
      'write after a failed one DISK_FULL',
    ]);
    expect(node.disk.freeBytes).toBeGreaterThan(1_000_000);
  });
});
