import { runProcess } from '@cairn/process-shell';

import { shardProcess } from './shard-process.js';

runProcess(shardProcess);
