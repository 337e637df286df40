/**
 * Goal: real processes under real faults give no wrong answer, and the tool that shows it leaves nothing
 * behind. Method: the tool as it was built, once with a fixed seed over the faults that this machine allows,
 * once stopped in the middle.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { ROOT } from '@cairn/e2e';
import { runCommand } from '../src/commands.js';
import { FAULTS } from '../src/options.js';

interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const PROGRAM = join(ROOT, 'tools/nemesis/dist/main.js');
const TIMEOUT_MS = 170_000;

/** Runs the tool to its end; `stopAt` is a piece of its log on which it is asked to stop. */
function nemesis(flags: readonly string[], stopAt?: string): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, NODE_OPTIONS: '' };
    const child = spawn(process.execPath, [PROGRAM, ...flags], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let [stdout, stderr, isStopped] = ['', '', false];
    const timer = setTimeout(() => child.kill('SIGTERM'), TIMEOUT_MS);
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
      if (stopAt === undefined || isStopped || !stderr.includes(stopAt)) return;
      isStopped = true;
      child.kill('SIGINT');
    });
    child.on('error', reject);
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve({ code, stdout, stderr });
    });
  });
}

/** The directory that a run names, and the processes that still mention it. */
async function leftovers(ran: Ran): Promise<{ readonly isThere: boolean; readonly processes: string }> {
  const directory = /directory (\S+)/.exec(ran.stderr)?.[1] ?? '';
  expect(directory).toMatch(/cairn-nemesis-/);
  const { output } = await runCommand('pgrep', ['-f', `data-directory ${directory}`]);
  return { isThere: existsSync(directory), processes: output };
}

describe('npm run nemesis', () => {
  it('finds nothing wrong, says so, and leaves nothing behind', async () => {
    const length = ['--minutes', '0.4', '--seed', '4', '--clients', '6'];
    const ran = await nemesis([...length, '--faults', FAULTS.join(','), '--json']);
    // The log of the run is what one wants to see when it failed.
    expect({ code: ran.code, log: ran.code === 0 ? '' : ran.stderr + ran.stdout }).toEqual({
      code: 0,
      log: '',
    });
    const result = JSON.parse(ran.stdout) as {
      readonly verdicts: readonly { readonly checker: string; readonly holds: boolean }[];
      readonly operations: number;
      readonly faults: Readonly<Record<string, number>>;
    };
    expect(result.verdicts.map(({ checker }) => checker)).toEqual([
      ...['liveness', 'processes', 'locks', 'linearizability', 'counters', 'snapshots'],
      ...['bank', 'list-append', 'watch', 'replicas', 'errors'],
    ]);
    expect(result.operations).toBeGreaterThan(500);
    expect(Object.keys(result.faults).length).toBeGreaterThan(3);
    expect(await leftovers(ran)).toEqual({ isThere: false, processes: '' });
  }, 180_000);

  it('leaves nothing behind when it is stopped', async () => {
    const ran = await nemesis(['--minutes', '5', '--seed', '4', '--network', 'proxy'], 'processes serve');
    expect(ran.code).toBe(130);
    expect(await leftovers(ran)).toEqual({ isThere: false, processes: '' });
  }, 180_000);
});
