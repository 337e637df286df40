import { runProcess } from '@cairn/process-shell';

import { metadataProcess } from './metadata-process.js';

runProcess(metadataProcess);
