import { mkdtemp, readFile, readdir } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import { metadataConfig, type MetadataConfig, type metadataConfigSchema } from '@cairn/config';
import { startOtlpCollector } from '@cairn/observability/testing';
import type { Clock, Rng } from '@cairn/ports';
import { NodeClock, NodeDisk, TcpTransport } from '@cairn/runtime-node';

import { holdDirectory } from './hold-directory.js';
import type { ProcessKind, RunningPart, ShellContext } from './process-kind.js';
import { startProcess, type RunningProcess, type StartOptions } from './start-process.js';

interface Timers {
  readonly clock: Clock;
  readonly timeoutsMs: number[];
  fire(): void;
}

/** Timers that fire when told to. */
function manualClock(): Timers {
  const callbacks = new Set<() => void>();
  const timeoutsMs: number[] = [];
  const clock: Clock = {
    nowMs: () => 0,
    unixMs: () => 0,
    setTimer: (timeoutMs, callback) => {
      timeoutsMs.push(timeoutMs);
      callbacks.add(callback);
      return { cancel: () => callbacks.delete(callback) };
    },
    defer: (callback) => {
      callback();
    },
  };
  return {
    clock,
    timeoutsMs,
    fire: () => {
      for (const callback of callbacks) callback();
    },
  };
}

const rng: Rng = { next: () => 0, integer: () => 0, bytes: (length) => new Uint8Array(length) };

type Context = ShellContext<MetadataConfig>;
type Kind = ProcessKind<typeof metadataConfigSchema>;

interface Setting {
  readonly directory: string;
  readonly logFile: string;
  readonly timers: Timers;
  start(open: Kind['open'], more?: Partial<Kind>): Promise<RunningProcess>;
}

async function setting(extra: readonly string[] = [], options: Partial<StartOptions> = {}): Promise<Setting> {
  const directory = await mkdtemp(join(tmpdir(), 'cairn-shell-'));
  const logFile = join(directory, 'log');
  const timers = manualClock();
  const argv = ['--name', 'meta-1', '--peers', 'meta-1=127.0.0.1:7100', '--data-directory', directory];
  return {
    ...{ directory, logFile, timers },
    start: (open, more) =>
      startProcess(
        { config: metadataConfig, what: 'metadata member', open, ...more },
        {
          argv: [...argv, '--log-file', logFile, ...extra],
          ports: { clock: timers.clock, rng, disk: new NodeDisk(), transport: new TcpTransport() },
          ...options,
          env: { CAIRN_HTTP_LISTEN: '127.0.0.1:0', ...options.env },
        },
      ),
  };
}

/** A part that tells what happens to it. */
function part(events: string[], reasons: readonly string[] = []): Kind['open'] {
  return ({ config }) => {
    events.push(`open ${config.name}`);
    return Promise.resolve({
      listens: { address: '127.0.0.1:7100' },
      readiness: () => reasons,
      close: () => {
        events.push('close');
        return Promise.resolve();
      },
    });
  };
}

/** Lines of a log, by their event. */
async function logOf(path: string): Promise<Map<string, Record<string, unknown>>> {
  const lines = (await readFile(path, 'utf8')).trim().split('\n');
  const parsed = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  return new Map(parsed.map((line) => [String(line['event']), line]));
}

