import type { Timestamp } from '@cairn/base';
import { rowCacheKey, userKeyOfRowCacheKey, type RowCacheKey, type VersionRecord } from '@cairn/mvcc';
import type { Clock } from '@cairn/ports';
import { RowPacker, type PackedRows } from '@cairn/wire';

import { ScanCachePage, type CacheSpan } from './scan-cache-page.js';

/** Writes that a page being read may miss; with more it is not kept. */
const MISSED_WRITES_MAX = 16_384;
/** A page that nobody scanned for so long is dropped when it is written to. */
const IDLE_MS = 30_000;

/** Bounds the pages of all ranges of a store; the page unused for longest goes first. */
export class ScanCacheBudget {
  readonly #bytesMax: number;
  readonly #owners = new Map<ScanCachePage, ScanCache>();
  #bytes = 0;
  hits = 0;
  misses = 0;

  /** 0 turns the cache off. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get bytesMax(): number {
    return this.#bytesMax;
  }

  /** Bytes in use, estimated. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Counts a page, or counts it as used just now. Pages that go make room. */
  use(owner: ScanCache, page: ScanCachePage, bytesBefore: number): void {
    this.#owners.delete(page);
    this.#owners.set(page, owner);
    this.resized(bytesBefore, page.bytes);
  }

  resized(bytesBefore: number, bytesAfter: number): void {
    this.#bytes += bytesAfter - bytesBefore;
    while (this.#bytes > this.#bytesMax) {
      const oldest = this.#owners.entries().next().value;
      if (oldest === undefined) return;
      oldest[1].drop(oldest[0]);
    }
  }

  /** A page is gone. */
  release(page: ScanCachePage): void {
    if (this.#owners.delete(page)) this.#bytes -= page.bytes;
  }
}

/** A page that is being read from the engine: collects what is written meanwhile. */
export class ScanFill {
  readonly at: Timestamp;
  readonly writes: { readonly key: RowCacheKey; readonly version: VersionRecord }[] = [];
  /** Too much changed, or the range is another one: what was read is not kept. */
  isSpoiled = false;

  constructor(at: Timestamp) {
    this.at = at;
  }

  note(key: RowCacheKey, version: VersionRecord): void {
    if (this.isSpoiled) return;
    if (this.writes.length >= MISSED_WRITES_MAX || version.timestamp <= this.at) this.spoil();
    else this.writes.push({ key, version });
  }

  spoil(): void {
    this.isSpoiled = true;
    this.writes.length = 0;
  }
}

/** What a scan wants: forward, with values. */
export interface CachedScan {
  readonly key: Uint8Array;
  /** Exclusive; undefined = the end of the range. */
  readonly endKey: Uint8Array | undefined;
  readonly limit: number;
  readonly pageBytes: number;
}

/** Rows found, and whether they reach to the end of the span; else the first key not looked at. */
export interface CachedRows {
  readonly rows: PackedRows;
  /** undefined = nothing is left of the span. */
  readonly resumeKey: Buffer | undefined;
}

/**
 * Pages of one range that were scanned before, on its leader. Its owner keeps it true: each write goes
 * through `written` when it becomes visible, reads come behind `StoreTimestamps.observe` of their timestamp
 * and behind the writes evaluated before (so that no later write is at or below it), and whatever changes
 * rows or the leadership otherwise goes through `clear`.
 */
export class ScanCache {
  readonly #budget: ScanCacheBudget;
  readonly #clock: Clock;
  /** In key order, without overlaps. */
  #pages: ScanCachePage[] = [];
  /** undefined while there are none. */
  #fills: Set<ScanFill> | undefined;

  constructor(budget: ScanCacheBudget, clock: Clock) {
    this.#budget = budget;
    this.#clock = clock;
  }

