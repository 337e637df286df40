import { expect, it } from '@jest/globals';
import { SimNetwork, SimRng, SimScheduler } from '@cairn/runtime-sim';
import { FrameType } from '@cairn/wire';

import { Datagrams } from './datagrams.js';

/** Sends 400 frames of a type over one connection; answers the numbers that arrived, in order. */
async function sent(type: FrameType, worsen: (datagrams: Datagrams) => void): Promise<number[]> {
  const scheduler = new SimScheduler();
  const network = new SimNetwork(scheduler, new SimRng(1));
  worsen(new Datagrams(network, new SimRng(2)));
  const arrived: number[] = [];
  await network.attach(scheduler.startProcess('right')).listen('right:1', (connection) => {
    connection.setHandlers({
      onFrame: (frame) => arrived.push(frame.readUInt16LE(1)),
      onClose: () => undefined,
    });
  });
  const connection = network.attach(scheduler.startProcess('left')).connect('right:1');
  connection.setHandlers({ onFrame: () => undefined, onClose: () => undefined });
  for (let at = 0; at < 400; at += 1) {
    const body = Buffer.alloc(2);
    body.writeUInt16LE(at);
    connection.send([Buffer.from([type]), body]);
    await scheduler.runFor(0.5);
  }
  await scheduler.runFor(100);
  return arrived;
}

const worst = { lose: 0.2, duplicate: 0.2, delay: 0.2, delayMsMax: 20 };
const ordered = Array.from({ length: 400 }, (_, at) => at);

it('loses, doubles and reorders raft messages', async () => {
  const arrived = await sent(FrameType.raftMessages, (datagrams) => {
    datagrams.set(worst);
  });
  const distinct = new Set(arrived);
  expect(distinct.size).toBeLessThan(360);
  expect(arrived.length).toBeGreaterThan(distinct.size + 40);
  expect(arrived).not.toEqual([...arrived].sort((left, right) => left - right));
});

it('leaves every other frame alone, and raft messages when told so', async () => {
  for (const type of Object.values(FrameType)) {
    if (type === FrameType.raftMessages) continue;
    const arrived = await sent(type, (datagrams) => {
      datagrams.set(worst);
    });
    expect(arrived).toEqual(ordered);
  }
  const arrived = await sent(FrameType.raftMessages, (datagrams) => {
    datagrams.set(worst);
    datagrams.set(undefined);
  });
  expect(arrived).toEqual(ordered);
});
