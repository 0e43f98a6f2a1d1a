import { expect, test } from 'vitest';
import { SUBPROTOCOL } from '../../protocol/version.ts';
import { makeLog } from '../../src/log/log.ts';
import { TestClient } from '../support/client.ts';
import { startGateway } from '../support/gateway.ts';

async function connected() {
  const { url } = await startGateway();
  const client = await TestClient.connect(url, [SUBPROTOCOL]);
  await client.next('Hello');
  return { url, client };
}

test('an answer names the fields that its request does not have', async () => {
  const { client } = await connected();
  const made = await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', requred_services: ['asr'], room_nam: 'kitchen' });
  expect(made).toMatchObject({ type: 'NewSessionResponse', ignored: ['requred_services', 'room_nam'] });
  expect(await client.ask({ type: 'Ping', T: 1 })).toMatchObject({ type: 'Pong', ignored: ['T'] });
});

test('an answer to a request of known fields names none, whatever was asked before', async () => {
  const { client } = await connected();
  await client.ask({ type: 'Ping', x: 1 });
  await client.ask({ type: 'ListSessionsRequest', id: 'again', x: 1 });
  await client.ask({ type: 'EndSessionRequest', id: 'again', y: 1 });
  expect(await client.ask({ type: 'ListSessionsRequest', id: 'again' })).not.toHaveProperty('ignored');
  expect(await client.ask({ type: 'Ping', id: 'again' })).not.toHaveProperty('ignored');
});

test('each answer names those of its own request, in whichever order they come', async () => {
  const { client } = await connected();
  client.send({ type: 'NewSessionRequest', id: '1', user_identity: 'ada', first: 1 });
  client.send({ type: 'Ping', id: '1', second: 2 });
  expect(await client.next('NewSessionResponse')).toMatchObject({ ignored: ['first'] });
  expect(await client.next('Pong')).toMatchObject({ ignored: ['second'] });
});

test('ten are named, each up to 64 characters', async () => {
  const { client } = await connected();
  const fields = Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`${i}`.padStart(100, 'x'), i]));
  const { ignored } = await client.ask({ type: 'Ping', ...fields });
  expect(ignored).toEqual(Array(10).fill('x'.repeat(64)));
});

test('what may hold any keys has no unknown ones', async () => {
  const { client } = await connected();
  const made = await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', metadata: { anything: 'x' } });
  expect(made).not.toHaveProperty('ignored');
});

test('without the subprotocol no answer has it', async () => {
  const { url } = await connected();
  const client = await TestClient.connect(url);
  expect(await client.ask({ type: 'Ping', x: 1 })).not.toHaveProperty('ignored');
});

test('a registration names them too', async () => {
  const { url } = await connected();
  const service = await TestClient.connect(url, [SUBPROTOCOL]);
  expect(await service.ask({ type: 'RegisterServiceRequest', service_id: 'asr', max_session: 4 })).toMatchObject({
    ignored: ['max_session'],
  });
});

test('the log names them at debug, of the socket and of REST', async () => {
  const lines: string[] = [];
  const { url } = await startGateway({}, makeLog('debug', { write: (line: string) => void lines.push(line) }));
  const client = await TestClient.connect(url);
  await client.ask({ type: 'Ping', x: 1 });
  const body = JSON.stringify({ user_identity: 'ada', requred_services: [] });
  const made = await fetch(`${url}/api/v1/sessions?wat=none`, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  expect(made.status).toBe(201);
  const said = lines.map((line) => JSON.parse(line)).filter(({ msg }) => msg === 'unknown fields ignored');
  expect(said.map(({ type, path, ignored }) => [type ?? path, ignored])).toEqual([
    ['Ping', ['x']],
    ['/api/v1/sessions', ['wat']],
    ['/api/v1/sessions', ['requred_services']],
  ]);
});
