import { openDataDirectory, type DataDirectoryPorts } from '@cairn/runtime-node';

import type { RunningPart, ShellContext } from './process-kind.js';

/**
 * Opens a part in the data directory, which this process then has for itself: locked before anything else,
 * released after the part has closed, also when it cannot be opened or is abandoned. Throws what
 * `openDataDirectory` throws.
 */
export async function holdDirectory(
  context: Pick<ShellContext<{ readonly dataDirectory: string }>, 'config' | 'onAbandoned'>,
  ports: DataDirectoryPorts,
  open: () => Promise<RunningPart>,
): Promise<RunningPart> {
  const locking = openDataDirectory(ports, context.config.dataDirectory);
  context.onAbandoned(async () => (await locking).release());
  const lock = await locking;
  try {
    const part = await open();
    return {
      listens: part.listens,
      readiness: () => part.readiness(),
      close: async () => {
        await part.close();
        await lock.release();
      },
    };
  } catch (error) {
    await lock.release();
    throw error;
  }
}
