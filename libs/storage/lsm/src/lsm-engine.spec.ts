import { describeKvEngine } from '@cairn/engine/testing';
import { noopLogger, type Clock } from '@cairn/ports';
import { SimDisk, SimRng, SimScheduler } from '@cairn/runtime-sim';

import { InlineJobs, LsmEngine } from './index.js';

/** Time stands still, but what is put off to the next turn comes: walks over many bytes take several. */
function standingClock(): Clock {
  const { nowMs, unixMs, setTimer } = new SimScheduler().clockFor('test');
  return { nowMs, unixMs, setTimer, defer: (callback) => void setImmediate(callback) };
}

describeKvEngine('LsmEngine', {
  open: () => {
    const disk = new SimDisk(new SimRng(1)).attach();
    return LsmEngine.open({
      path: '/engine',
      disk,
      clock: standingClock(),
      logger: noopLogger,
      runner: new InlineJobs(disk),
      memtableBytes: 64 * 1024,
      blockBytes: 512,
      tableBytes: 8 * 1024,
      blockCacheBytes: 16 * 1024,
    });
  },
});
