import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { FakeRouter } from '@cairn/client/testing';
import { runCli } from '../src/cli.js';
import type { CliIo } from '../src/io.js';

export interface CliResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly bytes: Buffer;
}

/** A fake router and a directory to work in; `run` is the command line. */
export class CliHarness {
  readonly router: FakeRouter;
  readonly cwd: string;
  env: Record<string, string | undefined> = {};
  stderrIsTty = false;
  /** What writing to standard output fails with. */
  outputError: Error | undefined;
  abort = new AbortController();
  #clockMs = 0;

  constructor(router: FakeRouter, cwd: string) {
    this.router = router;
    this.cwd = cwd;
    this.env['CAIRN_ENDPOINT'] = router.endpoint;
  }

  static async start(): Promise<CliHarness> {
    return new CliHarness(await FakeRouter.start(), await mkdtemp(join(tmpdir(), 'cairn-cli-')));
  }

  path(name: string): string {
    return join(this.cwd, name);
  }

  async run(argv: readonly string[], stdin: string | Buffer = ''): Promise<CliResult> {
    const out = new Collector(this.outputError);
    const err = new Collector();
    const io: CliIo = {
      stdin: Readable.from([Buffer.from(stdin)], { objectMode: false }),
      stdout: out,
      stderr: err,
      env: this.env,
      cwd: this.cwd,
      stderrIsTty: this.stderrIsTty,
      columns: 100,
      // Every look at the clock is a quarter of a second later: progress and saving have something to do.
      nowMs: () => (this.#clockMs += 250),
      unixMs: () => this.router.cluster.startedUnixMs + 90_000_000,
      signal: this.abort.signal,
    };
    const code = await runCli(argv, io);
    await Promise.all([out, err].filter((each) => !each.destroyed).map((each) => finished(each.end())));
    return { code, stdout: out.text, stderr: err.text, bytes: out.bytes };
  }

  async stop(): Promise<void> {
    this.router.kill();
    await rm(this.cwd, { recursive: true, force: true });
  }
}

/** Keeps what is written; slow enough that writers must wait for it. */
class Collector extends Writable {
  readonly #chunks: Buffer[] = [];

  readonly #failure: Error | undefined;

  constructor(failure?: Error) {
    super({ highWaterMark: 64 });
    this.#failure = failure;
    if (failure !== undefined) this.on('error', () => undefined);
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  get text(): string {
    return this.bytes.toString('utf8');
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error) => void): void {
    if (this.#failure === undefined) this.#chunks.push(chunk);
    setImmediate(done, this.#failure);
  }
}
