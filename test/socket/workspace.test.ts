import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'smol-toml';
import { expect, onTestFinished, test } from 'vitest';
import { mint } from '../../src/auth/mint.ts';
import { loadConfig } from '../../src/config-load.ts';
import { TestClient } from '../support/client.ts';
import { startGateway } from '../support/gateway.ts';

function folders() {
  const top = realpathSync(mkdtempSync(join(tmpdir(), 'workspace-')));
  onTestFinished(() => rmSync(top, { recursive: true }));
  const root = join(top, 'root');
  mkdirSync(join(root, 'inside'), { recursive: true });
  mkdirSync(join(top, 'outside'));
  writeFileSync(join(root, 'file'), '');
  symlinkSync(join(top, 'outside'), join(root, 'leads-out'));
  symlinkSync(join(root, 'inside'), join(top, 'leads-in'));
  return { top, root };
}

async function connected() {
  const { top, root } = folders();
  const gateway = await startGateway({ workspace: { roots: [root] } });
  return { top, root, gateway, client: await TestClient.connect(gateway.url) };
}

const uuidV4 = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

test('the gateway says nothing before it is spoken to', async () => {
  const { client } = await connected();
  await client.caughtUp();
  expect(client.types()).toEqual(['Pong']);
});

test('a folder inside the roots gives an active session that holds the socket', async () => {
  const { client, root, gateway } = await connected();
  const answer = await client.ask({ type: 'NewSessionRequest', id: '7', workspace_dir: join(root, 'inside') });
  expect(answer).toMatchObject({
    type: 'NewSessionResponse',
    id: '7',
    status: 'Active',
    workspace_dir: join(root, 'inside'),
    ready_services: [],
    pending_services: [],
    seq: 1,
  });
  expect(answer.session_id).toMatch(uuidV4);
  expect(answer).not.toHaveProperty('room_name');
  expect(gateway.holders.has(answer.session_id)).toBe(true);
});

test('links and .. are resolved before the roots are asked', async () => {
  const { client, top, root } = await connected();
  const through = await client.ask({ type: 'NewSessionRequest', workspace_dir: join(top, 'leads-in') });
  expect(through).toMatchObject({ type: 'NewSessionResponse', workspace_dir: join(root, 'inside') });
});

test.each([
  ['a missing folder', (root: string) => join(root, 'missing'), 'WORKSPACE_NOT_FOUND'],
  ['a file', (root: string) => join(root, 'file'), 'WORKSPACE_NOT_FOUND'],
  ['a folder outside', (root: string) => join(root, '..', 'outside'), 'WORKSPACE_FORBIDDEN'],
  ['a missing folder outside', (root: string) => join(root, '..', 'nowhere'), 'WORKSPACE_FORBIDDEN'],
  ['dots that lead outside', (root: string) => `${root}/inside/../../outside`, 'WORKSPACE_FORBIDDEN'],
  ['a link that leads outside', (root: string) => join(root, 'leads-out'), 'WORKSPACE_FORBIDDEN'],
  ['a missing folder behind a link that leads outside', (root: string) => join(root, 'leads-out', 'missing'), 'WORKSPACE_FORBIDDEN'],
  ["a neighbour whose name begins like the root's", (root: string) => `${root}-neighbour`, 'WORKSPACE_FORBIDDEN'],
  ['a relative path', () => 'inside', 'VALIDATION_FAILED'],
])('%s is refused, and the socket stays', async (_, path, code) => {
  const { client, root } = await connected();
  const refused = await client.ask({ type: 'NewSessionRequest', id: 'a', workspace_dir: path(root) });
  expect(refused).toMatchObject({ type: 'Error', id: 'a', code, error: 'InvalidRequest', retryable: false });
  const next = await client.ask({ type: 'NewSessionRequest', workspace_dir: root });
  expect(next.type).toBe('NewSessionResponse');
});

const key = { id: 'app', secret: 'a-secret-of-the-application-for-tests', kinds: ['user', 'operator'], scopes: ['act_as'] };

