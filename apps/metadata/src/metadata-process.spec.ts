import { mkdtemp, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import type { MemberContext } from '@cairn/metadata';
import type { Clock, Rng } from '@cairn/ports';

import type { OpenMember, RunningMember } from './member.js';
import { startMetadataProcess, type MetadataProcess } from './metadata-process.js';

interface Timers {
  readonly clock: Clock;
  fire(): void;
}

/** Timers that fire when told to. */
function manualClock(): Timers {
  const callbacks = new Set<() => void>();
  const clock: Clock = {
    nowMs: () => 0,
    unixMs: () => 0,
    setTimer: (_, callback) => {
      callbacks.add(callback);
      return { cancel: () => callbacks.delete(callback) };
    },
    defer: (callback) => {
      callback();
    },
  };
  return {
    clock,
    fire: () => {
      for (const callback of callbacks) callback();
    },
  };
}

const rng: Rng = { next: () => 0.5, integer: () => 0, bytes: (length) => new Uint8Array(length) };

interface Started {
  readonly process: MetadataProcess;
  readonly logFile: string;
  readonly timers: Timers;
}

async function start(openMember: OpenMember, extra: readonly string[] = []): Promise<Started> {
  const directory = await mkdtemp(join(tmpdir(), 'cairn-metadata-'));
  const logFile = join(directory, 'log');
  const timers = manualClock();
  const argv = ['--name', 'meta-1', '--peers', 'meta-1=127.0.0.1:7100', '--data-directory', directory];
  const process = await startMetadataProcess({
    argv: [...argv, '--http-listen', '127.0.0.1:0', '--log-file', logFile, ...extra],
    env: {},
    clock: timers.clock,
    rng,
    openMember,
  });
  return { process, logFile, timers };
}

const member = (events: string[], readiness = { ready: true, reasons: [] as string[] }): OpenMember => {
  return (context) => {
    events.push(`open ${context.config.name}`);
    return Promise.resolve({
      address: '127.0.0.1:7100',
      readiness: () => readiness,
      close: () => {
        events.push('close');
        return Promise.resolve();
      },
    });
  };
};

describe('startMetadataProcess', () => {
  it('opens a member, serves its health, and closes it once', async () => {
    const events: string[] = [];
    const readiness = { ready: false, reasons: ['the group has no leader'] };
    const { process, logFile } = await start(member(events, readiness));
    const notReady = await fetch(`http://${process.healthAddress}/readyz`);
    expect(notReady.status).toBe(503);
    expect(await notReady.json()).toEqual(readiness);
    readiness.ready = true;
    expect((await fetch(`http://${process.healthAddress}/readyz`)).status).toBe(200);
    expect((await fetch(`http://${process.healthAddress}/healthz`)).status).toBe(200);

    await Promise.all([process.stop('SIGTERM'), process.stop('SIGTERM')]);
    expect(events).toEqual(['open meta-1', 'close']);
    await expect(fetch(`http://${process.healthAddress}/healthz`)).rejects.toThrow();
    const log = await readFile(logFile, 'utf8');
    expect(log).toContain('metadata member listens');
    expect(log).toContain('metadata member stopped');
  });

  it('says whom it waits for before it is open', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'cairn-metadata-'));
    const logFile = join(directory, 'log');
    const opening = Promise.withResolvers<MemberContext>();
    const opened = Promise.withResolvers<RunningMember>();
    const peers = 'meta-1=127.0.0.1:7100';
    const starting = startMetadataProcess({
      argv: [
        ...['--name', 'meta-1', '--peers', peers, '--data-directory', directory],
        ...['--http-listen', '127.0.0.1:0', '--log-file', logFile],
      ],
      env: {},
      clock: manualClock().clock,
      rng,
      openMember: (given) => {
        opening.resolve(given);
        return opened.promise;
      },
    });
    const context = await opening.promise;
    context.onWaiting?.(['waits for meta-2 at 127.0.0.1:7200: connection refused']);
    let address: string | undefined;
    while (address === undefined) {
      const log = await readFile(logFile, 'utf8');
      address = /"http":"([^"]+)"/.exec(log)?.[1];
    }
    expect(await (await fetch(`http://${address}/readyz`)).json()).toEqual({
      ready: false,
      reasons: ['the member is starting', 'waits for meta-2 at 127.0.0.1:7200: connection refused'],
    });
    opened.resolve(await member([])(context));
    await (await starting).stop('SIGTERM');
  });

  it('refuses a configuration with all that is wrong', async () => {
    const starting = startMetadataProcess({
      argv: ['--peers', 'other=127.0.0.1:1'],
      env: {},
      clock: manualClock().clock,
      rng,
      openMember: member([]),
    });
    await expect(starting).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringMatching(/name must be given[^]*dataDirectory must be given/),
    });
  });

  it('does not start when the member cannot be opened', async () => {
    const broken: OpenMember = () => Promise.reject(new Error('the directory is in use'));
    await expect(start(broken)).rejects.toThrow('the directory is in use');
  });

  it('tells of a failure of the member', async () => {
    let context: MemberContext | undefined;
    const { process } = await start((given) => {
      context = given;
      return member([])(given);
    });
    context?.onFatal(new Error('disk broken'));
    expect((await process.failed).message).toBe('disk broken');
    await process.stop('fatal');
  });

  it('gives a stop only so much time', async () => {
    let finish: () => void = () => undefined;
    const stuck: OpenMember = async (context) => ({
      ...(await member([])(context)),
      close: () => new Promise((resolve) => (finish = resolve)),
    });
    const { process, timers } = await start(stuck);
    const stopping = process.stop('SIGTERM');
    await new Promise((resolve) => setImmediate(resolve));
    timers.fire();
    await expect(stopping).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    finish();
  });
});
