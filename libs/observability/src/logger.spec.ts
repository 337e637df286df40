import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { createLogger, createLoggerTo, type LogLevel } from './logger.js';

function collect(
  level: LogLevel,
  onLine?: (level: LogLevel) => void,
): {
  lines: Record<string, unknown>[];
  logger: ReturnType<typeof createLoggerTo>;
} {
  const lines: Record<string, unknown>[] = [];
  const stream = { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) };
  const base = { level, fields: { service: 'cairn-shard', node: 's1' } };
  return { lines, logger: createLoggerTo(stream, onLine === undefined ? base : { ...base, onLine }) };
}

describe('logger', () => {
  it('writes one JSON line with time, level, event, own and inherited fields', () => {
    const { lines, logger } = collect('debug');
    logger.with({ range: 7 }).with({ term: 3 }).info('became leader', { votes: 2 });
    expect(lines).toEqual([
      {
        time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
        level: 'info',
        event: 'became leader',
        service: 'cairn-shard',
        node: 's1',
        range: 7,
        term: 3,
        votes: 2,
      },
    ]);
  });

  it('drops lines below its level but counts them', () => {
    const counted: LogLevel[] = [];
    const { lines, logger } = collect('warn', (level) => counted.push(level));
    logger.debug('a');
    logger.info('b');
    logger.warn('c');
    logger.error('d');
    expect(lines.map((line) => line['event'])).toEqual(['c', 'd']);
    expect(counted).toEqual(['debug', 'info', 'warn', 'error']);
  });

  it('appends to a file and writes out on flush', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'cairn-log-'));
    const file = join(directory, 'node.log');
    for (const event of ['first', 'second']) {
      const { logger, flush, opened } = createLogger({ level: 'info', file, fields: {} });
      await opened;
      logger.info(event);
      flush();
    }
    const events = readFileSync(file, 'utf8')
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { event: string }).event);
    expect(events).toEqual(['first', 'second']);
    rmSync(directory, { recursive: true });
  });
});
