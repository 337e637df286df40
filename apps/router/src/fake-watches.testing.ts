import { CairnError, Gates, opensAt, timestamp } from '@cairn/base';
import type { StreamEvent, Watch, WatchOptions, WatchOutput } from '@cairn/change-stream';
import type { WatchParts } from '@cairn/router-node';
import { encodeWatchChange, type Change } from '@cairn/wire';

/** A watch that says what a test lets it say. */
export class FakeWatch implements Watch {
  readonly started = timestamp(500);
  readonly startToken = Buffer.from('start');
  readonly options: WatchOptions;
  /** Messages that were read. */
  reads = 0;
  isClosed = false;
  readonly #outputs: WatchOutput[] = [];
  #error: CairnError | undefined;
  #asked: PromiseWithResolvers<WatchOutput> | undefined;
  #whenEnded: () => void = () => undefined;

  constructor(options: WatchOptions) {
    this.options = options;
  }

  say(...outputs: readonly WatchOutput[]): void {
    this.#outputs.push(...outputs);
    this.#answer();
    if (outputs.some(({ type }) => type === 'reset')) this.#whenEnded();
  }

  fail(error: CairnError): void {
    this.#error = error;
    this.#answer();
    this.#whenEnded();
  }

  read(): Promise<WatchOutput> {
    this.reads += 1;
    this.#asked = Promise.withResolvers();
    const { promise } = this.#asked;
    this.#answer();
    return promise;
  }

  onEnd(listener: () => void): void {
    this.#whenEnded = listener;
  }

  close(): void {
    this.isClosed = true;
    this.#error ??= new CairnError('CANCELLED', 'the watch is closed');
    this.#answer();
  }

  #answer(): void {
    const output = this.#asked === undefined ? undefined : this.#outputs.shift();
    if (output !== undefined) this.#asked?.resolve(output);
    else if (this.#error !== undefined) this.#asked?.reject(this.#error);
    else return;
    this.#asked = undefined;
  }
}

/** What the door of change streams stands before. */
export class FakeWatches implements WatchParts {
  readonly gates = new Gates(opensAt('changeStreams'));
  readonly open: FakeWatch[] = [];
  /** What opening one ends with; undefined = success. */
  failure: CairnError | undefined;
  /** Each ends as soon as it has begun. */
  isBrief = false;

  readonly streams: WatchParts['streams'] = {
    watch: (options) => {
      if (this.failure !== undefined) return Promise.reject(this.failure);
      const watch = new FakeWatch(options);
      this.open.push(watch);
      if (this.isBrief) watch.say({ type: 'reset', reason: 'history', oldest: timestamp(0) });
      return Promise.resolve(watch);
    },
  };

  get last(): FakeWatch {
    const last = this.open[this.open.length - 1];
    if (last === undefined) throw new Error('nobody watches');
    return last;
  }
}

/** Changes of these keys, ready to be said. */
export function changesOf(...changes: readonly (Partial<Change> & { readonly key: Buffer })[]): WatchOutput {
  const events = changes.map((some): StreamEvent => {
    const change: Change = {
      ...{ timestamp: timestamp(600), sequence: 7, start: timestamp(0), kind: 0, type: 'put' },
      ...{ value: Buffer.from('v'), expiresAt: timestamp(0), previous: undefined },
      ...some,
    };
    const { timestamp: at, start, sequence, key } = change;
    const encoded = encodeWatchChange(change, Buffer.from('token'));
    return { ...{ timestamp: at, start, sequence, key }, encoded };
  });
  return { type: 'changes', events };
}
