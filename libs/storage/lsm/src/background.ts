import { messageOf, rethrowInvariant, type CairnError } from '@cairn/base';
import { engineClosed } from '@cairn/engine';
import type { Clock, Logger, Timer } from '@cairn/ports';

import { DeletedRows } from './deleted-rows.js';
import { asEngineError } from './engine-error.js';
import type { JobRunner, JobSetting } from './jobs.js';
import { pendingMergeBytes } from './lsm-stats.js';
import { MergePace } from './merge-pace.js';
import { chooseMerge, RUNS_PER_LEVEL_MAX, type MergePlan } from './merge-policy.js';
import { stepOf, type MergeSpan } from './merge-steps.js';
import { findReclaimable, type Reclaimable } from './reclaim.js';
import type { TableSet } from './table-set.js';
import type { Tables } from './tables.js';
import { addNewest, applyMergeStep, removeSpan } from './version-edits.js';
import { intersect, isWhole, overlaps, type Run, type Slice } from './version.js';
import type { CountedMemtable } from './view.js';

/** With more runs of level 0, merging goes before writing out more. */
const YOUNG_RUNS_MAX = RUNS_PER_LEVEL_MAX * 2;
/** After something that had no room on the disk, it is tried again so much later. */
const NO_ROOM_PAUSE_MS = 2_000;
/** A disk that is full on and off is logged this often at most. */
const NO_ROOM_LOG_INTERVAL_MS = 60_000;
/** Files that could not be removed are tried again so much later. */
const ORPHANS_PAUSE_MS = 10_000;
/** A step of a merge that flushes have not paid for waits so long. */
const UNPAID_WAIT_MS = 3_000;
/**
 * So many flushes, deletions and steps of merges go before the next step of a compaction: they keep most of
 * what there is, as every read and write depends on them, and the compaction still ends.
 */
const OTHER_STEPS_PER_COMPACTION_STEP = 4;
const FIRST_KEY = new Uint8Array(0);

/** Done at once. */
type UrgentTask =
  | { readonly type: 'flush'; readonly memtable: CountedMemtable }
  | { readonly type: 'delete'; readonly from: Uint8Array; readonly to: Uint8Array };

/** Begins when it is at the head of the queue, and is done a table at a time. */
interface Compaction {
  readonly type: 'compact';
  readonly from: Uint8Array;
  readonly to: Uint8Array;
}

/** What was asked for. */
export type Task = UrgentTask | Compaction;

interface Queued<Asked extends Task> {
  readonly task: Asked;
  readonly promise: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: CairnError) => void;
}

export interface BackgroundOptions {
  readonly set: TableSet;
  readonly tables: Tables;
  readonly runner: JobRunner;
  readonly setting: JobSetting;
  readonly tableBytes: number;
  /** Whether blocks of a level are compressed. */
  isCompressedAt(level: number): boolean;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The rows of the memtable are in a table that whoever looks finds. */
  flushed(memtable: CountedMemtable): void;
  /** Nothing will be written any more. Called once. */
  failed(error: CairnError): void;
  /** Something was done: whoever waits for room may look again. */
  progressed(): void;
}

/**
 * Everything that changes tables, one thing after the other: flushes and deletions come first, then merges
 * and compactions by turns, a table at a time. After the first failure nothing is changed any more: what a
 * failed write left on disk is unknown until the directory is opened again. What only finds no room is tried
 * again later, from its beginning: the rows are in memory, nobody was promised anything, and the table that
 * was begun is removed as soon as no manifest on disk can name it. Until then flushes and deletions wait, in
 * their order, and writes with them once memory is full.
 */
