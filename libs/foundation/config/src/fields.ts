import { z } from 'zod';

/** How text from a flag, an environment variable or YAML becomes a value. */
export type FieldKind =
  | 'integer'
  | 'bytes'
  | 'milliseconds'
  | 'ratio'
  | 'text'
  | 'boolean'
  | 'choice'
  | 'address'
  | 'address-list'
  | 'peer-list';

/** What people are told about one configuration field, in `--help`, in the reference and in errors. */
export interface FieldInfo {
  readonly kind: FieldKind;
  readonly description: string;
  /** Continues "it must be …". */
  readonly allowed: string;
  /** Undefined = the field has no default and must be given. */
  readonly defaultValue: string | number | boolean | undefined;
}

/** A member of a group: its name, and where the others reach it. */
export interface PeerAddress {
  readonly name: string;
  /** Where others reach the member, as `host:port`. */
  readonly address: string;
}

const infos = z.registry<FieldInfo>();

/** The description of a field made by one of the functions below; undefined for any other schema. */
export function fieldInfoOf(schema: z.core.$ZodType): FieldInfo | undefined {
  return infos.get(schema);
}

interface NumberFieldOptions {
  readonly description: string;
  readonly default: number;
  readonly min: number;
  readonly max: number;
}

const UNITS: readonly (readonly [string, number])[] = [
  ['GiB', 2 ** 30],
  ['MiB', 2 ** 20],
  ['KiB', 2 ** 10],
];

/** Shows a number of bytes in the largest binary unit that divides it. */
export function showBytes(bytes: number): string {
  for (const [unit, size] of UNITS) {
    if (bytes >= size && bytes % size === 0) return `${bytes / size} ${unit}`;
  }
  return `${bytes} bytes`;
}

function integerSchema(options: NumberFieldOptions): z.ZodDefault<z.ZodNumber> {
  return z.number().int().min(options.min).max(options.max).default(options.default);
}

/** A whole number; name the unit last in the field's name. */
export function integerField(options: NumberFieldOptions): z.ZodDefault<z.ZodNumber> {
  return integerSchema(options).register(infos, {
    kind: 'integer',
    description: options.description,
    allowed: `a whole number from ${options.min} to ${options.max}`,
    defaultValue: options.default,
  });
}

/** A number of bytes; text may carry KiB, MiB or GiB. */
export function bytesField(options: NumberFieldOptions): z.ZodDefault<z.ZodNumber> {
  return integerSchema(options).register(infos, {
    kind: 'bytes',
    description: options.description,
    allowed: `a whole number of bytes from ${showBytes(options.min)} to ${showBytes(options.max)}`,
    defaultValue: options.default,
  });
}

/** A number of milliseconds; text may carry ms or s. */
export function millisecondsField(options: NumberFieldOptions): z.ZodDefault<z.ZodNumber> {
  return integerSchema(options).register(infos, {
    kind: 'milliseconds',
    description: options.description,
    allowed: `a whole number of milliseconds from ${options.min} to ${options.max}`,
    defaultValue: options.default,
  });
}

/** A share between 0 and 1, both included. */
export function ratioField(options: { description: string; default: number }): z.ZodDefault<z.ZodNumber> {
  return z.number().min(0).max(1).default(options.default).register(infos, {
    kind: 'ratio',
    description: options.description,
    allowed: 'a number from 0 to 1',
    defaultValue: options.default,
  });
}

/** Yes or no; as a flag, `--name` and `--no-name`. */
export function booleanField(options: { description: string; default: boolean }): z.ZodDefault<z.ZodBoolean> {
  return z.boolean().default(options.default).register(infos, {
    kind: 'boolean',
    description: options.description,
    allowed: 'true or false',
    defaultValue: options.default,
  });
}

/** Text without further rules; the default may be empty, and the description says what empty means. */
export function textField(options: { description: string; default: string }): z.ZodDefault<z.ZodString> {
  return z.string().max(4096).default(options.default).register(infos, {
    kind: 'text',
    description: options.description,
    allowed: 'text of at most 4096 characters',
    defaultValue: options.default,
  });
}

/** Text that must be given and not be empty. */
export function requiredTextField(options: { description: string }): z.ZodString {
  return z.string().min(1).max(4096).register(infos, {
    kind: 'text',
    description: options.description,
    allowed: 'text of 1 to 4096 characters',
    defaultValue: undefined,
  });
}

const NODE_NAME = /^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/;

