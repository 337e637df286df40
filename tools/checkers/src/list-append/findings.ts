import { ANOMALIES, type Anomaly, type AnomalyName } from './anomalies.js';

/** Anomalies of one name that are told; the others are counted. */
export const TOLD_MAX = 20;

/** Collects anomalies: few of each name, because a broken database breaks the same promise many times. */
export class Findings {
  readonly #anomalies: Anomaly[] = [];
  readonly counts = new Map<AnomalyName, number>();
  /** By name and other names: a level may forbid one shape of a class and permit the others. */
  readonly #told = new Map<string, number>();

  /** `build` is called only for what is told. */
  add(
    name: AnomalyName,
    build: () => Pick<Anomaly, 'transactions' | 'explanation'>,
    also: readonly AnomalyName[] = [],
  ): void {
    for (const each of [name, ...also]) this.counts.set(each, (this.counts.get(each) ?? 0) + 1);
    const names = [name, ...also].join();
    const count = (this.#told.get(names) ?? 0) + 1;
    this.#told.set(names, count);
    if (count <= TOLD_MAX) this.#anomalies.push({ name, also, ...build() });
  }

  /** By name, in the order of `ANOMALIES`; those of one name as they were found. */
  sorted(): Anomaly[] {
    return this.#anomalies.sort((a, b) => ANOMALIES.indexOf(a.name) - ANOMALIES.indexOf(b.name));
  }
}
