import { describe, expect, it } from '@jest/globals';
import { FAULTS, parseOptions } from './options.js';
import { planFaults, type Targets } from './schedule.js';

const TARGETS: Targets = {
  metadata: ['metadata-1', 'metadata-2', 'metadata-3'],
  shards: ['shard-1', 'shard-2', 'shard-3'],
  routers: ['router-1', 'router-2'],
  smallDisk: 'shard-3',
};
const LENGTH_MS = 300_000;

describe('the schedule of faults', () => {
  it('is the same for the same seed, and another one for another', () => {
    const plan = planFaults('7', FAULTS, TARGETS, LENGTH_MS);
    expect(planFaults('7', FAULTS, TARGETS, LENGTH_MS)).toEqual(plan);
    expect(planFaults('8', FAULTS, TARGETS, LENGTH_MS)).not.toEqual(plan);
  });

  it('has every fault, one at a time per lane, and ends in time', () => {
    const { processes, surroundings } = planFaults('1', FAULTS, TARGETS, LENGTH_MS);
    const names = new Set([...processes, ...surroundings].map(({ name }) => name));
    expect([...names].sort()).toEqual([...FAULTS].sort());
    for (const lane of [processes, surroundings]) {
      lane.reduce((endMs, { atMs, durationMs }) => {
        expect(atMs).toBeGreaterThan(endMs);
        return atMs + durationMs;
      }, 0);
      const last = lane.at(-1);
      expect((last?.atMs ?? 0) + (last?.durationMs ?? 0)).toBeLessThanOrEqual(LENGTH_MS);
    }
  });

  it('strikes who can be struck', () => {
    const { processes, surroundings } = planFaults('1', FAULTS, TARGETS, LENGTH_MS);
    const all = [...TARGETS.metadata, ...TARGETS.shards, ...TARGETS.routers];
    for (const { name, victims } of [...processes, ...surroundings]) {
      if (name === 'kill-all') expect(victims).toEqual(all);
      else if (name === 'partition') expect(victims.length).toBeLessThan(all.length);
      else expect(victims).toHaveLength(1);
      if (name === 'flip-engine') expect(victims[0]).toMatch(/^shard/);
      if (name === 'flip-log') expect(victims[0]).not.toMatch(/^router/);
      if (name === 'disk-full') expect(victims).toEqual(['shard-3']);
    }
  });

  it('has only the faults that were asked for', () => {
    const { processes, surroundings } = planFaults('1', ['kill'], TARGETS, LENGTH_MS);
    expect(new Set(processes.map(({ name }) => name))).toEqual(new Set(['kill']));
    expect(surroundings).toEqual([]);
  });
});

describe('the arguments', () => {
  it('have defaults', () => {
    const options = parseOptions(['--seed', 'abc']);
    expect(options).toMatchObject({
      minutes: 2,
      seed: 'abc',
      faults: FAULTS,
      network: undefined,
      engine: 'lsm',
      json: false,
    });
    expect(options).toMatchObject({ metadata: 3, shards: 3, routers: 2 });
  });

  it('leave out on LevelDB, unless it is named, the damage that its merges spread', () => {
    const faultsOf = (...argv: string[]): readonly string[] =>
      parseOptions(['--engine', 'classic-level', ...argv]).faults;
    expect(faultsOf()).toEqual(FAULTS.filter((name) => name !== 'flip-engine'));
    expect(faultsOf('--faults', 'flip-engine')).toEqual(['flip-engine']);
  });

  it.each([
    [['--minutes', 'x'], '--minutes must be a number above 0, not x'],
    [['--metadata', '2'], '--metadata must be odd, not 2'],
    [['--shards', '1.5'], '--shards must be a whole number'],
    [['--faults', 'kill,gremlins'], 'gremlins is not a known fault; there are kill, terminate'],
    [['--network', 'pigeons'], 'pigeons is not a known network; there are netns, proxy, none'],
    [['--engine', 'memory'], 'memory is not a known engine; there are lsm, classic-level'],
    [['--nonsense'], '--nonsense'],
  ])('%j are refused', (argv, sentence) => {
    expect(() => parseOptions(argv)).toThrow(sentence);
  });
});
