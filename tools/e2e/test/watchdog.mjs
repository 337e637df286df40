/**
 * Ends what a test run left behind when it could not do so itself: Ctrl-C and SIGKILL give jest no time for
 * `afterAll`, and nodes run in process groups of their own. Reads `watch <directory>` and `forget
 * <directory>` from standard input; when that ends, the test run is gone.
 */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const directories = new Set();

/** Process ids are used again: only one that still runs a node of this name is ours. */
function isNode(processId, name) {
  const path = `/proc/${processId}/cmdline`;
  if (!existsSync('/proc/self')) return true;
  return existsSync(path) && readFileSync(path, 'utf8').includes(`--name\0${name}\0`);
}

function endNodesOf(directory) {
  const path = join(directory, 'processes.json');
  if (!existsSync(path)) return;
  for (const [name, processId] of Object.entries(JSON.parse(readFileSync(path, 'utf8')).nodes)) {
    if (!isNode(processId, name)) continue;
    try {
      process.kill(processId, 'SIGKILL');
    } catch (error) {
      if (error.code !== 'ESRCH') throw error;
    }
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const [command, directory] = line.split(' ');
  if (command === 'watch') directories.add(directory);
  if (command === 'forget') directories.delete(directory);
}
for (const directory of directories) {
  endNodesOf(directory);
  rmSync(directory, { recursive: true, force: true });
}
