import type { RangeDescriptor, RangeId } from '@cairn/base';
import type { EngineBatch, KvEngine } from '@cairn/engine';
import type { Entry } from '@cairn/raft';

import type { EngineSpan, StateMachine } from './state-machine.js';
import type { StoreOptions } from './store-options.js';
import type { StoresRig } from './stores.testing.js';

const spanOf = ({ startKey, endKey }: RangeDescriptor): EngineSpan => ({
  start: Buffer.concat([Buffer.from('k'), startKey]),
  end: endKey.length === 0 ? Buffer.from('l') : Buffer.concat([Buffer.from('k'), endKey]),
});

/** Rows by key: a command is a key of eight bytes and a value. */
class KeyMachine implements StateMachine {
  #at: RangeDescriptor;

  constructor(at: RangeDescriptor) {
    this.#at = at;
  }

  open(): Promise<void> {
    return Promise.resolve();
  }

  apply({ payload }: Entry, batch: EngineBatch): void {
    const bytes = Buffer.from(payload);
    batch.put(Buffer.concat([Buffer.from('k'), bytes.subarray(0, 8)]), bytes.subarray(8));
  }

  published(): void {
    // Nobody waits.
  }

  leadershipGained(): void {
    // Nothing to serve.
  }

  leadershipLost(): void {
    // Nothing was served.
  }

  spans(): readonly EngineSpan[] {
    return [spanOf(this.#at)];
  }

  split(left: RangeDescriptor, children: readonly RangeDescriptor[]): StateMachine[] {
    this.#at = left;
    return children.map((child) => new KeyMachine(child));
  }

  descriptorChanged(descriptor: RangeDescriptor): void {
    this.#at = descriptor;
  }

  volatileState(): Uint8Array {
    return new Uint8Array(0);
  }

  restored(): Promise<void> {
    return Promise.resolve();
  }
}

/** Rows with keys in [from, to) in the engine. */
export async function countKeys(engine: KvEngine, from: string, to: string): Promise<number> {
  const iterator = engine.iterate({ start: Buffer.from(from), end: Buffer.from(to) });
  let count = 0;
  for (let rows = await iterator.next(1_000); rows.length > 0; rows = await iterator.next(1_000))
    count += rows.length;
  await iterator.close();
  return count;
}

/** Proposes a row at whoever leads the range, and gives it time to be applied. */
export async function put(rig: StoresRig, range: RangeId, key: string, bytes: number): Promise<void> {
  const command = Buffer.concat([Buffer.from(key.padEnd(8, '0')), Buffer.alloc(bytes, 1)]);
  const isTaken = (): boolean =>
    rig.stores.some(({ store }) => {
      const replica = store.replica(range);
      return replica?.isReadyLeader === true && replica.propose(command).type === 'accepted';
    });
  await rig.scheduler.runUntilTrue(isTaken, 5_000);
  await rig.run(50);
}

/** Stores whose rows lie where their keys do. */
export const KEYED_STORE: Pick<StoreOptions, 'machineFor' | 'spansOf'> = {
  machineFor: (descriptor) => new KeyMachine(descriptor),
  spansOf: (descriptor) => [spanOf(descriptor)],
};
