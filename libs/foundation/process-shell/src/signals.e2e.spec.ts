import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { describe, expect, it } from '@jest/globals';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../../../..');

/** A process of a kind whose part never opens, or never closes; it says when it has come that far. */
const PROGRAM = `
const { metadataConfig } = await import('@cairn/config');
const { holdDirectory, runProcess } = await import('@cairn/process-shell');

setInterval(() => undefined, 1_000);
const never = new Promise(() => undefined);
const say = (text) => process.stdout.write(text);
const parts = {
  opening: () => (say('opening;'), never),
  closing: async () => ({
    listens: {},
    readiness: () => [],
    close: () => (say('closing;'), never),
  }),
};
const open = parts[process.env.PART];
runProcess({
  config: metadataConfig,
  what: 'metadata member',
  open: (context, ports) => holdDirectory(context, ports, open),
});
`;

interface Spawned {
  readonly directory: string;
  readonly logFile: string;
  kill(signal: NodeJS.Signals): void;
  /** Resolves when it has said this, or logged it. Rejects when it ends before. */
  said(text: string): Promise<void>;
  /** Exit status, the signal that ended it, and what it wrote to standard error. */
  readonly ended: Promise<readonly unknown[]>;
}

function start(part: 'opening' | 'closing'): Spawned {
  const directory = mkdtempSync(join(tmpdir(), 'cairn-signals-'));
  const logFile = `${directory}.log`;
  const flags = ['--name', 'm', '--peers', 'm=127.0.0.1:1', '--http-listen', '127.0.0.1:0'];
  const files = ['--data-directory', directory, '--log-file', logFile];
  const program = ['--input-type=module', '-e', PROGRAM, '--', ...flags, ...files];
  // The interpreter takes the name of a script for the first argument; there is none here.
  const argv = ['--import', 'data:text/javascript,process.argv.splice(1, 0, "program")', ...program];
  const child = spawn(process.execPath, argv, {
    cwd: ROOT,
    env: { PATH: process.env['PATH'] ?? '', PART: part },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [out, errors] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
  const ended = new Promise<readonly unknown[]>((fulfil) => {
    child.once('close', (status, signal) => {
      fulfil([status, signal, errors]);
    });
  });
  const has = async (text: string): Promise<void> => {
    while (!out.includes(text) && !eventsOf(logFile).includes(text)) {
      if (child.exitCode !== null) throw new Error(`ended before it said ${text}: ${errors}`);
      await new Promise((again) => setTimeout(again, 10));
    }
  };
  return { directory, logFile, ended, kill: (signal) => void child.kill(signal), said: has };
}

/** Of the lines that are whole; none while there is no log yet. */
function eventsOf(logFile: string): readonly unknown[] {
  if (!existsSync(logFile)) return [];
  const lines = readFileSync(logFile, 'utf8').split('\n').slice(0, -1);
  return lines.map((line) => (JSON.parse(line) as Record<string, unknown>)['event']);
}

describe('a process that is starting', () => {
  it.each([
    ['SIGTERM', 143],
    ['SIGINT', 130],
  ] as const)('takes %s, gives its directory back and ends with status %i', async (signal, status) => {
    const { directory, ended, kill, logFile, said } = start('opening');
    await said('opening;');
    expect(readdirSync(directory)).toEqual(['LOCK']);
    kill(signal);
    expect(await ended).toEqual([status, null, '']);
    expect(readdirSync(directory)).toEqual([]);
    expect(eventsOf(logFile).slice(-2)).toEqual([
      'metadata member was told to stop',
      'metadata member stopped before it had started',
    ]);
  });
});

describe('a process that is stopping', () => {
  it('ends at once by a second signal, itself: process 1 of a container has no default for one', async () => {
    const { ended, kill, said } = start('closing');
    await said('metadata member listens');
    kill('SIGTERM');
    await said('closing;');
    kill('SIGINT');
    expect(await ended).toEqual([130, null, '']);
  });
});
