import { describe, expect, it } from '@jest/globals';
import { CairnError, Gates, storeId, timestamp } from '@cairn/base';
import { noopLogger, type Logger } from '@cairn/ports';
import type { NodeIdentity } from '@cairn/store';
import { THIS_BUILD } from '@cairn/wire';
import type { JoinRequest, JoinResponse } from '@cairn/wire/gen/cairn/internal/v1/metadata.js';

import { joinCluster, type Joined } from './join-cluster.js';

const NEW: NodeIdentity = {
  name: 'shard-3',
  kind: 'shard',
  incarnation: Buffer.alloc(16, 3),
  clusterId: '',
  storeId: storeId(0),
  isStoreMade: false,
  starts: [{ acceptor: 'metadata', accepted: '', offered: ['aa'.repeat(8)] }],
  process: Buffer.alloc(8, 3),
  members: [],
};

/** A metadata service of which somebody counts how often it was asked and let go. */
class Service {
  readonly requests: JoinRequest[] = [];
  readonly timeoutsMs: number[] = [];
  readonly levels: string[] = [];
  opened = 0;
  closed = 0;
  #nowMs = 0;
  readonly #answers: (Partial<JoinResponse> | CairnError)[];

  constructor(...answers: (Partial<JoinResponse> | CairnError)[]) {
    this.#answers = answers;
  }

  #logger(): Logger {
    const at = (level: string) => () => {
      this.levels.push(level);
    };
    return { ...noopLogger, info: at('info'), warn: at('warn') };
  }

  join(identity: NodeIdentity, replacesStoreId = 0): Promise<Joined> {
    return joinCluster({
      ...{ build: THIS_BUILD, gates: new Gates(0) },
      ...{ identity, replacesStoreId, address: 'shard-3:7100', publicAddress: '', logger: this.#logger() },
      clock: {
        nowMs: () => this.#nowMs,
        unixMs: () => 0,
        defer: queueMicrotask,
        setTimer: (delayMs, callback) => {
          this.#nowMs += delayMs;
          queueMicrotask(callback);
          return { cancel: () => undefined };
        },
      },
      metadata: () => {
        this.opened += 1;
        return {
          join: (request, { timeoutMs }) => {
            this.requests.push(request);
            this.timeoutsMs.push(timeoutMs);
            const answer = this.#answers.shift() ?? new CairnError('INTERNAL', 'asked too often');
            if (CairnError.is(answer)) return Promise.reject(answer);
            return Promise.resolve({
              clusterId: 'c',
              storeId: 3,
              timestamp: 1,
              stores: [],
              clusterVersion: 1,
              gcSafePoint: 0,
              ...answer,
            });
          },
          heartbeat: () => Promise.reject(new Error('not asked for')),
          allocateIds: () => Promise.reject(new Error('not asked for')),
          timestamp: () => Promise.resolve(timestamp(1)),
          close: () => {
            this.closed += 1;
          },
        };
      },
    });
  }
}

describe('a node that joins', () => {
  it('waits for a service that starts with it, and says so aloud when that lasts', async () => {
    const service = new Service(
      ...Array.from({ length: 30 }, () => new CairnError('UNAVAILABLE', 'none')),
      {},
    );
    await service.join(NEW);
    expect(service.levels).toEqual([...Array(20).fill('info'), ...Array(10).fill('warn')]);
  });

  it('asks until it is answered, and leaves no session behind', async () => {
    const service = new Service(new CairnError('UNAVAILABLE', 'no leader'), {});
    const { identity } = await service.join(NEW);
    expect(identity).toMatchObject({
      clusterId: 'c',
      storeId: 3,
      starts: [{ accepted: 'aa'.repeat(8), offered: [] }],
    });
    expect([service.requests.length, service.opened, service.closed]).toEqual([2, 1, 1]);
    // The log says every few seconds why it waits.
    expect(service.timeoutsMs).toEqual([3_000, 3_000]);
  });

  it('passes a refusal on, and leaves no session behind', async () => {
    const service = new Service(new CairnError('NAME_TAKEN', 'another directory'));
    await expect(service.join(NEW)).rejects.toMatchObject({ code: 'NAME_TAKEN' });
    expect([service.opened, service.closed]).toEqual([1, 1]);
  });

  it('gives a store up only before its directory has joined', async () => {
    const service = new Service({}, {});
    const { identity } = await service.join(NEW, 2);
    await service.join(identity, 2);
    expect(service.requests.map(({ replacesStoreId }) => replacesStoreId)).toEqual([2, 0]);
  });

  it('is no other store than its directory says', async () => {
    const service = new Service({ storeId: 4 });
    const known = { ...NEW, clusterId: 'c', storeId: storeId(3) };
    await expect(service.join(known)).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
      message: expect.stringContaining('takes shard-3 for store 4, its data directory is of store 3'),
    });
  });
});
