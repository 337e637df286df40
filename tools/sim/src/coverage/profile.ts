import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

interface Range {
  readonly startOffset: number;
  readonly endOffset: number;
  readonly count: number;
}

/** What Node writes into the folder of `NODE_V8_COVERAGE`, as far as it is read here. */
interface CoverageFile {
  readonly result: readonly {
    readonly url: string;
    readonly functions: readonly { readonly ranges: readonly Range[] }[];
  }[];
}

/** How often each place of one script ran in one process. */
export class ScriptProfile {
  readonly #ranges: readonly Range[];

  constructor(ranges: readonly Range[]) {
    this.#ranges = ranges;
  }

  /** The count of the innermost range around `offset`; 0 outside of all. */
  countAt(offset: number): number {
    let best: Range | undefined;
    for (const range of this.#ranges) {
      if (offset < range.startOffset || offset >= range.endOffset) continue;
      const isTighter =
        best === undefined || range.endOffset - range.startOffset <= best.endOffset - best.startOffset;
      if (isTighter) best = range;
    }
    return best?.count ?? 0;
  }
}

/** The profiles in a folder by the address of the script; several when several processes wrote there. */
export function readProfiles(folder: string): Map<string, ScriptProfile[]> {
  const profiles = new Map<string, ScriptProfile[]>();
  for (const name of readdirSync(folder)) {
    const { result } = JSON.parse(readFileSync(join(folder, name), 'utf8')) as CoverageFile;
    for (const { url, functions } of result) {
      const known = profiles.get(url) ?? [];
      known.push(new ScriptProfile(functions.flatMap(({ ranges }) => ranges)));
      profiles.set(url, known);
    }
  }
  return profiles;
}
