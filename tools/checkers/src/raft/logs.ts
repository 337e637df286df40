import { crc32 } from 'node:zlib';

/** One entry as a replica's log holds it. */
export interface SeenEntry {
  readonly index: number;
  readonly term: number;
  /** A checksum of kind and payload: equal for equal entries. */
  readonly digest: number;
}

/** One replica of one group, looked at between two steps of it. */
export interface SeenReplica {
  readonly group: string;
  /** The node, and which of its lives: what is in memory may go back when a process dies. */
  readonly node: string;
  readonly life: number;
  readonly term: number;
  readonly isLeader: boolean;
  readonly commitIndex: number;
  readonly appliedIndex: number;
  /** Everything up to here is on its disk, as far as it knows. */
  readonly durableIndex: number;
  /** First index that its log holds; everything before is in its state. */
  readonly firstIndex: number;
  readonly lastIndex: number;
  /** Replicas of one of the two majorities; the second is empty outside a joint configuration. */
  readonly voters: readonly number[];
  readonly outgoing: readonly number[];
  /** Reads the log from an index on; undefined where it is not in memory just now. */
  entryAt(index: number): SeenEntry | undefined;
}

export interface LogFault {
  readonly checker: 'log-matching' | 'leader-completeness' | 'state-machine-safety' | 'applied-order';
  readonly message: string;
}

interface Committed {
  readonly entry: SeenEntry;
  readonly seenAt: string;
  /** Where it was seen: the leader that committed it was of this term or an earlier one. */
  readonly byTerm: number;
}

interface Group {
  /** What was seen committed, by index. */
  readonly committed: Map<number, Committed>;
  /** Entries by "index term", whether committed or not. */
  readonly entries: Map<string, { readonly digest: number; readonly before: number; readonly node: string }>;
  readonly looks: Map<string, Look>;
  readonly checkedLeaders: Set<string>;
}

/** What the last look at a replica left. */
interface Look {
  readonly life: number;
  readonly commitIndex: number;
  readonly appliedIndex: number;
  readonly lastIndex: number;
  readonly term: number;
}

/** Entries of one group that are remembered, committed and otherwise: bounds the memory of long runs. */
const REMEMBERED_MAX = 50_000;
/** Entries looked at again behind what was seen last: what a new leader may have replaced. */
const OVERLAP = 8;

/**
 * Watches the logs of all replicas of all groups (Ongaro and Ousterhout 2014, figure 3). Every look is
 * compared with all earlier ones, of any replica:
 *
 * - log matching: entries of one index and term are equal, and so are those right before them, which together
 *   makes all before them equal;
 * - state machine safety: what was seen committed at an index is there for good;
 * - leader completeness: the log of a leader holds everything that was seen committed before its term;
 * - applied index and commit index never go back within a life, and nothing is applied that is not committed.
 */
export class LogWatch {
  readonly #groups = new Map<string, Group>();

  /** Looks at one replica; answers what is wrong. */
  look(replica: SeenReplica): LogFault[] {
    const group = this.#group(replica.group);
    const before = group.looks.get(replica.node);
    const sameLife = before !== undefined && before.life === replica.life ? before : undefined;
    const faults: LogFault[] = [];
    this.#checkOrder(replica, sameLife, faults);
    const { term, lastIndex, commitIndex } = replica;
    const isSeen =
      sameLife?.term === term && sameLife.lastIndex === lastIndex && sameLife.commitIndex === commitIndex;
    if (!isSeen) {
      this.#checkEntries(replica, group, sameLife, faults);
      this.#checkCommitted(replica, group, sameLife, faults);
    }
    this.#checkLeader(replica, group, faults);
    group.looks.set(replica.node, pick(replica));
    trim(group);
    return faults;
  }

