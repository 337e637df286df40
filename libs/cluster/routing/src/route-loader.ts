import { CairnError, messageOf, rethrowInvariant, NO_BYTES } from '@cairn/base';
import { compareKeys, keyBelow } from './keys.js';
import type { MetadataGateway, RoutesAnswer } from './metadata-gateway.js';
import { isSpan, type RoutedOperation } from './operation.js';
import type { RouteEntry } from './range-cache.js';

/** Keys asked for in one request. */
const KEYS_PER_REQUEST_MAX = 128;
/** Ranges per page of a prefetch. */
const PREFETCH_PAGE = 1_000;

export interface RouteLoaderOptions {
  readonly gateway: MetadataGateway;
  /** Something was learned; the operations waited for it. */
  loaded(answer: RoutesAnswer, operations: readonly RoutedOperation[]): void;
  failed(operations: readonly RoutedOperation[], reason: string): void;
}

/** Asks the metadata service where ranges are: one request at a time, for everybody who waits. */
export class RouteLoader {
  readonly #options: RouteLoaderOptions;
  #waiting: RoutedOperation[] = [];
  #refreshing: RouteEntry[] = [];
  #isBusy = false;

  constructor(options: RouteLoaderOptions) {
    this.#options = options;
  }

  /** The operation's range is not known. */
  load(operation: RoutedOperation): void {
    this.#waiting.push(operation);
    this.#begin();
  }

  /** A known range may have changed; it is used meanwhile. */
  refresh(entry: RouteEntry): void {
    if (this.#refreshing.length >= KEYS_PER_REQUEST_MAX) return;
    entry.needsReload = false;
    this.#refreshing.push(entry);
    this.#begin();
  }

  /**
   * Refreshes those of the entries that need it, from `cursor` on and round, as many as one request holds.
   * Answers where to go on the next time.
   */
  refreshSome(entries: readonly RouteEntry[], cursor: number, needs: (entry: RouteEntry) => boolean): number {
    let step = 0;
    for (; step < entries.length && this.#refreshing.length < KEYS_PER_REQUEST_MAX; step += 1) {
      const entry = entries[(cursor + step) % entries.length] as RouteEntry;
      if (needs(entry)) this.#refreshing.push(entry);
    }
    this.#begin();
    return cursor + step;
  }

  /** Learns all ranges there are. Rejects when the metadata service cannot say. */
  async prefetch(): Promise<void> {
    let fromKey: Uint8Array = NO_BYTES;
    for (;;) {
      const answer = await this.#options.gateway.routes({ keys: [], fromKey, limit: PREFETCH_PAGE });
      this.#options.loaded(answer, []);
      const last = answer.routes.at(-1);
      if (last === undefined || last.descriptor.endKey.length === 0 || answer.routes.length < PREFETCH_PAGE)
        return;
      if (compareKeys(last.descriptor.endKey, fromKey) <= 0)
        throw new CairnError('UNAVAILABLE', 'the metadata service lists ranges that do not go on');
      fromKey = last.descriptor.endKey;
    }
  }

  #begin(): void {
    if (this.#isBusy) return;
    const operations = this.#waiting.splice(0, KEYS_PER_REQUEST_MAX);
    const entries = this.#refreshing.splice(0, KEYS_PER_REQUEST_MAX - operations.length);
    if (operations.length === 0 && entries.length === 0) return;
    this.#isBusy = true;
    const keys = [...operations.map(keyOf), ...entries.map((entry) => entry.startKey)];
    this.#options.gateway.routes({ keys, fromKey: undefined, limit: 0 }).then(
      (answer) => {
        this.#isBusy = false;
        this.#options.loaded(answer, operations);
        this.#begin();
      },
      (error: unknown) => {
        rethrowInvariant(error);
        this.#isBusy = false;
        this.#options.failed(operations, messageOf(error));
        this.#begin();
      },
    );
  }
}

function keyOf(operation: RoutedOperation): Uint8Array {
  const { request, spanStart, spanEnd } = operation;
  return request.reverse && isSpan(request.op) ? keyBelow(spanEnd) : spanStart;
}