  /** Bytes of the pages of this range, estimated. */
  get bytes(): number {
    let bytes = 0;
    for (const page of this.#pages) bytes += page.bytes;
    return bytes;
  }

  /** Rows from the scan's start on as far as pages follow each other; undefined = the first is not here. */
  read(scan: CachedScan, ts: Timestamp): CachedRows | undefined {
    const start = rowCacheKey(scan.key);
    const end = scan.endKey === undefined ? undefined : rowCacheKey(scan.endKey);
    if (end !== undefined && end <= start) return undefined;
    let from: RowCacheKey | undefined = start;
    const parts: PackedRows[] = [];
    let count = 0;
    let bytes = 0;
    while (from !== undefined) {
      const page: ScanCachePage | undefined = this.#pages[this.#indexOf(from)];
      if (page?.covers(from) !== true || !this.#bringTo(page, ts)) break;
      const { rows, resumeKey } = page.slice({
        key: from === page.span.start ? undefined : scan.key,
        endKey: end !== undefined && page.covers(end) ? scan.endKey : undefined,
        limit: scan.limit - count,
        bytesMax: scan.pageBytes - bytes,
      });
      parts.push(rows);
      count += rows.count;
      bytes += rows.bytes.length;
      if (resumeKey !== undefined) {
        this.#budget.hits += 1;
        return { rows: joined(parts), resumeKey };
      }
      const pageEnd: RowCacheKey | undefined = page.span.end;
      from = end !== undefined && (pageEnd === undefined || pageEnd >= end) ? undefined : pageEnd;
      if (count >= scan.limit || bytes >= scan.pageBytes) break;
    }
    if (parts.length === 0) {
      this.#budget.misses += 1;
      return undefined;
    }
    this.#budget.hits += 1;
    return { rows: joined(parts), resumeKey: from === undefined ? undefined : userKeyOfRowCacheKey(from) };
  }

  /** Where the first page above a user key begins; undefined = there is none. */
  nextPageStart(userKey: Uint8Array): Buffer | undefined {
    const page = this.#pages[this.#indexOf(rowCacheKey(userKey)) + 1];
    return page === undefined ? undefined : userKeyOfRowCacheKey(page.span.start);
  }

  /** Called together with taking the engine's view; `end` must follow. undefined = nothing is kept. */
  begin(ts: Timestamp): ScanFill | undefined {
    if (this.#budget.bytesMax === 0) return undefined;
    const fill = new ScanFill(ts);
    this.#fills ??= new Set();
    this.#fills.add(fill);
    return fill;
  }

  /** The page was not read to its end. */
  abandon(fill: ScanFill): void {
    this.#fills?.delete(fill);
    if (this.#fills?.size === 0) this.#fills = undefined;
  }

  /** Keeps a page that was read as of `fill.at`, unless too much happened meanwhile. */
  end(
    fill: ScanFill,
    span: CacheSpan,
    rows: { readonly packed: PackedRows; readonly firstExpiry: number },
  ): void {
    this.abandon(fill);
    if (fill.isSpoiled || (span.end !== undefined && span.start >= span.end)) return;
    const at = this.#indexOf(span.start);
    const before = this.#pages[at];
    const after = this.#pages[at + 1];
    if (before?.covers(span.start) === true) return;
    if (after !== undefined && (span.end === undefined || after.span.start < span.end)) return;
    const page = new ScanCachePage(span, { ...rows, at: fill.at }, this.#clock.nowMs());
    for (const { key, version } of fill.writes) {
      if (page.covers(key) && !page.note(key, version)) return;
    }
    if (page.bytes > this.#budget.bytesMax) return;
    this.#pages.splice(at + 1, 0, page);
    this.#budget.use(this, page, 0);
  }

  /** A version is visible from now on. */
  written(key: RowCacheKey, version: VersionRecord): void {
    if (this.#fills !== undefined) for (const fill of this.#fills) fill.note(key, version);
    if (this.#pages.length === 0) return;
    const page = this.#pages[this.#indexOf(key)];
    if (page?.covers(key) !== true) return;
    const bytesBefore = page.bytes;
    const isKept = page.note(key, version);
    const bytesAfter = page.bytes;
    const isIdle = this.#clock.nowMs() - page.lastUsedMs > IDLE_MS;
    this.#budget.resized(bytesBefore, bytesAfter);
    if (!isKept || isIdle) this.drop(page);
  }

  drop(page: ScanCachePage): void {
    const at = this.#indexOf(page.span.start);
    if (this.#pages[at] !== page) return;
    this.#pages.splice(at, 1);
    this.#budget.release(page);
  }

  clear(): void {
    if (this.#fills !== undefined) for (const fill of this.#fills) fill.spoil();
    const pages = this.#pages;
    if (pages.length === 0) return;
    this.#pages = [];
    for (const page of pages) this.#budget.release(page);
  }

  #bringTo(page: ScanCachePage, ts: Timestamp): boolean {
    const bytesBefore = page.bytes;
    const state = page.bringTo(ts);
    if (state === 'too-old') return false;
    page.lastUsedMs = this.#clock.nowMs();
    this.#budget.use(this, page, bytesBefore);
    if (state === 'expired') this.drop(page);
    return state === 'ready' && this.#pages[this.#indexOf(page.span.start)] === page;
  }

  /** Position of the last page that begins at or below a key; -1 = none does. */
  #indexOf(key: RowCacheKey): number {
    let low = 0;
    let high = this.#pages.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#pages[middle] as ScanCachePage).span.start <= key) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}

function joined(parts: readonly PackedRows[]): PackedRows {
  if (parts.length === 1) return parts[0] as PackedRows;
  let bytes = 0;
  for (const part of parts) bytes += part.bytes.length;
  const packer = new RowPacker(bytes);
  for (const part of parts) packer.append(part.bytes, part.count);
  return packer.take();
}
