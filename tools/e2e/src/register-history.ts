import { assert } from '@cairn/base';

/** A write that was begun: the n-th of its register. */
export interface OpenWrite {
  readonly register: number;
  readonly sequence: number;
}

/** A read that was begun. */
export interface OpenRead {
  readonly register: number;
  /** The oldest write that it may answer. */
  readonly floor: number;
}

interface Register {
  /** The last write that was begun; 0 = none. */
  begun: number;
  /** The last write that is known to have happened. */
  acknowledged: number;
  /** The newest write that a finished read has seen. */
  seen: number;
  /** Nobody knows whether the last write happened; no further one may follow. */
  isLost: boolean;
}

/**
 * Checks that registers with one writer each are linearizable: writers number their writes 1, 2, 3, … and
 * wait for each one, so a read must answer a number that
 *
 * - is not below the last write that was acknowledged before the read began,
 * - is not below what any read answered that ended before this one began,
 * - belongs to a write that has begun.
 *
 * With a single writer that never overlaps itself these three conditions are all there is to
 * linearizability. A write whose outcome is unknown may happen at any later time; its register gets no
 * further writes, so that both outcomes stay allowed and nothing else does.
 */
export class RegisterHistory {
  readonly #registers: Register[] = [];
  readonly #violations: string[] = [];

  get violations(): readonly string[] {
    return this.#violations;
  }

  get registers(): number {
    return this.#registers.length;
  }

  /** A new register that nobody has written. */
  open(): number {
    return this.#registers.push({ begun: 0, acknowledged: 0, seen: 0, isLost: false }) - 1;
  }

  beginWrite(register: number): OpenWrite {
    const state = this.#of(register);
    assert(!state.isLost && state.begun === state.acknowledged, 'a register has one write at a time');
    state.begun += 1;
    return { register, sequence: state.begun };
  }

  acknowledge(write: OpenWrite): void {
    const state = this.#of(write.register);
    assert(write.sequence === state.begun, 'writes of a register end in order');
    state.acknowledged = write.sequence;
  }

  /** The write certainly did not happen: its number is free again. */
  refuse(write: OpenWrite): void {
    const state = this.#of(write.register);
    assert(write.sequence === state.begun, 'writes of a register end in order');
    if (state.seen >= write.sequence) {
      this.#violations.push(
        `register ${write.register}: write ${write.sequence} was refused but read before`,
      );
    }
    state.begun -= 1;
  }

  /** The write may or may not have happened, or happen later. */
  lose(write: OpenWrite): void {
    this.#of(write.register).isLost = true;
  }

  beginRead(register: number): OpenRead {
    const state = this.#of(register);
    return { register, floor: Math.max(state.acknowledged, state.seen) };
  }

  /** `sequence` 0 = the key was not there. */
  endRead(read: OpenRead, sequence: number): void {
    const { register, floor } = read;
    const state = this.#of(register);
    if (sequence < floor) {
      this.#violations.push(
        `register ${register}: a read answered ${sequence}, but ${floor} was known before it began`,
      );
    }
    if (sequence > state.begun) {
      this.#violations.push(`register ${register}: a read answered ${sequence}, which nobody wrote`);
    }
    if (sequence > state.seen) state.seen = sequence;
  }

  #of(register: number): Register {
    const state = this.#registers[register];
    assert(state !== undefined, 'the register was opened');
    return state;
  }
}
