/** The program of the engine's thread. */
import { NodeDisk, serveJobs } from '@cairn/runtime-node';

import { runJob } from './inline-jobs.js';
import type { Job, JobResult } from './jobs.js';

const disk = new NodeDisk();
serveJobs<Job, JobResult>((job) => runJob(disk, job));
