import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../../../..');
const TSC = join(ROOT, 'node_modules/typescript/bin/tsc');

const USE = `
import { CairnError, connect, fieldOf, json, type CairnClient, type Row } from '@cairn/client';

interface City { readonly name: string; readonly people: number }

const client: CairnClient = connect({ endpoints: ['127.0.0.1:7100'] });
const cities = client.withCodec({ value: json<City>() });
const length = (row: Row): number => row.keyText().length;

export async function use(): Promise<number> {
  await client.put('hello', 'world', { ttlMs: 1_000 });
  const entry = await client.get('hello', { consistency: 'stale' });
  const text: string | undefined = entry?.text();
  const sum: bigint = await client.increment('visits', 2n);
  const { succeeded } = await client.compareAndSet('lock', { expectedAbsent: true, value: 'me' });
  let bytes = 0;
  for await (const row of client.scan({ prefix: 'he' })) bytes += length(row);
  try {
    await client.deleteRange({ prefix: 'x' });
  } catch (error) {
    if (CairnError.is(error) && error.code === 'OUTCOME_UNKNOWN') return fieldOf(error)?.length ?? 0;
    throw error;
  }
  const city = await cities.get('city/1');
  client.close();
  return bytes + (text?.length ?? 0) + Number(sum) + (succeeded ? 1 : 0) + (city?.value.people ?? 0);
}

// @ts-expect-error: a number is no key
void client.get(7);
// @ts-expect-error: what is inside stays inside
void import('@cairn/client/dist/dispatcher.js');
`;

/** A project of somebody else: strict, and every declaration is looked into. */
const CONFIG = {
  compilerOptions: {
    ...{ strict: true, exactOptionalPropertyTypes: true, skipLibCheck: false, noEmit: true },
    ...{ target: 'es2023', lib: ['es2023', 'esnext.disposable'], module: 'nodenext' },
    ...{ types: ['node'], typeRoots: [join(ROOT, 'node_modules/@types')] },
  },
  files: ['use.ts'],
};

describe('the declarations of the client', () => {
  let project: string;

  beforeAll(() => {
    project = mkdtempSync(join(tmpdir(), 'cairn-types-'));
    mkdirSync(join(project, 'node_modules/@cairn'), { recursive: true });
    symlinkSync(join(ROOT, 'libs/doors/client'), join(project, 'node_modules/@cairn/client'));
    writeFileSync(join(project, 'package.json'), JSON.stringify({ name: 'user', type: 'module' }));
    writeFileSync(join(project, 'tsconfig.json'), JSON.stringify(CONFIG));
    writeFileSync(join(project, 'use.ts'), USE);
  });

  afterAll(() => {
    rmSync(project, { recursive: true, force: true });
  });

  it('are made by npm run types, and are all that a strict project needs', () => {
    const made = spawnSync(process.execPath, ['tools/bootstrap.mjs', 'types'], {
      cwd: ROOT,
      encoding: 'utf8',
    });
    expect([made.status, made.stdout]).toEqual([0, '']);
    const compiled = spawnSync(process.execPath, [TSC, '-p', project], { encoding: 'utf8' });
    expect(compiled.stdout).toBe('');
    expect(compiled.status).toBe(0);
  });
});
