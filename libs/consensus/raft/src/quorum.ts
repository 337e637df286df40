/**
 * Majority arithmetic over numbers; an empty group agrees with everything, as the outgoing half of no
 * joint config must.
 */

/** Voters needed out of `count`. */
export function majorityOf(count: number): number {
  return Math.floor(count / 2) + 1;
}

/**
 * The largest value that a majority reaches: the majority-th greatest. Sorts `values` in place (insertion
 * sort: groups are small). Infinity for an empty group.
 */
export function majorityValue(values: number[]): number {
  const count = values.length;
  if (count === 0) return Infinity;
  for (let index = 1; index < count; index += 1) {
    const value = values[index] as number;
    let at = index - 1;
    while (at >= 0 && (values[at] as number) < value) {
      values[at + 1] = values[at] as number;
      at -= 1;
    }
    values[at + 1] = value;
  }
  return values[majorityOf(count) - 1] as number;
}

export type VoteOutcome = 'won' | 'lost' | 'pending';

/** The outcome of one majority; `undefined` votes are still open. */
export function majorityVote(voters: readonly number[], votes: ReadonlyMap<number, boolean>): VoteOutcome {
  if (voters.length === 0) return 'won';
  let yes = 0;
  let no = 0;
  for (const voter of voters) {
    const vote = votes.get(voter);
    if (vote === true) yes += 1;
    else if (vote === false) no += 1;
  }
  const needed = majorityOf(voters.length);
  if (yes >= needed) return 'won';
  return voters.length - no < needed ? 'lost' : 'pending';
}

/** Both majorities of a joint configuration have to agree; either one can refuse. */
export function jointVote(
  voters: readonly number[],
  outgoing: readonly number[],
  votes: ReadonlyMap<number, boolean>,
): VoteOutcome {
  const incoming = majorityVote(voters, votes);
  const old = majorityVote(outgoing, votes);
  if (incoming === 'lost' || old === 'lost') return 'lost';
  return incoming === 'won' && old === 'won' ? 'won' : 'pending';
}
