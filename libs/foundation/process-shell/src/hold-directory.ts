import { openDataDirectory, type DataDirectoryPorts } from '@cairn/runtime-node';

import type { RunningPart } from './process-kind.js';

/**
 * Opens a part in a data directory that this process has for itself: locked before anything else, released
 * after the part has closed, also when it cannot be opened. Throws what `openDataDirectory` throws.
 */
export async function holdDirectory(
  ports: DataDirectoryPorts,
  directory: string,
  open: () => Promise<RunningPart>,
): Promise<RunningPart> {
  const lock = await openDataDirectory(ports, directory);
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
