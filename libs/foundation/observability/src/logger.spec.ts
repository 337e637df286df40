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

  it('appends to a file, line by line', () => {
    const directory = mkdtempSync(join(tmpdir(), 'cairn-log-'));
    const file = join(directory, 'node.log');
    for (const event of ['first', 'second']) {
      const { logger } = createLogger({ level: 'info', file, fields: {} });
      logger.info(event);
    }
    expect(eventsIn(file)).toEqual(['first', 'second']);
    rmSync(directory, { recursive: true });
  });

  it('says which file cannot be opened', () => {
    const file = join(tmpdir(), 'cairn-no-such-directory', 'node.log');
    expect(() => createLogger({ level: 'info', file, fields: {} })).toThrow(
      /^cannot write the log file .*node\.log: .*ENOENT/,
    );
  });

  it('a full disk costs lines, which are counted, and nothing else', () => {
    let lost = 0;
    const { logger, fatal } = createLogger({
      level: 'info',
      file: '/dev/full',
      fields: {},
      onLost: () => (lost += 1),
    });
    logger.info('first', { text: 'x'.repeat(100_000) });
    logger.info('second');
    fatal('third', new Error('no room'));
    expect(lost).toBeGreaterThan(0);
  });

  it('the last line of a process has the stack inside, whatever the level', () => {
    const directory = mkdtempSync(join(tmpdir(), 'cairn-log-'));
    const file = join(directory, 'node.log');
    const { fatal } = createLogger({ level: 'error', file, fields: { node: 's1' } });
    fatal('shard node failed', new TypeError('no such thing'));
    expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({
      level: 'fatal',
      event: 'shard node failed',
      node: 's1',
      error: 'no such thing',
      kind: 'TypeError',
      stack: expect.stringContaining('logger.spec'),
    });
    rmSync(directory, { recursive: true });
  });
});

function eventsIn(file: string): string[] {
  const lines = readFileSync(file, 'utf8').trim().split('\n');
  return lines.map((line) => (JSON.parse(line) as { event: string }).event);
}
