import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { asyncapi } from '../protocol/asyncapi.ts';
import { openapi } from '../protocol/openapi.ts';
import { version } from '../src/version.ts';
import { configReference } from './docs/config.ts';
import { fillTables } from './docs/fields.ts';
import { schemaFile } from './docs/schema.ts';
import { typesFile } from './docs/types.ts';

/** A file that is made from the code, whole or in part. */
export interface Generated {
  /** From the project's folder. */
  path: string;
  /** What the file must say. `current`: what it says now; empty where there is none. */
  make: (current: string) => string;
}

const jsonFile = (document: object) => `${JSON.stringify(document, null, 2)}\n`;

/** Every generated file. `npm run docs` writes them, `npm run docs -- --check` compares them. */
export const generated: readonly Generated[] = [
  { path: 'protocol/schema.json', make: schemaFile },
  { path: 'protocol/openapi.json', make: () => jsonFile(openapi(version)) },
  { path: 'protocol/asyncapi.json', make: () => jsonFile(asyncapi(version)) },
  { path: 'protocol/types.ts', make: typesFile },
  { path: 'protocol/PROTOCOL.md', make: fillTables },
  { path: 'CONFIG.md', make: configReference },
];

const root = join(import.meta.dirname, '..');

/** Makes every file and leaves out those that already say the same. */
export function stale(): { path: string; text: string }[] {
  return generated.flatMap(({ path, make }) => {
    const current = read(path);
    const text = make(current);
    return text === current ? [] : [{ path, text }];
  });
}

function read(path: string): string {
  try {
    return readFileSync(join(root, path), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}

function main(check: boolean): void {
  const changed = stale();
  for (const { path, text } of changed) {
    if (!check) writeFileSync(join(root, path), text);
    process.stdout.write(check ? `${path} is stale: run npm run docs\n` : `${path} written\n`);
  }
  if (check && changed.length > 0) process.exitCode = 1;
}

if (process.argv[1] === import.meta.filename) main(process.argv.includes('--check'));
