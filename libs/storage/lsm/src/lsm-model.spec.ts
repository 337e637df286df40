import { describe, expect, it } from '@jest/globals';
import type { EngineRange, EngineRow, EngineSnapshot } from '@cairn/engine';
import { noopLogger, type Clock, type Disk } from '@cairn/ports';
import { SimDisk, SimRng, SimScheduler, type SimProcess } from '@cairn/runtime-sim';

import { InlineJobs, LsmEngine } from './index.js';

/*
 * Goal: whatever is done, in whatever order with what goes on in the background, the engine answers like a
 * sorted map; and after a loss of power like that map as it was at some moment at or after the last flush.
 * Method: long random histories over few keys with many versions, with sizes so small that everything happens
 * all the time. In half of them the disk takes virtual time, so that changes, reads and crashes come in the
 * middle of flushes and merges; in the others everything ends at once.
 */

const NAMESPACE = 0x10;
const SUFFIX_BYTES = 2;
const STEMS = 40;
const VERSIONS = 60;
const EVERYTHING = { start: Buffer.alloc(0), end: Buffer.alloc(7, 0xff) };

type Model = ReadonlyMap<string, string>;

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
const textOf = (buffer: Uint8Array): string => Buffer.from(buffer).toString('latin1');

/** A clock whose methods need no object. */
function clockOf(clock: Clock): Clock {
  return {
    nowMs: () => clock.nowMs(),
    unixMs: () => clock.unixMs(),
    setTimer: (...timer) => clock.setTimer(...timer),
    defer: (callback) => clock.defer(callback),
  };
}

/** What an engine would answer for a range. */
function rowsOf(model: Model, { start, end, reverse }: EngineRange): [string, string][] {
  const [from, to] = [textOf(start), textOf(end)];
  const rows = [...model].filter(([key]) => key >= from && key < to);
  rows.sort(([one], [other]) => (one < other ? -1 : 1));
  return reverse === true ? rows.reverse() : rows;
}

function textRows(rows: readonly EngineRow[]): [string, string][] {
  return rows.map(([key, value]) => [textOf(key), textOf(value)]);
}

class History {
  readonly #rng: SimRng;
  readonly #medium: SimDisk;
  readonly #scheduler = new SimScheduler();
  readonly #isTimed: boolean;
  #process: SimProcess | undefined;
  #engine: LsmEngine | undefined;
  #model: Model = new Map();
  /** The map after each change since the last flush that ended, the state then first. */
  #states: Model[] = [this.#model];
  #snapshots: { readonly snapshot: EngineSnapshot; readonly model: Model }[] = [];
  /** What reads on the calling thread have taken. */
  #readMs = 0;
  /** Changes that were begun and not waited for. */
  #pending: Promise<void>[] = [];

  constructor(seed: number) {
    this.#rng = new SimRng(seed);
    this.#medium = new SimDisk(this.#rng.fork('disk'), { cutsAtBytes: true });
    this.#isTimed = seed % 2 === 1;
  }

