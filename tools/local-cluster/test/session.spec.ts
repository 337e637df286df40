import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { EXIT, runSession } from '../src/session.js';

const STAND_IN = fileURLToPath(new URL('./stand-in-node.mjs', import.meta.url));
const PROGRAMS = { metadata: STAND_IN, shard: STAND_IN, router: STAND_IN };

jest.setTimeout(60_000);

/**
 * Goal: what a person sees of `npm start`. The nodes are stand-ins, so no router answers status questions.
 */
describe('npm start', () => {
  let directory = '';
  let output = '';
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'cairn-session-'));
    output = '';
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  function session(argv: readonly string[], stopWhen: RegExp): Promise<number> {
    let stop: (() => void) | undefined;
    return runSession({
      argv,
      env: {},
      stdout: {
        write: (text: string) => {
          output += text;
          if (stopWhen.test(output)) stop?.();
          return true;
        },
      },
      onStopRequest: (listener) => {
        let asked = false;
        stop = () => {
          // As npm does it: the same signal once more, from the parent.
          if (!asked) setImmediate(() => [listener(), listener()]);
          asked = true;
        };
      },
      programs: PROGRAMS,
    });
  }

  it('starts, says what to try, shows the status, stops', async () => {
    const flags = ['--data-dir', directory, '--metadata', '1', '--shards', '1', '--base-port', '18100'];
    expect(await session(flags, /processes run/)).toBe(EXIT.stopped);
    expect(output).toMatch(/^Starting 1 metadata, 1 shard and 1 router processes …\n/);
    expect(output).toMatch(/in another terminal, in the directory of the checkout:$/m);
    expect(output).toMatch(/^Serving after \d+\.\d s\.$/m);
    expect(output).toMatch(/^ {2}npx cairn --endpoint 127\.0\.0\.1:18100 put hello world$/m);
    expect(output).toMatch(/^3 of 3 processes run; the routers do not answer right now$/m);
    expect(output).toMatch(/Stopping … \(again to kill\)\nStopped\.\n$/);
  });

  it('explains itself, and refuses flags it does not know', async () => {
    expect(await session(['--help'], /never/)).toBe(EXIT.stopped);
    expect(output).toContain('--base-port <integer>   (default: 7100)');
    output = '';
    expect(await session(['--shard', '3'], /never/)).toBe(EXIT.usage);
    expect(output).toBe('The flag --shard is unknown. Did you mean --shards?\nSee: npm start -- --help\n');
  });

  it('says in one sentence that a file system takes no directory', async () => {
    const path = '/proc/nothing/here';
    expect(await session(['--data-dir', path, '--base-port', '18100'], /never/)).toBe(EXIT.failed);
    expect(output.split('\n')).toEqual([
      expect.stringMatching(
        /^The directory \/proc\/nothing\/here cannot be made or written to: .*ENOENT.* Choose another one with --data-dir\.$/,
      ),
      '',
    ]);
  });

  it('refuses an even number of metadata members', async () => {
    expect(await session(['--metadata', '2'], /never/)).toBe(EXIT.usage);
    expect(output).toMatch(/^metadata is 2: it must be odd/);
  });

  it('refuses an empty directory name', async () => {
    expect(await session(['--data-dir', ''], /never/)).toBe(EXIT.usage);
    expect(output).toMatch(/^dataDir is empty: name a directory, or leave it out for \.cairn\./);
  });
});
