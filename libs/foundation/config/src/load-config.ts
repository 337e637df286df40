import { CairnError } from '@cairn/base';
import type { z } from 'zod';
import { fieldsOf, type ConfigDefinition, type ConfigSchema, type DefinedField } from './definition.js';
import { environmentName, flagName } from './names.js';
import {
  configFileFlag,
  readEnvironment,
  readFileSource,
  readFlags,
  type ConfigSource,
  type Environment,
  type Gathered,
  type RawValue,
} from './read-sources.js';
import { showValue } from './show-value.js';

export interface LoadConfigOptions<Schema extends ConfigSchema> extends ConfigDefinition<Schema> {
  /** Arguments without the interpreter and the script: `process.argv.slice(2)`. */
  readonly argv: readonly string[];
  /** `process.env`. */
  readonly env: Environment;
  /** A YAML file; the flag `--config-file` and then the variable `CAIRN_CONFIG_FILE` go before it. */
  readonly filePath?: string;
}

export interface LoadedConfig<Schema extends ConfigSchema> {
  readonly values: z.output<Schema>;
  /** Per field: which source won. */
  readonly sources: Readonly<Record<string, ConfigSource>>;
  /** Sentences worth a log line: variables that look misspelt. */
  readonly warnings: readonly string[];
  /** One line per field: name, value, source. */
  describe(): string;
}

/** True when `--help` is among the arguments: print `configHelp` and leave. */
export function wantsHelp(argv: readonly string[]): boolean {
  return argv.includes('--help');
}

function checkField(field: DefinedField, raw: RawValue | undefined, gathered: Gathered): unknown {
  const { key, info } = field;
  const { problems } = gathered;
  if (raw === undefined && info.defaultValue === undefined) {
    // It may stand in the file that cannot be read: that sentence says enough.
    if (gathered.isFileUnread) return undefined;
    problems.push(
      `${key} must be given, with the flag ${flagName(key)} or the environment variable ${environmentName(key)}: ` +
        `${info.allowed}.`,
    );
    return undefined;
  }
  const result = (field.schema as z.ZodType).safeParse(raw?.value);
  if (result.success) return result.data;
  const origin = raw?.origin ?? 'the default';
  problems.push(`${key} is ${showValue(raw?.value)} (from ${origin}): it must be ${info.allowed}.`);
  return undefined;
}

/**
 * Reads the configuration of a program: the file is overridden by environment variables, those by flags.
 *
 * @throws CairnError `INVALID_ARGUMENT` whose message has one sentence per problem (all of them, not only the
 *   first), each with the offending value, where it came from and what is allowed, after one for each
 *   variable that looks misspelt; `details.problems` is the list.
 */
export function loadConfig<Schema extends ConfigSchema>(
  options: LoadConfigOptions<Schema>,
): LoadedConfig<Schema> {
  const fields = fieldsOf(options.schema);
  const gathered: Gathered = { raw: new Map(), problems: [], warnings: [], isFileUnread: false };
  const path = configFileFlag(options.argv) ?? options.env['CAIRN_CONFIG_FILE'] ?? options.filePath;
  if (path !== undefined) readFileSource(path, fields, gathered);
  readEnvironment(options.env, fields, gathered);
  readFlags(options.argv, fields, gathered);

  const checked: Record<string, unknown> = {};
  const sources: Record<string, ConfigSource> = {};
  for (const field of fields) {
    const raw = gathered.raw.get(field.key);
    checked[field.key] = checkField(field, raw, gathered);
    sources[field.key] = raw?.source ?? 'default';
  }
  const values = checked as z.output<Schema>;
  if (gathered.problems.length === 0) gathered.problems.push(...(options.check?.(values) ?? []));
  if (gathered.problems.length > 0) {
    // A misspelt variable may be the reason of a problem, and is told of nowhere else then.
    const problems = [...gathered.warnings, ...gathered.problems];
    throw new CairnError('INVALID_ARGUMENT', problems.join('\n'), { details: { problems } });
  }
  return {
    values,
    sources,
    warnings: gathered.warnings,
    describe: () => describeFields(fields, checked, sources),
  };
}

function describeFields(
  fields: readonly DefinedField[],
  values: Readonly<Record<string, unknown>>,
  sources: Readonly<Record<string, ConfigSource>>,
): string {
  const width = Math.max(...fields.map((field) => field.key.length));
  return fields
    .map(({ key }) => `${key.padEnd(width)}  ${showValue(values[key])}  (${sources[key] ?? 'default'})`)
    .join('\n');
}
