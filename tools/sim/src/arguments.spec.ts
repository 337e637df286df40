import { describe, expect, it } from '@jest/globals';

import { LOADS } from '@cairn/workloads';

import { engineOf, loadOf, parseArguments } from './arguments.js';

describe('arguments of the simulator', () => {
  it('have defaults', () => {
    const chosen = { engine: undefined, workload: undefined };
    const defaults = { from: 1, to: 20, minutes: Infinity, ...chosen, json: false, logLines: 0 };
    expect(parseArguments([])).toEqual(defaults);
    expect(parseArguments(['--engine', 'classic-level'])).toEqual({ ...defaults, engine: 'classic-level' });
    expect(parseArguments(['--seeds', '7', '--json', '--log', '5', '--minutes', '0.5'])).toEqual({
      from: 7,
      to: 7,
      minutes: 0.5,
      ...chosen,
      json: true,
      logLines: 5,
    });
    expect(parseArguments(['--workload', 'bank'])).toEqual({ ...defaults, workload: 'bank' });
  });

  it('put exactly one seed in four on LevelDB', () => {
    const seeds = Array.from({ length: 400 }, (_, at) => 12_340_000 + at);
    expect(seeds.filter((seed) => engineOf(seed) === 'classic-level')).toHaveLength(100);
    expect(seeds.filter((seed) => engineOf(seed) === undefined)).toHaveLength(300);
  });

  it('give each load its seeds, on every engine', () => {
    const seeds = Array.from({ length: 4 * LOADS.length }, (_, at) => 12_340_000 + at);
    const pairs = new Set(seeds.map((seed) => `${loadOf('all', seed)} on ${engineOf(seed) ?? 'others'}`));
    expect(pairs.size).toBe(2 * LOADS.length);
    expect(loadOf('sets', 5)).toBe('sets');
  });

  it.each([
    [['--seeds', '5..1'], '--seeds 5..1 ends before it begins'],
    [['--seeds'], '--seeds takes a number or A..B, not ""'],
    [['--seed', '3'], '--seed is not an option'],
    [['--minutes', 'x'], '--minutes must be a number above 0, not "x"'],
    [['--engine', 'rocks'], '--engine takes one of memory, lsm, classic-level, not "rocks"'],
    [['--workload', 'shop'], '--workload takes all, or one of bank, list-append, '],
    [['--log', 'all'], '--log takes a number of lines, not "all"'],
  ])('that are wrong are named: %j', (argv, sentence) => {
    expect(() => parseArguments(argv)).toThrow(sentence);
  });
});
