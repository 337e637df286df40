import { expect, it } from '@jest/globals';

import { runScenario } from '../src/scenario.js';

it('gives every part of a split range a leader within one heartbeat and a little', async () => {
  const result = await runScenario({ seed: 'calm2', faults: [], durationMs: 15_000 });
  expect(result.violations).toEqual([]);
  expect(result.ranges).toBeGreaterThan(3);
  const gaps: number[] = [];
  const bornAt = new Map<string, number>();
  for (const line of result.tail) {
    const match = /^([\d.]+) shard-\d info leadership changed \{"range":(\d+),.*"isLeader":(true|false)/.exec(line);
    if (match === null) continue;
    const [atMs, range] = [Number(match[1]), match[2] as string];
    if (!bornAt.has(range)) bornAt.set(range, atMs);
    else if (match[3] === 'true' && Number(range) > 1) {
      gaps.push(atMs - (bornAt.get(range) as number));
      bornAt.set(range, Number.NaN);
    }
  }
  const first = gaps.filter((gap) => !Number.isNaN(gap));
  expect(first.length).toBeGreaterThan(3);
  expect(Math.max(...first)).toBeLessThan(250);
}, 60_000);
