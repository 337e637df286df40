/** Who takes answers: for all callers together, and for each. */
export interface AnswerRoom {
  /** Bytes of answers that came for the caller and that it has not taken. */
  heldBy(caller: string): number;
  /** Whether who has `own` of them, under way ones included, may have more, while so many are under way. */
  allowsAnswer(own: number, bytes: number, underWay: number): boolean;
}

/**
 * The bytes of large answers that are asked for and have not come, of all stores together. No more is asked
 * for than whoever takes the answers has room for, so that little is read, sent and then refused. A caller
 * that has nothing may always ask for one: when it comes, room is made for it.
 */
export class AnswersUnderWay {
  #room: AnswerRoom | undefined;
  #bytes = 0;
  /** What each caller has under way, of those who have anything. */
  readonly #byCaller = new Map<string, number>();

  /** Says who takes the answers; until then there is room for everything. */
  takenBy(room: AnswerRoom): void {
    this.#room = room;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Whether one more of so many bytes may be asked for. */
  hasRoom(caller: string, bytes: number): boolean {
    const room = this.#room;
    if (room === undefined) return true;
    const own = (this.#byCaller.get(caller) ?? 0) + room.heldBy(caller);
    return own === 0 || room.allowsAnswer(own, bytes, this.#bytes);
  }

  take(caller: string, bytes: number): void {
    this.#bytes += bytes;
    this.#byCaller.set(caller, (this.#byCaller.get(caller) ?? 0) + bytes);
  }

  give(caller: string, bytes: number): void {
    this.#bytes -= bytes;
    const left = (this.#byCaller.get(caller) ?? 0) - bytes;
    if (left > 0) this.#byCaller.set(caller, left);
    else this.#byCaller.delete(caller);
  }
}
