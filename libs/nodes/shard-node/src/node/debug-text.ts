import { CairnError, type RangeId } from '@cairn/base';
import { debugText, debugView, type Store } from '@cairn/store';
import { DEBUG_TEXT_CHARS_MAX } from '@cairn/wire';

/** What is asked of the machines of a node. */
export type ShownMachines = ReadonlyMap<RangeId, { toString(): string }>;

/**
 * What a node knows at this moment, for people: its store with up to `DESCRIBED_REPLICAS_MAX` replicas, or
 * one replica with its machine. Throws FAILED_PRECONDITION when it has no replica of the range.
 */
export function nodeDebugText(store: Store, machines: ShownMachines, rangeId: RangeId | 0): string {
  return describe(store, machines, rangeId).slice(0, DEBUG_TEXT_CHARS_MAX);
}

function describe(store: Store, machines: ShownMachines, rangeId: RangeId | 0): string {
  if (rangeId === 0) return debugText(debugView(store));
  const replica = store.replica(rangeId);
  if (replica === undefined) {
    throw new CairnError('FAILED_PRECONDITION', `this node has no replica of range ${rangeId}`);
  }
  const machine = machines.get(rangeId);
  const shown = machine === undefined ? 'its state machine is not open' : machine.toString();
  return `${replica.toString()}\n${shown}`;
}
