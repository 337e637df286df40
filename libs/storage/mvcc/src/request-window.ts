import { TIMESTAMP_LOGICAL_STEPS, assert, checkFormat, timestamp, type Timestamp } from '@cairn/base';
import { ByteReader, ByteWriter } from '@cairn/codec';
import type { CommandOutcome } from './command-outcome.js';
import { NO_SLOT, RequestChunk } from './request-chunk.js';
import { ENTRY_BYTES, readEntries, writeEntries } from './request-window-codec.js';

/** How long outcomes are kept, in oracle time behind the newest. */
export const REQUEST_WINDOW_MS = 20_000;
/** Most outcomes kept. */
export const REQUEST_WINDOW_COMMANDS_MAX = 262_144;
/**
 * Bound of the bulky details (values of failed compare-and-sets, resume keys), 64 bytes of overhead each
 * included.
 */
export const REQUEST_WINDOW_DETAIL_BYTES_MAX = 4 * 1024 * 1024;

/** An idle range has a small first chunk, a busy one grows into these. */
const CHUNK_CAPACITY_MIN = 32;
const CHUNK_CAPACITY_MAX = 1024;
const FORMAT = 1;

export interface RequestWindowOptions {
  /**
   * Commands at or below this timestamp may be missing. 0 (the default) for a range that is created empty;
   * after a restart without the window, at least the largest timestamp the range may have used.
   */
  readonly completeSince?: Timestamp;
  /** Defaults are the constants above; tests shrink them. All replicas must agree. */
  readonly keptMs?: number;
  readonly commandsMax?: number;
  readonly detailBytesMax?: number;
}

/**
 * Outcomes of the recent commands of one range, so that a command that is sent again gets its first
 * answer. Filled by apply alone and evicted by what the log says (count, bytes, timestamps), so that
 * replicas at one applied index agree.
 *
 * Appending writes one row; nothing is hashed until the first lookup. That asks chunk by chunk: full chunks
 * never change, so the index of one is made once, and for all the windows that a split has left with it.
 */
export class RequestWindow {
  readonly #keptSteps: number;
  readonly #commandsMax: number;
  readonly #detailBytesMax: number;
  #chunks: RequestChunk[] = [];
  #nextCapacity = CHUNK_CAPACITY_MIN;
  /** Evicted slots of the first chunk. */
  #evictedInFirst = 0;
  #length = 0;
  #detailBytes = 0;
  #newest = 0;
  #completeSince: number;

