import type { Logger } from '@cairn/ports';
import { noopLogger } from '@cairn/ports';
import { SimScheduler } from '@cairn/runtime-sim';
import { describe, expect, it } from '@jest/globals';

import { LeadershipLog } from './leadership-log.js';
import type { Replica } from './replica.js';

describe('the log of changed leaders', () => {
  it('has a line for each of a hundred per second, and the number of the others', async () => {
    const scheduler = new SimScheduler();
    const lines: [string, unknown][] = [];
    const logger: Logger = {
      ...noopLogger,
      info: (event: string, fields: unknown) => {
        lines.push([event, fields]);
      },
    };
    const log = new LeadershipLog(scheduler.clockFor('store'), logger);
    const replica = {
      rangeId: 7,
      term: 3,
      leaderReplicaId: 12,
      leaderStoreId: 2,
      isLeader: false,
    } as unknown as Replica;
    for (let change = 0; change < 250; change += 1) log.changed(replica);
    expect(lines).toHaveLength(100);
    expect(lines[0]).toEqual([
      'leadership changed',
      { range: 7, term: 3, leaderStore: 2, leaderReplica: 12, isLeader: false },
    ]);
    log.poll();
    expect(lines).toHaveLength(100);
    await scheduler.runFor(1_001);
    log.poll();
    expect(lines.slice(100)).toEqual([['leadership of more ranges changed', { changes: 150 }]]);
    log.changed(replica);
    expect(lines).toHaveLength(102);
  });
});
