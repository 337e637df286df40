import type { z } from 'zod';
import { assert } from '@cairn/base';
import { fieldInfoOf, type FieldInfo } from './fields.js';

/** An object schema whose members were all made by the functions of `fields.ts`. */
export type ConfigSchema = z.ZodObject<z.ZodRawShape>;

/** What help and reference need of a definition. */
export interface ConfigOutline {
  /** Name of the program, as shown in its help. */
  readonly name: string;
  /** One sentence: what the program is. */
  readonly summary: string;
  readonly schema: ConfigSchema;
}

/** Everything that defines the configuration of one program. */
export interface ConfigDefinition<Schema extends ConfigSchema> extends ConfigOutline {
  readonly schema: Schema;
  /** Relations between fields: one sentence per violation, empty when all hold. */
  readonly check?: (values: z.output<Schema>) => readonly string[];
}

/** One field of a definition with everything that is known about it. */
export interface DefinedField {
  readonly key: string;
  readonly info: FieldInfo;
  readonly schema: z.core.$ZodType;
}

/** The fields in the order they were defined. */
export function fieldsOf(schema: ConfigSchema): DefinedField[] {
  return Object.entries(schema.shape).map(([key, field]) => {
    const info = fieldInfoOf(field);
    assert(info !== undefined, 'a configuration field was not made by fields.ts', { key });
    return { key, info, schema: field };
  });
}
