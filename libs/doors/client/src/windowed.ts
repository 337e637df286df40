/** Answers of this many bytes may be under way at once, as far as the ones before tell how large they are. */
const ANSWER_BYTES_MAX = 8 * 1024 * 1024;
/** So many are asked for while nothing is known of their sizes. */
const FIRST_WINDOW = 64;
/** How much one answer says about the next ones. */
const WEIGHT = 1 / 8;
/** What an answer takes beside its payload, roughly. */
const OVERHEAD_BYTES = 64;

/**
 * How many reads to have open at once: many while answers are small, few while they are large. It begins with
 * a few, grows by two with each answer that came, and shrinks with the first large one: how large the answers
 * are of what is open when that comes, nobody knows before.
 */
export class AnswerWindow {
  readonly #most: number;
  #size: number;
  /** The size of an answer, as far as it is known: it rises at once and falls slowly. */
  #bytes = 0;

  constructor(most: number) {
    this.#most = most;
    this.#size = Math.min(most, FIRST_WINDOW);
  }

  get size(): number {
    return this.#size;
  }

  answered(bytes: number): void {
    const whole = bytes + OVERHEAD_BYTES;
    this.#bytes = Math.max(whole, this.#bytes + (whole - this.#bytes) * WEIGHT);
    const fitting = Math.floor(ANSWER_BYTES_MAX / this.#bytes);
    this.#size = Math.max(1, Math.min(this.#most, fitting, this.#size + 2));
  }
}

/**
 * Runs `work` for 0 .. count-1 with at most `window.size` of them unfinished, asked anew each time. Starts no
 * more after a failure; rejects with the first one, once what was started has settled.
 */
export async function forEachWindowed(
  count: number,
  window: { readonly size: number },
  work: (index: number) => Promise<void>,
): Promise<void> {
  let failure: { readonly error: unknown } | undefined;
  await new Promise<void>((resolve) => {
    let next = 0;
    let open = 0;
    const settled = (): void => {
      open -= 1;
      startSome();
    };
    const failed = (error: unknown): void => {
      failure ??= { error };
      settled();
    };
    const startSome = (): void => {
      while (next < count && failure === undefined && open < window.size) {
        open += 1;
        work(next).then(settled, failed);
        next += 1;
      }
      if (open === 0) resolve();
    };
    startSome();
  });
  if (failure !== undefined) throw failure.error;
}
