import { CairnError, messageOf } from '@cairn/base';
import type { LoadData, LoadTarget, LoadTime } from './closed-loop.js';
import { FastRandom, freshen, makeValue } from './data-set.js';

/** A system that serves nobody for so long after the kill has failed. */
export const FAILOVER_LIMIT_MS = 60_000;

/** One failover, from the side of the clients. */
export interface FailoverRequest {
  readonly kind: 'failover';
  /** Who is killed. */
  readonly processId: number;
  readonly writers: number;
  readonly timeoutMs: number;
  /** How long the writers write before. */
  readonly warmupMs: number;
  /** No success for so long after the kill: the run has failed. */
  readonly limitMs: number;
}

export interface FailoverResult {
  /** From the kill to the end of the first successful put that began after it. */
  readonly gapMs: number;
  /** Puts that failed after the kill. */
  readonly failures: number;
  /** Message of the first one; empty without. */
  readonly firstFailure: string;
}

/**
 * A call that is refused at once is repeated after this long: a target without anybody there must not keep
 * a core busy that the servers need to recover.
 */
const REST_MS = 1;

interface Watch {
  killedAtMs: number | undefined;
  gapMs: number | undefined;
  failures: number;
  firstFailure: string;
  isStopping: boolean;
}

/**
 * Puts one key again and again. A success counts only when it began after the kill: the answer to an earlier
 * put may lie in a buffer already. A failure moves this writer on to the next of the target's endpoints.
 */
async function runWriter(
  { target, data, time }: { readonly target: LoadTarget; readonly data: LoadData; readonly time: LoadTime },
  writer: number,
  timeoutMs: number,
  watch: Watch,
): Promise<void> {
  const random = new FastRandom(writer);
  const value = makeValue(data.valueBytes);
  // Neighbours: all in the range whose leader is killed.
  const key = data.keys.at(writer % data.keys.length);
  let slot = writer;
  while (!watch.isStopping) {
    const startedMs = time.nowMs();
    freshen(value, random);
    try {
      await target.put(slot, key, value, timeoutMs);
    } catch (error) {
      slot += 1;
      if (watch.killedAtMs !== undefined && startedMs >= watch.killedAtMs) {
        watch.failures += 1;
        if (watch.firstFailure === '') watch.firstFailure = messageOf(error);
      }
      if (time.nowMs() - startedMs < REST_MS) await time.sleep(REST_MS);
      continue;
    }
    if (watch.killedAtMs === undefined || startedMs < watch.killedAtMs) continue;
    watch.gapMs ??= time.nowMs() - watch.killedAtMs;
    watch.isStopping = true;
  }
}

/**
 * Lets writers write, kills the process, and measures how long nobody can write.
 *
 * @throws CairnError `UNAVAILABLE` when nobody could within the limit, or nobody could before.
 */
export async function runFailover(
  parts: { readonly target: LoadTarget; readonly data: LoadData; readonly time: LoadTime },
  request: Omit<FailoverRequest, 'kind'>,
  kill: (processId: number) => void,
): Promise<FailoverResult> {
  const { time } = parts;
  const { writers, timeoutMs, warmupMs, limitMs, processId } = request;
  const watch: Watch = {
    killedAtMs: undefined,
    gapMs: undefined,
    failures: 0,
    firstFailure: '',
    isStopping: false,
  };
  const all = Promise.all(
    Array.from({ length: writers }, (_, writer) => runWriter(parts, writer, timeoutMs, watch)),
  );
  await time.sleep(warmupMs);
  kill(processId);
  watch.killedAtMs = time.nowMs();
  const late = new AbortController();
  await Promise.race([all, time.sleep(limitMs, late.signal)]);
  late.abort();
  watch.isStopping = true;
  await all;
  if (watch.gapMs === undefined) {
    throw new CairnError(
      'UNAVAILABLE',
      `no put succeeded within ${limitMs} ms after a leader was killed: ${watch.firstFailure}`,
    );
  }
  return { gapMs: watch.gapMs, failures: watch.failures, firstFailure: watch.firstFailure };
}