  get engine(): LsmEngine {
    if (this.#engine === undefined) throw new Error('not open');
    return this.#engine;
  }

  async open(): Promise<void> {
    this.#process = this.#isTimed ? this.#scheduler.startProcess('engine') : undefined;
    const disk = this.#medium.attach(this.#process);
    const clock = this.#process?.clock ?? this.#scheduler.clockFor('engine');
    const opening = LsmEngine.open({
      path: '/engine',
      disk: this.#slowSometimes(disk),
      clock: { ...clockOf(clock), nowMs: () => clock.nowMs() + this.#readMs },
      logger: noopLogger,
      rng: new SimRng(1),
      runner: new InlineJobs(disk),
      versioned: { namespaces: [NAMESPACE], suffixBytes: SUFFIX_BYTES },
      memtableBytes: 4096,
      blockBytes: 256,
      tableBytes: 2048,
      compressedFromLevel: 1 + this.#rng.integer(3),
      blockCacheBytes: [0, 512, 8192][this.#rng.integer(3)] as number,
      metaCacheBytes: [0, 2000, 100_000][this.#rng.integer(3)] as number,
    });
    this.#engine = await this.#until(opening);
  }

  /** Reads on the calling thread hold up the loop now and then: those that follow are waited for. */
  #slowSometimes(disk: Disk): Disk {
    const open = disk.open.bind(disk);
    disk.open = async (...where) => {
      const file = await open(...where);
      const readNow = file.readNow.bind(file);
      file.readNow = (...place) => {
        if (this.#rng.next() < 0.2) this.#readMs += 30;
        return readNow(...place);
      };
      return file;
    };
    return disk;
  }

  /** Lets time pass until the promise settles; without it, nothing in the background goes on. */
  #until<Value>(promise: Promise<Value>): Promise<Value> {
    return this.#isTimed ? this.#scheduler.settle(promise) : promise;
  }

  #stem(): Buffer {
    const number = String(this.#rng.integer(STEMS));
    const name = this.#rng.next() < 0.5 ? number : number.padStart(3, '0');
    // The last byte sees to it that no stem begins with another.
    return Buffer.concat([Buffer.of(this.#rng.next() < 0.8 ? NAMESPACE : 0x20), bytes(`${name}\x01`)]);
  }

  #key(stem = this.#stem()): Buffer {
    if (stem[0] !== NAMESPACE) return stem;
    const version = this.#rng.integer(VERSIONS);
    return Buffer.concat([stem, Buffer.of(version % 8, Math.floor(version / 8) * 9)]);
  }

  #span(): { start: Buffer; end: Buffer } {
    if (this.#rng.next() < 0.05) return EVERYTHING;
    const [start, end] = [this.#key(), this.#key()].sort(Buffer.compare) as [Buffer, Buffer];
    return { start, end };
  }

  #changed(model: Model): void {
    this.#model = model;
    this.#states.push(model);
  }

  async step(): Promise<void> {
    const dice = this.#rng.integer(1000);
    if (dice < 600) await this.#write();
    else if (dice < 640) await this.#deleteSpan();
    else if (dice < 680) await this.#flush();
    else if (dice < 700) this.#pending.push(this.engine.compact(...this.#bounds()));
    else if (dice < 730) this.#takeSnapshot();
    else if (dice < 760) await this.#useSnapshot();
    else if (dice < 860) await this.#walk();
    else if (dice < 990) await this.#lookUp();
    else await this.#reopen();
    this.#readMs += this.#rng.next() * 20;
    if (this.#isTimed && this.#rng.next() < 0.3) await this.#scheduler.runFor(this.#rng.next() * 3);
  }

  #bounds(): [Buffer, Buffer] {
    const { start, end } = this.#span();
    return [start, end];
  }

  async #write(): Promise<void> {
    const batch = this.engine.newBatch();
    const model = new Map(this.#model);
    const isLarge = this.#rng.next() < 0.02;
    const stem = this.#rng.next() < 0.1 ? this.#stem() : undefined;
    for (let left = this.#rng.integer(12); left > 0; left -= 1) {
      const key = this.#key(stem);
      const value = isLarge ? 'x'.repeat(this.#rng.integer(6000)) : `v${this.#rng.integer(1_000_000)}`;
      if (this.#rng.next() < 0.25) {
        batch.delete(key);
        model.delete(textOf(key));
      } else {
        batch.put(key, bytes(value));
        model.set(textOf(key), value);
      }
    }
    const written = this.engine.write(batch) ?? Promise.resolve();
    this.#changed(model);
    if (this.#rng.next() < 0.5) await this.#until(written);
    else this.#pending.push(written);
  }

  async #deleteSpan(): Promise<void> {
    // Whole spans are rare, or there would be nothing to delete.
    const span = this.#span();
    if (span === EVERYTHING && this.#rng.next() < 0.9) return;
    const deleted = this.engine.deleteRange(span.start, span.end);
    const gone = new Set(rowsOf(this.#model, span).map(([key]) => key));
    this.#changed(new Map([...this.#model].filter(([key]) => !gone.has(key))));
    this.#pending.push(deleted);
    // Until it took effect readers may see the rows.
    if (this.#rng.next() < 0.5) await this.#settle();
    else await this.#write().then(() => this.#settle());
  }

  async #settle(): Promise<void> {
    await this.#until(Promise.all(this.#pending.splice(0)));
  }

  async #flush(): Promise<void> {
    const model = this.#model;
    const flushed = this.engine.flush();
    if (this.#rng.next() < 0.3) await this.#write();
    await this.#until(flushed);
    this.#states.splice(0, this.#states.indexOf(model));
  }

  #takeSnapshot(): void {
    if (this.#snapshots.length >= 4) this.#snapshots.shift()?.snapshot.close();
    this.#snapshots.push({ snapshot: this.engine.snapshot(), model: this.#model });
  }

  async #useSnapshot(): Promise<void> {
    const taken = this.#snapshots[this.#rng.integer(Math.max(1, this.#snapshots.length))];
    if (taken === undefined) return;
    const range = { ...this.#span(), reverse: this.#rng.next() < 0.3 };
    const iterator = this.engine.iterate(range, taken.snapshot);
    expect(await this.#drain(iterator)).toEqual(rowsOf(taken.model, range));
    await iterator.close();
  }

  /** An iterator that others write behind, that seeks, and that pages. */
  async #walk(): Promise<void> {
    const model = this.#model;
    const range = { ...this.#span(), reverse: this.#rng.next() < 0.4 };
    const iterator = this.engine.iterate(range);
    if (this.#rng.next() < 0.3) await this.#write();
    if (this.#rng.next() < 0.5) {
      expect(await this.#drain(iterator)).toEqual(rowsOf(model, range));
      if (this.#rng.next() < 0.5) await iterator.close();
    }
    if (this.#rng.next() < 0.5) {
      const target = this.#key();
      const fresh = this.engine.iterate(range);
      const now = rowsOf(this.#model, range);
      fresh.seek(target);
      const isInside = Buffer.compare(target, range.start) >= 0 && Buffer.compare(target, range.end) < 0;
      const isBeyond = (key: string): boolean =>
        range.reverse ? key <= textOf(target) : key >= textOf(target);
      const expected = isInside ? now.filter(([key]) => isBeyond(key)) : [];
      expect(await this.#drain(fresh)).toEqual(expected);
      await fresh.close();
    }
    await iterator.close();
  }

  async #drain(iterator: ReturnType<LsmEngine['iterate']>): Promise<[string, string][]> {
    const rows: EngineRow[] = [];
    for (;;) {
      const page = await this.#until(iterator.next(1 + this.#rng.integer(20)));
      if (page.length === 0) return textRows(rows);
      rows.push(...page);
    }
  }

  async #lookUp(): Promise<void> {
    const start = this.#key();
    expect(this.engine.get(start)?.toString('latin1')).toEqual(this.#model.get(textOf(start)));
    if (start[0] !== NAMESPACE) return;
    const stem = start.subarray(0, -SUFFIX_BYTES);
    const end = Buffer.concat([stem, Buffer.alloc(SUFFIX_BYTES + 1, 0xff)]);
    const expected = rowsOf(this.#model, { start, end })[0];
    const found = this.engine.first(start, end);
    if (found instanceof Promise && this.#rng.next() < 0.5) await this.#write();
    const row = found instanceof Promise ? await this.#until(found) : found;
    expect(row === undefined ? undefined : textRows([row])[0]).toEqual(expected);
  }

  async #reopen(): Promise<void> {
    const isClean = this.#rng.next() < 0.3;
    if (isClean) {
      await this.#settle();
      await this.#until(this.engine.close());
    } else {
      // What is under way never ends: its process is gone.
      this.#pending = [];
      this.#process?.kill();
      if (!this.#isTimed || this.#rng.next() < 0.7) this.#medium.crash();
    }
    this.#snapshots = [];
    await this.open();
    const found = await this.rows();
    const survivors = this.#states.filter(
      (state) => JSON.stringify(rowsOf(state, EVERYTHING)) === JSON.stringify(found),
    );
    expect(survivors).not.toEqual([]);
    this.#model = new Map(found);
    this.#states = [this.#model];
  }

  async rows(): Promise<[string, string][]> {
    const iterator = this.engine.iterate(EVERYTHING);
    const rows = await this.#drain(iterator);
    await iterator.close();
    return rows;
  }

  async finish(): Promise<void> {
    await this.#settle();
    expect(await this.rows()).toEqual(rowsOf(this.#model, EVERYTHING));
    for (const { snapshot } of this.#snapshots) snapshot.close();
    await this.#until(this.engine.compact(EVERYTHING.start, EVERYTHING.end));
    expect(await this.rows()).toEqual(rowsOf(this.#model, EVERYTHING));
    await this.#until(this.engine.close());
    // One run, no deletions, no table that nothing names: little more than the rows.
    const bytesLeft = this.#medium.paths().map((path) => this.#medium.peek(path)?.length ?? 0);
    const rowBytes = [...this.#model].map(([key, value]) => key.length + value.length + 60);
    const sum = (numbers: readonly number[]): number => numbers.reduce((total, each) => total + each, 0);
    expect(sum(bytesLeft)).toBeLessThan(20_000 + sum(rowBytes) * 2);
  }
}

describe('the engine, whatever happens', () => {
  it.each(Array.from({ length: 40 }, (_, seed) => seed))(
    'answers like a sorted map, seed %i',
    async (seed) => {
      const history = new History(seed);
      await history.open();
      for (let step = 0; step < 400; step += 1) await history.step();
      await history.finish();
    },
  );
});
