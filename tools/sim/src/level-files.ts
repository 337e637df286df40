import { closeSync, existsSync, ftruncateSync, openSync, readdirSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { SimRng } from '@cairn/runtime-sim';

const SECTOR = Buffer.alloc(512);

/**
 * What a loss of power does to the files of a LevelDB that is not open. Its tables and its manifest are
 * synced before they count; its logs never are, so each is kept, lost, cut short at any byte, or has sectors
 * that were never written and read as zeros.
 */
export function loseUnsynced(directory: string, rng: SimRng): void {
  if (!existsSync(directory)) return;
  const logs = readdirSync(directory)
    .filter((name) => name.endsWith('.log'))
    .sort();
  for (const name of logs) {
    const path = join(directory, name);
    const { size } = statSync(path);
    const file = openSync(path, 'r+');
    try {
      switch (rng.pick(['kept', 'lost', 'cut', 'torn'])) {
        case 'kept':
          break;
        case 'lost':
          ftruncateSync(file, 0);
          break;
        case 'cut':
          ftruncateSync(file, rng.integer(size + 1));
          break;
        case 'torn':
          for (let at = 0; at < size; at += SECTOR.length) {
            if (rng.chance(0.5)) writeSync(file, SECTOR, 0, Math.min(SECTOR.length, size - at), at);
          }
          break;
      }
    } finally {
      closeSync(file);
    }
  }
}
