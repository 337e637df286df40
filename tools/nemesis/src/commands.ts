import { spawn } from 'node:child_process';

/** How a command ended. */
export interface CommandEnd {
  readonly code: number;
  readonly output: string;
}

const TIMEOUT_MS = 20_000;

/** Runs a program of the system to its end, with `input` as its standard input. */
export function runCommand(command: string, args: readonly string[], input = ''): Promise<CommandEnd> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], timeout: TIMEOUT_MS });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
    // A program that is not there, or leaves without reading, says so by its end.
    child.stdin.on('error', () => undefined);
    child.on('error', (error) => resolve({ code: 127, output: error.message }));
    child.on('close', (code) => resolve({ code: code ?? 128, output: output.trim() }));
    child.stdin.end(input);
  });
}

/** Runs a program that has to succeed. */
export async function mustRun(command: string, args: readonly string[], input = ''): Promise<void> {
  const { code, output } = await runCommand(command, args, input);
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code}: ${output}\n${input}`);
}