  #group(name: string): Group {
    let group = this.#groups.get(name);
    if (group === undefined) {
      group = {
        committed: new Map(),
        entries: new Map(),
        looks: new Map(),
        checkedLeaders: new Set(),
      };
      this.#groups.set(name, group);
    }
    return group;
  }

  #checkOrder(replica: SeenReplica, before: Look | undefined, faults: LogFault[]): void {
    const { appliedIndex, commitIndex } = replica;
    const fault = (message: string): void => {
      faults.push({ checker: 'applied-order', message: `${nameOf(replica)}: ${message}` });
    };
    if (appliedIndex > commitIndex) fault(`applied ${appliedIndex}, committed only ${commitIndex}`);
    if (before === undefined) return;
    if (appliedIndex < before.appliedIndex) fault(`applied ${before.appliedIndex}, then ${appliedIndex}`);
    if (commitIndex < before.commitIndex) fault(`committed ${before.commitIndex}, then ${commitIndex}`);
    if (replica.term < before.term) fault(`was in term ${before.term}, then in ${replica.term}`);
  }

  /** Everything new in the log since the last look, or all of it when it may have been replaced. */
  #checkEntries(replica: SeenReplica, group: Group, before: Look | undefined, faults: LogFault[]): void {
    const isSameTerm = before !== undefined && before.term === replica.term;
    const start = isSameTerm ? Math.min(before.lastIndex, replica.lastIndex) - OVERLAP : 0;
    const from = Math.max(replica.firstIndex, start, 1);
    let previous = from > replica.firstIndex ? replica.entryAt(from - 1) : undefined;
    for (let index = from; index <= replica.lastIndex; index += 1) {
      const entry = replica.entryAt(index);
      if (entry !== undefined) this.#checkEntry(replica, group, { entry, previous }, faults);
      previous = entry;
    }
  }

  #checkEntry(
    replica: SeenReplica,
    group: Group,
    { entry, previous }: { readonly entry: SeenEntry; readonly previous: SeenEntry | undefined },
    faults: LogFault[],
  ): void {
    const place = `${entry.index} ${entry.term}`;
    const other = group.entries.get(place);
    const beforeTerm = previous?.term ?? UNSEEN;
    if (other === undefined) {
      group.entries.set(place, { digest: entry.digest, before: beforeTerm, node: replica.node });
      return;
    }
    const differs =
      other.digest !== entry.digest ||
      (other.before !== UNSEEN && beforeTerm !== UNSEEN && other.before !== beforeTerm);
    if (!differs) {
      if (other.before === UNSEEN) group.entries.set(place, { ...other, before: beforeTerm });
      return;
    }
    const message = `${nameOf(replica)}: ${show(entry)} is not that of ${other.node}`;
    faults.push({ checker: 'log-matching', message });
  }

  #checkCommitted(replica: SeenReplica, group: Group, before: Look | undefined, faults: LogFault[]): void {
    const end = Math.min(replica.commitIndex, replica.lastIndex);
    const from = before === undefined ? 0 : Math.min(before.commitIndex, end) - OVERLAP;
    for (let index = Math.max(replica.firstIndex, from, 1); index <= end; index += 1) {
      const entry = replica.entryAt(index);
      if (entry === undefined) continue;
      const known = group.committed.get(index);
      if (known === undefined)
        group.committed.set(index, { entry, seenAt: replica.node, byTerm: replica.term });
      else if (known.entry.term !== entry.term || known.entry.digest !== entry.digest) {
        const was = `${show(known.entry)} was at ${known.seenAt}`;
        const message = `${nameOf(replica)}: ${show(entry)} is committed, ${was}`;
        faults.push({ checker: 'state-machine-safety', message });
      }
    }
  }

  /** Once per leadership: a leader never replaces its own entries, so that later looks would say the same. */
  #checkLeader(replica: SeenReplica, group: Group, faults: LogFault[]): void {
    if (!replica.isLeader) return;
    const leadership = `${replica.node} ${replica.term}`;
    if (group.checkedLeaders.has(leadership)) return;
    group.checkedLeaders.add(leadership);
    for (const [index, { entry, seenAt, byTerm }] of group.committed) {
      if (byTerm >= replica.term || index < replica.firstIndex) continue;
      const own = replica.entryAt(index);
      if (index <= replica.lastIndex && own === undefined) continue;
      if (own !== undefined && own.term === entry.term && own.digest === entry.digest) continue;
      const held = own === undefined ? `ends at ${replica.lastIndex}` : `has ${show(own)}`;
      const lacks = `${show(entry)} was committed at ${seenAt}`;
      const message = `${nameOf(replica)} leads term ${replica.term} and ${held}; ${lacks}`;
      faults.push({ checker: 'leader-completeness', message });
      return;
    }
  }
}

const UNSEEN = -1;

function pick({ life, commitIndex, appliedIndex, lastIndex, term }: SeenReplica): Look {
  return { life, commitIndex, appliedIndex, lastIndex, term };
}

function nameOf({ group, node }: SeenReplica): string {
  return `${group} at ${node}`;
}

function show({ index, term }: SeenEntry): string {
  return `${index} of term ${term}`;
}

/** Forgets the oldest: maps keep the order of insertion. */
function trim(group: Group): void {
  for (const map of [group.committed, group.entries]) {
    for (const key of map.keys()) {
      if (map.size <= REMEMBERED_MAX) break;
      (map as Map<unknown, unknown>).delete(key);
    }
  }
}

/** A checksum of bytes, CRC-32: enough to tell entries apart that should be equal. */
export function digestOf(kind: number, payload: Uint8Array): number {
  return crc32(payload, kind);
}
