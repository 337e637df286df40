import type { TxnCommand } from '../kv-call.js';

/** The keys of a command that must be in the range; of spans, where they begin. */
export function keysOf(command: TxnCommand): readonly Uint8Array[] {
  switch (command.type) {
    case 'prewrite':
      return command.mutations.map(({ key }) => key);
    case 'commit':
      return [command.primary, ...command.keys];
    case 'check':
    case 'heartbeat':
      return [command.primary];
    case 'resolve':
    case 'batchGet':
    case 'reserve':
    case 'release':
      return command.keys;
    case 'validate':
      return [...command.keys, ...command.spans.map(({ start }) => start)];
    case 'execute':
      return [
        ...command.reads,
        ...[...command.conditions, ...command.then, ...command.otherwise].map(({ key }) => key),
      ];
  }
}
