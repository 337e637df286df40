import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';

const SUFFIX = '.gz';
const LEVEL = 9;
/** Of processes that are over, and of this machine. */
const LEFT_OUT = /^(LOCK.*|logs|endpoints\.json|processes\.json)$/;

function filesBelow(directory: string): string[] {
  return readdirSync(directory)
    .filter((name) => !LEFT_OUT.test(name))
    .toSorted()
    .flatMap((name) => {
      const path = join(directory, name);
      return statSync(path).isDirectory() ? filesBelow(path) : [path];
    });
}

/**
 * Every file of a cluster's data by itself, so that a change of one shows as that; logs of Raft are mostly
 * zeros. What was in `to` goes. Answers the bytes that are there then.
 */
export function pack(from: string, to: string): number {
  rmSync(to, { recursive: true, force: true });
  let bytes = 0;
  for (const path of filesBelow(from)) {
    const packed = gzipSync(readFileSync(path), { level: LEVEL });
    const target = join(to, relative(from, path) + SUFFIX);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, packed);
    bytes += packed.length;
  }
  return bytes;
}

/** The data as it was. */
export function unpack(from: string, to: string): void {
  for (const path of filesBelow(from)) {
    if (!path.endsWith(SUFFIX)) continue;
    const target = join(to, relative(from, path).slice(0, -SUFFIX.length));
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, gunzipSync(readFileSync(path)));
  }
}
