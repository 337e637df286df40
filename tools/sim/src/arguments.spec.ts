import { describe, expect, it } from '@jest/globals';

import { parseArguments } from './arguments.js';

describe('arguments of the simulator', () => {
  it('have defaults', () => {
    expect(parseArguments([])).toEqual({ from: 1, to: 20, minutes: Infinity, json: false, logLines: 0 });
    expect(parseArguments(['--seeds', '7', '--json', '--log', '5', '--minutes', '0.5'])).toEqual({
      from: 7,
      to: 7,
      minutes: 0.5,
      json: true,
      logLines: 5,
    });
  });

  it.each([
    [['--seeds', '5..1'], '--seeds 5..1 ends before it begins'],
    [['--seeds'], '--seeds takes a number or A..B, not ""'],
    [['--seed', '3'], '--seed is no option'],
    [['--minutes', 'x'], '--minutes must be a number above 0, not "x"'],
    [['--log', 'all'], '--log takes a number of lines, not "all"'],
  ])('that are wrong are named: %j', (argv, sentence) => {
    expect(() => parseArguments(argv)).toThrow(sentence);
  });
});
