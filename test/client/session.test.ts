import { getEventListeners } from 'node:events';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { ConnectionState, LinkState, SessionEvents } from '../../src/client/client.ts';
import { connectService } from '../support/client.ts';
import { rest } from '../support/http-service.ts';
import { connected, connectionIs, contents, next, withSession } from './open.ts';

describe('ready', () => {
  test('waits for the services, and gives what the room is joined with', async () => {
    const { client, gateway } = await connected();
    const session = await client.newSession({ user_identity: 'ada', required_services: ['llm'] });
    expect([session.status, session.connection]).toEqual(['WaitingForServices', 'open']);
    const ready = session.ready();
    await connectService(gateway.url, 'llm');
    const join = {
      room_name: `room-${session.id}`,
      livekit_room: `room-${session.id}`,
      livekit_url: 'ws://livekit.test',
      access_token: 'client-token-of-ada',
    };
    expect(await ready).toEqual(join);
    expect(session.status).toBe('Ready');
    // and again, long after
    expect(await session.ready()).toEqual(join);
  });

  test('is there at once where nothing is waited for', async () => {
    const { client } = await connected();
    const session = await client.newSession({ user_identity: 'ada', required_services: [] });
    expect(session.status).toBe('Ready');
    expect(await session.ready({ timeoutMs: 0 })).toMatchObject({ access_token: 'client-token-of-ada' });
  });

  test('waits for the services also where the token came before', async () => {
    const { client, gateway } = await connected();
    const session = await client.newSession({ user_identity: 'ada', required_services: ['llm'], token_policy: 'immediate' });
    expect(session.opened.access_token).toBe('client-token-of-ada');
    await expect(session.ready({ timeoutMs: 1 })).rejects.toMatchObject({
      name: 'RequestTimeout',
      message: 'the session is not ready after 1 ms; it is WaitingForServices, and the connection open',
    });
    await connectService(gateway.url, 'llm');
    await session.ready();
  });

  test('fails with the reason where the session ends first, and where it has ended since', async () => {
    const { client, gateway } = await connected();
    const session = await client.newSession({ user_identity: 'ada', required_services: ['llm'], join_timeout_s: 5 });
    const failed = expect(session.ready()).rejects.toMatchObject({ name: 'SessionOver', reason: 'join_timeout' });
    await connectService(gateway.url, 'llm', { auto: false });
    await gateway.clock.advance(12_000);
    await failed;

    const second = await client.newSession({ user_identity: 'ada', required_services: ['asr'] });
    await second.ready();
    await second.end();
    await expect(second.ready()).rejects.toMatchObject({ name: 'SessionOver', reason: 'client_ended' });
  });

  test('can be given up', async () => {
    const { client } = await connected();
    const session = await client.newSession({ user_identity: 'ada', required_services: ['llm'] });
    const controller = new AbortController();
    const ready = expect(session.ready({ signal: controller.signal })).rejects.toThrow('enough');
    controller.abort(new Error('enough'));
    await ready;
    expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
    await expect(session.ready({ signal: controller.signal })).rejects.toThrow('enough');
  });

  test('fails where there is no room', async () => {
    const { session } = await withSession({ room: false });
    expect(session.status).toBe('Active');
    await expect(session.ready()).rejects.toThrow('the session has no room');
  });

  test('gives the newest token', async () => {
    const { session, gateway } = await withSession();
    gateway.rooms.clientToken = async () => 'a-new-token';
    const before = await session.ready();
    expect(await session.refreshToken()).toMatchObject({ access_token: 'a-new-token', session_id: session.id });
    expect(await session.ready()).toEqual({ ...before, access_token: 'a-new-token' });
  });

  test('does not take a token that came early for more', async () => {
    const { client } = await connected();
    const session = await client.newSession({ user_identity: 'ada', required_services: ['llm'], token_policy: 'immediate' });
    await session.refreshToken();
    await expect(session.ready({ timeoutMs: 1 })).rejects.toMatchObject({ name: 'RequestTimeout' });
  });
});

describe('what a session emits', () => {
  test('reaches handlers added as soon as it is there, by type and all together, until they are taken back', async () => {
    const { client, gateway } = await connected();
    const session = await client.newSession({ user_identity: 'ada', required_services: ['asr'] });
    const told: string[] = [];
    session.on('event', ({ type, seq }) => told.push(`${type} ${seq}`));
    const ready = next(session, 'SessionReady');
    const offReady = session.on('SessionReady', () => told.push('never'));
    offReady();
    expect(await ready).toMatchObject({ room_name: `room-${session.id}`, access_token: 'client-token-of-ada' });
    gateway.rooms.join(`room-${session.id}`, 'ada');
    const active = next(session, 'SessionActive');
    await gateway.clock.advance(3_000);
    expect(await active).toMatchObject({ participant: { identity: 'ada' } });
    expect([session.status, session.seq]).toEqual(['Active', session.opened.seq + told.length]);
    expect(told.map((line) => line.split(' ')[0])).toEqual([
      'ServiceStatusChanged',
      'SessionStatusChanged',
      'SessionReady',
      'ParticipantChanged',
      'SessionStatusChanged',
      'SessionActive',
    ]);
  });

  test('has the progress of its services', async () => {
    const { client, service } = await connected();
    service.ws.removeAllListeners('message');
    const session = await client.newSession({ user_identity: 'ada', required_services: ['asr'] });
    const progress = next(session, 'ServiceProgress');
    const { assignment_id } = (await session.get()).services[0] ?? {};
    service.send({ type: 'ServiceProgress', assignment_id, phase: 'loading', percent: 40 });
    expect(await progress).toMatchObject({ service_id: 'asr', phase: 'loading', percent: 40 });
  });

  test('goes on where a handler throws', async () => {
    const thrown: unknown[] = [];
    const { queueMicrotask: queue } = globalThis;
    // the platform's own sockets use it as well
    const outside = vi.spyOn(globalThis, 'queueMicrotask').mockImplementation((run) =>
      queue(() => {
        try {
          run();
        } catch (error) {
          thrown.push(error);
        }
      }),
    );
    onTestFinished(() => outside.mockRestore());
    const { session, heard } = await withSession();
    session.on('MessageAdded', () => {
      throw new Error('a bug');
    });
    await session.say('user', 'hello');
    await heard('hello');
    expect(thrown).toMatchObject([{ message: 'a bug' }]);
  });
});

