import { readlinkSync } from 'node:fs';
import { platform, setPriority } from 'node:os';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';

import { assert, CairnError, messageOf, type ErrorCode } from '@cairn/base';
import { DiskError } from '@cairn/ports';

/** An error as it crosses threads, where classes do not. */
interface SentError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly details: Readonly<Record<string, unknown>>;
}

type Answer<Result> = { readonly result: Result } | { readonly error: SentError };

/** Jobs work on bytes and make few objects; the process's setting would let garbage pile up here, too. */
const YOUNG_GENERATION_MIB = 2;

interface Pending<Result> {
  readonly resolve: (result: Result) => void;
  readonly reject: (error: CairnError) => void;
}

/**
 * A thread that does jobs, one at a time, in the order of the calls. Jobs and results are plain data. The
 * program at `entry` calls `serveJobs`.
 */
export class JobThread<Job, Result> {
  readonly #worker: Worker;
  readonly #name: string;
  #pending: Pending<Result>[] = [];
  #end: CairnError | undefined;

  constructor(entry: URL, name: string) {
    this.#name = name;
    this.#worker = new Worker(entry, {
      name,
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MIB },
    });
    this.#worker.on('message', (answer: Answer<Result>) => {
      this.#settle(answer);
    });
    this.#worker.on('error', (error: unknown) => {
      this.#fail(
        new CairnError('INTERNAL', `the thread ${name} failed: ${messageOf(error)}`, { cause: error }),
      );
    });
    this.#worker.on('exit', (code) => {
      this.#fail(new CairnError('INTERNAL', `the thread ${name} ended with code ${code}`));
    });
  }

  /** Rejects with what the job threw, or INTERNAL when the thread is gone. */
  run(job: Job): Promise<Result> {
    if (this.#end !== undefined) return Promise.reject(this.#end);
    return new Promise((resolve, reject) => {
      this.#pending.push({ resolve, reject });
      this.#worker.postMessage(job);
    });
  }

  /** Ends the thread; what it was doing rejects. */
  async close(): Promise<void> {
    this.#fail(new CairnError('UNAVAILABLE', `the thread ${this.#name} was closed`));
    await this.#worker.terminate();
  }

  #settle(answer: Answer<Result>): void {
    const pending = this.#pending.shift();
    if (pending === undefined) return;
    if ('result' in answer) pending.resolve(answer.result);
    else {
      const { code, message, details } = answer.error;
      pending.reject(new CairnError(code, message, { details }));
    }
  }

  #fail(error: CairnError): void {
    this.#end ??= error;
    for (const { reject } of this.#pending.splice(0)) reject(this.#end);
  }
}

/**
 * Does the jobs of the `JobThread` that started this thread. `niceness`: by how much the system is to prefer
 * other threads, 0 .. 19; where threads have no priority of their own, without effect.
 */
export function serveJobs<Job, Result>(niceness: number, work: (job: Job) => Promise<Result>): void {
  const port = parentPort;
  assert(!isMainThread && port !== null, 'jobs are served in a thread of their own');
  const threadId = ownThreadId();
  if (threadId !== undefined) setPriority(threadId, niceness);
  let last: Promise<unknown> = Promise.resolve();
  port.on('message', (job: Job) => {
    last = last.then(async () => {
      let answer: Answer<Result>;
      try {
        answer = { result: await work(job) };
      } catch (error) {
        answer = { error: sendable(error) };
      }
      port.postMessage(answer);
    });
  });
}

/** The system's id of this thread, which on Linux may be named wherever a process may. */
function ownThreadId(): number | undefined {
  if (platform() !== 'linux') return undefined;
  const found = /task\/([0-9]+)$/.exec(readlinkSync('/proc/thread-self'))?.[1];
  return found === undefined ? undefined : Number(found);
}

function sendable(error: unknown): SentError {
  if (CairnError.is(error)) return { code: error.code, message: error.message, details: error.details };
  const isFull = error instanceof DiskError && error.code === 'DISK_FULL';
  return { code: isFull ? 'DISK_FULL' : 'INTERNAL', message: messageOf(error), details: {} };
}
