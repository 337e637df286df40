import { CairnError, type RangeDescriptor, type Timestamp } from '@cairn/base';
import type { EngineIterator } from '@cairn/engine';
import { VisibleReader, versionSpanOf } from '@cairn/mvcc';

import type { KvCall } from './kv-call.js';
import type { KvEnvironment, KvMachine } from './kv-machine.js';

const ROWS_PER_STEP = 256;

/**
 * Bounds how many scans read the engine of one store at once; others wait in line, and beyond that are
 * refused.
 */
export class ScanSlots {
  readonly #slotsMax: number;
  readonly #waitingMax: number;
  #used = 0;
  #waiting: (() => void)[] = [];

  constructor(slotsMax: number, waitingMax: number) {
    this.#slotsMax = slotsMax;
    this.#waitingMax = waitingMax;
  }

  /** Runs the work when a slot is free. Answers false when too many wait already. */
  run(work: () => Promise<void>): boolean {
    if (this.#used >= this.#slotsMax) {
      if (this.#waiting.length >= this.#waitingMax) return false;
      this.#waiting.push(() => {
        this.#begin(work);
      });
      return true;
    }
    this.#begin(work);
    return true;
  }

  #begin(work: () => Promise<void>): void {
    this.#used += 1;
    void work().finally(() => {
      this.#used -= 1;
      this.#waiting.shift()?.();
    });
  }
}

/** What the engine held of a range when the view was taken; the range may be cut while it is read. */
interface RangeView {
  readonly range: RangeDescriptor;
  readonly iterator: EngineIterator;
}

/** Serves pages of rows: at a timestamp from the leader, or of whatever is applied from any replica. */
export class ScanPages {
  readonly #environment: KvEnvironment;
  readonly #machine: KvMachine;

  constructor(environment: KvEnvironment, machine: KvMachine) {
    this.#environment = environment;
    this.#machine = machine;
  }

  /**
   * A page at the request's timestamp, on the leader; see `PointReads` for why it waits and in which order it
   * looks.
   */
  add(call: KvCall): void {
    this.#environment.timestamps.observe(call.request.readTimestamp);
    this.#machine.whenPublished(() => {
      this.#occupy(call, () => this.#readConfirmed(call));
    });
  }

  addStale(call: KvCall): void {
    this.#occupy(call, () => this.#readPage(call, this.#open(call), this.#machine.readNow));
  }

  #occupy(call: KvCall, work: () => Promise<void>): void {
    const accepted = this.#environment.scanSlots.run(async () => {
      try {
        if (!call.isAbandoned(this.#environment.clock.nowMs())) await work();
        else call.fail('DEADLINE_EXCEEDED', 'the deadline passed while the scan waited its turn');
      } catch (error) {
        if (CairnError.is(error)) call.fail(error.code, error.message);
        else call.fail('INTERNAL', `the scan failed: ${String(error)}`);
      }
    });
    if (!accepted) call.fail('RESOURCE_EXHAUSTED', 'too many scans wait on this node', { retryAfterMs: 50 });
  }

  async #readConfirmed(call: KvCall): Promise<void> {
    const { replica } = this.#machine;
    if (this.#isRefused(call)) return;
    let view = this.#open(call);
    if (!replica.hasLease(this.#environment.clock.nowMs())) {
      await view.iterator.close();
      const confirmed = await new Promise<boolean>((resolve) => {
        replica.readIndex(resolve);
      });
      if (!confirmed) {
        call.failNotLeader(replica.leaderStoreId);
        return;
      }
      if (this.#isRefused(call)) return;
      view = this.#open(call);
    }
    await this.#readPage(call, view, call.request.readTimestamp);
  }

  /**
   * A range that was cut or closed while the page waited holds only part of the span, and one whose garbage
   * was collected only part of the versions; the answer must not look complete.
   */
  #isRefused(call: KvCall): boolean {
    const { descriptor, isClosed, replica } = this.#machine;
    if (isClosed) call.failNotLeader(replica.leaderStoreId);
    else if (descriptor.epoch.version !== call.request.epochVersion) call.failEpoch(descriptor);
    else this.#machine.refusesAsTooOld(call);
    return call.isDone;
  }

  /** The engine's view of the part of the span that lies in this range, as of now. */
  #open(call: KvCall): RangeView {
    const range = this.#machine.descriptor;
    const { startKey, endKey } = range;
    const { request } = call;
    const start = Buffer.compare(request.key, startKey) > 0 ? request.key : startKey;
    const isEndInside =
      request.endKey.length > 0 && (endKey.length === 0 || Buffer.compare(request.endKey, endKey) < 0);
    const span = versionSpanOf(start, isEndInside ? request.endKey : endKey);
    return { range, iterator: this.#environment.engine.iterate({ ...span, reverse: request.reverse }) };
  }

  async #readPage(call: KvCall, { range, iterator }: RangeView, readTimestamp: Timestamp): Promise<void> {
    const { request } = call;
    const reader = new VisibleReader({
      readTimestamp,
      reverse: request.reverse,
      keysOnly: request.keysOnly,
      limit: request.limit,
      pageBytes: request.pageBytes,
    });
    let resumeKey: Buffer | undefined;
    try {
      for (;;) {
        if (call.isAbandoned(this.#environment.clock.nowMs())) {
          call.fail('DEADLINE_EXCEEDED', 'the deadline passed during the scan');
          return;
        }
        const rows = await iterator.next(ROWS_PER_STEP);
        if (rows.length === 0) {
          reader.finish();
          resumeKey = restOfSpan(request, range);
          break;
        }
        if (reader.push(rows) || reader.examined >= this.#environment.limits.versionsPerPageMax) {
          resumeKey = reader.resumeKey();
          break;
        }
      }
    } finally {
      await iterator.close();
    }
    const response = call.newResponse();
    response.rows = reader.rows;
    response.resumeKey = resumeKey;
    response.timestamp = readTimestamp;
    call.respond(response);
  }
}

/**
 * Where a span goes on that reaches beyond the range: forward at the range's end, backward below its start.
 */
export function restOfSpan(
  request: { readonly endKey: Uint8Array; readonly reverse: boolean },
  range: { readonly startKey: Uint8Array; readonly endKey: Uint8Array },
): Buffer | undefined {
  const { startKey, endKey } = range;
  if (request.reverse) return startKey.length === 0 ? undefined : Buffer.from(startKey);
  if (endKey.length === 0) return undefined;
  const reachesBeyond = request.endKey.length === 0 || Buffer.compare(request.endKey, endKey) > 0;
  return reachesBeyond ? Buffer.from(endKey) : undefined;
}
