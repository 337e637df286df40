import { assert, CairnError, messageOf } from '@cairn/base';
import type { CairnClient, PutOptions } from '@cairn/client';
import type { ImportItem, ResumePoint } from './mapping.js';

/** Bytes of rows that may be on their way at a time, whatever the window. */
const BYTES_IN_FLIGHT_MAX = 32 * 1024 * 1024;

export interface ImportRunOptions {
  readonly client: CairnClient;
  /** Most rows on their way at a time. */
  readonly window: number;
  readonly put: PutOptions;
  readonly start: ResumePoint;
  readonly signal: AbortSignal;
  onRejected(item: ImportItem, reason: string): void;
  /** After every item taken; for progress and for saving the state. Awaited. */
  onItem(run: ImportRun): Promise<void>;
}

/** One item that was taken and not yet passed by the acknowledged prefix. */
interface Slot {
  readonly next: ResumePoint;
  isDone: boolean;
}

/**
 * Writes rows with a bounded number on their way and knows up to where everything is done. Rows of one key
 * are never on their way together: the later one must win.
 */
export class ImportRun {
  readonly #options: ImportRunOptions;
  readonly #slots: Slot[] = [];
  #slotsHead = 0;
  readonly #keysInFlight = new Set<string>();
  #bytesInFlight = 0;
  #wake: (() => void) | undefined;
  #point: ResumePoint;
  /** Rows acknowledged by this run. */
  imported = 0;
  rejected = 0;
  /** The first failure that is not the row's own fault; ends the run. */
  failure: CairnError | undefined;

  constructor(options: ImportRunOptions) {
    this.#options = options;
    this.#point = options.start;
  }

  /** Everything before this point is written or rejected. */
  get point(): ResumePoint {
    return this.#point;
  }

  /** Runs to the end of the items, the first failure, or the signal; what was sent has settled then. */
  async run(items: AsyncIterable<ImportItem>): Promise<void> {
    for await (const item of items) {
      if (item.row === undefined) this.#reject(item, this.#openSlot(item), item.reason);
      else {
        const name = item.row.key.toString('latin1');
        await this.#untilRoomFor(name);
        if (this.#isStopping()) break;
        this.#send(item, item.row, name);
      }
      await this.#options.onItem(this);
      if (this.#isStopping()) break;
    }
    while (this.#keysInFlight.size > 0) await this.#change();
  }

  #isStopping(): boolean {
    return this.failure !== undefined || this.#options.signal.aborted;
  }

  async #untilRoomFor(name: string): Promise<void> {
    const { window } = this.#options;
    while (
      !this.#isStopping() &&
      (this.#keysInFlight.size >= window ||
        this.#bytesInFlight > BYTES_IN_FLIGHT_MAX ||
        this.#keysInFlight.has(name))
    ) {
      await this.#change();
    }
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  #openSlot(item: ImportItem): Slot {
    const slot: Slot = { next: item.next, isDone: false };
    this.#slots.push(slot);
    return slot;
  }

  #send(item: ImportItem, row: { readonly key: Buffer; readonly value: Buffer }, name: string): void {
    const slot = this.#openSlot(item);
    const bytes = row.key.length + row.value.length;
    this.#keysInFlight.add(name);
    this.#bytesInFlight += bytes;
    const settle = (error: unknown): void => {
      this.#keysInFlight.delete(name);
      this.#bytesInFlight -= bytes;
      this.#settle(item, slot, error);
      this.#wake?.();
    };
    this.#options.client.put(row.key, row.value, this.#options.put).then(() => settle(undefined), settle);
  }

  #settle(item: ImportItem, slot: Slot, error: unknown): void {
    if (error === undefined) {
      this.imported += 1;
      this.#finish(slot);
    } else if (!CairnError.is(error)) {
      this.failure ??= new CairnError('INTERNAL', messageOf(error), { cause: error });
    } else if (error.code === 'INVALID_ARGUMENT') this.#reject(item, slot, error.message);
    else this.failure ??= error;
  }

  #reject(item: ImportItem, slot: Slot, reason: string): void {
    this.rejected += 1;
    this.#options.onRejected(item, reason);
    this.#finish(slot);
  }

  /** Moves the acknowledged prefix over all leading slots that are done. */
  #finish(slot: Slot): void {
    assert(!slot.isDone, 'an item is done once');
    slot.isDone = true;
    for (;;) {
      const head = this.#slots[this.#slotsHead];
      if (head === undefined || !head.isDone) break;
      this.#point = head.next;
      this.#slotsHead += 1;
    }
    if (this.#slotsHead > 1024 && this.#slotsHead * 2 > this.#slots.length) {
      this.#slots.splice(0, this.#slotsHead);
      this.#slotsHead = 0;
    }
  }
}