/** The name that identifies a node for ever, whatever its address. */
export function nodeNameField(): z.ZodString {
  return z
    .string()
    .regex(NODE_NAME)
    .register(infos, {
      kind: 'text',
      description:
        'Name of this node, its identity in the cluster: a node that comes back elsewhere under its name and with ' +
        'its data is the same node. No two nodes may share one.',
      allowed: '1 to 63 lower-case letters, digits, dots and dashes, with a letter or digit at both ends',
      defaultValue: undefined,
    });
}

/** One of a few words. */
export function choiceField<const Choices extends readonly [string, ...string[]]>(options: {
  description: string;
  choices: Choices;
  default: Choices[number];
}): z.ZodDefault<z.ZodType<Choices[number], Choices[number]>> {
  const schema: z.ZodType<Choices[number], Choices[number]> = z.custom<Choices[number]>(
    (value) => typeof value === 'string' && options.choices.includes(value),
  );
  return schema.default(options.default as never).register(infos, {
    kind: 'choice',
    description: options.description,
    allowed: `one of ${options.choices.join(', ')}`,
    defaultValue: options.default,
  });
}

/** Stands before the name of a package where a word would be too easily a slip of the pen. */
export const PACKAGE_PREFIX = 'package:';
const MODULE = /^(file:\/\/\/.|\.{0,2}\/.|package:.)/;

/** One of a few words, or a module from elsewhere that does the same. */
export function choiceOrModuleField(options: {
  description: string;
  choices: readonly [string, ...string[]];
  default: string;
}): z.ZodDefault<z.ZodString> {
  return z
    .string()
    .max(4096)
    .refine((value) => options.choices.includes(value) || MODULE.test(value))
    .default(options.default)
    .register(infos, {
      kind: 'text',
      description: options.description,
      allowed:
        `one of ${options.choices.join(', ')}, or a module: a file: URL, a path that begins with "/", "./" or "../", ` +
        `or ${PACKAGE_PREFIX} and a name`,
      defaultValue: options.default,
    });
}

const HOST_PORT = /^(\[[0-9a-fA-F:.]+\]|[^\s:[\],=]+):(\d{1,5})$/;

/** Splits `host:port` (IPv6 in brackets); undefined when it is not one. */
export function parseAddress(text: string): { readonly host: string; readonly port: number } | undefined {
  const match = HOST_PORT.exec(text);
  if (match === null) return undefined;
  const port = Number(match[2]);
  if (port > 65_535) return undefined;
  const host = match[1] ?? '';
  return { host: host.startsWith('[') ? host.slice(1, -1) : host, port };
}

const ADDRESS_RULE = 'host:port, with a port from 0 to 65535 and an IPv6 host in brackets';

/** `host:port`, as every address of a node. */
export const isAddress = (text: string): boolean => parseAddress(text) !== undefined;

/** Where to listen. Port 0 lets the system choose one. */
export function addressField(options: { description: string; default: string }): z.ZodDefault<z.ZodString> {
  return z.string().refine(isAddress).default(options.default).register(infos, {
    kind: 'address',
    description: options.description,
    allowed: ADDRESS_RULE,
    defaultValue: options.default,
  });
}

/** An address that may be left empty; the description says what that means. */
export function optionalAddressField(options: { description: string }): z.ZodDefault<z.ZodString> {
  return z
    .string()
    .refine((text) => text === '' || isAddress(text))
    .default('')
    .register(infos, {
      kind: 'address',
      description: options.description,
      allowed: `empty, or ${ADDRESS_RULE}`,
      defaultValue: '',
    });
}

/** One or more addresses; as text, separated by commas. */
export function addressListField(options: { description: string }): z.ZodArray<z.ZodString> {
  return z
    .array(z.string().refine(isAddress))
    .min(1)
    .max(64)
    .register(infos, {
      kind: 'address-list',
      description: options.description,
      allowed: `1 to 64 addresses, separated by commas, each ${ADDRESS_RULE}`,
      defaultValue: undefined,
    });
}

/** Members of a group; as text, `name=host:port` separated by commas. */
export function peerListField(options: { description: string }): z.ZodArray<z.ZodCustom<PeerAddress>> {
  const peer = z.custom<PeerAddress>((value) => {
    const { name, address } = (value ?? {}) as Partial<PeerAddress>;
    return (
      typeof name === 'string' && NODE_NAME.test(name) && typeof address === 'string' && isAddress(address)
    );
  });
  return z.array(peer).min(1).max(15).register(infos, {
    kind: 'peer-list',
    description: options.description,
    allowed: `1 to 15 members, separated by commas, each name=host:port`,
    defaultValue: undefined,
  });
}
