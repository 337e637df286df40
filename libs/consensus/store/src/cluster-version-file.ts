import { readWholeFile, writeFileDurably, type Disk } from '@cairn/ports';

import { readSealedJson, sealedJson, unreadable, type SealedFile } from './sealed-json.js';

const FILE = 'cluster-version.json';
/** Read from `min` on, written as `max`. */
const FORMATS = { min: 1, max: 1 };
const REMEDY = 'remove it; the node hears the cluster version again when it joins';

/**
 * The newest cluster version that a node has heard of is on its disk before anything is written that came
 * with it: a process that is started again must know what may be there, whoever it reaches.
 */
export async function readClusterVersion(disk: Disk, directory: string): Promise<number> {
  const path = `${directory}/${FILE}`;
  if (!(await disk.exists(path))) return 0;
  const file: SealedFile = {
    ...{ path, what: path, formats: FORMATS },
    remedies: { damaged: REMEDY, older: REMEDY },
  };
  const { clusterVersion } = readSealedJson(await readWholeFile(disk, path), file);
  if (typeof clusterVersion === 'number' && Number.isSafeInteger(clusterVersion)) return clusterVersion;
  throw unreadable(path, 'fields missing', REMEDY);
}

/** Durable when it resolves. */
export function writeClusterVersion(disk: Disk, directory: string, clusterVersion: number): Promise<void> {
  return writeFileDurably(disk, directory, FILE, sealedJson({ format: FORMATS.max, clusterVersion }));
}
