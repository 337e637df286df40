import { CairnError, messageOf } from '@cairn/base';
import type { Dispatcher, DispatchTiming } from './dispatcher.js';
import { Entry } from './entry.js';
import { errorFromDetail } from './errors.js';
import type { BatchGetResult, SnapshotGetRequest, SnapshotGetResponse } from './wire-binding.js';

/** Keys of one call, and their bytes. */
const KEYS_MAX = 4_096;
const KEY_BYTES_MAX = 1024 * 1024;
const OVERHEAD_BYTES = 64;

interface Waiting {
  readonly key: Buffer;
  resolve(entry: Entry | undefined): void;
  reject(error: CairnError): void;
}

/**
 * Reads keys of one instant. The first read brings the timestamp along, so that it costs no call of its own;
 * reads that are started together share a call.
 */
export class SnapshotReader {
  readonly #dispatcher: Pick<Dispatcher, 'start'>;
  readonly #timing: () => DispatchTiming;
  #queue: Waiting[] = [];
  #isFlushDue = false;
  #timestamp = 0;
  /** The call that brings the timestamp. */
  #beginning: Promise<void> | undefined;

  /** `timing`: how long a call may take; throws when there is no time left. */
  constructor(dispatcher: Pick<Dispatcher, 'start'>, timing: () => DispatchTiming) {
    this.#dispatcher = dispatcher;
    this.#timing = timing;
  }

  /** 0 = nothing was read yet. */
  get timestamp(): number {
    return this.#timestamp;
  }

  read(key: Buffer): Promise<Entry | undefined> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ key, resolve, reject });
      this.#scheduleFlush();
    });
  }

  /** The instant, taken now if it was not before. */
  async begin(): Promise<number> {
    while (this.#timestamp === 0) {
      // What is queued will bring it; so will what is under way.
      if (this.#beginning === undefined && this.#queue.length > 0) this.#flush();
      await (this.#beginning ?? this.#startWithout());
    }
    return this.#timestamp;
  }

  #startWithout(): Promise<void> {
    const operation = { $case: 'getTimestamp', value: {} } as const;
    return this.#beginWith(async () => {
      const answer = await this.#dispatcher.start(operation, OVERHEAD_BYTES, this.#timing());
      this.#takeTimestamp(answer as number);
    });
  }

  /** Others wait for `work`, whatever becomes of it, and begin anew when it failed. */
  async #beginWith(work: () => Promise<void>): Promise<void> {
    const beginning = work();
    this.#beginning = beginning.catch(() => undefined);
    try {
      await beginning;
    } finally {
      this.#beginning = undefined;
      this.#flush();
    }
  }

  #scheduleFlush(): void {
    if (this.#isFlushDue) return;
    this.#isFlushDue = true;
    void Promise.resolve().then(() => {
      this.#isFlushDue = false;
      this.#flush();
    });
  }

  #flush(): void {
    while (this.#queue.length > 0 && this.#beginning === undefined) {
      const part = this.#takePart();
      if (this.#timestamp > 0) void this.#answer(part);
      else void this.#beginWith(() => this.#answer(part));
    }
  }

  #takePart(): Waiting[] {
    let bytes = 0;
    let count = 0;
    for (const { key } of this.#queue) {
      bytes += key.length;
      if (count > 0 && (bytes > KEY_BYTES_MAX || count === KEYS_MAX)) break;
      count += 1;
    }
    return this.#queue.splice(0, count);
  }

  /** Never rejects: whoever waits is told. */
  async #answer(part: readonly Waiting[]): Promise<void> {
    let done = 0;
    try {
      while (done < part.length) {
        const rest = part.slice(done);
        const results = await this.#fetch(rest.map(({ key }) => key));
        for (const [index, result] of results.entries()) settle(part[done + index], result);
        done += results.length;
      }
    } catch (error) {
      const told = CairnError.is(error)
        ? error
        : new CairnError('INTERNAL', messageOf(error), { cause: error });
      for (const waiting of part.slice(done)) waiting.reject(told);
    }
  }

  async #fetch(keys: Buffer[]): Promise<readonly BatchGetResult[]> {
    const at: SnapshotGetRequest['at'] =
      this.#timestamp > 0 ? { $case: 'timestamp', value: this.#timestamp } : { $case: 'fresh', value: true };
    const bytes = keys.reduce((sum, key) => sum + key.length + 4, OVERHEAD_BYTES);
    const operation = { $case: 'snapshotGet', value: { keys, at } } as const;
    const answer = (await this.#dispatcher.start(operation, bytes, this.#timing())) as SnapshotGetResponse;
    const { results, partial } = answer;
    const isWhole = partial ? results.length < keys.length : results.length === keys.length;
    if (results.length === 0 || !isWhole) {
      throw new CairnError('INTERNAL', `the router answered ${results.length} of ${keys.length} keys`);
    }
    this.#takeTimestamp(answer.timestamp);
    return results;
  }

  #takeTimestamp(timestamp: number): void {
    if (timestamp <= 0 || (this.#timestamp > 0 && timestamp !== this.#timestamp))
      throw new CairnError('INTERNAL', `the router answered as of ${timestamp}, which was not asked for`);
    this.#timestamp = timestamp;
  }
}

function settle(waiting: Waiting | undefined, { result }: BatchGetResult): void {
  if (waiting === undefined) return;
  switch (result?.$case) {
    case 'get': {
      const { found, value, version, expiresUnixMs } = result.value;
      waiting.resolve(found ? new Entry(value, version, expiresUnixMs) : undefined);
      return;
    }
    case 'error':
      waiting.reject(errorFromDetail(result.value));
      return;
    case undefined:
      waiting.reject(new CairnError('INTERNAL', 'the router answered nothing for a key'));
  }
}
