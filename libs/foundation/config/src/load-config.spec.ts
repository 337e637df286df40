import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { CairnError } from '@cairn/base';
import fc from 'fast-check';
import { loadConfig, wantsHelp, type LoadedConfig } from './load-config.js';
import { configHelp, configMarkdown, textAsked } from './help.js';
import { environmentName, flagName } from './names.js';
import { fieldsOf } from './definition.js';
import { metadataConfig } from './metadata-config.js';
import { routerConfig } from './router-config.js';
import { shardConfig, type shardConfigSchema } from './shard-config.js';

const REQUIRED = ['--name', 's1', '--metadata-addresses', '127.0.0.1:7110', '--data-directory', '/data'];

function loadShard(
  argv: readonly string[],
  env: Record<string, string> = {},
  filePath?: string,
): LoadedConfig<typeof shardConfigSchema> {
  const base = { ...shardConfig, argv: [...REQUIRED, ...argv], env };
  return loadConfig(filePath === undefined ? base : { ...base, filePath });
}

function problemsOf(load: () => unknown): readonly string[] {
  try {
    load();
  } catch (error) {
    if (CairnError.is(error) && error.code === 'INVALID_ARGUMENT')
      return error.details['problems'] as string[];
    throw error;
  }
  return [];
}

describe('loadConfig', () => {
  let directory = '';
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'cairn-config-'));
  });
  afterAll(() => {
    rmSync(directory, { recursive: true });
  });
  const file = (text: string): string => {
    const path = join(directory, 'cairn.yaml');
    writeFileSync(path, text);
    return path;
  };

  it('refuses addresses at which others cannot reach a node', () => {
    const shard = (...argv: string[]): readonly string[] => problemsOf(() => loadShard(argv));
    expect(shard('--listen', '0.0.0.0:7101')).toEqual([
      'listen is 0.0.0.0:7101, every address of this machine: name the one at which others reach it with advertise.',
    ]);
    expect(shard('--listen', '[::]:7101')).toHaveLength(1);
    expect(shard('--listen', '0.0.0.0:7101', '--advertise', '10.0.0.1:7101')).toEqual([]);
    expect(shard('--listen', '127.0.0.1:0')).toEqual([]);
    expect(shard('--advertise', '0.0.0.0:7101')).toEqual([
      'advertise is 0.0.0.0:7101, which on every machine means that machine: name an address of this one.',
    ]);
    expect(shard('--advertise', '10.0.0.1:0')).toEqual([
      'advertise is 10.0.0.1:0: others need the port at which this node is reached.',
    ]);
    const member = ['--name', 'm1', '--data-directory', '/data', '--peers', 'm1=0.0.0.0:7001'];
    expect(problemsOf(() => loadConfig({ ...metadataConfig, argv: member, env: {} }))).toEqual([
      'peers gives m1 the address 0.0.0.0:7001, which on every machine means that machine: name one of its own.',
    ]);
    const router = ['--name', 'r1', '--metadata-addresses', 'm:1', '--advertise', '[::]:7100'];
    expect(problemsOf(() => loadConfig({ ...routerConfig, argv: router, env: {} }))).toHaveLength(1);
  });

  it('takes defaults, and says so', () => {
    const { values, sources } = loadShard([]);
    expect(values.engine).toBe('lsm');
    expect(values.metadataAddresses).toEqual(['127.0.0.1:7110']);
    expect(values.tickIntervalMs).toBe(50);
    expect(sources['engine']).toBe('default');
    expect(sources['name']).toBe('flag');
  });

  it('lets variables override the file, and flags both', () => {
    const path = file(
      'rowCacheBytes: 1MiB\nblockCacheBytes: 8MiB\nwriteBufferBytes: 4194304\nmetadataAddresses: [a:1]\n',
    );
    const env = { CAIRN_ROW_CACHE_BYTES: '2MiB', CAIRN_BLOCK_CACHE_BYTES: '16 MiB' };
    const { values, sources } = loadShard(['--row-cache-bytes=3MiB'], env, path);
    expect(values.rowCacheBytes).toBe(3 * 2 ** 20);
    expect(values.blockCacheBytes).toBe(16 * 2 ** 20);
    expect(values.writeBufferBytes).toBe(4_194_304);
    expect([sources['rowCacheBytes'], sources['blockCacheBytes'], sources['writeBufferBytes']]).toEqual([
      'flag',
      'env',
      'file',
    ]);
  });

  it('prefers the file named by the flag to the one named by the variable', () => {
    const path = file('logLevel: debug');
    const { values } = loadShard([`--config-file=${path}`], { CAIRN_CONFIG_FILE: '/nowhere/at/all' });
    expect(values.logLevel).toBe('debug');
  });

  it('names value, origin and allowed range of everything that is wrong, at once', () => {
    const path = file('engine: rocks');
    const problems = problemsOf(() =>
      loadShard(['--block-cache-bytes', '12'], { CAIRN_LISTEN: 'nowhere' }, path),
    );
    expect(problems).toEqual([
      'listen is "nowhere" (from the environment variable CAIRN_LISTEN): it must be host:port, with a port from 0 to ' +
        '65535 and an IPv6 host in brackets.',
      `engine is "rocks" (from the file ${path}): it must be one of lsm, classic-level, memory, or a module: a file: URL, ` +
        'a path that begins with "/", "./" or "../", or package: and a name.',
      'blockCacheBytes is 12 (from the flag --block-cache-bytes): it must be a whole number of bytes from 1 MiB to ' +
        '256 GiB.',
    ]);
  });

  it('refuses unknown names with the one that was probably meant', () => {
    const path = file('blockCacheByte: 12');
    expect(problemsOf(() => loadShard(['--row-cash-bytes', '12'], {}, path))).toEqual([
      `The configuration file ${path} names the unknown field blockCacheByte. Did you mean blockCacheBytes?`,
      'The flag --row-cash-bytes is unknown. Did you mean --row-cache-bytes?',
    ]);
    expect(problemsOf(() => loadShard(['--log-level', 'info', 'stray']))).toEqual([
      'The argument "stray" is not a flag; flags look like --name value.',
    ]);
  });

  it('names a misspelt variable, too, where the field that was meant is missing', () => {
    const argv = REQUIRED.slice(2);
    const load = (): unknown => loadConfig({ ...shardConfig, argv, env: { CAIRN_NAM: 'x' } });
    expect(problemsOf(load)).toEqual([
      'The environment variable CAIRN_NAM is unknown. Did you mean CAIRN_NAME?',
      expect.stringMatching(/^name must be given/),
    ]);
  });

  it('says of a file that cannot be read only that, and what is wrong elsewhere', () => {
    const load = (argv: readonly string[]): unknown =>
      loadConfig({ ...shardConfig, argv: ['--config-file', join(directory, 'none.yaml'), ...argv], env: {} });
    const unread = expect.stringMatching(/none\.yaml cannot be read: .*ENOENT/);
    expect(problemsOf(() => load([]))).toEqual([unread]);
    const level = expect.stringMatching(/^logLevel is "loud"/);
    expect(problemsOf(() => load(['--log-level', 'loud']))).toEqual([unread, level]);
  });

  it('refuses a flag that is cut short with the one that begins so', () => {
    const refusal = (flag: string): string => problemsOf(() => loadShard([flag, '1']))[0] ?? '';
    expect(refusal('--data')).toBe('The flag --data is unknown. Did you mean --data-directory?');
    expect(refusal('--http')).toBe('The flag --http is unknown. Did you mean --http-listen?');
    expect(refusal('--quite-another')).toBe('The flag --quite-another is unknown.');
  });

  it('warns of a misspelt variable and stays silent on those of others', () => {
    const env = { CAIRN_LOG_LEVLE: 'debug', CAIRN_ROUTER_SERVICE_HOST: '10.0.0.1', PATH: '/bin' };
    expect(loadShard([], env).warnings).toEqual([
      'The environment variable CAIRN_LOG_LEVLE is unknown. Did you mean CAIRN_LOG_LEVEL?',
    ]);
  });

  it('says how to give what must be given', () => {
    expect(problemsOf(() => loadConfig({ ...routerConfig, argv: ['--name', 'r'], env: {} }))).toEqual([
      'metadataAddresses must be given, with the flag --metadata-addresses or the environment variable ' +
        'CAIRN_METADATA_ADDRESSES: 1 to 64 addresses, separated by commas, each host:port, with a port from 0 to ' +
        '65535 and an IPv6 host in brackets.',
    ]);
  });

  it('refuses a pause of a router that is above the longest one', () => {
    const argv = ['--name', 'r', '--metadata-addresses', 'a:1', '--store-pause-ms', '500'];
    const load = (): unknown =>
      loadConfig({ ...routerConfig, argv: [...argv, '--store-pause-ms-max', '400'], env: {} });
    expect(problemsOf(load)).toEqual(['storePauseMs (500) must not be above storePauseMsMax (400).']);
  });

  it('refuses bounds that the longest value would never fit into beside others', () => {
    const argv = ['--outstanding-bytes-max', '16MiB'];
    expect(() => loadConfig({ ...routerConfig, argv, env: {} })).toThrow(/from 32 MiB to 64 GiB/);
  });

  it('refuses a flag without value, and one given twice', () => {
    expect(problemsOf(() => loadShard(['--engine', '--log-level', 'info', '--log-level=debug']))).toEqual([
      'The flag --engine needs a value.',
      'The flag --log-level is given twice.',
    ]);
  });

  it('refuses a file that is missing, is no YAML or is no mapping', () => {
    expect(problemsOf(() => loadShard([], {}, join(directory, 'none.yaml')))[0]).toMatch(
      /cannot be read: .*ENOENT/,
    );
    expect(problemsOf(() => loadShard([], {}, file('a: [')))[0]).toMatch(/cannot be read/);
    expect(problemsOf(() => loadShard([], {}, file('- a')))[0]).toMatch(/must hold "field: value" lines/);
    expect(problemsOf(() => loadShard([], {}, file('')))).toEqual([]);
  });

  it('checks the timing relations of a process', () => {
    const problems = problemsOf(() => loadShard(['--lease-duration-ms', '480']));
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(/voteHoldMs \(500\) must be at least 10 % above leaseDurationMs \(480\)/);
  });

  it('reads the members of the metadata service', () => {
    const argv = ['--name=m1', '--data-directory=/d', '--peers', 'm1=a:1, m2=[::1]:2'];
    const { values } = loadConfig({ ...metadataConfig, argv, env: {} });
    expect(values.peers).toEqual([
      { name: 'm1', address: 'a:1' },
      { name: 'm2', address: '[::1]:2' },
    ]);
  });

  it('refuses lists of members that cannot be right', () => {
    const load = (peers: string): readonly string[] =>
      problemsOf(() =>
        loadConfig({
          ...metadataConfig,
          argv: ['--name=m1', '--data-directory=/d', '--peers', peers],
          env: {},
        }),
      );
    expect(load('m2=a:1')).toEqual(['peers names m2 but not this member, m1.']);
    expect(load('m1=a:1,m1=b:1')).toEqual(['peers names a member twice: m1, m1.']);
    expect(load('m1=a:1,m2=a:1')).toEqual(['peers gives two members the same address: a:1, a:1.']);
    const accept = (lost: string, peers = 'm1=a:1,m2=b:1,m3=c:1'): readonly string[] =>
      problemsOf(() =>
        loadConfig({
          ...metadataConfig,
          argv: [
            ...['--name=m1', '--data-directory=/d', '--peers', peers],
            ...['--accept-new-directory-of', lost],
          ],
          env: {},
        }),
      );
    expect(accept('m2')).toEqual([]);
    expect(accept('m9')).toEqual([
      'acceptNewDirectoryOf names m9, which is no other member of the group; the others are: m2, m3.',
    ]);
    expect(accept('m1')).toEqual([
      'acceptNewDirectoryOf names this member, m1: it is for the others, which take the new directory.',
    ]);
    expect(accept('m2', 'm1=a:1')[0]).toMatch(/the others are: there are none\.$/);
    expect(load('a:1')[0]).toMatch(/^peers is "a:1" \(from the flag --peers\): it must be 1 to 15 members/);
  });

  it('describes every field with its source', () => {
    const text = loadShard([]).describe();
    expect(text).toMatch(/^name +"s1" {2}\(flag\)$/m);
    expect(text).toMatch(/^engine +"lsm" {2}\(default\)$/m);
  });

  it('never throws anything but its own error, whatever the arguments', () => {
    const words = fc.constantFrom(
      '--name',
      '--engine',
      '--no-name',
      '--row-cache-bytes',
      '=',
      '--',
      'x',
      '7',
      '--help',
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(words, fc.string())), (argv) => {
        problemsOf(() => loadConfig({ ...shardConfig, argv: [...REQUIRED, ...argv], env: {} }));
      }),
    );
  });

  it('accepts every whole number in range and refuses every other', () => {
    fc.assert(
      fc.property(fc.integer({ min: -20, max: 1_200 }), (value) => {
        const problems = problemsOf(() =>
          loadConfig({
            ...routerConfig,
            argv: ['--name=r', '--metadata-addresses=a:1'],
            env: { CAIRN_HEARTBEAT_TO_METADATA_INTERVAL_MS: String(value) },
          }),
        );
        expect(problems.length).toBe(value >= 50 ? 0 : 1);
      }),
    );
  });
});

