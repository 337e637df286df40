import { describe, expect, it } from '@jest/globals';
import { logIndex, rangeId, replicaId, term } from '@cairn/base';
import { crc32 } from '@cairn/codec';
import { noopLogger, noopMetrics } from '@cairn/ports';
import { SimDisk, SimRng, SimScheduler } from '@cairn/runtime-sim';
import fc from 'fast-check';
import { openRaftLog, type RaftLog, type RangeMarks } from './index.js';
import { encodeBlockHeader, saltFrom } from './segment-format.js';

// Goal: whatever happens to the disk, the log is what a plain in-memory model says. Method: random operations
// on three ranges over tiny segments and a tiny cache, with power losses, failed writes and reclaims in
// between; some entries pass a segment, some look like blocks of the log. After a loss the log equals the
// model as of the last sync; after a failed write, the model after one of the operations since.

interface ModelRange {
  base: number;
  baseTerm: number;
  entries: { term: number; text: string }[];
  hardState: string | undefined;
  checkpoint: { index: number; term: number; text: string } | undefined;
}
type Model = Map<number, ModelRange>;

const OPERATIONS = [
  'append',
  'append',
  'append',
  'replace',
  'hard-state',
  'checkpoint',
  'truncate',
  'reset',
  'marks',
] as const;

function fresh(): ModelRange {
  return { base: 0, baseTerm: 0, entries: [], hardState: undefined, checkpoint: undefined };
}

function lastTermOf(range: ModelRange): number {
  return range.entries.at(-1)?.term ?? range.baseTerm;
}

/** Everything that can be seen, as text; ranges without trace are left out. */
function showModel(model: Model): string {
  const lines: string[] = [];
  for (const [id, range] of [...model].sort((left, right) => left[0] - right[0])) {
    const isEmpty = range.base === 0 && range.entries.length === 0;
    if (isEmpty && range.hardState === undefined && range.checkpoint === undefined) continue;
    const { checkpoint: point } = range;
    const mark = point === undefined ? '-' : `${point.index}/${point.term}/${point.text}`;
    const entries = range.entries.map((one) => `${one.term}:${one.text}`).join(' ');
    lines.push(
      `${id} base ${range.base}/${range.baseTerm} hs ${range.hardState ?? '-'} cp ${mark} ${entries}`,
    );
  }
  return lines.join('\n');
}

async function showLog(log: RaftLog): Promise<string> {
  const model: Model = new Map();
  for (const id of log.rangeIds()) {
    const range = log.range(id);
    const shown = fresh();
    shown.base = range.firstIndex() - 1;
    shown.baseTerm = range.termOf(logIndex(shown.base)) as number;
    const state = range.hardState;
    shown.hardState = state === undefined ? undefined : `${state.term}/${state.vote}/${state.commit}`;
    const point = range.checkpoint;
    if (point !== undefined) {
      shown.checkpoint = { index: point.index, term: point.term, text: Buffer.from(point.state).toString() };
    }
    let next: number = range.firstIndex();
    const end = logIndex(range.lastIndex() + 1);
    while (next < end) {
      const take = (): boolean => {
        const found = range.entries(logIndex(next), end, 500);
        if (found === 'compacted') throw new Error('an entry within the log is gone');
        if (found === 'loading') return false;
        for (const entry of found) {
          expect([entry.index, entry.term]).toEqual([next, range.termOf(entry.index)]);
          shown.entries.push({ term: entry.term, text: shownPayload(entry.payload) });
          next += 1;
        }
        return true;
      };
      if (take()) continue;
      await range.load(logIndex(next), end, 500, () => {
        expect(take()).toBe(true);
      });
    }
    model.set(id, shown);
  }
  return showModel(model);
}

class Driver {
  readonly #rng: SimRng;
  readonly #disk: SimDisk;
  readonly #firstEpoch: number;
  #log: RaftLog | undefined;
  #model: Model = new Map();
  /** What may be found after a loss: the model after each record since the last sync, that one included. */
  #possible: string[] = [''];
  #term = 1;

  constructor(seed: number) {
    this.#rng = new SimRng(seed);
    this.#disk = new SimDisk(this.#rng.fork('disk'));
    this.#firstEpoch = this.#rng.pick([1, 2 ** 21 - 3, 2 ** 32 - 3, 2 ** 40]);
  }