  constructor(options: RequestWindowOptions = {}) {
    this.#completeSince = options.completeSince ?? 0;
    this.#keptSteps = (options.keptMs ?? REQUEST_WINDOW_MS) * TIMESTAMP_LOGICAL_STEPS;
    this.#commandsMax = options.commandsMax ?? REQUEST_WINDOW_COMMANDS_MAX;
    this.#detailBytesMax = options.detailBytesMax ?? REQUEST_WINDOW_DETAIL_BYTES_MAX;
    assert(this.#commandsMax >= 1, 'a request window needs room for one command');
  }

  /** Outcomes remembered. */
  get length(): number {
    return this.#length;
  }

  /** Bytes of bulky details, overhead included. */
  get detailBytes(): number {
    return this.#detailBytes;
  }

  /**
   * Every command of the range with a timestamp above this is remembered. Hence the rule for a retry that
   * is not found: it is surely new if `completeSince <= stamp`, given that a leader never lets a command
   * take effect at or below its stamp; otherwise its outcome is unknown.
   */
  get completeSince(): Timestamp {
    return timestamp(this.#completeSince);
  }

  /** Remembers an outcome (copied); one without a client is ignored. */
  append(outcome: CommandOutcome): void {
    if (outcome.client === 0) return;
    let chunk = this.#chunks[this.#chunks.length - 1];
    if (chunk === undefined || chunk.length === chunk.capacity) chunk = this.#addChunk();
    this.#detailBytes += chunk.append(outcome);
    this.#length += 1;
    if (outcome.timestamp > this.#newest) this.#newest = outcome.timestamp;
    this.#evict(this.#newest - this.#keptSteps);
  }

  /** The first outcome of the command, or undefined. The detail must not be changed. */
  lookup(client: number, requestSequence: number): CommandOutcome | undefined {
    for (let at = 0; at < this.#chunks.length; at += 1) {
      const chunk = this.#chunks[at] as RequestChunk;
      const slot = chunk.find(client, requestSequence, at === 0 ? this.#evictedInFirst : 0);
      if (slot !== NO_SLOT) return chunk.outcomeAt(slot);
    }
    return undefined;
  }

  /**
   * Forgets what is older than the kept time at `now`, a timestamp that the oracle has issued: gives back
   * the memory of a range that went idle. Moves `completeSince` accordingly, so it is safe at any time on
   * any replica.
   */
  evictAt(now: Timestamp): void {
    this.#evict(now - this.#keptSteps);
  }

  /**
   * Everything, for snapshots and for other processes; equal windows give equal bytes. At most 12 MiB by
   * default.
   */
  encode(): Buffer {
    const writer = new ByteWriter(64 + this.#length * ENTRY_BYTES + this.#detailBytes);
    writer.u8(FORMAT);
    writer.u64(this.#completeSince);
    writer.u64(this.#newest);
    writer.u32(this.#length);
    writeEntries(writer, this.#chunks, this.#evictedInFirst);
    return writer.take();
  }

  /** Copies the bytes. Throws CORRUPTION, or FORMAT_TOO_NEW for a format of a later version. */
  static decode(bytes: Uint8Array, options: RequestWindowOptions = {}): RequestWindow {
    const reader = new ByteReader(bytes);
    const format = reader.u8();
    checkFormat('a request window', format, { min: FORMAT, max: FORMAT });
    const completeSince = timestamp(Math.max(reader.u64(), options.completeSince ?? 0));
    const window = new RequestWindow({ ...options, completeSince });
    window.#newest = reader.u64();
    const count = reader.u32();
    window.#chunks = readEntries(reader, count);
    reader.expectEnd();
    window.#length = count;
    for (const chunk of window.#chunks) {
      for (let slot = 0; slot < chunk.length; slot += 1) window.#detailBytes += chunk.detailCostAt(slot);
    }
    window.#evict(window.#newest - window.#keptSteps);
    return window;
  }

  /**
   * The window of a range split off from this one: the same commands, since which side a command fell on
   * is not recorded. Independent of this window from then on. The chunks are shared, and no longer written
   * to: a range that is cut a thousand times must not leave a thousand copies.
   */
  split(): RequestWindow {
    const child = new RequestWindow({
      completeSince: timestamp(this.#completeSince),
      keptMs: this.#keptSteps / TIMESTAMP_LOGICAL_STEPS,
      commandsMax: this.#commandsMax,
      detailBytesMax: this.#detailBytesMax,
    });
    const last = this.#chunks.at(-1);
    if (last !== undefined) this.#chunks[this.#chunks.length - 1] = last.sealed();
    // Each half has less to remember from now on.
    this.#nextCapacity = CHUNK_CAPACITY_MIN;
    child.#chunks = [...this.#chunks];
    child.#evictedInFirst = this.#evictedInFirst;
    child.#length = this.#length;
    child.#detailBytes = this.#detailBytes;
    child.#newest = this.#newest;
    return child;
  }

  #addChunk(): RequestChunk {
    const chunk = new RequestChunk(this.#nextCapacity);
    this.#nextCapacity = Math.min(this.#nextCapacity * 2, CHUNK_CAPACITY_MAX);
    this.#chunks.push(chunk);
    return chunk;
  }

  #evict(horizon: number): void {
    while (this.#length > 0) {
      const chunk = this.#chunks[0] as RequestChunk;
      if (this.#evictedInFirst === 0 && chunk.newestTimestamp < horizon && chunk.details === undefined) {
        this.#evictWhole(chunk);
        continue;
      }
      const slot = this.#evictedInFirst;
      const ts = chunk.timestampAt(slot);
      if (ts >= horizon && this.#length <= this.#commandsMax && this.#detailBytes <= this.#detailBytesMax)
        return;
      this.#detailBytes -= chunk.detailCostAt(slot);
      this.#length -= 1;
      this.#evictedInFirst = slot + 1;
      if (ts > this.#completeSince) this.#completeSince = ts;
      if (this.#evictedInFirst === chunk.capacity || this.#length === 0) this.#dropFirst();
    }
  }

  /**
   * After a split all halves still hold what was there before: a thousand of them that evict it entry by
   * entry keep the store from everything else for seconds.
   */
  #evictWhole(chunk: RequestChunk): void {
    this.#length -= chunk.length;
    if (chunk.newestTimestamp > this.#completeSince) this.#completeSince = chunk.newestTimestamp;
    this.#dropFirst();
  }

  #dropFirst(): void {
    this.#chunks.shift();
    this.#evictedInFirst = 0;
  }
}
