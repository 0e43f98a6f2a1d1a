import fc, { type Arbitrary } from 'fast-check';
import { z } from 'zod';

type Schema = {
  type?: string | string[];
  enum?: unknown[];
  const?: unknown;
  anyOf?: Schema[];
  oneOf?: Schema[];
  properties?: Record<string, Schema>;
  required?: string[];
  additionalProperties?: Schema | boolean;
  items?: Schema;
  minLength?: number;
  maxLength?: number;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  maxItems?: number;
};

/** Values that fit a zod schema, as far as its JSON Schema says: what only a refinement says may be missed. */
export const arbitraryOf = (schema: z.ZodType): Arbitrary<unknown> => arbitrary(z.toJSONSchema(schema, { io: 'input' }) as Schema);

/** Values that fit a JSON Schema. Strings and lists stay short. */
export function arbitrary(schema: Schema): Arbitrary<unknown> {
  if (schema.const !== undefined) return fc.constant(schema.const);
  if (schema.enum) return fc.constantFrom(...schema.enum);
  const alternatives = schema.anyOf ?? schema.oneOf;
  if (alternatives) return fc.oneof(...alternatives.map(arbitrary));
  if (Array.isArray(schema.type)) return fc.oneof(...schema.type.map((type) => arbitrary({ ...schema, type })));
  switch (schema.type) {
    case 'null':
      return fc.constant(null);
    case 'string':
      // paths and plain ids now and then, so that some requests get all the way
      return fc.oneof(
        fc.constantFrom('/', '/nowhere', '60', 'asr', 'ada').filter((s) => s.length <= (schema.maxLength ?? 64)),
        fc.string({ minLength: schema.minLength ?? 0, maxLength: Math.min(schema.maxLength ?? 64, 64) }),
      );
    case 'integer':
      return fc.integer({ min: schema.minimum ?? -1_000, max: Math.min(schema.maximum ?? 1_000, 100_000) });
    case 'number':
      return fc.double({ min: schema.minimum ?? -1e6, max: schema.maximum ?? 1e6, noNaN: true });
    case 'boolean':
      return fc.boolean();
    case 'array':
      return fc.array(arbitrary(schema.items ?? {}), { maxLength: Math.min(schema.maxItems ?? 4, 4) });
    case 'object': {
      const fields = Object.fromEntries(Object.entries(schema.properties ?? {}).map(([name, field]) => [name, arbitrary(field)]));
      // toJSONSchema lists defaults as required on output only; on input they may be left out
      const known = fc.record(fields, { requiredKeys: (schema.required ?? []).filter((name) => name in fields) as never[] });
      if (typeof schema.additionalProperties !== 'object') return known;
      const more = fc.dictionary(fc.string({ minLength: 1, maxLength: 12 }), arbitrary(schema.additionalProperties), { maxKeys: 3 });
      return fc.tuple(more, known).map(([extra, own]) => ({ ...extra, ...own }));
    }
    default:
      return fc.jsonValue();
  }
}
