import { messageOf } from '@cairn/base';
import { CairnTarget } from './cairn-target.js';
import { preload, runClosedLoop, type LoadData, type LoadTarget } from './closed-loop.js';
import { keyAt, makeKeys } from './data-set.js';
import { EtcdTarget } from './etcd-target.js';
import type { LoadReply, LoadRequest, LoadSetup } from './load-messages.js';

/** What a load process does between its start and its end. */
export class LoadSession {
  readonly #target: LoadTarget;
  readonly #data: LoadData;

  private constructor(target: LoadTarget, setup: LoadSetup) {
    this.#target = target;
    this.#data = { keys: makeKeys(setup.keys), end: keyAt(setup.keys), valueBytes: setup.valueBytes };
  }

  /** @throws when the system cannot be reached. */
  static async open(setup: LoadSetup): Promise<LoadSession> {
    if (setup.system === 'etcd') return new LoadSession(new EtcdTarget(setup.endpoints), setup);
    const target = new CairnTarget(setup.endpoints);
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
      if (request.kind === 'run') {
        return { kind: 'result', result: await runClosedLoop(this.#target, this.#data, request) };
      }
      await preload(this.#target, this.#data, request.outstanding);
      return { kind: 'preloaded' };
    } catch (error) {
      return { kind: 'failed', message: messageOf(error) };
    }
  }

  close(): void {
    this.#target.close();
  }
}
