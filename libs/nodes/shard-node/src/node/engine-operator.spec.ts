import { describe, expect, it } from '@jest/globals';
import { CairnError } from '@cairn/base';
import { MemoryEngine } from '@cairn/engine';
import { rowSpansOf } from '@cairn/mvcc';
import { noopLogger } from '@cairn/ports';
import { SimScheduler } from '@cairn/runtime-sim';

import { EngineOperator } from './engine-operator.js';

const BOUNDS = [Buffer.from('a'), Buffer.from('b')] as const;

/** Compacts when it is told to, and notes what. */
class SlowEngine extends MemoryEngine {
  readonly compacted: string[] = [];
  #gate = Promise.withResolvers<void>();

  override async compact(start: Uint8Array, end: Uint8Array): Promise<void> {
    this.compacted.push(`${Buffer.from(start).toString('hex')} ${Buffer.from(end).toString('hex')}`);
    await this.#gate.promise;
  }

  open(): void {
    this.#gate.resolve();
  }

  fail(): void {
    this.#gate.reject(new CairnError('DISK_FULL', 'no room'));
  }

  again(): void {
    this.#gate = Promise.withResolvers();
  }
}

function rig(): { engine: SlowEngine; operator: EngineOperator; scheduler: SimScheduler } {
  const engine = new SlowEngine();
  const scheduler = new SimScheduler();
  const clock = scheduler.clockFor('node');
  return {
    engine,
    scheduler,
    operator: new EngineOperator({ engine, name: 'slow', clock, logger: noopLogger }),
  };
}

describe('the operator of an engine', () => {
  it('calls the engine by its own name, not by that of the engine that it is built on', async () => {
    const { operator } = rig();
    expect(await operator.stats()).toMatchObject({ engine: 'slow', levels: [] });
  });

  it('compacts the rows of a span in every namespace, one compaction at a time', async () => {
    const { engine, operator, scheduler } = rig();
    expect(operator.compaction).toBeUndefined();
    operator.compact(...BOUNDS);
    expect(() => {
      operator.compact(...BOUNDS);
    }).toThrow(expect.objectContaining({ code: 'FAILED_PRECONDITION' }));
    await scheduler.runFor(1_500);
    expect(operator.compaction).toMatchObject({ running: true, durationMs: 1_500, problem: '' });
    engine.open();
    await scheduler.runFor(1_000);
    expect(operator.compaction).toMatchObject({ running: false, durationMs: 1_500, problem: '' });
    expect(engine.compacted).toEqual(
      rowSpansOf(...BOUNDS).map(({ start, end }) => `${start.toString('hex')} ${end.toString('hex')}`),
    );
    engine.again();
    operator.compact(Buffer.alloc(0), Buffer.alloc(0));
    expect(operator.compaction).toMatchObject({ running: true, durationMs: 0 });
  });

  it('says why a compaction was not done, and begins another', async () => {
    const { engine, operator, scheduler } = rig();
    operator.compact(...BOUNDS);
    engine.fail();
    await scheduler.runFor(10);
    expect(operator.compaction).toMatchObject({ running: false, problem: 'no room' });
    expect(engine.compacted).toHaveLength(1);
    engine.again();
    operator.compact(...BOUNDS);
    expect(operator.compaction).toMatchObject({ running: true, problem: '' });
  });
});
