import type { Clock } from '@cairn/ports';
import type { ReplicaHandle } from '@cairn/store';

/** A read that looks at the state of its range; see `readConfirmed`. */
export interface ViewReader<View> {
  /**
   * Takes the view and uses it, in one go, under a lease that was looked at in the same turn: as nothing can
   * happen in between, it is the state of the moment at which the lease was held. Left out: `take`, then the
   * lease, then `use`.
   */
  serve?(): void;
  /** Takes the view; undefined when the read is settled without one, or will be. */
  take(): View | undefined;
  /** The view is confirmed. */
  use(view: View): void;
  /** The view will not be used: another is taken behind a round. */
  drop(view: View): void;
  /** No quorum confirmed the leadership, or none was there to confirm. */
  refused(): void;
}

/**
 * Who may confirm a read that finds no lease. `any-leader`: also the next one, when this replica was deposed;
 * it knows everything that was acknowledged before, which is all that a read of the newest state asks for.
 * `this-leader`: for reads at a timestamp. That nothing commits at or below the timestamp later is what the
 * leader sees to that observed it: the next leader begins with a timestamp of its own, and when it began
 * before this one was issued, it may still write below it.
 */
export type Confirmation = 'any-leader' | 'this-leader';

/**
 * The one way to a confirmed view of a range: take the view, then ask for the lease with a fresh clock, or
 * the other way round where no event of the process comes between (`serve`); without one, ask for a round of
 * heartbeats and take the view again behind it. Everything before the first `take` (observing a timestamp,
 * waiting for what is under way) is the caller's.
 *
 * Timeline: docs/timelines/read.md
 */
export function readConfirmed<View>(
  replica: ReplicaHandle,
  clock: Clock,
  confirmation: Confirmation,
  reader: ViewReader<View>,
): void {
  const isLeased = (): boolean => replica.hasLease(clock.nowMs());
  if (reader.serve !== undefined && isLeased()) {
    reader.serve();
    return;
  }
  const view = reader.take();
  if (view === undefined) return;
  if (isLeased()) {
    reader.use(view);
    return;
  }
  reader.drop(view);
  const answered = (isConfirmed: boolean): void => {
    if (!isConfirmed) {
      reader.refused();
      return;
    }
    const again = reader.take();
    if (again !== undefined) reader.use(again);
  };
  if (confirmation === 'this-leader') replica.confirmLeadership(answered);
  else replica.readIndex(answered);
}
