import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { describe, expect, test } from '@jest/globals';

import { runTranscript } from './transcript-runner.js';

const folder = fileURLToPath(new URL('transcripts/', import.meta.url));
const files = readdirSync(folder).filter((name) => name.endsWith('.txt'));

/**
 * Each file tells one rule as a story. UPDATE_TRANSCRIPTS=1 rewrites the expected output; review the
 * difference.
 */
describe('transcripts', () => {
  test('the index names every file, and only files that exist', () => {
    const index = readFileSync(`${folder}README.md`, 'utf8');
    const named = [...index.matchAll(/`([^`\s]+\.txt)`/g)].map(([, name]) => name);
    expect([...new Set(named)].sort()).toEqual([...files].sort());
  });

  test.each(files)('%s', (name) => {
    const text = readFileSync(folder + name, 'utf8');
    expect(text).toMatch(/^# Title: .+\n# Intent: .+\n/);
    const result = runTranscript(text);
    if (process.env['UPDATE_TRANSCRIPTS'] === '1') writeFileSync(folder + name, result.text);
    // Of those that went another way, the difference ends with how the replicas stand.
    else if (result.text !== text) expect(`${result.text}\n${result.replicas}`).toBe(text);
  });
});
