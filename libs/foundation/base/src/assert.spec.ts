import { afterEach, describe, expect, it, jest } from '@jest/globals';

import { InvariantError, rethrowInvariant } from './assert.js';
import { CairnError } from './errors.js';

describe('rethrowInvariant', () => {
  afterEach(() => {
    jest.restoreAllMocks();
  });

  it('throws an assertion that failed here, and once more where nobody can catch it', () => {
    const later: (() => void)[] = [];
    jest.spyOn(globalThis, 'queueMicrotask').mockImplementation((callback) => {
      later.push(callback);
    });
    const broken = new InvariantError('what cannot happen');
    expect(() => {
      rethrowInvariant(broken);
    }).toThrow(broken);
    expect(later).toHaveLength(1);
    expect(later[0]).toThrow(broken);
  });

  it('leaves every other error to whoever caught it', () => {
    const later = jest.spyOn(globalThis, 'queueMicrotask');
    for (const error of [new CairnError('UNAVAILABLE', 'later'), new Error('x'), 'text', undefined]) {
      rethrowInvariant(error);
    }
    expect(later).not.toHaveBeenCalled();
  });
});