describe('a session', () => {
  test('is talked in, once for each message, and read', async () => {
    const { session, events, heard } = await withSession();
    const first = await session.say('user', 'one');
    expect(first).toMatchObject({ session_id: session.id, role: 'user', content: 'one', user_id: 'ada', duplicate: false });
    expect(first.message_id).toMatch(/^[0-9a-f]{32}$/);
    expect(first).not.toHaveProperty('type');
    await session.addMessage({ role: 'assistant', content: 'two', message_id: 'm2' });
    expect(await session.addMessage({ role: 'assistant', content: 'again', message_id: 'm2' })).toMatchObject({ duplicate: true });
    expect((await session.messages()).items.map(({ content }) => content)).toEqual(['one', 'two']);
    expect((await session.messages({ limit: 1, after: first.seq })).items).toMatchObject([{ message_id: 'm2' }]);
    await heard('two');
    expect(contents(events)).toEqual(['one', 'two']);
  });

  test('is changed, given more time, shared and read', async () => {
    const { session } = await withSession();
    const { version } = await session.update({ context_updates: { turn: 1 }, metadata_updates: { topic: 'tea' } });
    expect(await session.extend({ ttl_hours: 2 })).toMatchObject({ expires_at: '2030-01-01T02:00:00.000Z' });
    expect(await session.share({ target_user_id: 'grace', role: 'viewer' })).toMatchObject({ shares: { grace: 'viewer' } });
    expect(await session.get()).toMatchObject({
      session_id: session.id,
      context: { turn: 1 },
      metadata: { topic: 'tea' },
      visibility: 'shared',
      expires_at: '2030-01-01T02:00:00.000Z',
      link: 'attached',
    });
    expect(await session.unshare({ target_user_id: 'grace' })).toMatchObject({ shares: {} });
    await expect(session.update({ if_version: version })).rejects.toMatchObject({ name: 'RequestFailed', code: 'VERSION_CONFLICT' });
  });

  test('is ended by its client, who can open the next', async () => {
    const { session, client, gateway } = await withSession();
    const over = { reason: 'client_ended', by: 'client', duration_s: 0 };
    expect(await session.end()).toEqual(over);
    expect([session.status, await session.ended]).toEqual(['Terminated', over]);
    expect(await session.end()).toEqual(over);
    const second = await client.newSession({ user_identity: 'ada' });
    await second.ready();
    expect(second.id).not.toBe(session.id);
    expect(gateway.holds()).toMatchObject({ live_sessions: 1 });
  });

  test('ended by others is over, and can be read', async () => {
    const { session, path } = await withSession();
    await rest(path, 'DELETE');
    expect(await session.ended).toMatchObject({ reason: 'owner_deleted' });
    expect(await session.get()).toMatchObject({ status: 'Terminated', end_reason: 'owner_deleted' });
    await expect(session.say('user', 'late')).rejects.toMatchObject({ name: 'SessionOver', reason: 'owner_deleted' });
  });

  test('has its connection by the old name too, and so has its event', async () => {
    const { session, proxy } = await withSession();
    const old: LinkState[] = [];
    const now: ConnectionState[] = [];
    session.on('link', (link) => old.push(link));
    session.on('connection', (connection) => now.push(connection));
    expect([session.link, session.connection]).toEqual(['open', 'open']);
    proxy.cut();
    await next(session, 'resumed');
    await connectionIs(session, 'open');
    expect(now).toContain('waiting');
    expect(old).toEqual(now);
  });

  test('asked for again with its key goes to the newer client', async () => {
    const { session, client, join } = await withSession({ idempotency_key: 'one' });
    const states: SessionEvents['connection'][] = [];
    session.on('connection', (state) => states.push(state));
    const second = await join().newSession({ user_identity: 'ada', idempotency_key: 'one' });
    expect(await session.ended).toEqual({ reason: 'taken_over', code: 4409 });
    expect(await client.closed).toEqual({ code: 4409, reason: 'taken over' });
    expect([client.state, states]).toEqual(['closed', ['closed']]);
    await expect(session.get()).rejects.toMatchObject({ name: 'ConnectionClosed', code: 4409 });
    expect([second.id, second.opened.replayed]).toEqual([session.id, true]);
    await second.say('user', 'here');
  });
});
