import type { z } from 'zod';
import { clip } from './fields.ts';

/** One thing that is wrong with a value; `path` is empty where it is the value itself. */
export interface Issue {
  path: string;
  message: string;
}
/** What is wrong with a value: the first issues, and the first of them in one line. */
export interface Fault {
  success: false;
  issues: Issue[];
  line: string;
}

const maxIssues = 10;

/** Checks a value; everything that comes in passes here, so that all of it is refused in the same words. */
export function check<S extends z.ZodType>(schema: S, value: unknown): { success: true; data: z.output<S> } | Fault {
  // words are looked for only where something is wrong: with its own map zod takes its slower way
  const quick = schema.safeParse(value);
  if (quick.success) return quick;
  const result = schema.safeParse(value, inWords);
  if (result.success) return result;
  const issues = result.error.issues
    .slice(0, maxIssues)
    .map(({ path, message }) => ({ path: clip(path.map(String).join('.'), 256), message: clip(message, 256) }));
  const [first] = issues;
  return { success: false, issues, line: `${first?.path ? `${first.path}: ` : ''}${first?.message}` };
}

/** For what is checked here alone: an error map set globally would change the words of every program that uses the library. */
const inWords: z.core.ParseContext<z.core.$ZodIssue> = { error: messageOf };

const types: Record<string, string> = {
  string: 'a string',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  object: 'an object',
  record: 'an object',
  array: 'an array',
};
const formats: Record<string, string> = { url: 'a URL', datetime: 'a time in ISO-8601, as 2026-01-02T03:04:05Z' };
const units: Record<string, string> = { string: 'character', array: 'item' };

const either = (words: readonly string[]) => [...new Set(words)].join(' or ');

/** What is wrong, in words that follow the name of the field; a schema's own words are stronger. */
function messageOf(issue: z.core.$ZodRawIssue): string {
  if (issue.input === undefined && issue.code !== 'custom') return 'is required';
  switch (issue.code) {
    case 'invalid_type':
      return `must be ${types[issue.expected] ?? issue.expected}`;
    case 'invalid_value':
      return issue.values.length === 1 ? `must be ${String(issue.values[0])}` : `must be one of ${issue.values.map(String).join(', ')}`;
    case 'too_big':
      return bound(issue.origin, issue.inclusive === false ? 'less than' : 'at most', issue.maximum);
    case 'too_small':
      return bound(issue.origin, issue.inclusive === false ? 'more than' : 'at least', issue.minimum);
    case 'invalid_format':
      return formats[issue.format] ? `must be ${formats[issue.format]}` : `must match ${issue.pattern}`;
    case 'invalid_key':
      return `the key ${issue.issues[0]?.message}`;
    case 'invalid_union':
      return unionMessage(issue.errors);
    default:
      return 'is not valid';
  }
}

function bound(origin: string, word: string, limit: number | bigint): string {
  const unit = units[origin];
  return unit === undefined ? `must be ${word} ${limit}` : `must have ${word} ${limit} ${unit}${limit === 1 ? '' : 's'}`;
}

/** What the alternative says that is of the value's kind; else what the value may be. */
function unionMessage(alternatives: readonly (readonly z.core.$ZodIssue[])[]): string {
  const isOtherKind = ({ code, path }: z.core.$ZodIssue) => path.length === 0 && (code === 'invalid_type' || code === 'invalid_value');
  const [meant, another] = alternatives.filter((issues) => !issues.some(isOtherKind));
  const [issue] = meant ?? [];
  if (issue && !another) return `${issue.path.length > 0 ? `${issue.path.map(String).join('.')}: ` : ''}${issue.message}`;
  const kinds = alternatives.flatMap((issues) => issues.filter(isOtherKind).map(({ message }) => message.replace(/^must be /, '')));
  return kinds.length > 0 ? `must be ${either(kinds)}` : 'is not valid';
}
