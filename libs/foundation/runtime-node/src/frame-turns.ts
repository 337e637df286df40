/** Frames that all connections of a transport handle in one turn of the event loop … */
const TURN_FRAMES_MAX = 1024;
/** … of them, those of one chunk of one connection … */
const CHUNK_FRAMES_MAX = 256;
/** … and those it may always handle, however many others there are. Nodes send one frame per turn. */
const CHUNK_FRAMES_MIN = 16;

/**
 * What handling frames may take of one turn of the event loop: a socket brings up to 2 MiB at a time, which
 * are tens of thousands of small frames. Whoever brings more waits for later turns and is not read from
 * meanwhile, so that timers and other connections have theirs.
 */
export class FrameTurns {
  #left = TURN_FRAMES_MAX;
  #isRenewing = false;

  /** Frames that a connection may handle now of one chunk. */
  get allowance(): number {
    return Math.max(CHUNK_FRAMES_MIN, Math.min(CHUNK_FRAMES_MAX, this.#left));
  }

  /** Called for each frame. */
  take(): void {
    this.#left -= 1;
    if (this.#left >= CHUNK_FRAMES_MAX || this.#isRenewing) return;
    // Not every turn: one in which little comes should not pay for it.
    this.#isRenewing = true;
    setImmediate(this.#renew);
  }

  readonly #renew = (): void => {
    this.#isRenewing = false;
    this.#left = TURN_FRAMES_MAX;
  };
}