describe.each([shardConfig, metadataConfig, routerConfig])('the definition of $name', (definition) => {
  it('has distinct flags and variables, and a default that passes its own check', () => {
    const fields = fieldsOf(definition.schema);
    expect(new Set(fields.map((field) => flagName(field.key))).size).toBe(fields.length);
    expect(new Set(fields.map((field) => environmentName(field.key))).size).toBe(fields.length);
    for (const field of fields) expect(field.info.description).toMatch(/\.$/);
  });

  it('appears whole in the help and in the reference', () => {
    const help = configHelp(definition);
    const reference = configMarkdown(definition);
    for (const field of fieldsOf(definition.schema)) {
      expect(help).toContain(`  ${flagName(field.key)} `);
      expect(reference).toContain(`| \`${field.key}\` |`);
    }
    for (const line of help.split('\n')) expect(line.length).toBeLessThanOrEqual(130);
  });
});

describe('a program', () => {
  it('is asked for its help or its version, and otherwise to start', () => {
    const asked = (...argv: string[]): string | undefined =>
      textAsked(routerConfig, ['--name', 'x', ...argv]);
    expect(asked('--help')).toBe(configHelp(routerConfig));
    expect(asked('--version')).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect(asked()).toBeUndefined();
  });
});

describe('wantsHelp', () => {
  it('sees the flag anywhere', () => {
    expect(wantsHelp(['--name', 'x', '--help'])).toBe(true);
    expect(wantsHelp(['--name', 'x'])).toBe(false);
  });
});
