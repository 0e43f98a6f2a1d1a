import { beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { type Client, connect, type Watch, type WatchEvents } from '../../src/client/client.ts';
import { startGateway } from '../support/gateway.ts';
import { rest } from '../support/http-service.ts';
import { TcpProxy } from '../support/proxy.ts';

/** Delays are short, so that nobody waits for them. */
beforeEach(() => {
  const random = vi.spyOn(Math, 'random').mockReturnValue(0.02);
  onTestFinished(() => random.mockRestore());
});

function client(url: string): Client {
  const made = connect(url);
  onTestFinished(() => made.close());
  return made;
}

/** ada's session, and another client that watches it through a proxy. */
async function watched() {
  const gateway = await startGateway();
  const proxy = await TcpProxy.before(Number(new URL(gateway.url).port));
  const session = await client(gateway.url).newSession({ user_identity: 'ada', required_services: [] });
  const watcher = client(`http://127.0.0.1:${proxy.port}`);
  const watch = await watcher.watch(session.id);
  const contents: string[] = [];
  watch.on('MessageAdded', ({ content }) => contents.push(content));
  const say = (content: string) => rest(`${gateway.url}/api/v1/sessions/${session.id}/messages`, 'POST', { role: 'user', content });
  const heard = async (content: string) => {
    while (!contents.includes(content)) await next(watch, 'MessageAdded');
  };
  return { proxy, session, watcher, watch, contents, say, heard };
}

const next = <K extends keyof WatchEvents>(watch: Watch, type: K): Promise<WatchEvents[K]> =>
  new Promise((resolve) => {
    const off = watch.on(type, (event) => {
      off();
      resolve(event);
    });
  });

test('a watch gives every event of a session that another client holds, and its end', async () => {
  const { session, watch, contents, say, heard } = await watched();
  for (const i of [1, 2, 3]) await say(`${i}`);
  await heard('3');
  expect(contents).toEqual(['1', '2', '3']);
  await session.end();
  expect(await watch.ended).toMatchObject({ reason: 'client_ended' });
  expect(watch.status).toBe('Terminated');
});

test('it outlives its connection; nothing is lost where nothing happened meanwhile', async () => {
  const { proxy, watch, contents, say, heard } = await watched();
  await say('before');
  await heard('before');
  const resumed = next(watch, 'resumed');
  proxy.cut();
  expect(await resumed).toMatchObject({ recovered: true });
  await say('after');
  await heard('after');
  expect(contents).toEqual(['before', 'after']);
});

test('what happened without a connection is reported as lost, and the watch goes on from the snapshot', async () => {
  const { proxy, watcher, watch, contents, say, heard } = await watched();
  proxy.rule = () => 'cut';
  proxy.cut();
  while (watcher.state === 'open') await new Promise((changed) => watcher.on('state', changed));
  await say('missed');
  const resumed = next(watch, 'resumed');
  proxy.rule = () => 'pass';
  const { recovered, snapshot } = await resumed;
  expect([recovered, snapshot.status]).toEqual([false, 'Ready']);
  await say('after');
  await heard('after');
  expect(contents).toEqual(['after']);
});

test('a session that ended meanwhile ends the watch', async () => {
  const { proxy, session, watcher, watch } = await watched();
  proxy.rule = () => 'cut';
  proxy.cut();
  while (watcher.state === 'open') await new Promise((changed) => watcher.on('state', changed));
  await session.end();
  proxy.rule = () => 'pass';
  expect(await watch.ended).toMatchObject({ reason: 'client_ended' });
});

test('a watch that is stopped emits nothing more, and can be started anew', async () => {
  const { session, watcher, watch, contents, say } = await watched();
  await watch.stop();
  await watch.stop();
  expect(await watch.ended).toMatchObject({ reason: 'watch_stopped' });
  await say('unheard');
  const again = await watcher.watch(session.id);
  expect(again).not.toBe(watch);
  const heard = next(again, 'MessageAdded');
  await say('heard');
  expect(await heard).toMatchObject({ content: 'heard' });
  expect(contents).toEqual([]);
});

test('one of a session that does not exist is refused', async () => {
  const gateway = await startGateway();
  await expect(client(gateway.url).watch('6f6f4a52-0d7e-4b1c-9c0e-2f3a5b7c9d11')).rejects.toMatchObject({ code: 'SESSION_NOT_FOUND' });
});