test.each<[string, string, 'user' | 'operator', string, (root: string) => string, string | undefined]>([
  ['its own folder', 'ada', 'user', '{user}', (root) => join(root, 'ada'), undefined],
  ['a folder in its own', 'ada', 'user', '{user}', (root) => join(root, 'ada/work'), undefined],
  ['a missing one in its own', 'ada', 'user', '{user}', (root) => join(root, 'ada/missing'), 'WORKSPACE_NOT_FOUND'],
  ["another user's", 'ada', 'user', '{user}', (root) => join(root, 'grace'), 'WORKSPACE_FORBIDDEN'],
  ['a link from its own that leads out', 'ada', 'user', '{user}', (root) => join(root, 'ada/out'), 'WORKSPACE_FORBIDDEN'],
  ['a folder of everybody', 'ada', 'user', '.', (root) => join(root, 'ada'), 'WORKSPACE_FORBIDDEN'],
  ['whatever its name leads to', '..', 'user', '{user}', (root) => root, 'WORKSPACE_FORBIDDEN'],
  ['whatever is below its name', 'ada/work', 'user', '{user}', (root) => join(root, 'ada/work'), 'WORKSPACE_FORBIDDEN'],
  ['the folder of the configuration', 'gateway', 'user', '{user}', (root) => join(root, 'gateway'), 'WORKSPACE_FORBIDDEN'],
  ['its folder, where an operator asks for it', 'ada', 'operator', '{user}', (root) => join(root, 'ada'), undefined],
  ['a folder of everybody, where an operator asks for it', 'ada', 'operator', '.', (root) => join(root, 'grace'), undefined],
])('with a credential a user is given its own folders alone: %s', async (_, user, kind, root, path, code) => {
  const { root: top } = folders();
  for (const folder of ['ada/work', 'grace', 'gateway']) mkdirSync(join(top, folder), { recursive: true });
  symlinkSync(join(top, 'grace'), join(top, 'ada/out'));
  const file = { name: join(top, 'gateway/gateway.toml'), text: stringify({ auth: { mode: 'required', keys: [key] } }) };
  const config = loadConfig({ SERVER_PORT: '0', WORKSPACE_ROOTS: join(top, root) }, {}, [file]);
  const { url, clock } = await startGateway({}, undefined, { config });
  const identity = kind === 'user' ? user : 'backend';
  const token = await mint({ keyId: key.id, secret: key.secret, identity, kind, now: clock.now(), ttlS: 60 });
  const client = await TestClient.connect(url, [], { headers: { authorization: `Bearer ${token}` } });
  const answer = await client.ask({ type: 'NewSessionRequest', user_identity: user, room: false, workspace_dir: path(top) });
  expect(answer).toMatchObject(code === undefined ? { workspace_dir: path(top) } : { type: 'Error', code });
});

test('without authentication a user that is named has its folder, besides those of everybody', async () => {
  const { root } = folders();
  mkdirSync(join(root, 'ada'));
  const { url } = await startGateway({ workspace: { roots: [join(root, '{user}'), join(root, 'inside')] } });
  for (const folder of ['ada', 'inside']) {
    const client = await TestClient.connect(url);
    const wish = { type: 'NewSessionRequest', user_identity: 'ada', room: false, workspace_dir: join(root, folder) };
    expect(await client.ask(wish)).toMatchObject({ workspace_dir: wish.workspace_dir });
  }
});

test('a root for users lies in an existing folder', async () => {
  await expect(startGateway({ workspace: { roots: ['/nowhere/{user}'] } })).rejects.toThrow('/nowhere is not an existing folder');
});

test('a second NewSession on a bound socket is refused, and the first session goes on', async () => {
  const { client, root, gateway } = await connected();
  const first = await client.ask({ type: 'NewSessionRequest', workspace_dir: root });
  const second = await client.ask({ type: 'NewSessionRequest', workspace_dir: root });
  expect(second).toMatchObject({ type: 'Error', code: 'SESSION_ALREADY_EXISTS', session_id: first.session_id });
  const session = await client.ask({ type: 'GetSessionRequest' });
  expect(session).toMatchObject({ session_id: first.session_id, status: 'Active' });
  expect(gateway.holders.size).toBe(1);
});