describe('startProcess', () => {
  it('opens a part, serves its health, and closes it once', async () => {
    const events: string[] = [];
    const reasons = ['the group has no leader'];
    const { start, logFile, directory } = await setting();
    const process = await start(part(events, reasons));
    const notReady = await fetch(`http://${process.healthAddress}/readyz`);
    expect(notReady.status).toBe(503);
    expect(await notReady.json()).toEqual({ ready: false, reasons });
    reasons.pop();
    expect((await fetch(`http://${process.healthAddress}/readyz`)).status).toBe(200);
    expect((await fetch(`http://${process.healthAddress}/healthz`)).status).toBe(200);

    await Promise.all([process.stop('SIGTERM'), process.stop('SIGTERM')]);
    expect(events).toEqual(['open meta-1', 'close']);
    await expect(fetch(`http://${process.healthAddress}/healthz`)).rejects.toThrow();
    const log = await logOf(logFile);
    const http = process.healthAddress;
    expect(log.get('metadata member starts')).toMatchObject({ http, dataDirectory: directory });
    expect(log.get('metadata member listens')).toMatchObject({ http, address: '127.0.0.1:7100' });
    expect(log.get('metadata member was told to stop')).toMatchObject({ signal: 'SIGTERM' });
    expect(log.get('metadata member stopped')).toMatchObject({ service: 'cairn-metadata', node: 'meta-1' });
  });

  it('says whom a part waits for before it is open', async () => {
    const { start } = await setting();
    const opening = Promise.withResolvers<Context>();
    const opened = Promise.withResolvers<RunningPart>();
    const starting = start((context) => {
      opening.resolve(context);
      return opened.promise;
    });
    const context = await opening.promise;
    context.onWaiting(['waits for meta-2 at 127.0.0.1:7200: connection refused']);
    expect(await (await fetch(`http://${context.publicAddress}/readyz`)).json()).toEqual({
      ready: false,
      reasons: ['the metadata member is starting', 'waits for meta-2 at 127.0.0.1:7200: connection refused'],
    });
    opened.resolve({ listens: {}, readiness: () => [], close: () => Promise.resolve() });
    await (await starting).stop('SIGTERM');
  });

  it('ends at once when the part cannot go on while it is being opened', async () => {
    const { start, logFile } = await setting();
    const starting = start((context) => {
      context.onFatal(new Error('the log cannot be written'));
      return new Promise<RunningPart>(() => undefined);
    });
    await expect(starting).rejects.toThrow('the log cannot be written');
    expect((await logOf(logFile)).has('metadata member failed')).toBe(true);
  });

  it('abandons a part that is being opened when it is told to stop, and lets its directory go', async () => {
    const told = new AbortController();
    const { start, logFile, directory } = await setting([], { stopping: told.signal });
    const opening = Promise.withResolvers<string>();
    const starting = start((context, ports) =>
      holdDirectory(context, { ...ports, clock: new NodeClock() }, () => {
        opening.resolve(context.publicAddress);
        return new Promise<RunningPart>(() => undefined);
      }),
    );
    const health = await opening.promise;
    expect(await readdir(directory)).toContain('LOCK');
    told.abort('SIGINT');
    await expect(starting).rejects.toMatchObject({ signal: 'SIGINT' });
    expect(await readdir(directory)).toEqual(['log']);
    await expect(fetch(`http://${health}/healthz`)).rejects.toThrow();
    const log = await logOf(logFile);
    expect(log.get('metadata member was told to stop')).toMatchObject({ signal: 'SIGINT' });
    expect(log.has('metadata member could not start')).toBe(false);
  });

  it('opens no part when it was told to stop before, and starts all the same when it is told after', async () => {
    const told = new AbortController();
    const { start } = await setting([], { stopping: told.signal });
    const events: string[] = [];
    const process = await start(part(events));
    told.abort('SIGTERM');
    await process.stop('SIGTERM');
    expect(events).toEqual(['open meta-1', 'close']);
    await expect(start(part(events))).rejects.toMatchObject({ signal: 'SIGTERM' });
    expect(events).toEqual(['open meta-1', 'close']);
  });

  it('refuses a configuration with all that is wrong', async () => {
    const { start } = await setting([], { argv: ['--peers', 'other=127.0.0.1:1'] });
    await expect(start(part([]))).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringMatching(/name must be given[^]*dataDirectory must be given/),
    });
  });

  it('does not start when the part cannot be opened, or the health pages cannot', async () => {
    const { start, logFile } = await setting();
    let health = '';
    await expect(
      start(({ publicAddress }) => {
        health = publicAddress;
        return Promise.reject(new Error('the directory is in use'));
      }),
    ).rejects.toThrow('the directory is in use');
    await expect(fetch(`http://${health}/healthz`)).rejects.toThrow();
    expect((await logOf(logFile)).get('metadata member could not start')).toMatchObject({
      level: 'error',
      error: 'the directory is in use',
    });

    const other = await setting();
    const running = await other.start(part([]));
    const taken = await setting(['--http-listen', running.healthAddress]);
    const events: string[] = [];
    await expect(taken.start(part(events))).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    expect(events).toEqual([]);
    await running.stop('SIGTERM');
  });

  it.each(['onFatal', 'endWith'] as const)('tells when the part says %s', async (told) => {
    const { start, logFile } = await setting();
    let given: Context | undefined;
    const process = await start((context, ports) => {
      given = context;
      return part([])(context, ports);
    });
    given?.[told](new Error('disk broken'));
    expect((await process.failed).message).toBe('disk broken');
    const line = (await logOf(logFile)).get('metadata member failed');
    expect(line?.['level']).toBe(told === 'onFatal' ? 'fatal' : undefined);
    await process.stop('fatal');
  });

  it('gives a stop only so much time, and a grace where the part keeps to that time by itself', async () => {
    for (const closeGraceMs of [undefined, 500]) {
      const { start, timers } = await setting(['--shutdown-timeout-ms', '1000']);
      const finish = Promise.withResolvers<void>();
      const stuck: Kind['open'] = async (context, ports) => ({
        ...(await part([])(context, ports)),
        close: () => finish.promise,
      });
      const process = await start(stuck, closeGraceMs === undefined ? {} : { closeGraceMs });
      const stopping = process.stop('SIGTERM');
      await new Promise((resolve) => setImmediate(resolve));
      expect(timers.timeoutsMs).toEqual([1_000 + (closeGraceMs ?? 0)]);
      timers.fire();
      await expect(stopping).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
      finish.resolve();
    }
  });

  it('tells that the part could not be closed, and closes the rest', async () => {
    const { start, logFile } = await setting();
    const process = await start(async (context, ports) => ({
      ...(await part([])(context, ports)),
      close: () => Promise.reject(new Error('the log cannot be written')),
    }));
    await expect(process.stop('SIGTERM')).rejects.toThrow('the log cannot be written');
    await expect(fetch(`http://${process.healthAddress}/healthz`)).rejects.toThrow();
    expect((await logOf(logFile)).get('metadata member did not stop')).toMatchObject({ level: 'error' });
  });

  it('logs what nobody caught, and what Node warns of', async () => {
    let tellUncaught: (error: unknown) => void = () => undefined;
    let tellWarning: (warning: Error) => void = () => undefined;
    const { start, logFile } = await setting([], {
      onUncaught: (tell) => (tellUncaught = tell),
      onWarning: (tell) => (tellWarning = tell),
    });
    const process = await start(part([]));
    tellWarning(new Error('a leak'));
    tellUncaught(new Error('nobody caught this'));
    const log = await logOf(logFile);
    expect(log.get('warning of Node')).toMatchObject({ level: 'warn', message: 'a leak' });
    expect(log.get('metadata member ended by an error')).toMatchObject({ level: 'fatal' });
    await process.stop('SIGTERM');
  });
});