  async open(): Promise<RaftLog> {
    this.#log = await openRaftLog({
      disk: this.#disk.attach(),
      directory: '/log',
      clock: new SimScheduler().clockFor('test'),
      rng: this.#rng.fork('log'),
      logger: noopLogger,
      metrics: noopMetrics,
      options: {
        segmentBytes: 8192,
        cacheBytesMax: 300,
        segmentsTarget: 2,
        rewriteBytesMax: 400,
        firstEpoch: this.#firstEpoch,
        epochsPerBase: 3,
      },
    });
    return this.#log;
  }

  #note(): void {
    this.#possible.push(showModel(this.#model));
  }

  async step(): Promise<void> {
    const log = this.#log ?? (await this.open());
    const draw = this.#rng.integer(40);
    if (draw < 8) {
      await log.sync();
      this.#possible = [showModel(this.#model)];
    } else if (draw === 8) {
      await this.#lose();
    } else if (draw === 9) {
      await this.#failWrite(log);
    } else if (draw < 12) {
      await log.reclaim();
    } else if (draw === 12) {
      expect(await showLog(log)).toBe(showModel(this.#model));
    } else {
      this.#change(log);
      this.#note();
    }
  }

  /**
   * A loss while nothing is being written: exactly what was synced is there, or what reclaim's own sync
   * covered.
   */
  async #lose(): Promise<void> {
    this.#disk.crash();
    await this.#recoverOneOf(this.#possible);
  }

  async #failWrite(log: RaftLog): Promise<void> {
    if (log.stagedBytes === 0) return;
    this.#disk.injectFault({ operation: 'write', pathPart: 'segment', after: this.#rng.integer(2) });
    const failed = await log.sync().then(
      () => false,
      () => true,
    );
    this.#disk.clearFaults();
    if (!failed) {
      this.#possible = [showModel(this.#model)];
      return;
    }
    await expect(log.sync()).rejects.toMatchObject({ code: 'INTERNAL' });
    expect(() => {
      log.range(rangeId(1)).reset(logIndex(1_000_000), term(this.#term));
    }).toThrow('could not be written');
    this.#disk.crash();
    await this.#recoverOneOf(this.#possible);
  }

  async #recoverOneOf(possible: readonly string[]): Promise<void> {
    const log = await this.open();
    const shown = await showLog(log);
    expect(possible).toContain(shown);
    this.#model = parseModel(shown);
    this.#possible = [shown];
  }

  #change(log: RaftLog): void {
    const id = this.#rng.integer(3) + 1;
    if (this.#rng.chance(0.01)) {
      log.removeRange(rangeId(id));
      this.#model.delete(id);
      return;
    }
    const range = this.#model.get(id) ?? fresh();
    this.#model.set(id, range);
    if (this.#rng.chance(0.1)) this.#term += 1;
    const last = range.base + range.entries.length;
    const view = log.range(rangeId(id));
    const operation = this.#rng.pick(OPERATIONS);
    switch (operation) {
      case 'append':
        this.#append(log, id, last + 1);
        return;
      case 'replace': {
        const lowest = Math.max(range.base, range.checkpoint?.index ?? 0) + 1;
        if (lowest <= last) this.#append(log, id, lowest + this.#rng.integer(last - lowest + 1));
        return;
      }
      case 'hard-state': {
        const state = {
          term: term(this.#term),
          vote: replicaId(this.#rng.integer(4)),
          commit: logIndex(last),
        };
        view.setHardState(state);
        range.hardState = `${state.term}/${state.vote}/${state.commit}`;
        return;
      }
      case 'checkpoint': {
        const index = Math.max(
          range.checkpoint?.index ?? 0,
          range.base + this.#rng.integer(last - range.base + 1),
        );
        const text = 's'.repeat(this.#rng.integer(30));
        range.checkpoint = { index, term: this.#term, text };
        view.setCheckpoint({ index: logIndex(index), term: term(this.#term), state: Buffer.from(text) });
        return;
      }
      case 'truncate': {
        const highest = Math.min(range.checkpoint?.index ?? 0, last);
        if (highest <= range.base) return;
        const index = range.base + 1 + this.#rng.integer(highest - range.base);
        const atTerm = range.entries[index - range.base - 1]?.term ?? 0;
        view.truncate(logIndex(index), term(atTerm));
        range.entries.splice(0, index - range.base);
        range.base = index;
        range.baseTerm = atTerm;
        return;
      }
      case 'reset': {
        if (this.#rng.chance(0.8)) return;
        const index = last + this.#rng.integer(5);
        const atTerm = index === 0 ? 0 : this.#term;
        view.reset(logIndex(index), term(atTerm));
        Object.assign(range, { base: index, baseTerm: atTerm, entries: [] });
        return;
      }
      case 'marks':
        if (this.#rng.chance(0.2)) this.#setMarks(log);
    }
  }

  /** Of all ranges as one, now and then more than a block or a segment. */
  #setMarks(log: RaftLog): void {
    const atTerm = term(this.#term);
    const bytesMax = this.#rng.pick([30, 30, 1_000, 4_000]);
    const marks = [1, 2, 3].map((id): RangeMarks => {
      const { base, entries, checkpoint } = this.#model.get(id) ?? fresh();
      const last = Math.max(base + entries.length, checkpoint?.index ?? 0);
      const index = logIndex(last + this.#rng.integer(5));
      const isReset = index > 0 && this.#rng.chance(0.7);
      const text = 'm'.repeat(this.#rng.integer(bytesMax));
      return {
        rangeId: rangeId(id),
        ...(isReset ? { reset: { index, term: atTerm } } : {}),
        ...(isReset ? { hardState: { term: atTerm, vote: replicaId(id), commit: index } } : {}),
        checkpoint: { index: isReset ? index : logIndex(last), term: atTerm, state: Buffer.from(text) },
      };
    });
    log.setMarks(marks);
    for (const { rangeId: id, reset, hardState, checkpoint } of marks) {
      const range = this.#model.get(id) ?? fresh();
      this.#model.set(id, range);
      if (reset !== undefined) Object.assign(range, { base: reset.index, baseTerm: reset.term, entries: [] });
      if (hardState !== undefined)
        range.hardState = `${hardState.term}/${hardState.vote}/${hardState.commit}`;
      const { index } = checkpoint;
      range.checkpoint = { index, term: atTerm, text: Buffer.from(checkpoint.state).toString() };
    }
  }

  #append(log: RaftLog, id: number, index: number): void {
    const range = this.#model.get(id) ?? fresh();
    range.entries.splice(index - range.base - 1);
    const atTerm = Math.max(this.#term, lastTermOf(range));
    const payload = this.#payload(index);
    range.entries.push({ term: atTerm, text: shownPayload(payload) });
    log.range(rangeId(id)).append([{ index: logIndex(index), term: term(atTerm), kind: 1, payload }]);
  }

  /** Now and then longer than what is copied while staging, than a block, than a segment; or a forgery. */
  #payload(index: number): Buffer {
    const draw = this.#rng.integer(200);
    if (draw < 6) return Buffer.from(`${index}`.padEnd(4000 + this.#rng.integer(6000), 'x'));
    if (draw === 6) return Buffer.from(`${index}`.padEnd(20_000 + this.#rng.integer(60_000), 'y'));
    if (draw < 12) return this.#forgedBlocks(600 + this.#rng.integer(6000));
    return Buffer.from(`${index}`.padEnd(this.#rng.integer(60), 'x'));
  }

  /** Headers of blocks to come, at any of the places where one would be looked for. */
  #forgedBlocks(bytes: number): Buffer {
    const payload = Buffer.alloc(bytes, 2);
    const header = Buffer.alloc(32);
    const shift = this.#rng.integer(16) * 32;
    for (let at = shift; at + 32 <= bytes; at += 512) {
      const fields = { sequence: this.#rng.integer(60), bodyBytes: 64, recordCount: 1, digest: at };
      encodeBlockHeader(
        header,
        { epoch: this.#firstEpoch + this.#rng.integer(20), ...fields },
        saltFrom(Buffer.alloc(6)),
      );
      header.copy(payload, at);
    }
    return payload;
  }
}

/** Long ones by their digest. */
function shownPayload(payload: Uint8Array): string {
  const hex = Buffer.from(payload).toString('hex');
  return payload.length <= 64 ? hex : `${payload.length}-${crc32(payload)}`;
}

function parseModel(shown: string): Model {
  const model: Model = new Map();
  for (const line of shown === '' ? [] : shown.split('\n')) {
    const [id, , base, , hardState, , mark, ...entries] = line.split(' ') as [string, ...string[]];
    const [baseIndex, baseTerm] = (base as string).split('/').map(Number) as [number, number];
    const range = { ...fresh(), base: baseIndex, baseTerm };
    if (hardState !== '-') range.hardState = hardState;
    if (mark !== '-') {
      const [index, atTerm, text] = (mark as string).split('/') as [string, string, string];
      range.checkpoint = { index: Number(index), term: Number(atTerm), text };
    }
    for (const entry of entries.filter((one) => one !== '')) {
      const colon = entry.indexOf(':');
      range.entries.push({ term: Number(entry.slice(0, colon)), text: entry.slice(colon + 1) });
    }
    model.set(Number(id), range);
  }
  return model;
}

describe('raft log against a model', () => {
  it('agrees through losses, failed writes and reclaims', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 1_000_000 }), async (seed) => {
        const driver = new Driver(seed);
        for (let count = 0; count < 400; count += 1) await driver.step();
      }),
      { numRuns: 60, seed: 20_261, endOnFailure: true },
    );
  }, 60_000);
});
