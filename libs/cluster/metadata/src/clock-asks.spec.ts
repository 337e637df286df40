import { describe, expect, it } from '@jest/globals';
import { storeId } from '@cairn/base';
import { noopLogger } from '@cairn/ports';
import { acceptSession, THIS_BUILD, type Hello } from '@cairn/wire';

import { FakeTransport } from '../test/fake-transport.js';
import { START_UNIX_MS } from '../test/metadata-cluster.js';
import { VirtualClock } from '../test/virtual-clock.js';
import { ClockAsks } from './clock-asks.js';
import { MemberClocks } from './member-clocks.js';

const NAMES = ['meta-1', 'meta-2', 'meta-3'];

/** meta-1 asks; the others answer from when they are told to. */
function rig() {
  const clock = new VirtualClock(START_UNIX_MS);
  const transport = new FakeTransport(clock);
  const clocks = new MemberClocks(clock, 'meta-1', NAMES);
  const asked: string[] = [];
  const hello = (name: string): Hello => ({
    ...{ ...THIS_BUILD, purpose: 'rpc', clusterId: '', kind: 'metadata', name },
    storeId: storeId(0),
    life: { ...{ group: '', incarnation: '', process: '', start: undefined }, unixMs: clock.unixMs() },
  });
  const asks = new ClockAsks({
    ...{ transport, clock, clocks, logger: noopLogger },
    others: NAMES.slice(1).map((name, at) => ({ name, storeId: storeId(at + 2), address: `${name}:7100` })),
    hello: () => hello('meta-1'),
  });
  const answer = (name: string): Promise<unknown> =>
    transport.listen(`${name}:7100`, (connection) => {
      asked.push(name);
      acceptSession(connection, {
        hello: () => hello(name),
        clock,
        logger: noopLogger,
        onSession: () => ({ onFrame: () => undefined, onClose: () => undefined }),
      });
    });
  return { clock, clocks, asks, asked, answer };
}

describe('members that ask each other for the time', () => {
  it('know it a second after a majority answers, also when all begin together', async () => {
    const { clock, clocks, asks, answer } = rig();
    asks.start();
    await clock.advance(3_000);
    expect(clocks.read().isAgreed).toBe(false);
    await answer('meta-2');
    await clock.advance(1_000);
    expect(clocks.read()).toEqual({ unixMs: clock.unixMs(), isAgreed: true });
    asks.stop();
  });

  it('ask seldom once they know it, and often again when they do not', async () => {
    const { clock, clocks, asks, asked, answer } = rig();
    await answer('meta-2');
    await answer('meta-3');
    asks.start();
    await clock.advance(60_000);
    expect(asked.length).toBeLessThanOrEqual(2 * 8);
    expect(clocks.isMajorityHeard).toBe(true);
    asks.stop();
    await clock.advance(31_000);
    expect(clocks.isMajorityHeard).toBe(false);
  });
});
