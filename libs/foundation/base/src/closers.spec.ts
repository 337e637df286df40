import { describe, expect, it } from '@jest/globals';

import { Closers } from './closers.js';

describe('Closers', () => {
  function opened(...names: string[]): { readonly closers: Closers; readonly closed: string[] } {
    const closers = new Closers();
    const closed: string[] = [];
    for (const name of names) {
      closers.add(name, async () => {
        await Promise.resolve();
        closed.push(name);
        if (name.startsWith('bad')) throw new Error(`${name} fails`);
      });
    }
    return { closers, closed };
  }

  it('close in reverse order of opening, once', async () => {
    const { closers, closed } = opened('lock', 'engine', 'store');
    await Promise.all([closers.close(), closers.close()]);
    expect(closed).toEqual(['store', 'engine', 'lock']);
  });

  it('close what was added again in its new place', async () => {
    const { closers, closed } = opened('listener', 'engine', 'listener');
    await closers.close();
    expect(closed).toEqual(['listener', 'engine']);
  });

  it('close the others, too, when some cannot be closed, and tell of the first', async () => {
    const { closers, closed } = opened('lock', 'bad engine', 'store', 'bad links');
    await expect(closers.close()).rejects.toThrow('bad links fails');
    expect(closed).toEqual(['bad links', 'store', 'bad engine', 'lock']);
  });
});
