import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { commands } from '../../protocol/commands.ts';
import * as library from '../../src/client/service.ts';
import { TestClient } from '../support/client.ts';
import { startGateway } from '../support/gateway.ts';
import { Child, root } from '../support/process.ts';
import { listed } from './served.ts';

const readme = readFileSync(join(root, 'src/client/SERVICE.md'), 'utf8');
const [, example = ''] = /^```ts\n(.*?)^```$/ms.exec(readme) ?? [];

// inside the folder of the tests, where what is imported is TypeScript
const folder = mkdtempSync(join(import.meta.dirname, 'readme-'));
afterAll(() => rmSync(folder, { recursive: true }));
const written = (name: string, code: string) => {
  const file = join(folder, name);
  writeFileSync(file, code);
  return file;
};

test('the example is a service, which leaves and ends when it is asked to stop', async () => {
  const gateway = await startGateway();
  const room = 'connect = async (...given: string[]) => console.log("joins", ...given); disconnect = () => console.log("leaves");';
  const file = written(
    'service.ts',
    example
      .replace("'session-gateway/service'", `'${join(root, 'src/client/service.ts')}'`)
      .replace("'@livekit/rtc-node'", `'${written('room.ts', `export class Room { ${room} }`)}'`)
      .replace('ws://localhost:8080/ws', `${gateway.url.replace('http', 'ws')}/ws`),
  );
  const child = new Child(process.execPath, ['--import', 'tsx', file]);
  const client = await TestClient.connect(gateway.url);
  await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: [{ type: 'ASR' }] });
  await client.next('SessionReady');
  child.kill('SIGTERM');
  await expect.poll(async () => (await listed(gateway.url)).availability).toBe('draining');
  await client.ask({ type: 'EndSessionRequest' });
  await client.next('SessionEnded');
  expect(await child.exited).toEqual({ code: 0, signal: null });
  expect(child.lines).toEqual(['joins ws://livekit.test service-token-of-asr-1', 'leaves']);
});

test('every member, option and field is named, and no other', () => {
  const named = [...readme.matchAll(/`([^`\n]+)`/g)].map(([, code = '']) => code);
  const has = (name: string) =>
    expect(
      named.some((code) => code === name || code.startsWith(`${name}(`)),
      name,
    ).toBe(true);
  const members = Object.getOwnPropertyNames(library.Service.prototype).filter((name) => name !== 'constructor');
  const options: Required<{ [K in keyof library.ServiceOptions]: true }> = {
    service_id: true,
    instance_id: true,
    metadata: true,
    max_sessions: true,
    accept: true,
    WebSocket: true,
    heartbeatMs: true,
    answerMs: true,
    reconnect: true,
    token: true,
  };
  const own = ['signal', 'presence', 'progress', 'leave', 'on'];
  const fields = Object.keys(commands.JoinRoomRequest.body.shape);
  for (const name of [...members, 'registered', 'closed', ...Object.keys(options), ...fields, ...own]) has(name);
  const calls = named.flatMap((code) => /^([a-zA-Z]+)\(/.exec(code)?.[1] ?? []);
  expect(calls.filter((name) => ![...members, ...own].includes(name))).toEqual([]);
});
