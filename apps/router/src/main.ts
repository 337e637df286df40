import { runProcess } from '@cairn/process-shell';

import { routerProcess } from './router-process.js';

runProcess(routerProcess);
