import { JobThread } from '@cairn/runtime-node';

import type { FlushJob, FlushResult, Job, JobResult, JobRunner, MergeJob, MergeResult } from './jobs.js';

/** Runs jobs on a thread of their own, so that the event loop goes on while tables are written and merged. */
export class ThreadJobs implements JobRunner {
  readonly needsSharedMemory = true;
  readonly #thread = new JobThread<Job, JobResult>(new URL('./thread-entry.js', import.meta.url), 'engine');

  run(job: FlushJob): Promise<FlushResult>;
  run(job: MergeJob): Promise<MergeResult>;
  run(job: Job): Promise<JobResult> {
    return this.#thread.run(job);
  }

  close(): Promise<void> {
    return this.#thread.close();
  }
}
