import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { events } from '../../protocol/events.ts';
import * as library from '../../src/client/client.ts';
import { Session } from '../../src/client/session.ts';
import { Watch } from '../../src/client/watch.ts';
import { connectService } from '../support/client.ts';
import { startGateway } from '../support/gateway.ts';
import { Child, root } from '../support/process.ts';

const readme = readFileSync(join(root, 'src/client/README.md'), 'utf8');
const [short = '', long = '', again = ''] = [...readme.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code]) => code);

// inside the folder of the tests, where what is imported is TypeScript
const folder = mkdtempSync(join(import.meta.dirname, 'readme-'));
afterAll(() => rmSync(folder, { recursive: true }));
const written = (name: string, code: string) => {
  const file = join(folder, name);
  writeFileSync(file, code);
  return file;
};
const room = written('room.ts', 'export class Room { async connect(...given: string[]) { console.log("joins", ...given); } }');

/** Runs an example against a gateway with a service. */
async function run(name: string, code: string): Promise<Child> {
  const gateway = await startGateway();
  await connectService(gateway.url, 'asr', { metadata: { type: 'ASR' } });
  return runAt(gateway.url, name, code);
}

function runAt(url: string, name: string, code: string): Child {
  const file = written(
    name,
    code
      .replace("'session-gateway/client'", `'${join(root, 'src/client/client.ts')}'`)
      .replace("'livekit-client'", `'${room}'`)
      .replace('ws://localhost:8080/ws', `${url.replace('http', 'ws')}/ws`),
  );
  return new Child(process.execPath, ['--import', 'tsx', file]);
}

describe('the README', () => {
  test('has a short example that joins the room, and ends', async () => {
    const child = await run('short.ts', short);
    expect(await child.exited).toEqual({ code: 0, signal: null });
    expect(child.lines).toEqual(['joins ws://livekit.test client-token-of-ada']);
  });

  test("of the project has an example that joins the user's own room, and ends", async () => {
    const main = readFileSync(join(root, 'README.md'), 'utf8');
    const [, client = ''] = /^```ts\n(import [^\n]*'livekit-client';\n.*?)^```$/ms.exec(main) ?? [];
    const child = await run('main.ts', client);
    expect(await child.exited).toEqual({ code: 0, signal: null });
    expect(child.lines).toEqual(['joins ws://livekit.test client-token-of-ada']);
  });

  test('has a long example that says what it says, and ends by itself', async () => {
    const child = await run('long.ts', long);
    expect(await child.exited).toEqual({ code: 0, signal: null });
    expect(child.lines).toEqual(['user: hello', 'over: client_ended']);
  });

  test('has an example that gets its session back after a page was loaded again', async () => {
    const gateway = await startGateway();
    await connectService(gateway.url, 'asr');
    const tab = (key: string) => `globalThis.sessionStorage = { getItem: () => ${key}, setItem: (_, key) => console.log('key', key) };\n`;
    const first = runAt(gateway.url, 'again-1.ts', tab('null') + again);
    const key = (await first.line('key')).split(' ')[1] ?? '';
    expect(await first.line('a new call')).toBe('a new call []');
    first.kill('SIGKILL');
    await first.exited;
    const second = runAt(gateway.url, 'again-2.ts', tab(`'${key}'`) + again);
    expect(await second.line('the same call')).toBe('the same call []');
    second.kill('SIGKILL');
    await second.exited;
  });

  test('names every member, event, option, reason and error, and no other', () => {
    const named = [...readme.matchAll(/`([^`\n]+)`/g)].map(([, code = '']) => code);
    const members = (owner: { prototype: object }) => Object.getOwnPropertyNames(owner.prototype).filter((name) => name !== 'constructor');
    const has = (name: string) =>
      expect(
        named.some(
          (code) => code === name || code.startsWith(`${name}(`) || code.startsWith(`${name}: `) || code.startsWith(`on('${name}'`),
        ),
        name,
      ).toBe(true);
    for (const name of [...members(library.Client), ...members(Session), ...members(Watch), 'closed', 'opened', ...Object.keys(events)])
      has(name);
    for (const name of Object.keys(library).filter((name) => name !== 'Client' && name !== 'connect')) has(name);
    for (const name of [
      'reason',
      'resumed',
      'connection',
      'link',
      'watch_stopped',
      'watch_refused',
      'event',
      'ServiceProgress',
      'error',
      'connecting',
      'open',
      'waiting',
    ])
      has(name);
    for (const name of [
      'WebSocket',
      'heartbeatMs',
      'answerMs',
      'reconnect',
      'maxQueued',
      'token',
      'taken_over',
      'resume_invalid',
      'resume_expired',
      'connection_closed',
    ])
      has(name);
    const calls = named.flatMap((code) => /^([a-zA-Z]+)\(/.exec(code)?.[1] ?? []);
    const known = new Set([...members(library.Client), ...members(Session), ...members(Watch)]);
    expect(calls.filter((name) => !known.has(name))).toEqual([]);
  });
});
