import { describe, expect, it } from '@jest/globals';
import { EventEmitter } from 'node:events';

import { takeWarnings } from './uncaught.js';

describe('what Node warns of', () => {
  it('is passed on, and not written as text besides', () => {
    const source = new EventEmitter();
    const written: Error[] = [];
    const told: Error[] = [];
    // Stands for the listener that Node has by itself.
    source.on('warning', (warning: Error) => written.push(warning));
    takeWarnings((warning) => told.push(warning), source);
    const warning = new Error('4294967295 does not fit into a 32-bit signed integer');
    source.emit('warning', warning);
    expect(told).toEqual([warning]);
    expect(written).toEqual([]);
  });

  it('is told ten times of a kind: what causes it may come by the thousand', () => {
    const source = new EventEmitter();
    const told: string[] = [];
    takeWarnings(({ name }) => told.push(name), source);
    const warn = (name: string): void => {
      source.emit('warning', Object.assign(new Error('x'), { name }));
    };
    for (let at = 0; at < 1_000; at += 1) warn('TimeoutOverflowWarning');
    warn('DeprecationWarning');
    expect(told).toEqual([...Array<string>(10).fill('TimeoutOverflowWarning'), 'DeprecationWarning']);
  });
});
