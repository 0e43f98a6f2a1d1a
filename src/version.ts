import { readFileSync } from 'node:fs';

/** The package's version. Read from the nearest package.json, which lies one folder further up in a build. */
export const version: string = readVersion();

function readVersion(): string {
  for (const up of ['../package.json', '../../package.json']) {
    try {
      return (JSON.parse(readFileSync(new URL(up, import.meta.url), 'utf8')) as { version: string }).version;
    } catch {
      // the other place
    }
  }
  return '0.0.0';
}