describe('traces of a process', () => {
  let close: () => Promise<void> = () => Promise.resolve();
  afterEach(() => close());

  it.each([
    ['by a flag', 'flag'],
    ['by the environment', 'env'],
  ])('leave %s, and a flag goes before a variable', async (_case, by) => {
    const collector = await startOtlpCollector();
    close = collector.close;
    const flags = ['--otlp-endpoint', collector.endpoint, '--trace-sample-ratio', '1'];
    const env = {
      OTEL_EXPORTER_OTLP_ENDPOINT: by === 'flag' ? 'http://127.0.0.1:1' : collector.base,
      OTEL_TRACES_SAMPLER: by === 'flag' ? 'always_off' : 'always_on',
    };
    const { start, logFile } = await setting(by === 'flag' ? flags : [], { env });
    const process = await start((context, ports) => {
      context.tracer.startRootSpan('opened', undefined)?.end();
      return part([])(context, ports);
    });
    await process.stop('SIGTERM');
    expect(collector.spans.map(({ name, service, instance }) => [name, service, instance])).toEqual([
      ['opened', 'cairn-metadata', 'meta-1'],
    ]);
    expect((await logOf(logFile)).get('traces are exported')).toMatchObject({
      source: by === 'flag' ? 'setting' : 'environment',
    });
  });
});

describe('a collector that never answers', () => {
  it('does not make a stop fail, however little time the part has for it', async () => {
    const silent = createServer();
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const { port } = silent.address() as AddressInfo;
    const flags = ['--shutdown-timeout-ms', '50', '--trace-sample-ratio', '1'];
    const env = {
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
      // The SDK goes on trying for a moment longer than we wait.
      OTEL_EXPORTER_OTLP_TIMEOUT: '2200',
    };
    const ports = { clock: new NodeClock(), rng, disk: new NodeDisk(), transport: new TcpTransport() };
    const { start, logFile } = await setting(flags, { env, ports });
    const process = await start((context, given) => {
      context.tracer.startRootSpan('opened', undefined)?.end();
      return part([])(context, given);
    });
    await process.stop('SIGTERM');
    expect((await logOf(logFile)).get('traces were lost at shutdown')).toMatchObject({ level: 'warn' });
    silent.closeAllConnections();
    silent.close();
  });
});

describe('holdDirectory', () => {
  const ports = { disk: new NodeDisk(), clock: new NodeClock() };
  const contextOf = (dataDirectory: string): Parameters<typeof holdDirectory>[0] => ({
    config: { dataDirectory },
    onAbandoned: () => undefined,
  });
  const open = (): Promise<RunningPart> =>
    Promise.resolve({ listens: {}, readiness: () => ['r'], close: () => Promise.resolve() });

  it('keeps a directory until the part has closed', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'cairn-shell-'));
    const held = await holdDirectory(contextOf(directory), ports, open);
    expect(held.readiness()).toEqual(['r']);
    await expect(holdDirectory(contextOf(directory), ports, open)).rejects.toThrow('is in use by process');
    await held.close();
    expect(await readdir(directory)).toEqual([]);
  });

  it('lets it go when the part cannot be opened', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'cairn-shell-'));
    const broken = holdDirectory(contextOf(directory), ports, () => Promise.reject(new Error('broken')));
    await expect(broken).rejects.toThrow('broken');
    expect(await readdir(directory)).toEqual([]);
  });
});
