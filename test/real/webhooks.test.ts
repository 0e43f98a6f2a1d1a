import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { AccessToken } from 'livekit-server-sdk';
import { expect, onTestFinished, test } from 'vitest';
import { rest } from '../support/http-service.ts';
import { describeWith, parts } from '../support/parts.ts';
import { HandClock, ownLiveKit, startGatewayIn } from './own-livekit.ts';
import { joinRoom } from './room.ts';

const long = { timeout: 300_000 };

/** One webhook as LiveKit sent it. */
interface Hook {
  event: string;
  room: string;
  body: string;
  authorization: string;
}

/** Takes webhooks and keeps them, for a test to pass on. */
async function mailbox() {
  const hooks: Hook[] = [];
  const take = async (request: IncomingMessage, response: ServerResponse) => {
    const body = await text(request);
    const { event, room } = JSON.parse(body);
    hooks.push({ event, room: room?.name ?? '', body, authorization: request.headers.authorization ?? '' });
    response.end();
  };
  const server = createServer((request, response) => void take(request, response)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  /** The webhooks of a room from one place on, once those named are among them. */
  const came = async (room: string, events: string[], from = 0) => {
    const found = () => hooks.filter((hook) => hook.room === room).slice(from);
    await expect.poll(() => found().map(({ event }) => event), { interval: 20 }).toEqual(expect.arrayContaining(events));
    return found();
  };
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, came };
}

const ring = (gateway: { url: string }, { body, authorization }: Partial<Hook>) =>
  fetch(`${gateway.url}/livekit/webhook`, {
    method: 'POST',
    body: body ?? '',
    headers: { 'content-type': 'application/webhook+json', ...(authorization !== undefined && { authorization }) },
  });

