import { describe, expect, test, vi } from 'vitest';
import { type ConnectionState, connect } from '../../src/client/client.ts';
import { newId } from '../../src/client/id.ts';
import { socketUrl } from '../../src/client/url.ts';
import { connected, withSession } from './open.ts';

describe('the address', () => {
  test.each([
    ['ws://localhost:8080/ws', 'ws://localhost:8080/ws'],
    ['http://localhost:8080', 'ws://localhost:8080/ws'],
    ['https://example.test/', 'wss://example.test/ws'],
    ['wss://example.test/voice/ws?region=eu#top', 'wss://example.test/voice/ws?region=eu'],
    ['http://[::1]:8080', 'ws://[::1]:8080/ws'],
    ['https://ada:secret@example.test', 'wss://ada:secret@example.test/ws'],
  ])('%s is %s', (given, socket) => {
    expect(socketUrl(given)).toBe(socket);
  });

  test.each([['localhost:8080'], ['ftp://localhost'], ['/ws'], ['']])('%j is none', (url) => {
    expect(() => connect(url)).toThrow(new TypeError(`not a URL with ws, wss, http or https: ${JSON.stringify(url)}`));
  });
});

test('ids are made without what only secure pages have', () => {
  const randomUUID = vi.spyOn(crypto, 'randomUUID').mockImplementation(() => expect.unreachable());
  const ids = Array.from({ length: 100 }, newId);
  randomUUID.mockRestore();
  expect(new Set(ids).size).toBe(100);
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{32}$/);
});

describe('a client', () => {
  test('is there at once, and sends when it is connected', async () => {
    const { client } = await connected();
    const states: ConnectionState[] = [client.state];
    client.on('state', (state) => states.push(state));
    expect(await client.request('Ping', { t: 7 })).toEqual({ t: 7, server_time: '2030-01-01T00:00:00.000Z' });
    await client.close();
    expect(await client.closed).toEqual({ code: 1000, reason: 'closed by this side' });
    expect(states).toEqual(['connecting', 'open', 'closed']);
    await expect(client.request('Ping', {})).rejects.toMatchObject({ name: 'ConnectionClosed', code: 1000 });
  });

  test('whose gateway is not there yet waits for it', async () => {
    const random = vi.spyOn(Math, 'random').mockReturnValue(0.02);
    const { proxy, join } = await connected();
    let tries = 0;
    proxy.rule = () => (++tries < 3 ? 'cut' : 'pass');
    const client = join();
    await client.request('Ping', {});
    expect(tries).toBeGreaterThanOrEqual(3);
    random.mockRestore();
  });

  test('receives events of sessions that it watches', async () => {
    const { session, join } = await withSession({ visibility: 'public' });
    const watcher = join();
    const { seq } = await watcher.request('WatchRequest', { session_id: session.id });
    const told = new Promise((resolve) => {
      watcher.on('watched', resolve);
    });
    await session.say('user', 'hello');
    expect(await told).toMatchObject({ type: 'MessageAdded', session_id: session.id, seq: seq + 1, content: 'hello' });
  });

  test('that is closed ends its session', async () => {
    const { session, client, gateway } = await withSession();
    await client.close();
    expect(await session.ended).toEqual({ reason: 'client_ended', by: 'client' });
    await vi.waitFor(() => expect(gateway.holds()).toMatchObject({ live_sessions: 0 }));
    const reader = (await connected()).client;
    await expect(reader.request('GetSessionRequest', { session_id: session.id })).rejects.toMatchObject({ code: 'SESSION_NOT_FOUND' });
  });

  test('whose gateway shuts down hears the end of its session, and looks for the gateway again', async () => {
    const { session, client, gateway } = await withSession();
    const states: ConnectionState[] = [];
    client.on('state', (state) => states.push(state));
    const isBroken = new Promise<void>((resolve) => {
      client.on('state', (state) => state === 'connecting' && resolve());
    });
    await gateway.close();
    expect(await session.ended).toMatchObject({ reason: 'shutdown', by: 'gateway' });
    await isBroken;
    expect(states.slice(0, 2)).toEqual(['waiting', 'connecting']);
  });

  test('ends a session that came after the wait for it was over', async () => {
    const { client, gateway } = await connected();
    gateway.rooms.holdCreate();
    await client.request('Ping', {});
    await expect(client.newSession({ user_identity: 'ada' }, { timeoutMs: 50 })).rejects.toMatchObject({ name: 'RequestTimeout' });
    await expect(client.newSession({ user_identity: 'ada' })).rejects.toMatchObject({ code: 'SESSION_ALREADY_EXISTS' });
    gateway.rooms.letCreate();
    await vi.waitFor(() => expect(gateway.holds()).toMatchObject({ live_sessions: 0 }));
    await (await client.newSession({ user_identity: 'ada' })).ready();
  });

  test('that is refused a session says why, and can ask again', async () => {
    const { client } = await connected();
    await expect(client.newSession({ user_identity: 'ada', room_name: '' })).rejects.toMatchObject({
      name: 'RequestFailed',
      code: 'VALIDATION_FAILED',
      details: { issues: [{ path: 'room_name' }] },
    });
    await client.newSession({ user_identity: 'ada' });
  });
});
