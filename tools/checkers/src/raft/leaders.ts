/** At most one leader per term and group: hears of every leadership that any replica takes up. */
export class LeaderTerms {
  readonly #leaders = new Map<string, string>();

  /** Answers what is wrong; undefined = nothing. */
  took(group: string, term: number, leader: string): string | undefined {
    const place = `${group} in term ${term}`;
    const other = this.#leaders.get(place);
    this.#leaders.set(place, leader);
    return other === undefined || other === leader ? undefined : `${place}: ${other} and ${leader}`;
  }

  /** Terms that had a leader, over all groups. */
  get count(): number {
    return this.#leaders.size;
  }
}