describeWith(parts.livekit)('webhooks of a real LiveKit', () => {
  /** A gateway for which time stands still: it looks at a room only when the bell rings. `to`: who gets the webhooks; absent: the gateway. */
  async function setUp(to?: string) {
    const clock = new HandClock();
    const livekit = await ownLiveKit();
    const gateway = await startGatewayIn(clock, livekit);
    await livekit.start(to ?? `${gateway.url}/livekit/webhook`);
    // what was begun last ends first, and the gateway still has rooms to delete
    onTestFinished(gateway.close);
    /** A session without services, Ready. */
    const open = async () => {
      const created = await rest(`${gateway.url}/api/v1/create-session`, 'POST', { user_identity: 'ada', required_services: [] });
      expect(created).toMatchObject({ status: 201, body: { status: 'Ready' } });
      const { session_id, room_name, livekit_url, access_token } = created.body;
      return {
        room_name,
        join: () => joinRoom(livekit_url, access_token),
        now: async () => (await rest(`${gateway.url}/api/v1/sessions/${session_id}`)).body,
      };
    };
    const seen = async () => (await rest(`${gateway.url}/ready`)).body.livekit.webhooks;
    return { clock, livekit, gateway, open, seen };
  }

  const soon = { timeout: 90_000, interval: 20 };

  test('a user who joins or leaves is seen when the bell rings', long, async () => {
    const { open } = await setUp();
    const session = await open();
    const me = await session.join();
    await expect.poll(session.now, soon).toMatchObject({ status: 'Active', participants: [{ identity: 'ada', kind: 'standard' }] });
    await me.leave();
    await expect.poll(session.now, soon).toMatchObject({ status: 'Ready', participants: [] });
  });

  test('a room deleted by others ends its session when the bell rings', long, async () => {
    const { livekit, gateway, open } = await setUp();
    const session = await open();
    await session.join();
    await expect.poll(session.now, soon).toMatchObject({ status: 'Active' });
    await livekit.client.deleteRoom(session.room_name);
    await expect.poll(session.now, soon).toMatchObject({ status: 'Terminated', end_reason: 'room_deleted' });
    expect(gateway.holds()).toMatchObject({ live_sessions: 0, watched_rooms: 0, waiting: 0 });
  });

  test('readiness says when the last one came, and first that none was seen', long, async () => {
    const { clock, open, seen } = await setUp();
    expect(await seen()).toBe('none seen yet');
    await open();
    await expect.poll(seen, soon).toBe(new Date(clock.now()).toISOString());
  });

  test('forged ones are refused and change nothing', long, async () => {
    const box = await mailbox();
    const { livekit, gateway, open, seen } = await setUp(box.url);
    const session = await open();
    await session.join();
    const hooks = await box.came(session.room_name, ['participant_joined']);
    const genuine = hooks.find(({ event }) => event === 'participant_joined');
    const body = genuine?.body ?? '';
    const sign = (key: string, secret: string, over?: string) => {
      const token = new AccessToken(key, secret);
      if (over !== undefined) token.sha256 = createHash('sha256').update(over).digest('base64');
      return token.toJwt();
    };
    const { apiKey, apiSecret } = livekit;
    const wrong = 'another-secret-of-32-characters-or-more';
    const forged: Record<string, Partial<Hook>> = {
      'signed with another secret': { body, authorization: await sign(apiKey, wrong, body) },
      'signed by another key': { body, authorization: await sign('another', apiSecret, body) },
      'with a changed body': { ...genuine, body: `${body} ` },
      'with a token that is for no body': { body, authorization: await sign(apiKey, apiSecret) },
      'with a token for another body': { body, authorization: await sign(apiKey, apiSecret, '{}') },
      'with a header that is no token': { body, authorization: 'hello' },
      'without the header': { body },
    };
    for (const [how, hook] of Object.entries(forged)) {
      const answer = await ring(gateway, hook);
      expect([how, answer.status, answer.headers.get('www-authenticate')]).toEqual([how, 401, 'Bearer realm="livekit-webhook"']);
      expect(await answer.json()).toMatchObject({
        error: 'Unauthorized',
        code: 'UNAUTHENTICATED',
        message: expect.stringContaining('secret'),
      });
    }
    expect(await seen()).toBe('none seen yet');
    expect(await session.now()).toMatchObject({ status: 'Ready', participants: [] });
    expect(gateway.rooms.looks).toBe(0);

    expect((await ring(gateway, genuine ?? {})).status).toBe(200);
    await expect.poll(session.now, soon).toMatchObject({ status: 'Active' });
    expect((await ring(gateway, { body, authorization: `Bearer ${genuine?.authorization}` })).status).toBe(200);
  });

  test('doubled, reordered and lost ones lead to the same end', { timeout: 600_000 }, async () => {
    const box = await mailbox();
    const { clock, livekit, gateway, open } = await setUp(box.url);
    const all = async (hooks: readonly Hook[]) => {
      for (const hook of hooks) expect((await ring(gateway, hook)).status).toBe(200);
    };
    const ways: Record<string, (hooks: readonly Hook[]) => Promise<void>> = {
      'in order': all,
      doubled: (hooks) => all(hooks.flatMap((hook) => [hook, hook])),
      'all at once, twice': async (hooks) => void (await Promise.all([...hooks, ...hooks].map((hook) => all([hook])))),
      reversed: (hooks) => all([...hooks].reverse()),
      'only the first': (hooks) => all(hooks.slice(0, 1)),
      lost: async () => clock.pass(30_000),
    };
    const ends: Record<string, unknown> = {};
    for (const [way, deliver] of Object.entries(ways)) {
      const session = await open();
      const first = await session.join();
      await box.came(session.room_name, ['room_started', 'participant_joined']);
      await first.leave();
      const before = await box.came(session.room_name, ['participant_left']);
      await session.join();
      const joined = await box.came(session.room_name, ['participant_joined'], before.length);
      await deliver([...before, ...joined]);
      await expect.poll(session.now, soon).toMatchObject({ status: 'Active' });
      const active = await session.now();

      await livekit.client.deleteRoom(session.room_name);
      await deliver(await box.came(session.room_name, ['room_finished'], before.length + joined.length));
      await expect.poll(session.now, soon).toMatchObject({ status: 'Terminated' });
      const ended = await session.now();
      const identities = active.participants.map(({ identity }: { identity: string }) => identity);
      ends[way] = { active: active.seq, identities, ended: ended.seq, reason: ended.end_reason };
    }
    const same = { ...(ends['in order'] as object), identities: ['ada'], reason: 'room_deleted' };
    expect(ends).toEqual(Object.fromEntries(Object.keys(ways).map((way) => [way, same])));
    expect(gateway.holds()).toMatchObject({ live_sessions: 0, watched_rooms: 0, waiting: 0 });
  });
});
