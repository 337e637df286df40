import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { assert, CairnError } from '@cairn/base';
import type { Children } from './children.js';
import type { FailoverRequest, FailoverResult } from './failover.js';
import type { LoadReply, LoadRequest, LoadSetup, RunRequest, RunResult } from './load-messages.js';
import type { OpenLoopRequest, OpenLoopResult } from './open-loop.js';

const PROGRAM = join(import.meta.dirname, 'load-main.js');

/** A running load process. One request at a time. */
export class LoadProcess {
  readonly #children: Children;
  readonly #child: ChildProcess;
  #waiting: PromiseWithResolvers<LoadReply> | undefined;
  #ended: string | undefined;

  private constructor(children: Children, setup: LoadSetup) {
    this.#children = children;
    const args = ['--enable-source-maps', PROGRAM, JSON.stringify(setup)];
    this.#child = children.start(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#child.on('message', (reply: LoadReply) => this.#settle(reply));
    this.#child.once('error', (error) => this.#end(error.message));
    this.#child.once('exit', (code, signal) => this.#end(`it ended (${signal ?? `exit code ${code}`})`));
  }

  /**
   * Starts one and waits until it is connected.
   *
   * @throws CairnError `UNAVAILABLE` with what the process says.
   */
  static async start(children: Children, setup: LoadSetup): Promise<LoadProcess> {
    const load = new LoadProcess(children, setup);
    const reply = await load.#next();
    assert(reply.kind === 'ready', 'a load process says first that it is ready', { kind: reply.kind });
    return load;
  }

  async preload(outstanding: number): Promise<void> {
    const reply = await this.#ask({ kind: 'preload', outstanding });
    assert(reply.kind === 'preloaded', 'a load process answers what it is asked', { kind: reply.kind });
  }

  async run(request: RunRequest): Promise<RunResult> {
    const reply = await this.#ask(request);
    assert(reply.kind === 'result', 'a load process answers what it is asked', { kind: reply.kind });
    return reply.result;
  }

  async failover(request: FailoverRequest): Promise<FailoverResult> {
    const reply = await this.#ask(request);
    assert(reply.kind === 'failover', 'a load process answers what it is asked', { kind: reply.kind });
    return reply.result;
  }

  async openLoop(request: OpenLoopRequest): Promise<OpenLoopResult> {
    const reply = await this.#ask(request);
    assert(reply.kind === 'open', 'a load process answers what it is asked', { kind: reply.kind });
    return reply.result;
  }

  get processId(): number | undefined {
    return this.#child.pid;
  }

  async stop(): Promise<void> {
    await this.#children.stop([this.#child]);
  }

  #ask(request: LoadRequest): Promise<LoadReply> {
    const reply = this.#next();
    if (this.#ended === undefined) this.#child.send(request);
    return reply;
  }

  async #next(): Promise<LoadReply> {
    assert(this.#waiting === undefined, 'a load process does one thing at a time');
    this.#waiting = Promise.withResolvers<LoadReply>();
    if (this.#ended !== undefined) this.#settle({ kind: 'failed', message: this.#ended });
    const reply = await this.#waiting.promise.finally(() => (this.#waiting = undefined));
    if (reply.kind === 'failed') {
      throw new CairnError('UNAVAILABLE', `The load process failed: ${reply.message}`);
    }
    return reply;
  }

  #settle(reply: LoadReply): void {
    this.#waiting?.resolve(reply);
  }

  #end(why: string): void {
    this.#ended ??= why;
    this.#settle({ kind: 'failed', message: this.#ended });
  }
}
