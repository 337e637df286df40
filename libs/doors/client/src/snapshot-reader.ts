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
 * Reads keys of one instant, or each of the moment that it is made. The first read brings the timestamp
 * along, so that it costs no call of its own; reads that are started together share a call.
 */
export class SnapshotReader {
  readonly #dispatcher: Pick<Dispatcher, 'start'>;
  readonly #timing: () => DispatchTiming;
  readonly #isOneInstant: boolean;
  #queue: Waiting[] = [];
  #isFlushDue = false;
  #timestamp = 0;
  /** The call that brings the timestamp. */
  #beginning: Promise<void> | undefined;

  /** `timing`: how long a call may take; throws when there is no time left. */
  constructor(
    dispatcher: Pick<Dispatcher, 'start'>,
    timing: () => DispatchTiming,
    options: { readonly isOneInstant: boolean },
  ) {
    this.#dispatcher = dispatcher;
    this.#timing = timing;
    this.#isOneInstant = options.isOneInstant;
  }

  /** Of the first read; 0 = nothing was read yet. */
  get timestamp(): number {
    return this.#timestamp;
  }

  read(key: Buffer): Promise<Entry | undefined> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ key, resolve, reject });
      this.#scheduleFlush();
    });
  }

  /** Reads are of this instant, unless something was read before, or is being read. */
  async startAt(timestamp: number): Promise<void> {
    while (this.#beginning !== undefined) await this.#beginning;
    this.#takeTimestamp(timestamp);
  }

  /** The instant of a scan that begins now. */
  async scanInstant(): Promise<number> {
    const first = await this.begin();
    return this.#isOneInstant ? first : this.#freshTimestamp();
  }

  /** The first instant, taken now if it was not before. */
  async begin(): Promise<number> {
    while (this.#timestamp === 0) {
      // What is queued will bring it; so will what is under way.
      if (this.#beginning === undefined && this.#queue.length > 0) this.#flush();
      await (this.#beginning ?? this.#startWithout());
    }
    return this.#timestamp;
  }

  #startWithout(): Promise<void> {
    return this.#beginWith(async () => {
      this.#takeTimestamp(await this.#freshTimestamp());
    });
  }

  async #freshTimestamp(): Promise<number> {
    const operation = { $case: 'getTimestamp', value: {} } as const;
    return (await this.#dispatcher.start(operation, OVERHEAD_BYTES, this.#timing())) as number;
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
      if (this.#timestamp > 0 || !this.#isOneInstant) void this.#answer(part);
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
    let at = this.#isOneInstant ? this.#timestamp : 0;
    try {
      while (done < part.length) {
        const rest = part.slice(done);
        const keys = rest.map(({ key }) => key);
        const { results, timestamp } = await this.#fetch(keys, at);
        at = timestamp;
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

  /** `at`: 0 = now. */
  async #fetch(keys: Buffer[], at: number): Promise<SnapshotGetResponse> {
    const asked: SnapshotGetRequest['at'] =
      at > 0 ? { $case: 'timestamp', value: at } : { $case: 'fresh', value: true };
    const bytes = keys.reduce((sum, key) => sum + key.length + 4, OVERHEAD_BYTES);
    const operation = { $case: 'snapshotGet', value: { keys, at: asked } } as const;
    const answer = (await this.#dispatcher.start(operation, bytes, this.#timing())) as SnapshotGetResponse;
    const { results, partial, timestamp } = answer;
    const isWhole = partial ? results.length < keys.length : results.length === keys.length;
    if (results.length === 0 || !isWhole) {
      throw new CairnError('INTERNAL', `the router answered ${results.length} of ${keys.length} keys`);
    }
    if (timestamp <= 0 || (at > 0 && timestamp !== at))
      throw new CairnError('INTERNAL', `the router answered as of ${timestamp}, which was not asked for`);
    this.#takeTimestamp(timestamp);
    return answer;
  }

  #takeTimestamp(timestamp: number): void {
    if (this.#timestamp === 0) this.#timestamp = timestamp;
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
