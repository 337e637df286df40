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
  /** A majority of the members shows this time: it may be followed however far it is. */
  readonly isAgreed: boolean;
}

interface Heard {
  /** Its wall clock minus the monotonic clock here. */
  readonly offsetMs: number;
  readonly atMs: number;
}

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

  /** A member has just said what its wall clock shows. */
  heard(name: string, unixMs: number): void {
    if (name === this.#self || !this.#members.includes(name) || unixMs > UNIX_MS_MAX) return;
    const nowMs = this.#clock.nowMs();
    this.#heard.set(name, { offsetMs: unixMs - nowMs, atMs: nowMs });
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
    offsets.sort((one, other) => one - other);
    // Of two, the earlier: time that is late lets nothing vanish.
    const median = offsets[(offsets.length - 1) >>> 1] as number;
    const near = offsets.filter((offset) => Math.abs(offset - median) <= AGREE_WITHIN_MS).length;
    return { unixMs: median + nowMs, isAgreed: near >= majority };
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
