import { VERSION } from '@cairn/base';

import { fieldsOf, type ConfigOutline, type DefinedField } from './definition.js';
import { showBytes } from './fields.js';
import { environmentName, flagName } from './names.js';

const HELP_COLUMNS = 100;

function showDefault(field: DefinedField): string {
  const { defaultValue, kind } = field.info;
  if (defaultValue === undefined) return 'must be given';
  if (defaultValue === '') return 'default: empty';
  if (kind === 'bytes' && typeof defaultValue === 'number') return `default: ${showBytes(defaultValue)}`;
  if (kind === 'milliseconds') return `default: ${defaultValue} ms`;
  return `default: ${defaultValue}`;
}

/** Breaks text at spaces so that no line is wider than the columns, unless one word is. */
function wrap(text: string, indent: string, columns: number): string[] {
  const lines: string[] = [];
  let line = indent;
  for (const word of text.split(' ')) {
    if (line.length > indent.length && line.length + word.length + 1 > columns) {
      lines.push(line);
      line = indent;
    }
    line += line.length > indent.length ? ` ${word}` : word;
  }
  lines.push(line);
  return lines;
}

/** The text of `--help`: every field with meaning, default and allowed values. */
export function configHelp(definition: ConfigOutline): string {
  const lines = [
    `${definition.name}: ${definition.summary}`,
    '',
    'Every field can come from a YAML file (its name), an environment variable (CAIRN_ and the name in capitals) or a',
    'flag. Flags go before variables, variables before the file.',
    '',
    '  --config-file <path>   YAML file with fields',
    '  --help                 this text',
    '  --version              the version of this program',
    '',
  ];
  for (const field of fieldsOf(definition.schema)) {
    const value = field.info.kind === 'boolean' ? '' : ` <${field.info.kind}>`;
    lines.push(`  ${flagName(field.key)}${value}   (${showDefault(field)})`);
    lines.push(...wrap(field.info.description, '      ', HELP_COLUMNS));
    lines.push(...wrap(`Allowed: ${field.info.allowed}.`, '      ', HELP_COLUMNS), '');
  }
  return lines.join('\n');
}

/** What a program is asked to print instead of starting: its help or its version. */
export function textAsked(definition: ConfigOutline, argv: readonly string[]): string | undefined {
  if (argv.includes('--help')) return configHelp(definition);
  return argv.includes('--version') ? `${VERSION}\n` : undefined;
}

function escapeCell(text: string): string {
  return text.replaceAll('|', '\\|');
}

/** A section of the configuration reference: one table row per field. */
export function configMarkdown(definition: ConfigOutline): string {
  const rows = fieldsOf(definition.schema).map((field) => {
    const cells = [
      `\`${field.key}\``,
      field.info.description,
      showDefault(field).replace('default: ', ''),
      field.info.allowed,
      `\`${flagName(field.key)}\` \`${environmentName(field.key)}\``,
    ];
    return `| ${cells.map(escapeCell).join(' | ')} |`;
  });
  return [
    `## ${definition.name}`,
    '',
    definition.summary,
    '',
    '| field | meaning | default | allowed | flag and variable |',
    '| --- | --- | --- | --- | --- |',
    ...rows,
    '',
  ].join('\n');
}
