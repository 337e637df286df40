import type { SeenReplica } from './logs.js';

interface LastLook {
  readonly life: number;
  readonly commitIndex: number;
  readonly voters: readonly number[];
  readonly outgoing: readonly number[];
}

/**
 * What a leader says is committed is on the disks of a majority, of both majorities in a joint configuration.
 * Judged when the commit index moves while the configuration stays: what an older one committed need not be
 * with the members of the next.
 */
export class CommitWatch {
  readonly #looks = new Map<string, LastLook>();

  /**
   * Looks at one replica; answers what is wrong. `durableIndexOf`: what the disk of a voter holds;
   * undefined = unknown, counts as holding everything.
   */
  look(replica: SeenReplica, durableIndexOf: (voter: number) => number | undefined): string | undefined {
    const { group, node, life, commitIndex, voters, outgoing } = replica;
    const place = `${group} at ${node}`;
    const before = this.#looks.get(place);
    this.#looks.set(place, { life, commitIndex, voters, outgoing });
    const hasMoved = before?.life === life && commitIndex > before.commitIndex;
    if (!replica.isLeader || !hasMoved) return undefined;
    if (!isSame(before.voters, voters) || !isSame(before.outgoing, outgoing)) return undefined;
    for (const majority of [voters, outgoing]) {
      if (majority.length === 0) continue;
      const holders = majority.filter((voter) => (durableIndexOf(voter) ?? commitIndex) >= commitIndex);
      if (holders.length * 2 > majority.length) continue;
      const share = `${holders.length} of ${majority.length} voters`;
      return `${place} committed ${commitIndex}, on disk only at ${share}`;
    }
    return undefined;
  }
}

function isSame(before: readonly number[], now: readonly number[]): boolean {
  return before === now || (before.length === now.length && before.every((voter, at) => voter === now[at]));
}
