/** One jest configuration for every project; select projects by path. */
const swc = {
  // The build's .swcrc leaves specs out; it must not be read here.
  swcrc: false,
  jsc: {
    parser: { syntax: 'typescript', decorators: true },
    transform: { legacyDecorator: true, decoratorMetadata: true },
    keepClassNames: true,
    target: 'es2023',
  },
  module: { type: 'es6' },
  sourceMaps: 'inline',
};

export default {
  testEnvironment: 'node',
  testEnvironmentOptions: { customExportConditions: ['@cairn/source', 'node', 'node-addons', 'import'] },
  extensionsToTreatAsEsm: ['.ts'],
  moduleNameMapper: { '^(\\.{1,2}/.*)\\.js$': '$1' },
  transform: { '^.+\\.ts$': ['@swc/jest', swc] },
  testMatch: ['<rootDir>/{libs/*,apps,tools}/*/{src,test}/**/*.spec.ts'],
  modulePathIgnorePatterns: ['<rootDir>/.*/dist/', '<rootDir>/.nx/'],
  workerIdleMemoryLimit: '512MB',
  maxWorkers: 2,
  // A bound for what hangs, far above what a busy machine needs: no test is about speed.
  testTimeout: 120_000,
  coverageProvider: 'v8',
};