export class Background {
  readonly #options: BackgroundOptions;
  #queue: Queued<Task>[] = [];
  /** Those that have begun; the first one has the next step. */
  readonly #compactions: Queued<Compaction>[] = [];
  /** Flushes, deletions and steps of merges since the last step of a compaction. */
  #otherSteps = 0;
  /**
   * Merging goes on beside flushes, as fast as they pay for it, until nothing is left to merge. Where one
   * memtable waits already when another was written out, it would never have a turn. For a burst that is
   * right: what is left undone is done after it. But no level grows without end, and space comes back.
   */
  #isCatchingUp = false;
  /** The last of those that were asked for which others wait on, if it is not done. */
  #lastBarrier: Promise<void> | undefined;
  readonly #merges: MergePlan[] = [];
  readonly #pace: MergePace;
  readonly #deletedRows: DeletedRows;
  /** Runs while merging waits for flushes that pay for it. */
  #unpaid: Timer | undefined;
  /** Runs while merging rests because the disk is full. */
  #pause: Timer | undefined;
  /** Runs while a flush or a deletion rests, and all behind it, because the disk is full. */
  #noRoom: Timer | undefined;
  #isOutOfRoom = false;
  #loggedNoRoomMs: number | undefined;
  /** Runs until files that could not be removed are tried again. */
  #orphanPause: Timer | undefined;
  /** Tables may have been cut since it was last looked whether some should be written anew. */
  #mayReclaim = true;
  #running: Promise<void> | undefined;
  #isClosing = false;
  #failure: CairnError | undefined;
  #mergedRows = 0;

  constructor(options: BackgroundOptions) {
    this.#options = options;
    this.#pace = new MergePace(options.tableBytes);
    this.#deletedRows = new DeletedRows(options.tableBytes);
    options.set.whenOrphaned(() => {
      this.#wake();
    });
  }

  /** What merges that are due or under way still have to read. */
  get pendingMergeBytes(): number {
    return pendingMergeBytes(this.#options.set.version.runs, this.#merges);
  }

  get mergedRows(): number {
    return this.#mergedRows;
  }

  /** Whether merging is so far behind that nothing more should be written for now. */
  get isBehind(): boolean {
    return this.#options.set.version.youngRuns > YOUNG_RUNS_MAX;
  }

  /** The disk has no room for what is to be written out next. */
  get isOutOfRoom(): boolean {
    return this.#isOutOfRoom;
  }

  /** Asks for something; resolves when it is done, and durable. */
  ask(task: Task): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    // Whoever asked may not wait; the failure is told to all that come later.
    promise.catch(rethrowInvariant);
    this.#queue.push({ task, promise, resolve, reject });
    if (task.type !== 'compact') this.#lastBarrier = promise;
    this.#wake();
    return promise;
  }

