/** What was done to whom, and how it ended: `kv-frames/closed` 17. */
export class Counts {
  readonly #counts = new Map<string, number>();

  add(what: string, ended: string, count = 1): void {
    const name = `${what}/${ended}`;
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + count);
  }

  get total(): number {
    return [...this.#counts.values()].reduce((sum, count) => sum + count, 0);
  }

  entries(): [string, number][] {
    return [...this.#counts].sort(([one], [other]) => (one < other ? -1 : 1));
  }
}
