import { readFileSync } from 'node:fs';
import { messageOf } from '@cairn/base';
import { parse as parseYaml } from 'yaml';
import type { DefinedField } from './definition.js';
import { nearestName } from './nearest-name.js';
import { ENVIRONMENT_PREFIX, environmentName, flagName } from './names.js';
import { parseText, parseYamlValue } from './parse-text.js';

/** Where a value came from. */
export type ConfigSource = 'default' | 'file' | 'env' | 'flag';

/** A value before it was checked. */
export interface RawValue {
  readonly value: unknown;
  readonly source: ConfigSource;
  /** For sentences: "the flag --name", "the file cairn.yaml". */
  readonly origin: string;
}

export type Environment = Readonly<Record<string, string | undefined>>;

/** What one pass over a source adds to. */
export interface Gathered {
  readonly raw: Map<string, RawValue>;
  readonly problems: string[];
  readonly warnings: string[];
  /** There is a file, and nobody knows what is in it. */
  isFileUnread: boolean;
}

/** Flags that every program knows besides its fields. */
const COMMON_FLAGS = ['--help', '--version', '--config-file'];
/** Variables that other parts of the product read: no typing errors of a field. */
const COMMON_VARIABLES = ['CAIRN_CONFIG_FILE', 'CAIRN_ENDPOINT'];

function didYouMean(given: string, known: Iterable<string>): string {
  const nearest = nearestName(given, known);
  return nearest === undefined ? '' : ` Did you mean ${nearest}?`;
}

/** Reads a flat YAML mapping of field names. */
export function readFileSource(path: string, fields: readonly DefinedField[], gathered: Gathered): void {
  let document: unknown;
  try {
    document = parseYaml(readFileSync(path, 'utf8'));
  } catch (error) {
    gathered.problems.push(`The configuration file ${path} cannot be read: ${messageOf(error)}`);
    gathered.isFileUnread = true;
    return;
  }
  if (document === null || document === undefined) return;
  if (typeof document !== 'object' || Array.isArray(document)) {
    gathered.problems.push(`The configuration file ${path} must hold "field: value" lines at its top level.`);
    gathered.isFileUnread = true;
    return;
  }
  const byKey = new Map(fields.map((field) => [field.key, field]));
  for (const [key, value] of Object.entries(document)) {
    const field = byKey.get(key);
    if (field === undefined) {
      const hint = didYouMean(key, byKey.keys());
      gathered.problems.push(`The configuration file ${path} names the unknown field ${key}.${hint}`);
      continue;
    }
    const parsed = parseYamlValue(field.info.kind, value);
    gathered.raw.set(key, { value: parsed, source: 'file', origin: `the file ${path}` });
  }
}

/**
 * Reads `CAIRN_*` variables. An unknown one is a warning and only when it looks like a misspelt field:
 * orchestrators put variables of their own under the names of services, and other tools of ours read some
 * too.
 */
export function readEnvironment(env: Environment, fields: readonly DefinedField[], gathered: Gathered): void {
  const known = new Map(fields.map((field) => [environmentName(field.key), field]));
  for (const [name, text] of Object.entries(env)) {
    if (text === undefined || !name.startsWith(ENVIRONMENT_PREFIX)) continue;
    const field = known.get(name);
    if (field === undefined) {
      const hint = COMMON_VARIABLES.includes(name) ? '' : didYouMean(name, known.keys());
      if (hint !== '') gathered.warnings.push(`The environment variable ${name} is unknown.${hint}`);
      continue;
    }
    const origin = `the environment variable ${name}`;
    gathered.raw.set(field.key, { value: parseText(field.info.kind, text), source: 'env', origin });
  }
}

interface FlagToken {
  readonly name: string;
  readonly text: string | undefined;
}

/**
 * `maybe`: an unknown flag; what follows it is taken for its value, so that one mistake gives one sentence.
 */
type TakesValue = 'yes' | 'no' | 'maybe';

/** Splits an argument list into flags; a flag's value is behind `=` or the next argument. */
function flagTokens(
  argv: readonly string[],
  takesValue: (name: string) => TakesValue,
  problems: string[],
): FlagToken[] {
  const tokens: FlagToken[] = [];
  for (let at = 0; at < argv.length; at += 1) {
    const argument = argv[at] ?? '';
    if (!argument.startsWith('--')) {
      problems.push(`The argument ${JSON.stringify(argument)} is not a flag; flags look like --name value.`);
      continue;
    }
    const equals = argument.indexOf('=');
    if (equals >= 0) {
      tokens.push({ name: argument.slice(0, equals), text: argument.slice(equals + 1) });
      continue;
    }
    const wanted = takesValue(argument);
    const next = argv[at + 1];
    const text = wanted === 'no' || next?.startsWith('--') === true ? undefined : next;
    if (text !== undefined) at += 1;
    if (text === undefined && wanted === 'yes') problems.push(`The flag ${argument} needs a value.`);
    else tokens.push({ name: argument, text });
  }
  return tokens;
}

/** The value of `--config-file`, if given. */
export function configFileFlag(argv: readonly string[]): string | undefined {
  for (const [at, argument] of argv.entries()) {
    if (argument === '--config-file') return argv[at + 1];
    if (argument.startsWith('--config-file=')) return argument.slice('--config-file='.length);
  }
  return undefined;
}

/** Reads `--name value`, `--name=value`, `--switch` and `--no-switch`. */
export function readFlags(
  argv: readonly string[],
  fields: readonly DefinedField[],
  gathered: Gathered,
): void {
  const known = new Map(fields.map((field) => [flagName(field.key), field]));
  const takesValue = (name: string): TakesValue => {
    if (name === '--config-file') return 'yes';
    const field = known.get(name) ?? known.get(`--${name.slice('--no-'.length)}`);
    if (field === undefined) return name === '--help' ? 'no' : 'maybe';
    return field.info.kind === 'boolean' ? 'no' : known.has(name) ? 'yes' : 'maybe';
  };
  const seen = new Set<string>();
  for (const { name, text } of flagTokens(argv, takesValue, gathered.problems)) {
    if (COMMON_FLAGS.includes(name)) continue;
    const negated = name.startsWith('--no-') ? known.get(`--${name.slice('--no-'.length)}`) : undefined;
    const field =
      known.get(name) ?? (negated?.info.kind === 'boolean' && text === undefined ? negated : undefined);
    if (field === undefined) {
      gathered.problems.push(
        `The flag ${name} is unknown.${didYouMean(name, [...known.keys(), ...COMMON_FLAGS])}`,
      );
      continue;
    }
    if (seen.has(field.key)) gathered.problems.push(`The flag ${name} is given twice.`);
    seen.add(field.key);
    const value = text === undefined ? field === known.get(name) : parseText(field.info.kind, text);
    gathered.raw.set(field.key, { value, source: 'flag', origin: `the flag ${name}` });
  }
}
