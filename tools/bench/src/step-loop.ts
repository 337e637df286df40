import type { LoadData, LoadTarget } from './closed-loop.js';
import { FastRandom, freshen, makeValue } from './data-set.js';
import type { RunRequest, RunResult } from './load-messages.js';
import { StarvationMeter } from './starvation.js';
import { counterSteps, transactionSteps, type CounterSteps, type Steps } from './transaction-steps.js';
import { ERROR_REST_MS, Window, type LoadTime } from './window.js';
import { isTransactionWork, type TransactionWork, type YcsbWork } from './works.js';
import { ycsbSteps } from './ycsb-steps.js';

/** A run of a work whose operations are more than one put or get. */
export type StepRequest = RunRequest & { readonly work: TransactionWork | YcsbWork };

interface SlotContext {
  readonly steps: Steps;
  readonly window: Window;
  readonly meter: StarvationMeter;
  readonly time: LoadTime;
  readonly random: FastRandom;
  readonly valueBytes: number;
}

/** One operation after the other, as in the loop of puts and gets. */
async function runSlot(context: SlotContext, slot: number): Promise<void> {
  const { steps, window, meter, time, random } = context;
  const value = makeValue(context.valueBytes);
  let startedMs = time.nowMs();
  while (!window.isStopping) {
    freshen(value, random);
    try {
      if (!(await steps.run(slot, value))) window.recordMiss(startedMs);
    } catch (error) {
      window.recordError(error);
      await time.sleep(ERROR_REST_MS);
      startedMs = time.nowMs();
      continue;
    }
    const endedMs = time.nowMs();
    meter.succeeded(slot, endedMs);
    window.record(startedMs, endedMs, 1);
    startedMs = endedMs;
  }
}

async function stepsOf(
  target: LoadTarget,
  data: LoadData,
  request: StepRequest,
  random: FastRandom,
): Promise<Steps | CounterSteps> {
  const { work, outstanding, ranges = [] } = request;
  if (work === 'counter') return counterSteps(target, outstanding);
  if (isTransactionWork(work)) return transactionSteps(work, { target, data, random, ranges });
  return ycsbSteps(work, { target, data, random });
}

/**
 * The closed loop of works with transactions, and of mixes.
 *
 * @throws CairnError `FAILED_PRECONDITION` when the target cannot do the work, or keys do not lie in ranges
 *   as it needs them; `INTERNAL` when a counter has not counted what was acknowledged.
 */
export async function runSteps(
  target: LoadTarget,
  data: LoadData,
  request: StepRequest,
  time: LoadTime,
): Promise<RunResult> {
  const random = new FastRandom(request.seed);
  const steps = await stepsOf(target, data, request, random);
  const window = new Window(request.processIds, time);
  const meter = new StarvationMeter(request.outstanding, time.nowMs());
  const context = { steps, window, meter, time, random, valueBytes: data.valueBytes };
  try {
    const slots = Array.from({ length: request.outstanding }, (_, slot) => runSlot(context, slot));
    await time.sleep(request.warmupMs);
    window.open();
    meter.open(time.nowMs());
    const restartsBefore = steps.restarts;
    await time.sleep(request.durationMs);
    const restarts = steps.restarts - restartsBefore;
    window.close();
    const starvationMs = meter.close(time.nowMs());
    await Promise.all(slots);
    if ('check' in steps) await steps.check(window.errors);
    return { ...window.result(), restarts, starvationMs };
  } finally {
    steps.close();
  }
}
