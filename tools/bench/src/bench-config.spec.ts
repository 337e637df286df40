import { describe, expect, test } from '@jest/globals';
import { loadConfig } from '@cairn/config';
import { benchConfig, endpointsOf, outstandingOf, worksOf, type BenchConfig } from './bench-config.js';
import { cellsOf, TRANSACTION_WORKS, YCSB_WORKS } from './works.js';

const PROGRAM = process.execPath;

function parse(...argv: string[]): BenchConfig {
  return loadConfig({ ...benchConfig, argv, env: {} }).values;
}

describe('the arguments', () => {
  test('mean everything that needs no generator where there are none', () => {
    const config = parse();
    expect(worksOf(config)).toEqual(['put', 'get', 'mix', 'stale', 'scan']);
    expect(outstandingOf(config)).toEqual([1, 16, 64, 256]);
    expect(config).toMatchObject({ peer: 'none', json: false, keys: 100_000, valueBytes: 256 });
    expect(endpointsOf(config)).toEqual([]);
  });

  test('add the unary work with a generator', () => {
    expect(worksOf(parse('--kvload', PROGRAM))).toContain('unary');
  });

  test('are lists in their order, with nothing twice', () => {
    const config = parse('--works', 'scan, put,scan', '--outstanding', '64,1,64');
    expect(worksOf(config)).toEqual(['scan', 'put']);
    expect(outstandingOf(config)).toEqual([64, 1]);
    expect(cellsOf(worksOf(config), outstandingOf(config))).toEqual([
      { work: 'scan', outstanding: 1 },
      { work: 'put', outstanding: 64 },
      { work: 'put', outstanding: 1 },
    ]);
  });

  test('name groups of works', () => {
    expect(worksOf(parse('--works', 'ycsb, put'))).toEqual([...YCSB_WORKS, 'put']);
    expect(worksOf(parse('--works', 'counter,txn'))).toHaveLength(TRANSACTION_WORKS.length);
  });

  test.each([
    [['--works', 'txn', '--keys', '3'], 'at least 4'],
    [['--works', 'put,fly'], 'works names "fly"'],
    [['--works', 'unary'], '--kvload'],
    [['--outstanding', '0'], 'outstanding holds "0"'],
    [['--outstanding', '1e3'], 'outstanding holds "1e3"'],
    [['--outstanding', '10001'], 'outstanding holds "10001"'],
    [['--outstanding', ','], 'outstanding is empty'],
    [['--endpoint', 'localhost'], 'host:port'],
    [['--kvload', '/does/not/exist'], 'there is no program'],
    [['--etcd', PROGRAM], '--peer etcd'],
    [['--peer', 'redis'], 'peer'],
    [['--duration', '0'], 'duration'],
    [['--repetitions', '1.5'], 'repetitions'],
    [['--value-bytes', '8'], 'valueBytes'],
    [['--keyz', '8'], '--keys'],
  ])('%j is refused with a sentence', (argv, sentence) => {
    expect(() => parse(...argv)).toThrow(sentence);
  });
});
