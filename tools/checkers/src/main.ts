import { closeSync, openSync, readSync } from 'node:fs';
import { resolve } from 'node:path';
import { StringDecoder } from 'node:string_decoder';

import { runCheck } from './command.js';

// npm runs scripts in the folder of the package and says where it was called.
const calledIn = process.env['INIT_CWD'] ?? process.cwd();

const STANDARD_INPUT = 0;
const CHUNK_BYTES = 1 << 20;
/** A pipe that nobody has written to yet may say so instead of letting its reader wait. */
const RETRY_MS = 10;

function readSome(file: number, buffer: Buffer): number {
  for (;;) {
    try {
      return readSync(file, buffer);
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EAGAIN')) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, RETRY_MS);
    }
  }
}

function* chunksOf(name: string): Generator<string> {
  const file = name === '-' ? STANDARD_INPUT : openSync(resolve(calledIn, name), 'r');
  try {
    const decoder = new StringDecoder('utf8');
    const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
    for (let count = readSome(file, buffer); count > 0; count = readSome(file, buffer)) {
      yield decoder.write(buffer.subarray(0, count));
    }
    yield decoder.end();
  } finally {
    if (file !== STANDARD_INPUT) closeSync(file);
  }
}

// Whoever reads the output may have seen enough.
process.stdout.on('error', (error: Error) => {
  if (!('code' in error) || error.code !== 'EPIPE') throw error;
});

process.exitCode = runCheck(process.argv.slice(2), {
  read: chunksOf,
  out: (text) => {
    process.stdout.write(text);
  },
  error: (text) => {
    process.stderr.write(text);
  },
});
