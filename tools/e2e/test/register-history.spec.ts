import { describe, expect, it } from '@jest/globals';
import { RegisterHistory } from '../src/register-history.js';

function withWrites(count: number): { readonly history: RegisterHistory; readonly register: number } {
  const history = new RegisterHistory();
  const register = history.open();
  for (let at = 0; at < count; at += 1) history.acknowledge(history.beginWrite(register));
  return { history, register };
}

describe('the checker of single-writer registers', () => {
  it('accepts the last acknowledged write and the one under way', () => {
    const { history, register } = withWrites(3);
    const read = history.beginRead(register);
    history.beginWrite(register);
    history.endRead(read, 3);
    history.endRead(history.beginRead(register), 4);
    expect(history.violations).toEqual([]);
  });

  it('finds a lost acknowledged write', () => {
    const { history, register } = withWrites(3);
    history.endRead(history.beginRead(register), 2);
    expect(history.violations).toHaveLength(1);
  });

  it('finds a read that goes behind an earlier one', () => {
    const { history, register } = withWrites(1);
    history.beginWrite(register);
    history.endRead(history.beginRead(register), 2);
    history.endRead(history.beginRead(register), 1);
    expect(history.violations).toHaveLength(1);
  });

  it('accepts that reads which overlap disagree', () => {
    const { history, register } = withWrites(1);
    history.beginWrite(register);
    const first = history.beginRead(register);
    const second = history.beginRead(register);
    history.endRead(first, 2);
    history.endRead(second, 1);
    expect(history.violations).toEqual([]);
  });

  it('finds a value that nobody wrote', () => {
    const { history, register } = withWrites(1);
    history.endRead(history.beginRead(register), 2);
    expect(history.violations).toHaveLength(1);
  });

  it('finds a refused write that happened', () => {
    const { history, register } = withWrites(1);
    const write = history.beginWrite(register);
    history.refuse(write);
    history.endRead(history.beginRead(register), 2);
    expect(history.violations).toHaveLength(1);

    const seenBefore = withWrites(0);
    const early = seenBefore.history.beginWrite(seenBefore.register);
    seenBefore.history.endRead(seenBefore.history.beginRead(seenBefore.register), 1);
    seenBefore.history.refuse(early);
    expect(seenBefore.history.violations).toHaveLength(1);
  });

  it('accepts both outcomes of a write that was lost, but no way back', () => {
    const { history, register } = withWrites(1);
    history.lose(history.beginWrite(register));
    history.endRead(history.beginRead(register), 1);
    history.endRead(history.beginRead(register), 2);
    expect(history.violations).toEqual([]);
    history.endRead(history.beginRead(register), 1);
    expect(history.violations).toHaveLength(1);
    expect(() => history.beginWrite(register)).toThrow(/one write at a time/);
  });
});
