import { timestamp, timestampToUnixMs } from '@cairn/base';
import type { Clock } from '@cairn/ports';

/** What was heard of a clock is believed for this long; members look every third of it. */
const HEARD_AGE_MS_MAX = 30_000;

/** No clock that shows a later time is believed: timestamps must have room to grow after it. */
export const UNIX_MS_MAX = timestampToUnixMs(timestamp(Number.MAX_SAFE_INTEGER)) - 10 * 365 * 24 * 3_600_000;

/** Clocks this near to each other show the same time. */
const AGREE_WITHIN_MS = 2_000;

/** What time it is, by the wall clocks of the members. */
export interface WallTime {
  readonly unixMs: number;
  /**
   * A majority of the members showed this time when each was last heard, which was not at one moment: a clock
   * may have been set right since, while the next went wrong.
   */
  readonly isAgreed: boolean;
}

interface Heard {
  /** Its wall clock minus the monotonic clock here. */
  readonly offsetMs: number;
  readonly atMs: number;
}

/** By member: how far its wall clock is ahead of the monotonic clock here. */
export type Offsets = ReadonlyMap<string, number>;

/**
 * The wall clocks of all members of the group, as far as they were heard. Time is the median of them, so
 * one clock that is wrong, the leader's included, moves nothing while there are three. Bounded by the
 * members.
 */
export class MemberClocks {
  readonly #clock: Clock;
  readonly #self: string;
  readonly #members: readonly string[];
  readonly #heard = new Map<string, Heard>();

  constructor(clock: Clock, self: string, members: readonly string[]) {
    this.#clock = clock;
    this.#self = self;
    this.#members = members;
  }

  /**
   * A member has just said what its wall clock shows. Returns how far that is ahead of the monotonic clock
   * here; undefined = it counts for nothing.
   */
  heard(name: string, unixMs: number): number | undefined {
    if (name === this.#self || !this.#members.includes(name) || unixMs > UNIX_MS_MAX) return undefined;
    const nowMs = this.#clock.nowMs();
    const offsetMs = unixMs - nowMs;
    this.#heard.set(name, { offsetMs, atMs: nowMs });
    return offsetMs;
  }

  /** Most members have said lately what their clocks show, this one included. */
  get isMajorityHeard(): boolean {
    return this.#offsets().length >= this.#majority;
  }

  read(): WallTime {
    const nowMs = this.#clock.nowMs();
    const ownMs = this.#clock.unixMs();
    const offsets = this.#offsets();
    const majority = this.#majority;
    if (offsets.length === 1) return { unixMs: ownMs, isAgreed: majority === 1 };
    const { offsetMs, near } = medianOf(offsets);
    return { unixMs: offsetMs + nowMs, isAgreed: near >= majority };
  }

  /**
   * What a majority shows at one moment; undefined = none does. Every other member was asked `before` and
   * `after` the moment at which this one's wall clock was `ownOffsetMs` ahead of its monotonic clock. Who did
   * not answer twice alike has no say: its clock was set in between, or it may have been.
   */
  agreedUnixMs(before: Offsets, ownOffsetMs: number, after: Offsets): number | undefined {
    const steady = [...after].filter(([name, offsetMs]) => isNear(before.get(name), offsetMs));
    const { offsetMs, near } = medianOf([ownOffsetMs, ...steady.map(([, each]) => each)]);
    const unixMs = offsetMs + this.#clock.nowMs();
    return near >= this.#majority && unixMs <= UNIX_MS_MAX ? unixMs : undefined;
  }

  get #majority(): number {
    return Math.floor(this.#members.length / 2) + 1;
  }

  /** Wall clocks minus the monotonic clock here, this member's own first. */
  #offsets(): number[] {
    const nowMs = this.#clock.nowMs();
    const offsets = [this.#clock.unixMs() - nowMs];
    for (const { offsetMs, atMs } of this.#heard.values()) {
      if (nowMs - atMs <= HEARD_AGE_MS_MAX) offsets.push(offsetMs);
    }
    return offsets;
  }
}

function medianOf(offsets: readonly number[]): { offsetMs: number; near: number } {
  const sorted = offsets.toSorted((one, other) => one - other);
  // Of two, the earlier: time that is late lets nothing vanish.
  const offsetMs = sorted[(sorted.length - 1) >>> 1] as number;
  return { offsetMs, near: sorted.filter((offset) => isNear(offset, offsetMs)).length };
}

function isNear(one: number | undefined, other: number): boolean {
  return one !== undefined && Math.abs(one - other) <= AGREE_WITHIN_MS;
}
