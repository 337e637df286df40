import { assert, CairnError, messageOf } from '@cairn/base';
import type { CairnClient, PutOptions } from '@cairn/client';
import type { ImportItem, MappedRow, ResumePoint } from './mapping.js';

/** Bytes of rows that may be on their way at a time, whatever the window. */
const BYTES_IN_FLIGHT_MAX = 32 * 1024 * 1024;
/** Items taken and not yet passed: a row that waits long must not let rejected ones pile up behind it. */
const SLOTS_MAX = 65_536;
/** Largest window: what may be taken and not yet passed. */
export const WINDOW_ROWS_MAX = SLOTS_MAX;
/** Text of rejected rows that may wait for a row before them. */
const REJECTED_BYTES_MAX = 32 * 1024 * 1024;

export interface ImportRunOptions {
  readonly client: CairnClient;
  /** Most rows on their way at a time. */
  readonly window: number;
  readonly put: PutOptions;
  readonly start: ResumePoint;
  readonly signal: AbortSignal;
  /** A row was rejected and everything before it is done: called once for it, in the order of the source. */
  onRejected(item: ImportItem, reason: string): void;
  /** After every item taken; for progress and for saving the state. Awaited. */
  onItem(run: ImportRun): Promise<void>;
}

/** One item that was taken and not yet passed by the acknowledged prefix. */
interface Slot {
  readonly next: ResumePoint;
  state: 'open' | 'written' | 'rejected';
  /** What to tell when the prefix passes a rejected one. */
  rejected: { readonly item: ImportItem; readonly reason: string } | undefined;
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
  #rejectedBytes = 0;
  /** Rows before `point`: those that a resumed run will not send, or reject, again. */
  #imported = 0;
  #rejected = 0;
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

  /** Rows of this run before `point` that were written. */
  get imported(): number {
    return this.#imported;
  }

  /** Rows of this run before `point` that were rejected. */
  get rejected(): number {
    return this.#rejected;
  }

  /** Runs to the end of the items, the first failure, or the signal; what was sent has settled then. */
  async run(items: AsyncIterable<ImportItem>): Promise<void> {
    for await (const item of items) {
      const name = item.row?.key.toString('latin1');
      await this.#untilRoomFor(name);
      if (this.#isStopping()) break;
      if (item.row === undefined || name === undefined) this.#reject(item, this.#openSlot(item), item.reason);
      else this.#send(item, item.row, name);
      await this.#options.onItem(this);
      if (this.#isStopping()) break;
    }
    while (this.#keysInFlight.size > 0) await this.#change();
  }

  #isStopping(): boolean {
    return this.failure !== undefined || this.#options.signal.aborted;
  }

  /** `name` is undefined for an item that is not sent. */
  async #untilRoomFor(name: string | undefined): Promise<void> {
    while (!this.#isStopping() && (this.#isBacklogFull() || (name !== undefined && this.#isBusy(name)))) {
      await this.#change();
    }
  }

  #isBacklogFull(): boolean {
    return this.#slots.length - this.#slotsHead >= SLOTS_MAX || this.#rejectedBytes > REJECTED_BYTES_MAX;
  }

  #isBusy(name: string): boolean {
    return (
      this.#keysInFlight.size >= this.#options.window ||
      this.#bytesInFlight > BYTES_IN_FLIGHT_MAX ||
      this.#keysInFlight.has(name)
    );
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  #openSlot(item: ImportItem): Slot {
    const slot: Slot = { next: item.next, state: 'open', rejected: undefined };
    this.#slots.push(slot);
    return slot;
  }

  #send(item: ImportItem, row: MappedRow, name: string): void {
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
    this.#options.client
      .put(row.key, row.value, { ...ttlOf(row), ...this.#options.put })
      .then(() => settle(undefined), settle);
  }

  #settle(item: ImportItem, slot: Slot, error: unknown): void {
    if (error === undefined) this.#finish(slot, 'written');
    else if (!CairnError.is(error)) {
      this.failure ??= new CairnError('INTERNAL', messageOf(error), { cause: error });
    } else if (error.code === 'INVALID_ARGUMENT') this.#reject(item, slot, error.message);
    else this.failure ??= error;
  }

  #reject(item: ImportItem, slot: Slot, reason: string): void {
    slot.rejected = { item, reason };
    this.#rejectedBytes += sizeOf(item);
    this.#finish(slot, 'rejected');
  }

  /** Moves the acknowledged prefix over all leading slots that are done. */
  #finish(slot: Slot, state: 'written' | 'rejected'): void {
    assert(slot.state === 'open', 'an item is done once');
    slot.state = state;
    for (;;) {
      const head = this.#slots[this.#slotsHead];
      if (head === undefined || head.state === 'open') break;
      this.#pass(head);
      this.#slotsHead += 1;
    }
    if (this.#slotsHead > 1024 && this.#slotsHead * 2 > this.#slots.length) {
      this.#slots.splice(0, this.#slotsHead);
      this.#slotsHead = 0;
    }
  }

  #pass(slot: Slot): void {
    this.#point = slot.next;
    if (slot.rejected === undefined) this.#imported += 1;
    else {
      const { item, reason } = slot.rejected;
      slot.rejected = undefined;
      this.#rejected += 1;
      this.#rejectedBytes -= sizeOf(item);
      this.#options.onRejected(item, reason);
    }
  }
}

function sizeOf({ text }: ImportItem): number {
  return typeof text === 'string' ? text.length : text.base64.length;
}

/** A row whose time has come is written all the same: it takes the place of what is there, and goes. */
function ttlOf({ expiresAtMs }: MappedRow): { readonly ttlMs?: number } {
  return expiresAtMs === undefined ? {} : { ttlMs: Math.max(1, expiresAtMs - Date.now()) };
}
