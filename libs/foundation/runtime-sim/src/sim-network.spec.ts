import { describe, expect, it } from '@jest/globals';
import type { Connection } from '@cairn/ports';
import { SimNetwork, type SimNetworkOptions, SimRng, SimScheduler, type SimProcess } from './index.js';

// The network promises what TCP promises, and every fault stays within that.

interface Pair {
  readonly scheduler: SimScheduler;
  readonly network: SimNetwork;
  readonly left: SimProcess;
  readonly right: SimProcess;
  readonly client: Connection;
  readonly trace: string[];
  accepted(): Connection;
}

async function connected(seed: number, options: SimNetworkOptions = {}): Promise<Pair> {
  const scheduler = new SimScheduler();
  const network = new SimNetwork(scheduler, new SimRng(seed), options);
  const left = scheduler.startProcess('left');
  const right = scheduler.startProcess('right');
  const trace: string[] = [];
  const note = (what: string): void => {
    trace.push(`${scheduler.nowMs.toFixed(4)} ${what}`);
  };
  let accepted: Connection | undefined;
  await network.attach(right).listen('right:1', (connection) => {
    accepted = connection;
    connection.setHandlers({
      onFrame: (frame) => {
        note(`right got ${frame.toString()}`);
      },
      onClose: (error) => {
        note(`right closed ${error?.message ?? 'by itself'}`);
      },
    });
  });
  const client = network.attach(left).connect('right:1');
  client.setHandlers({
    onFrame: (frame) => {
      note(`left got ${frame.toString()}`);
    },
    onClose: (error) => {
      note(`left closed ${error?.message ?? 'by itself'}`);
    },
    onDrain: () => {
      note('left drained');
    },
  });
  client.send([Buffer.from('hel'), Buffer.from('lo')]);
  await scheduler.runFor(5);
  const pair = {
    ...{ scheduler, network, left, right, client, trace },
    accepted: (): Connection => {
      if (accepted === undefined) throw new Error('not accepted');
      return accepted;
    },
  };
  return pair;
}

const events = (trace: readonly string[]): string[] => trace.map((line) => line.slice(line.indexOf(' ') + 1));