test.each([
  ['{"type":"NewSessionRequest"', 'INVALID_JSON'],
  ['[]', 'INVALID_REQUEST'],
  ['{"id":"1"}', 'INVALID_REQUEST'],
  ['{"type":"constructor"}', 'UNKNOWN_TYPE'],
  ['{"type":"NewSession"}', 'UNKNOWN_TYPE'],
  ['['.repeat(17), 'INVALID_JSON'],
])('%s is answered by Error, then the socket closes 4400', async (frame, code) => {
  const { client } = await connected();
  client.send(frame);
  expect(await client.next('Error')).toMatchObject({ code });
  expect(await client.closed).toEqual({ code: 4400, reason: 'bad message' });
});

test('wrong fields are answered with their paths, and the socket stays', async () => {
  const { client } = await connected();
  const refused = await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: ['asr', 3], ttl_hours: 'long' });
  expect(refused).toMatchObject({ type: 'Error', code: 'VALIDATION_FAILED' });
  expect(refused.details.issues.map((issue: { path: string }) => issue.path)).toEqual(['required_services.1', 'ttl_hours']);
  await client.caughtUp();
});

test.each([
  ['closes with 1000', (client: TestClient) => client.ws.close(1000), 'client_ended'],
  ['closes without a code', (client: TestClient) => client.ws.close(), 'client_ended'],
  ['closes with another code', (client: TestClient) => client.ws.close(3001), 'client_gone'],
  ['is cut', (client: TestClient) => client.ws.terminate(), 'client_gone'],
])('when the socket %s its live entry goes and the session ends', async (_, end, reason) => {
  const { client, root, gateway } = await connected();
  const operator = await TestClient.connect(gateway.url);
  const { session_id } = await client.ask({ type: 'NewSessionRequest', workspace_dir: root });
  end(client);
  await client.closed;
  await operator.caughtUp();
  await expect.poll(() => gateway.holders.size).toBe(0);
  expect(await operator.ask({ type: 'GetSessionRequest', session_id })).toMatchObject({
    status: 'Terminated',
    end_reason: reason,
    link: 'none',
  });
});

test.each([
  ['a message of a type that does not exist', (client: TestClient) => client.send({ type: 'EndSesionRequest' }), 4400],
  ['text that is not JSON', (client: TestClient) => client.send('{'), 4400],
  ['twenty messages with wrong fields', (client: TestClient) => many(20, () => client.send({ type: 'ResumeRequest' })), 4413],
  ['more messages than it may', (client: TestClient) => many(1_000, () => client.send({ type: 'Ping' })), 4529],
  ['a binary frame', (client: TestClient) => client.ws.send(Buffer.from('{"type":"Ping"}')), 1003],
  ['text that is not UTF-8', (client: TestClient) => client.ws.send(Buffer.from([0xff]), { binary: false }), 1007],
  ['a compressed frame', (client: TestClient) => compressed(client), 1002],
  ['a frame above the limit', (client: TestClient) => client.send({ type: 'Ping', pad: 'x'.repeat(65_536) }), 1009],
])('a session whose socket is closed by the gateway for %s ends with protocol_error', async (_, breakProtocol, code) => {
  const { client, root, gateway } = await connected();
  const operator = await TestClient.connect(gateway.url);
  const { session_id } = await client.ask({ type: 'NewSessionRequest', workspace_dir: root });
  await operator.ask({ type: 'WatchRequest', session_id });
  breakProtocol(client);
  expect(await client.closed).toMatchObject({ code });
  expect(await operator.next('SessionEnded')).toMatchObject({ reason: 'protocol_error', by: 'gateway' });
});

const many = (times: number, act: () => void) => {
  for (let i = 0; i < times; i++) act();
};

/** A text frame of no bytes with the bit of compression, which nobody agreed on. */
const compressed = ({ ws }: TestClient) => (ws as unknown as { _socket: Socket })._socket.write(Buffer.from([0xc1, 0x80, 0, 0, 0, 0]));
