import type { Clock } from '@cairn/ports';
import type { BuildVersions, Hello } from '@cairn/wire';

/** Which other members of the group are connected to this one, and since when those are not that are away. */
export class MemberContacts {
  readonly #clock: Pick<Clock, 'nowMs'>;
  readonly #startedMs: number;
  /** Raft sessions that each member holds to this one, by store id. */
  readonly #sessions = new Map<number, number>();
  /** When the last of those sessions ended, by store id. */
  readonly #awaySinceMs = new Map<number, number>();
  /** The build that each member runs, or ran when it was connected last, by store id. */
  readonly #builds = new Map<number, BuildVersions>();

  constructor(clock: Pick<Clock, 'nowMs'>) {
    this.#clock = clock;
    this.#startedMs = clock.nowMs();
  }

  /** A member has opened a raft session. */
  opened({ storeId, build, protocols, clusterVersions }: Hello): void {
    this.#count(storeId, 1);
    this.#builds.set(storeId, { build, protocols, clusterVersions });
  }

  /** Such a session has ended. */
  closed({ storeId }: Hello): void {
    this.#count(storeId, -1);
  }

  isConnected(storeId: number): boolean {
    return (this.#sessions.get(storeId) ?? 0) > 0;
  }

  /** What a connected member runs; undefined = it is away. */
  buildOf(storeId: number): BuildVersions | undefined {
    return this.isConnected(storeId) ? this.#builds.get(storeId) : undefined;
  }

  /** For how long a member has been away: at most since this process was started. Undefined = it is not. */
  awayMs(storeId: number): number | undefined {
    if (this.isConnected(storeId)) return undefined;
    return this.#clock.nowMs() - (this.#awaySinceMs.get(storeId) ?? this.#startedMs);
  }

  #count(storeId: number, change: number): void {
    const sessions = (this.#sessions.get(storeId) ?? 0) + change;
    this.#sessions.set(storeId, sessions);
    if (sessions === 0) this.#awaySinceMs.set(storeId, this.#clock.nowMs());
  }
}
