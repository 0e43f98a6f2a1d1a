import { expect, onTestFinished, test } from 'vitest';
import { respondRaw } from '../../src/edge/raw.ts';
import { listen } from '../../src/http/listen.ts';
import { type Upgrade, Upgrades } from '../../src/http/upgrades.ts';
import { ManualClock } from '../support/clock.ts';
import { keptLog } from '../support/log.ts';
import { head, raw, webSocket } from '../support/raw.ts';

/** A listener with two paths where sockets are opened: each answers an upgrade with its own name, and a plain request is 200. */
async function twoPaths() {
  const { log, said } = keptLog();
  const named =
    (name: string): Upgrade =>
    (_, socket) =>
      respondRaw(socket, 200, {}, name);
  const upgrades = new Upgrades({ '/ws': named('clients'), '/agent': named('workers') }, log);
  const listener = await listen({ host: '127.0.0.1', port: 0, keepAliveMs: 1_000, trustedProxies: [], clock: new ManualClock(), log });
  onTestFinished(() => listener.close());
  listener.open({ request: (_, response) => response.end('plain'), upgrade: upgrades.take });
  const ask = async (path: string, headers: Record<string, string>) => {
    const [answer] = await raw(`http://127.0.0.1:${listener.port}`, head(`GET ${path}`, headers));
    return { status: answer?.status, body: answer?.body };
  };
  return { upgrades, ask, said };
}

test.each([
  ['/ws', 'clients'],
  ['/ws/?x=1', 'clients'],
  ['/agent', 'workers'],
  ['/agent?access=1', 'workers'],
  ['/agent/', 'workers'],
])('a WebSocket at %s is opened by %s', async (path, name) => {
  const { ask } = await twoPaths();
  expect(await ask(path, webSocket)).toEqual({ status: 200, body: name });
});

test.each(['/', '/agents', '/ws/x', '/WS', '/constructor'])('at %s none is opened, which is said and logged', async (path) => {
  const { ask, said } = await twoPaths();
  expect(await ask(path, webSocket)).toEqual({ status: 404, body: 'sockets are served at /ws and /agent\n' });
  expect(said('socket refused')).toMatchObject([{ path, status: 404, message: 'sockets are served at /ws and /agent' }]);
});

test('an upgrade to something else is a plain request at each of them', async () => {
  const { upgrades, ask } = await twoPaths();
  expect(upgrades.paths).toEqual(['/ws', '/ws/', '/agent', '/agent/']);
  for (const path of upgrades.paths) {
    const answer = await ask(path, {
      Connection: 'Upgrade, HTTP2-Settings, close',
      Upgrade: 'h2c',
      'HTTP2-Settings': 'AAMAAABkAAQAoAAAAAIAAAAA',
    });
    expect(answer, path).toMatchObject({ status: 200, body: expect.stringContaining('plain') });
  }
});
