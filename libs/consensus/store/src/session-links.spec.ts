import { storeId, type StoreId } from '@cairn/base';
import {
  noopLogger,
  noopMetrics,
  type Clock,
  type Connection,
  type ConnectionHandlers,
  type Transport,
} from '@cairn/ports';
import { SimRng } from '@cairn/runtime-sim';
import { FrameType, type Hello, type Session, type SessionHandlers } from '@cairn/wire';
import { beforeEach, describe, expect, it } from '@jest/globals';

import { SessionLinks } from './session-links.js';
import type { Store } from './store.js';

const [SELF, PEER, STRANGER] = [storeId(1), storeId(2), storeId(3)];

function hello(from: StoreId, purpose: Hello['purpose']): Hello {
  const node = {
    protocols: { min: 1, max: 1 },
    clusterVersions: { min: 1, max: 1 },
    build: 'test',
    clusterId: 'c',
    kind: 'shard' as const,
    name: `s${from}`,
  };
  return { ...node, purpose, storeId: from };
}

const dialled: string[] = [];
const hungUp: string[] = [];
let hangUpAll: (() => void)[] = [];

/** Connections that never open. */
const transport = {
  connect: (address: string) => {
    dialled.push(address);
    return {
      ...{ remoteAddress: address, queuedBytes: 0, isOpen: false, send: () => true },
      setHandlers: (handlers) => {
        hangUpAll.push(() => {
          handlers.onClose(new Error('refused'));
        });
      },
      close: () => hungUp.push(address),
      limitFrames: () => undefined,
    } as Partial<Connection> as Connection;
  },
} as Partial<Transport> as Transport;

const clock = { nowMs: () => 0, setTimer: () => ({ cancel: () => undefined }) } as Partial<Clock> as Clock;

describe('sessions that other stores open', () => {
  let lost: StoreId[];
  let heard: StoreId[];
  let links: SessionLinks;

  const open = (from: StoreId, purpose: Hello['purpose'] = 'raft'): SessionHandlers => {
    const store = {
      raftSource: (source: StoreId) => ({ from: source }),
      receiveHeartbeat: (source: StoreId) => heard.push(source),
      peerLost: (source: StoreId) => lost.push(source),
    } as unknown as Store;
    return links.handlersFor({} as Session, hello(from, purpose), store);
  };

  beforeEach(() => {
    [lost, heard] = [[], []];
    hangUpAll = [];
    links = new SessionLinks({
      ...{ transport, clock, rng: new SimRng(1), logger: noopLogger, metrics: noopMetrics, storeId: SELF },
      hello: (purpose) => hello(SELF, purpose),
      peerLost: () => undefined,
    });
    links.setPeers([SELF, PEER].map((id) => ({ storeId: id, address: `s${id}:1` })));
  });

  it('are refused when nobody has told of the store, so that invented ids take no memory', () => {
    const refusal = expect.objectContaining({ code: 'UNAVAILABLE' });
    for (const purpose of ['raft', 'bulk'] as const) {
      expect(() => open(STRANGER, purpose)).toThrow(refusal);
      expect(() => open(SELF, purpose)).toThrow(refusal);
    }
    links.setPeers([{ storeId: STRANGER, address: 's3:1' }]);
    open(STRANGER).onFrame(FrameType.storeHeartbeat, Buffer.alloc(0));
    expect(heard).toEqual([STRANGER]);
  });

  it('end by a frame that is none between stores', () => {
    const refusal = expect.objectContaining({ code: 'CORRUPTION' });
    for (const purpose of ['raft', 'bulk'] as const) {
      const session = open(PEER, purpose);
      for (const type of [FrameType.kvRequests, FrameType.snapshotAnswer, 99 as FrameType]) {
        expect(() => session.onFrame(type, Buffer.alloc(8))).toThrow(refusal);
      }
    }
  });

  it('are not dialled any more, nor taken, once the store is not named any more', () => {
    links.setPeers([PEER, STRANGER].map((id) => ({ storeId: id, address: `s${id}:1` })));
    dialled.length = hungUp.length = 0;
    links.setPeers([{ storeId: STRANGER, address: 's3:1' }]);
    expect(hungUp).toEqual(['s2:1']);
    for (const hangUp of hangUpAll) hangUp();
    expect(dialled).toEqual([]);
    expect(() => open(PEER)).toThrow(expect.objectContaining({ code: 'UNAVAILABLE' }));
    open(STRANGER);
  });

  it('count as lost with the last one: whoever opens and closes one in the name of a store ends nothing', () => {
    const real = open(PEER);
    for (let at = 0; at < 50; at += 1) open(PEER).onClose(undefined);
    expect(lost).toEqual([]);
    real.onClose(undefined);
    expect(lost).toEqual([PEER]);
  });
});

/** One end of a link that dials; the test is what it dials. */
class Dialled {
  sent: Buffer[] = [];
  isClosed = false;
  frameBytesMax = Infinity;
  readonly links: SessionLinks;
  #handlers: ConnectionHandlers | undefined;

  constructor(self: StoreId, other: StoreId) {
    const connect = (): Connection =>
      ({
        ...{ remoteAddress: 'there:1', queuedBytes: 0, isOpen: true },
        send: (parts: readonly Uint8Array[]) => this.sent.push(Buffer.concat(parts)) > 0,
        setHandlers: (handlers: ConnectionHandlers) => {
          this.#handlers = handlers;
        },
        close: () => {
          this.isClosed = true;
        },
        limitFrames: (bytesMax: number) => {
          this.frameBytesMax = bytesMax;
        },
      }) as unknown as Connection;
    this.links = new SessionLinks({
      ...{ clock, rng: new SimRng(1), logger: noopLogger, metrics: noopMetrics, storeId: self },
      transport: { connect } as Partial<Transport> as Transport,
      hello: (purpose) => hello(self, purpose),
      peerLost: () => undefined,
    });
    this.links.setPeers([{ storeId: other, address: 'there:1' }]);
  }

  hear(frame: Buffer | undefined): void {
    this.#handlers?.onFrame(frame ?? Buffer.alloc(0));
  }
}

describe('a store that was dialled', () => {
  it('sends nothing but signs of life, and no long frames: the link ends otherwise', () => {
    const [self, peer] = [new Dialled(SELF, PEER), new Dialled(PEER, SELF)];
    self.hear(peer.sent[0]);
    peer.hear(self.sent[0]);
    expect(self.isClosed).toBe(false);
    expect(self.frameBytesMax).toBe(64 * 1024);
    // What it sends over its own link.
    expect(peer.links.sendHeartbeat(SELF, Buffer.alloc(10))).toBe(true);
    self.hear(peer.sent[1]);
    expect(self.isClosed).toBe(true);
  });
});
