import js from '@eslint/js';
import tseslint from 'typescript-eslint';

// The layers are checked exactly by test/tidy.test.ts, which resolves every import; here an editor shows a breach while it is typed.
const layers = {
  core: ['ports', 'adapters', 'reconciler', 'config', 'api', 'agent', 'cli', 'web', 'bin', 'generated'],
  ports: ['adapters', 'reconciler', 'config', 'api', 'agent', 'cli', 'web', 'bin', 'generated'],
  adapters: ['reconciler', 'api', 'agent', 'cli', 'web', 'bin'],
  reconciler: ['adapters', 'api', 'agent', 'cli', 'web', 'bin', 'generated'],
  config: ['ports', 'adapters', 'reconciler', 'api', 'agent', 'cli', 'web', 'bin', 'generated'],
  api: ['adapters', 'agent', 'cli', 'bin', 'generated'],
  agent: ['adapters', 'api', 'cli', 'web', 'bin', 'generated'],
  cli: ['adapters', 'api', 'agent', 'web', 'bin', 'generated'],
};

const outward = (layer, forbidden) => ({
  files: [`src/${layer}/**/*.ts`],
  ignores: [`src/${layer}/compose/**`],
  rules: {
    '@typescript-eslint/no-restricted-imports': [
      'error',
      {
        patterns: [
          { regex: `^(\\.\\./)+(${forbidden.join('|')})/`, message: `${layer} may not import this layer: arrows point inward.` },
          ...(layer === 'core' ? purePackages : []),
        ],
      },
    ],
  },
});

const purePackages = [
  { regex: '^(?!\\.|node:crypto$)', message: 'The core imports nothing from outside but pure functions of node:crypto.' },
  { regex: '^node:crypto$', importNamePattern: '^(random|generate|createPrivateKey|sign|webcrypto|subtle|getRandom)', message: 'No randomness and no keys in the core.' },
];

const impureGlobals = ['Promise', 'Date', 'Intl', 'process', 'console', 'performance', 'crypto', 'globalThis', 'fetch', 'WebSocket'].concat(
  ['setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask'],
);

const erasable = [
  { selector: 'TSEnumDeclaration', message: 'No enums: a union of literals is erased.' },
  { selector: 'TSModuleDeclaration[declare!=true]', message: 'No namespaces: a file is a module.' },
  { selector: 'Decorator', message: 'No decorators.' },
];

const synchronous = [
  { selector: ':function[async=true]', message: 'The core is synchronous.' },
  { selector: 'AwaitExpression, ForOfStatement[await=true]', message: 'The core is synchronous.' },
  { selector: 'ImportExpression', message: 'The core loads nothing lazily.' },
  { selector: 'TSTypeReference > Identifier[name="Promise"]', message: 'The core is synchronous.' },
];

export default tseslint.config(
  { ignores: ['node_modules/', 'coverage/', 'examples/', 'src/generated/*', '!src/generated/generate.js', '.stella/'] },
  js.configs.recommended,
  {
    languageOptions: {
      globals: { process: 'readonly', console: 'readonly', URL: 'readonly', Buffer: 'readonly', setTimeout: 'readonly', clearTimeout: 'readonly' },
    },
    linterOptions: { noInlineConfig: true },
    rules: {
      // Control characters are what this product looks for in names, headers and paths.
      'no-control-regex': 'off',
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'no-var': 'error',
      'prefer-const': 'error',
      'no-restricted-syntax': ['error', ...erasable],
      'max-lines': ['error', { max: 500 }],
      'max-depth': ['error', 4],
      'max-params': ['error', 6],
    },
  },
  { files: ['src/**'], rules: { 'max-lines-per-function': ['error', { max: 70 }], 'no-console': 'error' } },
  ...tseslint.configs.strict.map((config) => ({ ...config, files: ['**/*.ts'] })),
  {
    files: ['**/*.ts'],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      // Where the compiler already says it, or a habit of ours says otherwise.
      'no-undef': 'off',
      '@typescript-eslint/no-unused-vars': 'off',
      '@typescript-eslint/no-invalid-void-type': 'off',
      '@typescript-eslint/no-dynamic-delete': 'off',
      // With types: what hides a failure or a case.
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/only-throw-error': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/no-for-in-array': 'error',
      '@typescript-eslint/require-array-sort-compare': ['error', { ignoreStringArrays: true }],
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports', disallowTypeAnnotations: false }],
    },
  },
  { files: ['src/**/*.ts'], ignores: ['src/bin/**'], rules: { 'no-restricted-properties': ['error', ...processProperties()] } },
  ...Object.entries(layers).map(([layer, forbidden]) => outward(layer, forbidden)),
  {
    files: ['src/core/**/*.ts'],
    rules: {
      'no-restricted-globals': ['error', ...impureGlobals.map((name) => ({ name, message: 'The core is called with what it needs.' }))],
      'no-restricted-properties': ['error', ...processProperties(), { object: 'Math', property: 'random', message: 'No chance in the core.' }],
      'no-restricted-syntax': ['error', ...erasable, ...synchronous],
    },
  },
  // The one package of the core, in one file: it parses and evaluates the expressions of gates (decision 0024).
  {
    files: ['src/core/model/expression.ts'],
    rules: { '@typescript-eslint/no-restricted-imports': ['error', { patterns: [{ regex: '^(?!\\.|@marcbachmann/cel-js$)', message: 'This file imports the expression language and nothing else.' }] }] },
  },
  {
    files: ['test/**/*.ts'],
    rules: {
      // A test knows what it has just made.
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-empty-function': 'off',
    },
  },
);

/** The surroundings of the process, which only bin reads and sets. */
function processProperties() {
  return ['env', 'argv', 'exit', 'exitCode', 'stdin', 'stdout', 'stderr', 'cwd', 'chdir'].map((property) => ({
    object: 'process',
    property,
    message: 'Only src/bin touches the process: take what you need as a value.',
  }));
}