  /** Resolves when everything written and deleted that was asked for until now is durable. */
  barrier(): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return this.#lastBarrier ?? Promise.resolve();
  }

  /** Begins what there is to do, a merge for instance that a start finds due. */
  start(): void {
    this.#wake();
  }

  /**
   * Finishes what was asked for, but leaves off merging and compacting after the step that is under way. Room
   * is not waited for any more: what has none fails.
   */
  async close(): Promise<void> {
    this.#isClosing = true;
    this.#noRoom?.cancel();
    this.#noRoom = undefined;
    this.#pause?.cancel();
    this.#unpaid?.cancel();
    this.#orphanPause?.cancel();
    const begun = this.#compactions.splice(0);
    for (const { task, reject } of [...begun, ...this.#queue]) {
      if (task.type === 'compact') reject(engineClosed());
    }
    this.#queue = this.#queue.filter(({ task }) => task.type !== 'compact');
    if (this.#queue.length > 0) this.#wake();
    while (this.#running !== undefined) await this.#running;
  }

  #wake(): void {
    if (this.#running !== undefined) return;
    const { set } = this.#options;
    if (this.#failure !== undefined && !set.hasOrphans) return;
    this.#running = this.#run().finally(() => {
      this.#running = undefined;
      const hasOrphans = set.hasOrphans && this.#orphanPause === undefined && !this.#isClosing;
      const isAsked = this.#queue.length > 0 || this.#compactions.length > 0;
      const hasWork = isAsked && this.#noRoom === undefined;
      if (hasWork || hasOrphans) this.#wake();
    });
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    try {
      while (this.#failure === undefined && (await this.#runOne())) this.#options.progressed();
    } catch (error) {
      this.#fail(asEngineError(error));
    }
    await this.#collectOrphans();
  }

  /** No job runs now, and none begins before it is done. */
  async #collectOrphans(): Promise<void> {
    const { clock, set } = this.#options;
    if (!set.hasOrphans || this.#orphanPause !== undefined) return;
    await set.collectOrphans();
    if (!set.hasOrphans || this.#isClosing) return;
    this.#orphanPause = clock.setTimer(ORPHANS_PAUSE_MS, () => {
      this.#orphanPause = undefined;
      this.#wake();
    });
  }

  /** Does the next thing; false when there is none. */
  async #runOne(): Promise<boolean> {
    if (this.#noRoom !== undefined) return false;
    if (this.#compactions.length > 0 && this.#otherSteps >= OTHER_STEPS_PER_COMPACTION_STEP) {
      return this.#compactNext();
    }
    const queued = this.#queue[0];
    const mayMerge = this.#pause === undefined && !this.#isClosing;
    if (queued === undefined) return this.#mergeOrCompact(mayMerge);
    const { task } = queued;
    if (task.type === 'flush' && mayMerge) {
      if (this.isBehind) return this.#mergeStep();
      if (await this.#catchUp()) return true;
    }
    this.#queue.shift();
    if (task.type !== 'compact') return this.#doUrgent({ ...queued, task });
    this.#compactions.push({ ...queued, task });
    return true;
  }

  async #catchUp(): Promise<boolean> {
    this.#isCatchingUp ||= this.#options.set.version.mostRuns > RUNS_PER_LEVEL_MAX;
    return this.#isCatchingUp && this.#pace.mayGoOn && (await this.#mergeStep());
  }

  async #doUrgent(queued: Queued<UrgentTask>): Promise<boolean> {
    try {
      await this.#carryOut(queued.task);
    } catch (error) {
      const failure = asEngineError(error);
      const isFull = failure.code === 'DISK_FULL' && !this.#isClosing;
      const settled = isFull ? await this.#awaitRoom(failure) : failure;
      if (settled === undefined) {
        this.#queue.unshift(queued);
        return false;
      }
      this.#fail(settled);
      queued.reject(settled);
      return false;
    }
    this.#isOutOfRoom = false;
    this.#otherSteps += 1;
    if (this.#lastBarrier === queued.promise) this.#lastBarrier = undefined;
    queued.resolve();
    return true;
  }

  /** One step of a merge, or of a compaction when no merge is due; false when there is neither. */
  async #mergeOrCompact(mayMerge: boolean): Promise<boolean> {
    if (mayMerge && (await this.#pacedMergeStep())) return true;
    // Looking for a merge may have taken a while: a flush goes first.
    return this.#queue.length > 0 || this.#compactNext();
  }

  /** One step of the compaction whose turn it is; false when there is none. */
  async #compactNext(): Promise<boolean> {
    this.#otherSteps = 0;
    const queued = this.#compactions.shift();
    if (queued === undefined) return false;
    let left: Compaction | undefined;
    try {
      left = await this.#compactStep(queued.task);
    } catch (error) {
      const failure = asEngineError(error);
      // Without room the compaction was in vain; everything else goes on.
      if (failure.code === 'DISK_FULL') this.#options.set.leftOver();
      else this.#fail(failure);
      this.#mayReclaim = true;
      queued.reject(failure);
      return true;
    }
    if (left === undefined) {
      this.#mayReclaim = true;
      queued.resolve();
    } else if (this.#isClosing) {
      queued.reject(engineClosed());
    } else {
      this.#compactions.push({ ...queued, task: left });
    }
    return true;
  }

  /**
   * Each try begins a table anew: what is left of this one goes, or the tries would take what room there is.
   * Answers what else is wrong than that there is no room.
   */
  async #awaitRoom(failure: CairnError): Promise<CairnError | undefined> {
    const { clock, logger, set } = this.#options;
    this.#isOutOfRoom = true;
    this.#noRoom = clock.setTimer(NO_ROOM_PAUSE_MS, () => {
      this.#noRoom = undefined;
      this.#wake();
    });
    const nowMs = clock.nowMs();
    if (this.#loggedNoRoomMs === undefined || nowMs - this.#loggedNoRoomMs >= NO_ROOM_LOG_INTERVAL_MS) {
      this.#loggedNoRoomMs = nowMs;
      logger.warn('the disk has no room for the engine, it waits', { error: failure.message });
    }
    try {
      await set.settle();
    } catch (error) {
      const other = asEngineError(error);
      if (other.code !== 'DISK_FULL') return other;
    }
    set.leftOver();
    return undefined;
  }

  async #carryOut(task: UrgentTask): Promise<void> {
    const { set } = this.#options;
    switch (task.type) {
      case 'flush':
        return this.#flush(task.memtable);
      case 'delete': {
        const isThere = set.version.runs.some((run) => holds(run, task));
        if (isThere) await set.install(removeSpan(set.version.runs, task.from, task.to));
        this.#mayReclaim ||= isThere;
      }
    }
  }

  async #flush(memtable: CountedMemtable): Promise<void> {
    const { set, runner, setting } = this.#options;
    const { table } = memtable;
    const { table: summary } = await runner.run({
      ...setting,
      type: 'flush',
      outputNumber: set.takeNumber(),
      rows: table.bytes.buffer,
      rowAt: table.rowAt.slice(0, table.rowCount),
    });
    const deepestLevel = set.version.runs.at(-1)?.level ?? 0;
    this.#pace.flushed(summary.bytes, deepestLevel);
    this.#deletedRows.flushed();
    const runs = addNewest(set.version.runs, set.takeNumber(), await set.openTable(summary));
    await set.install(runs, () => {
      this.#options.flushed(memtable);
    });
  }

  /** One step of the merge that is due; false when none is, or when it is too early for it. */
  async #pacedMergeStep(): Promise<boolean> {
    if (this.#pace.mayGoOn) {
      this.#unpaid?.cancel();
      this.#unpaid = undefined;
      return this.#mergeStep();
    }
    this.#unpaid ??= this.#options.clock.setTimer(UNPAID_WAIT_MS, () => {
      this.#unpaid = undefined;
      this.#pace.waited();
      this.#wake();
    });
    return false;
  }

  /**
   * One step of the merge that is due, or what gives space back: a span merged of which much was deleted, a
   * table written anew. False when there is nothing to do.
   */
  async #mergeStep(): Promise<boolean> {
    const { set } = this.#options;
    const plan = chooseMerge(set.version.runs, this.#merges, () => set.takeNumber());
    try {
      if (plan !== undefined) await this.#planStep(plan);
      else if (!(await this.#deletedRowsStep()) && !(await this.#reclaimStep())) {
        this.#isCatchingUp = false;
        return false;
      }
    } catch (error) {
      if (asEngineError(error).code !== 'DISK_FULL') throw error;
      this.#rest(error);
    }
    this.#otherSteps += 1;
    return true;
  }

  /** Merges a span of which much was deleted, up to what a table holds. */
  async #deletedRowsStep(): Promise<boolean> {
    const { set, tables } = this.#options;
    const found = await this.#deletedRows.find(tables, set.version);
    if (found === undefined) return false;
    this.#mayReclaim = true;
    const ids = found.runs.map((run) => run.id);
    this.#deletedRows.passed(await this.#merge(ids, found.runs.at(-1) as Run, found.span));
    return true;
  }

  /** Writes what is left of a table anew, so that the rest of its file comes back. */
  async #reclaimStep(): Promise<boolean> {
    if (!this.#mayReclaim) return false;
    const { set, tables } = this.#options;
    const isTakenOver = ({ run: { id }, from, to }: Reclaimable): boolean =>
      this.#merges.some(({ inputs, output }) => output === id || inputs.includes(id)) ||
      this.#compactions.some(({ task }) => overlaps({ from, to }, task.from, task.to));
    const found = await findReclaimable(tables, set.version.runs, isTakenOver);
    this.#mayReclaim = found !== undefined;
    if (found === undefined) return false;
    await this.#merge([found.run.id], found.run, found);
    return true;
  }

  async #planStep(plan: MergePlan): Promise<void> {
    const { set } = this.#options;
    if (!this.#merges.includes(plan)) this.#merges.push(plan);
    await this.#merge(
      plan.inputs,
      { id: plan.output, level: plan.level + 1 },
      { from: FIRST_KEY, to: undefined },
    );
    const isLeft = set.version.runs.some((run) => plan.inputs.includes(run.id));
    if (isLeft) return;
    this.#merges.splice(this.#merges.indexOf(plan), 1);
    this.#mayReclaim = true;
  }

  #rest(error: unknown): void {
    const { clock, logger, set } = this.#options;
    set.leftOver();
    logger.warn('no room to merge tables', { error: messageOf(error), retryInMs: NO_ROOM_PAUSE_MS });
    this.#pause = clock.setTimer(NO_ROOM_PAUSE_MS, () => {
      this.#pause = undefined;
      this.#wake();
    });
  }

  /**
   * Merges all that the runs have of a span, into the oldest of them: nothing older is left there, so
   * deletions go, and what they hid. Answers what is left to do.
   */
  async #compactStep(task: Compaction): Promise<Compaction | undefined> {
    const { set } = this.#options;
    const { runs } = set.version;
    const inputs = runs.filter((run) => holds(run, task));
    const oldest = inputs.at(-1);
    if (oldest === undefined) return undefined;
    const span = inputs.length === 1 ? wastefulSpan(oldest, task) : task;
    if (span === undefined) return undefined;
    const ids = inputs.map((run) => run.id);
    const { doneBelow } = await this.#rewrite(ids, oldest, span);
    if (doneBelow === undefined || Buffer.compare(doneBelow, task.to) >= 0) return undefined;
    return { ...task, from: doneBelow };
  }

  /** As `#rewrite`, and merging owes what was written: nobody asked for it. */
  async #merge(
    inputs: readonly number[],
    output: { readonly id: number; readonly level: number },
    span: MergeSpan,
  ): Promise<Uint8Array | undefined> {
    const { doneBelow, plainBytes } = await this.#rewrite(inputs, output, span);
    this.#pace.merged(plainBytes);
    return doneBelow;
  }

  /** Merges from the beginning of the span up to what a table holds; answers where that ended. */
  async #rewrite(
    inputs: readonly number[],
    output: { readonly id: number; readonly level: number },
    span: MergeSpan,
  ): Promise<{ readonly doneBelow: Uint8Array | undefined; readonly plainBytes: number }> {
    const { set, runner, setting, tableBytes } = this.#options;
    const isCompressed = this.#options.isCompressedAt(output.level);
    const step = stepOf(set.version.runs, inputs, span, tableBytes);
    const result = await runner.run({
      ...setting,
      type: 'merge',
      outputNumber: set.takeNumber(),
      inputs: step.inputs,
      older: step.older,
      tableBytes,
      isCompressed,
    });
    this.#mergedRows += result.readRows;
    const table = result.table === undefined ? undefined : await set.openTable(result.table);
    const to = result.doneBelow ?? step.to;
    await set.install(applyMergeStep(set.version.runs, { inputs, output, table, from: span.from, to }));
    return { doneBelow: to, plainBytes: result.plainBytes };
  }

  #fail(error: CairnError): void {
    this.#failure = error;
    this.#options.set.leftOver();
    this.#options.logger.error('engine write failed', { code: error.code, error: error.message });
    this.#options.failed(error);
    for (const { reject } of [...this.#queue.splice(0), ...this.#compactions.splice(0)]) reject(error);
    this.#lastBarrier = undefined;
  }
}

/** Of a run alone: its first slices in the span whose files hold more than rows that count. */
function wastefulSpan(
  run: Run,
  { from, to }: { readonly from: Uint8Array; readonly to: Uint8Array },
): MergeSpan | undefined {
  const slices = run.slices.filter((each) => overlaps(each, from, to));
  const isWasteful = (each: Slice): boolean => each.table.summary.deletedRows > 0 || !isWhole(each);
  const first = slices.findIndex(isWasteful);
  if (first < 0) return undefined;
  const next = slices.findIndex((each, at) => at > first && !isWasteful(each));
  const parts = intersect(slices.slice(first, next < 0 ? undefined : next), from, to);
  return { from: (parts[0] as Slice).from, to: (parts.at(-1) as Slice).to };
}

function holds(run: Run, { from, to }: { readonly from: Uint8Array; readonly to: Uint8Array }): boolean {
  return run.slices.some((slice) => overlaps(slice, from, to));
}
