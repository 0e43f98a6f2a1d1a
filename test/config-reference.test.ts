import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { settings } from '../src/config.ts';
import { loadConfig } from '../src/config-load.ts';

const markdown = readFileSync(new URL('../CONFIG.md', import.meta.url), 'utf8');
const [everything = '', development = ''] = [...markdown.matchAll(/^```toml\n([\s\S]*?)^```$/gm)].map(([, toml]) => toml);

test('the complete example names every setting and changes nothing', () => {
  for (const { section, key } of settings) {
    const [, table = ''] = `\n${everything}`.split(`\n[${section}]\n`);
    expect(table.split('\n[')[0], `${section}.${key}`).toMatch(new RegExp(`^(# )?${key} = `, 'm'));
  }
  expect(loadConfig({}, {}, [{ name: 'CONFIG.md', text: everything }])).toEqual(loadConfig({}));
});

test('the development example is taken', () => {
  expect(loadConfig({}, {}, [{ name: 'CONFIG.md', text: development }])).toMatchObject({
    server: { host: '0.0.0.0', port: 8080, workers: 4 },
    livekit: { server_url: 'http://localhost:7880', api_key: 'devkey', api_secret: 'secret' },
    storage: { storage_type: 'memory' },
    logging: { level: 'debug', format: 'json' },
  });
});
