import js from '@eslint/js';
import nx from '@nx/eslint-plugin';
import prettier from 'eslint-config-prettier';
import tseslint from 'typescript-eslint';
import { boundaries, LAYERS, ROOMS } from './tools/tidy/boundaries.mjs';

/** What tests of pure libraries need besides. */
const TEST_PACKAGES = ['@jest/globals', 'fast-check'];

/** What is not in these projects; who of them may import whom says `tools/tidy/boundaries.mjs`. */
const packages = {
  enforceBuildableLibDependency: false,
  allowCircularSelfDependency: true,
  depConstraints: [
    {
      sourceTag: 'layer:pure',
      onlyDependOnLibsWithTags: ['*'],
      allowedExternalImports: TEST_PACKAGES,
    },
    { sourceTag: '*', onlyDependOnLibsWithTags: ['*'] },
  ],
};

const PORTS_HINT = 'Time, chance, network and disk come in through @cairn/ports only.';

const restrictedGlobals = [
  ...['setTimeout', 'setInterval', 'setImmediate', 'clearTimeout', 'clearInterval', 'clearImmediate'],
  ...['Date', 'performance', 'process', 'crypto', 'fetch', 'WebSocket'],
].map((name) => ({ name, message: PORTS_HINT }));

const restrictedProperties = [{ object: 'Math', property: 'random', message: PORTS_HINT }];

const OUTSIDE_WORLD = [
  ...['child_process', 'cluster', 'crypto', 'dgram', 'dns', 'fs', 'http', 'http2', 'https', 'net', 'os'],
  ...['perf_hooks', 'process', 'readline', 'timers', 'tls', 'worker_threads'],
];
const outsideWorld = {
  regex: `^(node:)?(${OUTSIDE_WORLD.join('|')})(/.*)?$`,
  message: PORTS_HINT,
};
const nestOnlyInApps = {
  regex: '^(@nestjs/|rxjs($|/)|reflect-metadata$|@cairn/process-shell$)',
  message: 'Nest is the shell of the applications; libraries and tools know neither it nor process-shell.',
};
const noDeepImports = {
  regex: '^@cairn/[^/]+/(src|dist)/',
  message: 'Import what the package exports, not a file inside it.',
};
/** zlib's crc32 is a computation; nothing else of Node belongs into a pure library. */
const noNodeInPure = {
  regex: '^node:(?!zlib$)',
  message: 'Pure libraries do not import Node modules.',
};

const restrictImports = (...patterns) => ['error', { patterns }];

const shape = {
  'max-params': ['error', 4],
  'max-lines': ['error', { max: 700 }],
  'max-lines-per-function': ['error', { max: 100, skipComments: true, skipBlankLines: true }],
  'max-depth': ['error', 5],
};

const librarySyntax = [
  'error',
  { selector: 'TSEnumDeclaration', message: 'Use a union or a const object.' },
  { selector: 'TSParameterProperty', message: 'Declare fields explicitly.' },
  { selector: 'ExportDefaultDeclaration', message: 'Export names.' },
];

export default tseslint.config(
  {
    ignores: [
      '**/dist/',
      '**/node_modules/',
      'libs/foundation/wire/src/gen/',
      '.nx/',
      '.cairn/',
      'coverage/',
      'tmp/',
    ],
  },
  // Rules are switched off for files below, with the reason, never inside a file.
  { linterOptions: { noInlineConfig: true, reportUnusedDisableDirectives: 'error' } },
  js.configs.recommended,
  prettier,
  {
    files: ['**/*.mjs'],
    languageOptions: {
      globals: {
        process: 'readonly',
        Buffer: 'readonly',
        setInterval: 'readonly',
        clearInterval: 'readonly',
      },
    },
  },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.recommendedTypeChecked],
    plugins: { '@nx': nx, cairn: { rules: { boundaries } } },
    languageOptions: {
      parserOptions: { project: ['./tsconfig.json'], tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      ...shape,
      eqeqeq: 'error',
      'no-restricted-properties': ['error', ...restrictedProperties],
      '@nx/enforce-module-boundaries': ['error', packages],
      'cairn/boundaries': ['error', { layers: LAYERS, rooms: ROOMS }],
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      '@typescript-eslint/explicit-module-boundary-types': 'error',
      '@typescript-eslint/no-non-null-assertion': 'error',
      '@typescript-eslint/no-unused-vars': [
        'error',
        { argsIgnorePattern: '^_', destructuredArrayIgnorePattern: '^_' },
      ],
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      '@typescript-eslint/no-unnecessary-boolean-literal-compare': 'error',
      // A method that keeps an interface of promises may have nothing to wait for.
      '@typescript-eslint/require-await': 'off',
      // Enums on the wire are open: a newer peer may send a number that this version does not know.
      '@typescript-eslint/no-unsafe-enum-comparison': 'off',
      'no-restricted-imports': restrictImports(noDeepImports, nestOnlyInApps),
    },
  },
  {
    files: ['libs/*/*/src/**/*.ts'],
    ignores: ['**/*.spec.ts'],
    rules: {
      'no-console': 'error',
      'no-restricted-syntax': librarySyntax,
      'no-restricted-globals': ['error', ...restrictedGlobals],
      'no-restricted-imports': restrictImports(noDeepImports, nestOnlyInApps, outsideWorld),
    },
  },
  {
    files: [
      'libs/{foundation/base,foundation/codec,consensus/raft,storage/mvcc,cluster/placement}/src/**/*.ts',
    ],
    ignores: ['**/*.spec.ts'],
    rules: { 'no-restricted-imports': restrictImports(noDeepImports, nestOnlyInApps, noNodeInPure) },
  },
  {
    // The ports on a real machine: the one place for timers, sockets, files and chance. Telemetry and the
    // reader of the configuration file belong to a process and never run in the simulator.
    files: [
      'libs/foundation/{runtime-node,observability}/src/**/*.ts',
      'libs/foundation/config/src/read-sources.ts',
    ],
    rules: {
      'no-restricted-globals': 'off',
      'no-restricted-properties': 'off',
      'no-restricted-imports': restrictImports(noDeepImports, nestOnlyInApps),
    },
  },
  {
    // The part of the applications that all of them have, once: it is Nest's container and owns the process.
    files: ['libs/foundation/process-shell/src/**/*.ts'],
    rules: {
      'no-restricted-globals': 'off',
      'no-restricted-imports': restrictImports(noDeepImports),
    },
  },
  {
    // Benchmarks beside hot code are programs of their own: they read clocks, make files and print.
    files: ['libs/*/*/src/**/*.bench.ts'],
    rules: {
      'no-console': 'off',
      'no-restricted-globals': 'off',
      'no-restricted-imports': restrictImports(noDeepImports, nestOnlyInApps),
    },
  },
  {
    // Virtual time has to let real promise turns finish between two events, and only a macrotask does that.
    files: ['libs/foundation/runtime-sim/src/macrotask-turns.ts'],
    rules: { 'no-restricted-globals': 'off' },
  },
  {
    files: ['apps/*/src/**/*.ts', 'apps/*/test/**/*.ts'],
    rules: { 'no-restricted-imports': restrictImports(noDeepImports) },
  },
  {
    // Scenarios are long lists of steps, and expectations compare untyped answers.
    files: ['**/*.spec.ts', '**/test/**/*.ts', '**/src/testing.ts'],
    rules: {
      'max-lines-per-function': 'off',
      'max-lines': ['error', { max: 1_200 }],
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/unbound-method': 'off',
    },
  },
);
