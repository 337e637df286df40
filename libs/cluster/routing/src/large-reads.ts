import type { AnswersUnderWay } from './answers-under-way.js';
import { FairQueue } from './fair-queue.js';
import type { RoutedOperation } from './operation.js';

/** So many bytes of answers to gets may be on their way from one store, as far as their sizes are known. */
const ANSWER_BYTES_MAX = 64 * 1024 * 1024;
/** And so many gets in any case. */
const READS_MIN = 16;
/** Taken for the size of answers before any has come: some twenty frames of small ones tell otherwise. */
const FIRST_BYTES = 1024 * 1024;
/** From this mean size on they are counted … */
const LARGE_BYTES = 256 * 1024;
/** … and below this no longer: counting costs, and small answers are bounded by their number. */
const SMALL_BYTES = 64 * 1024;
/** Weight of one frame in the running mean of the sizes of answers. */
const MEAN_WEIGHT = 1 / 8;
/** A queue this long is rid of operations that have ended in it; then when it has doubled. */
const SWEEP_LENGTH_MIN = 16_384;

/**
 * The gets that wait while answers of a store are large: they go to it as answers come in, so that what is on
 * its way to this router is bounded, and so is what the store reads for it, and only for callers that take
 * what they get. Callers take turns, and nothing is refused for waiting here. Sizes are learnt once per
 * frame; while answers are small nothing comes here.
 */
export class LargeReads {
  readonly #queue = new FairQueue();
  #sweepLength = SWEEP_LENGTH_MIN;
  /** Gets that came here and are with the store now. */
  #sent = 0;
  #meanBytes = FIRST_BYTES;
  #bytesBefore = 0;
  #isCounting = true;
  readonly #answers: AnswersUnderWay;
  readonly #hasRoom = (caller: string): boolean => this.#answers.hasRoom(caller, this.#meanBytes);

  /** `answers`: those of all stores. */
  constructor(answers: AnswersUnderWay) {
    this.#answers = answers;
  }

  /** Answers are large: gets come here. */
  get isCounting(): boolean {
    return this.#isCounting;
  }

  /** Gets that wait, those that have ended included. */
  get length(): number {
    return this.#queue.length;
  }

  /** A frame came with so many answers; `largeBytes`: of all large ones that the link has brought so far. */
  answered(answers: number, largeBytes: number): void {
    const bytes = (largeBytes - this.#bytesBefore) / answers;
    this.#bytesBefore = largeBytes;
    this.#meanBytes += (bytes - this.#meanBytes) * MEAN_WEIGHT;
    this.#isCounting = this.#meanBytes >= (this.#isCounting ? SMALL_BYTES : LARGE_BYTES);
  }

  push(operation: RoutedOperation, isWaiting: (operation: RoutedOperation) => boolean): void {
    if (this.#queue.length >= this.#sweepLength) {
      this.#queue.sweep(isWaiting);
      this.#sweepLength = Math.max(SWEEP_LENGTH_MIN, 2 * this.#queue.length);
    }
    operation.detach();
    this.#queue.push(operation);
  }

  /** The next that may go to the store, if there is one and it has room for its answer. */
  next(isWaiting: (operation: RoutedOperation) => boolean): RoutedOperation | undefined {
    if (this.#sent >= Math.max(READS_MIN, ANSWER_BYTES_MAX / this.#meanBytes)) return undefined;
    const operation = this.#queue.next(isWaiting, this.#hasRoom);
    if (operation === undefined) return undefined;
    operation.answerBytes = Math.max(1, Math.ceil(this.#meanBytes));
    this.#answers.take(operation.caller, operation.answerBytes);
    this.#sent += 1;
    return operation;
  }

  /** The store has the get no more, or nobody waits for it. */
  free(operation: RoutedOperation): void {
    this.#answers.give(operation.caller, operation.answerBytes);
    operation.answerBytes = 0;
    this.#sent -= 1;
  }

  /** Hands out all gets that wait; they do so no longer. */
  takeAll(isWaiting: (operation: RoutedOperation) => boolean): RoutedOperation[] {
    return this.#queue.takeAll(isWaiting);
  }

  /** The connection is lost: this forgets what was sent by it. */
  lost(sent: readonly RoutedOperation[]): void {
    for (const operation of sent) if (operation.answerBytes > 0) this.free(operation);
    this.#bytesBefore = 0;
  }
}
