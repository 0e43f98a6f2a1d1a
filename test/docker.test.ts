import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import packageJson from '../package.json' with { type: 'json' };
import { settings } from '../src/config.ts';
import { loadConfig, warnings } from '../src/config-load.ts';
import { root } from './support/process.ts';

const read = (name: string) => readFileSync(join(root, name), 'utf8');
const dockerfile = read('Dockerfile');
/** A container's host name: its id. */
const container = '3f1c0ffee001';

test('what the image copies is there and is sent to the build', () => {
  const sent = read('.dockerignore')
    .split('\n')
    .filter((line) => line.startsWith('!'));
  const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, names = '']) => names.split(' '));
  expect(copied).toContain('src');
  for (const name of copied) {
    expect(existsSync(join(root, name)), name).toBe(true);
    expect(sent, name).toContain(`!${name}`);
  }
});

test('the image runs the command of the package on a Node that the package takes, by scripts that exist', () => {
  expect(dockerfile).toContain(`CMD ["node", "${packageJson.bin['session-gateway']}"]`);
  const least = Number(/\d+/.exec(packageJson.engines.node)?.[0]);
  for (const [, version] of dockerfile.matchAll(/^FROM node:(\d+)/gm)) expect(Number(version)).toBeGreaterThanOrEqual(least);
  for (const [, script = ''] of dockerfile.matchAll(/npm run (\w+)/g)) expect(packageJson.scripts).toHaveProperty(script);
});

test('the settings of the image and of compose.yaml exist, start together, and keep the rooms findable', () => {
  const compose = read('compose.yaml');
  const [, block = ''] = /^ {2}gateway:[\s\S]*?^ {4}environment:\n((?: {6}.*\n?)+)/m.exec(compose) ?? [];
  const ofCompose = [...block.matchAll(/^ {6}(\w+): (.+)$/gm)].map(([, name = '', value = '']) => [name, value] as const);
  const ofImage = [...dockerfile.matchAll(/^ENV (?!NODE_ENV)(\w+)=(\S+)$/gm)].map(([, name = '', value = '']) => [name, value] as const);
  const env = Object.fromEntries([...ofImage, ...ofCompose]);
  expect(Object.keys(env).filter((name) => !settings.some((setting) => setting.env === name))).toEqual([]);
  expect(env).toMatchObject({ SERVER_HOST: '0.0.0.0', AUTH_MODE: 'none', GATEWAY_NAME: expect.any(String) });
  expect(warnings(loadConfig(env), container)).not.toContainEqual(expect.stringContaining('GATEWAY_NAME'));
  expect(warnings(loadConfig({ ...env, GATEWAY_NAME: '' }), container)).toContainEqual(expect.stringContaining('GATEWAY_NAME'));
  // nothing authenticates: every port is published on loopback alone
  const ports = [...compose.matchAll(/^ {6}- (\S*:\d+)(?:\/udp)?(?: #.*)?$/gm)].map(([, port]) => port);
  expect(ports).toHaveLength(4);
  for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:/);
});
