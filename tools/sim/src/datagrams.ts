import type { FrameAction, SimNetwork, SimRng } from '@cairn/runtime-sim';
import { FrameType } from '@cairn/wire';

/** Chances for each frame; they add up to at most 1. */
export interface DatagramFaults {
  readonly lose: number;
  readonly duplicate: number;
  /** Held back, so that later ones overtake it. */
  readonly delay: number;
  readonly delayMsMax: number;
}

/**
 * Frames whose protocol tolerates loss, doubling and reordering, by the first byte that a session writes:
 * Raft messages between stores. Everything else relies on the order and completeness of its stream.
 */
const DATAGRAM_TYPES: ReadonlySet<number> = new Set([FrameType.raftMessages]);

/** What the network does to datagrams, until told otherwise. */
export class Datagrams {
  readonly #rng: SimRng;
  #faults: DatagramFaults | undefined;

  /** `onFrame` sees every frame before anything happens to it. */
  constructor(
    network: SimNetwork,
    rng: SimRng,
    onFrame: (frame: Buffer, from: string, to: string) => void = () => undefined,
  ) {
    this.#rng = rng;
    network.setFrameFilter((frame, from, to) => {
      onFrame(frame, from, to);
      return this.#actionFor(frame);
    });
  }

  set(faults: DatagramFaults | undefined): void {
    this.#faults = faults;
  }

  #actionFor(frame: Buffer): FrameAction {
    const faults = this.#faults;
    if (faults === undefined || !DATAGRAM_TYPES.has(frame[0] ?? 0)) return 'deliver';
    const drawn = this.#rng.next();
    if (drawn < faults.lose) return 'drop';
    if (drawn < faults.lose + faults.duplicate) return 'duplicate';
    if (drawn >= faults.lose + faults.duplicate + faults.delay) return 'deliver';
    return { delayMs: this.#rng.between(0, faults.delayMsMax) };
  }
}
