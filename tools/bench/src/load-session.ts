import { messageOf } from '@cairn/base';
import { CairnTarget } from './cairn-target.js';
import { preload, REAL_TIME, runClosedLoop, type LoadData, type LoadTarget } from './closed-loop.js';
import { keyAt, makeKeys } from './data-set.js';
import { EtcdTarget } from './etcd-target.js';
import { runFailover } from './failover.js';
import type { LoadReply, LoadRequest, LoadSetup } from './load-messages.js';
import { startLoopDelayMeter } from './loop-delay.js';
import { runOpenLoop } from './open-loop.js';

/** What a load process does between its start and its end. */
export class LoadSession {
  readonly #target: LoadTarget;
  readonly #data: LoadData;

  private constructor(target: LoadTarget, setup: LoadSetup) {
    this.#target = target;
    const { keys, valueBytes } = setup;
    this.#data = { keys: makeKeys(keys), end: keyAt(keys), valueBytes, inserted: { count: 0 } };
  }

  /** @throws when the system cannot be reached. */
  static async open(setup: LoadSetup): Promise<LoadSession> {
    if (setup.system === 'etcd') return new LoadSession(new EtcdTarget(setup.endpoints), setup);
    const target = new CairnTarget(setup.endpoints, { retries: setup.retries ?? true });
    try {
      await target.ready();
    } catch (error) {
      target.close();
      throw error;
    }
    return new LoadSession(target, setup);
  }

  /** Never rejects: what goes wrong is the answer. */
  async handle(request: LoadRequest): Promise<LoadReply> {
    try {
      return await this.#answer(request);
    } catch (error) {
      return { kind: 'failed', message: messageOf(error) };
    }
  }

  async #answer(request: LoadRequest): Promise<LoadReply> {
    const parts = { target: this.#target, data: this.#data, time: REAL_TIME };
    switch (request.kind) {
      case 'run':
        return { kind: 'result', result: await runClosedLoop(this.#target, this.#data, request) };
      case 'preload':
        await preload(this.#target, this.#data, request.outstanding);
        return { kind: 'preloaded' };
      case 'failover': {
        const kill = (processId: number): void => void process.kill(processId, 'SIGKILL');
        return { kind: 'failover', result: await runFailover(parts, request, kill) };
      }
      case 'open': {
        const loopDelay = startLoopDelayMeter();
        return { kind: 'open', result: await runOpenLoop({ ...parts, loopDelay }, request) };
      }
    }
  }

  close(): void {
    this.#target.close();
  }
}
