import { InvariantError } from '@cairn/base';
import { describe, expect, it } from '@jest/globals';
import { EventEmitter } from 'node:events';

import { Observer } from '../observer.js';
import { watchUncaught } from './uncaught.js';

describe('an assertion that nobody may catch', () => {
  it('fails the run, once, however it comes out', () => {
    const observer = new Observer(() => 7);
    const source = new EventEmitter();
    const over = watchUncaught(observer, source);
    const broken = new InvariantError('what cannot happen');
    source.emit('uncaughtException', broken);
    source.emit('unhandledRejection', broken);
    source.emit('unhandledRejection', 'text');
    expect(observer.violations.map(({ checker, atMs }) => [checker, atMs])).toEqual([
      ['assertion', 7],
      ['assertion', 7],
    ]);
    expect(observer.violations[0]?.message).toContain('what cannot happen');
    over();
    expect(source.eventNames()).toEqual([]);
  });
});
