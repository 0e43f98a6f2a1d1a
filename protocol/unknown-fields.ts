import { clip } from './fields.ts';
import { nearest } from './nearest.ts';

const maxNames = 10;

/** The names in an object that are none of these, the first ten; undefined: all are known. */
export function unknownNames(value: object, known: ReadonlySet<string>): readonly string[] | undefined {
  let unknown: string[] | undefined;
  for (const name in value) {
    if (known.has(name)) continue;
    unknown ??= [];
    if (unknown.push(clip(name, 64)) === maxNames) break;
  }
  return unknown;
}

/** What a refusal adds where a field is misspelt: its value counts for nothing, and that may be why. */
export function misspelt(value: unknown, known: ReadonlySet<string>): string {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return '';
  for (const name of unknownNames(value, known) ?? []) {
    const meant = nearest(name, known);
    if (meant !== undefined && !Object.hasOwn(value, meant)) return `; there is no field ${name}: did you mean ${meant}?`;
  }
  return '';
}
