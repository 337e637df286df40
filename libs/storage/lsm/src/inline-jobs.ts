import type { Disk } from '@cairn/ports';

import { flush } from './flush-job.js';
import type { FlushJob, FlushResult, Job, JobResult, JobRunner, MergeJob, MergeResult } from './jobs.js';
import { merge } from './merge-job.js';

/** Does one job. */
export function runJob(disk: Disk, job: Job): Promise<JobResult> {
  return job.type === 'flush' ? flush(disk, job) : merge(disk, job);
}

/** Runs jobs in line with everything else: for tests, simulators and tools. */
export class InlineJobs implements JobRunner {
  readonly needsSharedMemory = false;
  readonly #disk: Disk;

  constructor(disk: Disk) {
    this.#disk = disk;
  }

  run(job: FlushJob): Promise<FlushResult>;
  run(job: MergeJob): Promise<MergeResult>;
  run(job: Job): Promise<JobResult> {
    return runJob(this.#disk, job);
  }

  async close(): Promise<void> {
    // Nothing of its own is running.
  }
}
