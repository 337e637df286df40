import { describeKvEngine } from '@cairn/engine/testing';
import { noopLogger } from '@cairn/ports';
import { SimDisk, SimRng, SimScheduler } from '@cairn/runtime-sim';

import { InlineJobs, LsmEngine } from './index.js';

describeKvEngine('LsmEngine', {
  open: () => {
    const disk = new SimDisk(new SimRng(1)).attach();
    return LsmEngine.open({
      path: '/engine',
      disk,
      clock: new SimScheduler().clockFor('test'),
      logger: noopLogger,
      runner: new InlineJobs(disk),
      memtableBytes: 64 * 1024,
      blockBytes: 512,
      tableBytes: 8 * 1024,
      blockCacheBytes: 16 * 1024,
    });
  },
});
