import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { UsageError } from '../exit-codes.js';
import { fileFailure, withFile } from '../files.js';
import type { ResumePoint } from './mapping.js';

/** What an interrupted import leaves behind: everything before `point` was written or rejected. */
export interface ResumeState {
  readonly version: 2;
  /** What was being imported; another size or time of change means another file. */
  readonly size: number;
  readonly modifiedMs: number;
  /** How rows were mapped; resuming with another mapping would mix two kinds of keys. */
  readonly mapping: string;
  readonly point: ResumePoint;
  readonly imported: number;
  readonly rejected: number;
}

export async function loadResumeState(path: string): Promise<ResumeState | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw fileFailure(error, path, 'read');
  }
  const state = parseState(text);
  if (state === undefined)
    throw new UsageError(`${path} is not the state of an import; remove it or use --restart`);
  return state;
}

function parseState(text: string): ResumeState | undefined {
  try {
    const state = JSON.parse(text) as Partial<ResumeState>;
    const point = state.point;
    const numbers = [state.size, state.modifiedMs, state.imported, state.rejected];
    numbers.push(point?.offset, point?.line);
    const isWhole = numbers.every((number) => Number.isSafeInteger(number));
    return state.version === 2 && isWhole && typeof state.mapping === 'string'
      ? (state as ResumeState)
      : undefined;
  } catch {
    return undefined;
  }
}

/** Replaces the file in one step: a crash leaves the old state or the new one. */
export async function saveResumeState(path: string, state: ResumeState): Promise<void> {
  const aside = `${path}.new`;
  await withFile(path, 'written', async () => {
    await writeFile(aside, `${JSON.stringify(state)}\n`);
    await rename(aside, path);
  });
}

export async function removeResumeState(path: string): Promise<void> {
  await withFile(path, 'written', () => rm(path, { force: true }));
}
