import { describe, expect, it } from '@jest/globals';

import { engineOf, parseArguments } from './arguments.js';

describe('arguments of the simulator', () => {
  it('have defaults', () => {
    const defaults = { from: 1, to: 20, minutes: Infinity, engine: undefined, json: false, logLines: 0 };
    expect(parseArguments([])).toEqual(defaults);
    expect(parseArguments(['--engine', 'classic-level'])).toEqual({ ...defaults, engine: 'classic-level' });
    expect(parseArguments(['--seeds', '7', '--json', '--log', '5', '--minutes', '0.5'])).toEqual({
      from: 7,
      to: 7,
      minutes: 0.5,
      engine: undefined,
      json: true,
      logLines: 5,
    });
  });

  it('put exactly one seed in four on LevelDB', () => {
    const seeds = Array.from({ length: 400 }, (_, at) => 12_340_000 + at);
    expect(seeds.filter((seed) => engineOf(seed) === 'classic-level')).toHaveLength(100);
    expect(seeds.filter((seed) => engineOf(seed) === undefined)).toHaveLength(300);
  });

  it.each([
    [['--seeds', '5..1'], '--seeds 5..1 ends before it begins'],
    [['--seeds'], '--seeds takes a number or A..B, not ""'],
    [['--seed', '3'], '--seed is not an option'],
    [['--minutes', 'x'], '--minutes must be a number above 0, not "x"'],
    [['--engine', 'rocks'], '--engine takes one of memory, lsm, classic-level, not "rocks"'],
    [['--log', 'all'], '--log takes a number of lines, not "all"'],
  ])('that are wrong are named: %j', (argv, sentence) => {
    expect(() => parseArguments(argv)).toThrow(sentence);
  });
});
