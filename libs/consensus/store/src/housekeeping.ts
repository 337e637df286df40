import type { ApplyBacklog } from './apply-backlog.js';
import type { Checkpointer } from './checkpointer.js';
import type { DiskWatch } from './disk-watch.js';
import type { InboundQueue } from './inbound.js';
import type { LeadershipLog } from './leadership-log.js';
import type { StoreLife } from './store-life.js';
import type { StoreMetrics } from './store-metrics.js';

export interface HousekeepingParts {
  readonly inbound: Pick<InboundQueue, 'waitingBytes'>;
  readonly backlog: Pick<ApplyBacklog, 'bytes'>;
  readonly leadershipLog: Pick<LeadershipLog, 'poll'>;
  readonly disk: Pick<DiskWatch, 'poll'>;
  readonly checkpointer: Pick<Checkpointer, 'poll'>;
  readonly metrics: StoreMetrics;
  readonly life: Pick<StoreLife, 'fatal'>;
}

/** What is looked after at the end of each tick. */
export class Housekeeping {
  readonly #parts: HousekeepingParts;

  constructor(parts: HousekeepingParts) {
    this.#parts = parts;
  }

  poll(): void {
    const { backlog, checkpointer, disk, inbound, leadershipLog, life, metrics } = this.#parts;
    metrics.inboundWaits(inbound.waitingBytes);
    metrics.applyBacklog(backlog.bytes);
    leadershipLog.poll();
    disk.poll();
    checkpointer.poll()?.catch(life.fatal);
  }
}
