import type { CairnClient } from '@cairn/client';
import type { Caller, Recorder } from './recorder.js';

/** Rungs lie in different ranges. */
const RUNGS = 5;

/** What is known of one ladder at the time a scan of it begins. */
interface Floor {
  readonly generation: number;
  readonly acknowledged: readonly number[];
}

/**
 * One writer writes 1 to rung after rung, then 2, and so on, each STRICT and each after the one before was
 * acknowledged. So a snapshot, whenever it was taken, never shows a rung with more than the rung before it,
 * nor rungs more than one apart, nor less than what was acknowledged before it was asked for. After an
 * unknown outcome the writer goes on with a new ladder.
 */
export class Ladder {
  readonly faults: string[] = [];
  /** Snapshots that were judged. */
  looks = 0;
  readonly #at: number;
  readonly #recorder: Recorder;
  #generation = 0;
  #begun = 0;
  #acknowledged = new Array<number>(RUNGS).fill(0);

  constructor(at: number, recorder: Recorder) {
    this.#at = at;
    this.#recorder = recorder;
  }

  /** Writes the next rung. */
  async climb(client: CairnClient, caller: Caller, timeoutMs: number): Promise<void> {
    const rung = this.#acknowledged.findIndex((height) => height < (this.#acknowledged[0] ?? 0));
    const next = rung < 0 ? 0 : rung;
    const height = (this.#acknowledged[next] ?? 0) + 1;
    this.#begun = Math.max(this.#begun, height);
    const key = this.#keyOf(next, this.#generation);
    try {
      await client.put(key, String(height), { ordering: 'strict', timeoutMs });
    } catch (error) {
      if (this.#recorder.failed(error) === 'unknown') this.#startOver();
      return;
    }
    this.#recorder.succeeded(caller);
    this.#acknowledged[next] = height;
  }

  /** Takes a snapshot and judges it. */
  async look(client: CairnClient, caller: Caller, timeoutMs: number): Promise<void> {
    const floor: Floor = { generation: this.#generation, acknowledged: [...this.#acknowledged] };
    const heights = new Map<string, number>();
    try {
      for await (const row of client.scan({ prefix: 'ladder/', timeoutMs })) {
        heights.set(row.keyText(), Number(row.text()));
      }
    } catch (error) {
      this.#recorder.failed(error);
      return;
    }
    this.#recorder.succeeded(caller);
    this.looks += 1;
    for (let generation = 0; generation <= floor.generation; generation += 1) {
      const seen = floor.acknowledged.map((_, rung) => heights.get(this.#keyOf(rung, generation)) ?? 0);
      const least = generation === floor.generation ? floor.acknowledged : [];
      this.faults.push(...ladderFaults(`ladder ${this.#at}.${generation}`, seen, least));
    }
    const highest = heights.get(this.#keyOf(0, this.#generation)) ?? 0;
    if (highest > this.#begun) this.faults.push(`ladder ${this.#at}: ${highest} was read, never written`);
  }

  #keyOf(rung: number, generation: number): string {
    return `ladder/${rung}/${this.#at}.${generation}`;
  }

  #startOver(): void {
    this.#generation += 1;
    this.#begun = 0;
    this.#acknowledged = new Array<number>(RUNGS).fill(0);
  }
}

/** What no snapshot may show; `least` is what was acknowledged per rung before it was asked for. */
export function ladderFaults(name: string, seen: readonly number[], least: readonly number[]): string[] {
  const faults: string[] = [];
  const all = `${name}: a snapshot shows ${seen.join(' ')}`;
  seen.forEach((height, rung) => {
    const before = rung === 0 ? height : (seen[rung - 1] ?? 0);
    if (height > before) faults.push(`${all}: rung ${rung} was written after rung ${rung - 1}`);
    if ((seen[0] ?? 0) - height > 1) faults.push(`${all}: rung ${rung} misses an acknowledged write`);
    const floor = least[rung] ?? 0;
    if (height < floor) faults.push(`${all}: rung ${rung} was acknowledged with ${floor} before`);
  });
  return faults;
}
