import { runProgram } from '@cairn/e2e';
import type { Rng } from '@cairn/ports';

import type { Counts } from './counts.js';
import { below, between, pick, randomBytes } from './mutate.js';

export interface CliFuzzerOptions {
  readonly rng: Rng;
  readonly counts: Counts;
  readonly endpoint: string;
  readonly onViolation: (text: string) => void;
}

/** Documented in `cairn --help`. */
const EXIT_CODES: readonly (number | null)[] = [0, 1, 2, 3, 4, 5, 6];

const WORDS: readonly string[] = [
  ...[
    'get',
    'put',
    'del',
    'cas',
    'incr',
    'scan',
    'import',
    'export',
    'status',
    'nodes',
    'ranges',
    'settings',
  ],
  ...[
    '--json',
    '--hex',
    '--base64',
    '--prefix',
    '--start',
    '--end',
    '--limit',
    '--ttl',
    '--timeout',
    '--file',
  ],
  ...[
    '--by',
    '--expect',
    '--absent',
    '--expect-version',
    '--stale',
    '--raw',
    '--reverse',
    '--format',
    '--key',
  ],
  ...[
    '',
    '-',
    '--',
    'a-fuzzed-key',
    '0',
    '-1',
    '1e9',
    '99999999999999999999',
    '0x',
    'zz',
    '/dev/null',
    '{a}',
  ],
];
/** What is valid by chance must touch nothing but the keys of the fuzzer. */
const FORBIDDEN = /^(del|split|set)/;

/** Calls the command line with words in any order. */
export class CliFuzzer {
  readonly #options: CliFuzzerOptions;

  constructor(options: CliFuzzerOptions) {
    this.#options = options;
  }

  async step(): Promise<void> {
    const { rng, counts, endpoint, onViolation } = this.#options;
    const words = Array.from({ length: between(rng, 1, 6) }, () => this.#word());
    const argv = [
      '--endpoint',
      endpoint,
      '--timeout',
      '2s',
      ...words.filter((word) => !FORBIDDEN.test(word)),
    ];
    const end = await runProgram('cli', argv, { timeoutMs: 20_000 });
    counts.add('cli', end.signal ?? `exit ${end.code}`);
    const isStack = /^\s+at .*\(?(file:|node:|\/).*:\d+:\d+\)?$/m.test(end.stderr);
    if (!EXIT_CODES.includes(end.code) || isStack) {
      onViolation(
        `cairn ${JSON.stringify(argv)}: exit ${end.code ?? end.signal}\n${end.stderr.slice(0, 2_000)}`,
      );
    }
  }

  #word(): string {
    const { rng } = this.#options;
    if (below(rng, 8) > 0) return pick(rng, WORDS);
    // Arguments cannot hold zero bytes.
    return randomBytes(rng, 12).toString('latin1').replaceAll('\0', '?');
  }
}
