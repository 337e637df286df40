/** The program of the engine's thread. */
import { NodeDisk, serveJobs } from '@cairn/runtime-node';

import { runJob } from './inline-jobs.js';
import type { Job, JobResult } from './jobs.js';

/** Merging may wait for reads and writes, not they for it. */
const NICENESS = 10;

const disk = new NodeDisk();
serveJobs<Job, JobResult>(NICENESS, (job) => runJob(disk, job));