describe('a simulated network', () => {
  it('delivers frames sent before and after the connection opens, in order', async () => {
    const { scheduler, client, trace, accepted } = await connected(1);
    for (let at = 0; at < 20; at += 1) {
      client.send([Buffer.from(String(at))]);
      if (at % 3 === 0) await scheduler.runFor(0.01);
    }
    accepted().send([Buffer.from('back')]);
    await scheduler.runFor(5);
    const got = events(trace).filter((line) => line.startsWith('right got'));
    expect(got).toEqual(['right got hello', ...Array.from({ length: 20 }, (_, at) => `right got ${at}`)]);
    expect(events(trace)).toContain('left got back');
  });

  it('refuses a connection where nobody listens', async () => {
    const { scheduler, network, left } = await connected(1);
    const reasons: (string | undefined)[] = [];
    const connection = network.attach(left).connect('nowhere:1');
    connection.setHandlers({ onFrame: () => undefined, onClose: (error) => reasons.push(error?.message) });
    await scheduler.runFor(10);
    expect(reasons).toEqual(['connection to nowhere:1 refused']);
  });

  it('holds frames back in a one-way partition and delivers them after it', async () => {
    const { scheduler, network, client, trace, accepted } = await connected(2);
    const heal = network.block('left', 'right');
    client.send([Buffer.from('held')]);
    accepted().send([Buffer.from('passes')]);
    await scheduler.runFor(1000);
    expect(events(trace)).toContain('left got passes');
    expect(events(trace)).not.toContain('right got held');
    heal();
    await scheduler.runFor(5);
    expect(events(trace)).toContain('right got held');
    expect(client.isOpen).toBe(true);
  });

  it('breaks both ends when a partition with traffic outlasts the timeout', async () => {
    const { scheduler, network, client, trace } = await connected(3, { breakAfterMs: 500 });
    network.partition(['left'], ['right']);
    client.send([Buffer.from('lost')]);
    await scheduler.runFor(499);
    expect(client.isOpen).toBe(true);
    await scheduler.runFor(2);
    expect(client.isOpen).toBe(false);
    expect(events(trace)).toContain('left closed the connection timed out');
    expect(events(trace)).not.toContain('right got lost');
  });

  it('resets the end that sends to one that gave up alone', async () => {
    const { scheduler, network, client, trace, accepted } = await connected(1, { breakAfterMs: 100 });
    const heal = network.partition(['left'], ['right']);
    client.send([Buffer.from('lost')]);
    await scheduler.runFor(200);
    heal();
    await scheduler.runFor(50);
    expect(events(trace)).not.toContain('right closed the connection was reset');
    accepted().send([Buffer.from('to nobody')]);
    await scheduler.runFor(50);
    expect(events(trace)).toContain('right closed the connection was reset');
  });

  it('tells the peer when a process is killed, and calls nothing in the dead one', async () => {
    const { scheduler, right, trace, client } = await connected(4);
    right.kill();
    client.send([Buffer.from('to nobody')]);
    await scheduler.runFor(10);
    expect(events(trace).slice(1)).toEqual(['left closed the other process ended']);
  });

  it('reports the water marks of a queue that a paused receiver lets grow', async () => {
    const limits = { kernelBytes: 0, highWaterBytes: 100, lowWaterBytes: 50, queuedBytesMax: 250 };
    const { scheduler, right, client, trace } = await connected(5, limits);
    right.pause();
    expect(client.send([Buffer.alloc(100, 65)])).toBe(true);
    expect(client.send([Buffer.alloc(1, 66)])).toBe(false);
    expect(client.queuedBytes).toBe(101);
    await scheduler.runFor(10);
    expect(client.queuedBytes).toBe(101);
    right.resume();
    await scheduler.runFor(10);
    expect(client.queuedBytes).toBe(0);
    expect(events(trace)).toContain('left drained');
    right.pause();
    client.send([Buffer.alloc(251)]);
    await scheduler.runFor(10);
    expect(client.isOpen).toBe(false);
  });

  it('closes exactly once on each side', async () => {
    const { scheduler, client, trace } = await connected(6);
    client.close();
    client.close();
    await scheduler.runFor(10);
    expect(events(trace).slice(1)).toEqual([
      'left closed by itself',
      'right closed the other side closed the connection',
    ]);
  });

  it('lets a filter drop, double and delay frames', async () => {
    const { scheduler, network, client, trace } = await connected(7);
    network.setFrameFilter((frame) => {
      switch (frame.toString()) {
        case 'drop':
          return 'drop';
        case 'twice':
          return 'duplicate';
        case 'late':
          return { delayMs: 2 };
        default:
          return 'deliver';
      }
    });
    for (const text of ['drop', 'late', 'twice', 'plain']) client.send([Buffer.from(text)]);
    await scheduler.runFor(10);
    const got = events(trace).slice(1);
    expect(got).toEqual(['right got twice', 'right got twice', 'right got plain', 'right got late']);
  });

  it('flips a bit of some frames, when told to', async () => {
    const { scheduler, network, client, trace } = await connected(8);
    network.setFlipChance(0.2);
    for (let at = 0; at < 50; at += 1) client.send([Buffer.from('aaaa')]);
    await scheduler.runFor(10);
    const got = events(trace).slice(1);
    expect(got).toHaveLength(50);
    const whole = got.filter((line) => line === 'right got aaaa').length;
    expect(network.flippedFrames).toBe(50 - whole);
    expect(network.flippedFrames).toBeGreaterThan(0);
  });

  it('leaves what is sent to a reader that does not read with the sender', async () => {
    const { scheduler, network, client, trace } = await connected(9, {
      kernelBytes: 0,
      highWaterBytes: 10,
      lowWaterBytes: 5,
    });
    const readAgain = network.stopReading('right', 'left');
    expect(client.send([Buffer.from('first')])).toBe(true);
    expect(client.send([Buffer.from('second')])).toBe(false);
    await scheduler.runFor(10_000);
    expect(events(trace).slice(1)).toEqual([]);
    expect([client.isOpen, client.queuedBytes]).toEqual([true, 11]);
    readAgain();
    await scheduler.runFor(10);
    expect(events(trace).slice(1)).toEqual(['right got first', 'right got second', 'left drained']);
  });

  it('holds frames back while their receiver paused, and refuses those above its limit', async () => {
    const { scheduler, client, trace, accepted } = await connected(10);
    accepted().pause();
    client.send([Buffer.from('one')]);
    await scheduler.runFor(10);
    client.send([Buffer.from('two')]);
    await scheduler.runFor(10);
    expect(events(trace).slice(1)).toEqual([]);
    accepted().resume();
    await scheduler.runFor(10);
    expect(events(trace).slice(1)).toEqual(['right got one', 'right got two']);
    accepted().limitFrames(5);
    client.send([Buffer.from('longer')]);
    await scheduler.runFor(10);
    expect([client.isOpen, accepted().isOpen]).toEqual([false, false]);
  });

  it('does the same again for the same seed, and something else for another', async () => {
    const run = async (seed: number): Promise<string[]> => {
      const { scheduler, network, client, trace, accepted } = await connected(seed, { breakChance: 0.01 });
      const stop = network.flap('left', 'right', { upMs: 7, downMs: 3 });
      for (let at = 0; at < 100; at += 1) {
        client.send([Buffer.from(`a${at}`)]);
        accepted().send([Buffer.from(`b${at}`)]);
        await scheduler.runFor(1);
      }
      stop();
      await scheduler.runFor(50);
      return trace;
    };
    const first = await run(11);
    expect(await run(11)).toEqual(first);
    expect(await run(12)).not.toEqual(first);
  });
});

describe('an end that died behind a blocked path', () => {
  it('is mourned by the other side once the path is open again', async () => {
    const { scheduler, network, left, trace } = await connected(11);
    const unblock = network.block('left', 'right');
    left.kill();
    await scheduler.runFor(500);
    expect(trace.filter((line) => line.includes('right closed'))).toEqual([]);
    unblock();
    await scheduler.runFor(100);
    expect(trace.filter((line) => line.includes('right closed'))).toHaveLength(1);
  });

  it('leaves a connection half open: one side knows, the other sends into the void', async () => {
    const { scheduler, network, client, trace, accepted } = await connected(1);
    network.breakOneSide('left', 'right', 500);
    await scheduler.runFor(100);
    expect(events(trace).filter((line) => line.includes('closed'))).toEqual([
      'left closed the connection was reset',
    ]);
    expect(client.send([Buffer.from('x')])).toBe(false);
    expect(accepted().send([Buffer.from('void')])).toBe(true);
    await scheduler.runFor(500);
    expect(events(trace)).not.toContain('left got void');
    expect(events(trace).filter((line) => line.startsWith('right closed'))).toHaveLength(1);
    expect(network.connectionEnds).toBe(0);
  });

  it('is hidden from its peers for as long as asked, once', async () => {
    const { scheduler, network, right, trace } = await connected(1);
    network.hideNextDeath('right', 2_000);
    right.kill();
    await scheduler.runFor(1_900);
    expect(events(trace).filter((line) => line.includes('closed'))).toEqual([]);
    await scheduler.runFor(200);
    expect(events(trace)).toContain('left closed the other process ended');
  });
});
