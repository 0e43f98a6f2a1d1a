import { expect, test } from 'vitest';
import { TestClient } from '../support/client.ts';
import { rest } from '../support/http-service.ts';
import { describeWith, parts } from '../support/parts.ts';
import { HandClock, ownLiveKit, startGatewayIn } from './own-livekit.ts';
import { joinRoom } from './room.ts';

const long = { timeout: 300_000 };
const soon = { timeout: 90_000, interval: 20 };
/** livekit.lost_after_s, where nothing else is set. */
const lostMs = 60_000;
/** Between two looks at a room where nobody is awaited. */
const lookMs = 30_000;

describeWith(parts.livekit)('a LiveKit that is killed and started again', () => {
  async function setUp() {
    const clock = new HandClock();
    const livekit = await ownLiveKit();
    await livekit.start();
    const gateway = await startGatewayIn(clock, livekit);
    const client = await TestClient.connect(gateway.url);
    const status = async () => (await client.ask({ type: 'GetSessionRequest' })).status;

    /** An Active session over the socket. `leave`: the user gives up by itself, so that it does not bring the room back. */
    const open = async () => {
      const answer = await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: [] });
      const { session_id, livekit_url, access_token, room_name } = answer;
      const me = await joinRoom(livekit_url, access_token);
      clock.pass(2_000);
      await client.next('SessionActive');
      const join = () => joinRoom(livekit_url, access_token);
      return { session_id: session_id as string, room_name: room_name as string, me, join };
    };
    /** Lets time pass until the gateway looks at the room, and waits for what it saw. */
    const look = async (ms: number) => {
      const before = gateway.rooms.looks;
      clock.pass(ms);
      await expect.poll(() => gateway.rooms.looks, soon).toBeGreaterThan(before);
      await client.caughtUp();
    };
    return { clock, livekit, gateway, client, status, open, look };
  }

  const idle = { sockets: 1, live_sessions: 0, watched_rooms: 0, waiting: 0 };

  test('ends nothing while it is away for less than lost_after_s, and then the session whose room it lost', long, async () => {
    const { livekit, gateway, client, status, open, look } = await setUp();
    const { me } = await open();
    await livekit.kill();
    await me.leave();
    await look(lookMs);
    expect(await status()).toBe('Active');
    await look(lookMs);
    expect(await status()).toBe('Active');
    expect((await rest(`${gateway.url}/ready`)).body).toMatchObject({ ready: false, livekit: { reachable: false } });

    await livekit.start();
    await look(lookMs);
    expect(await client.next('SessionEnded')).toMatchObject({ reason: 'room_deleted', by: 'gateway' });
    expect(gateway.holds()).toEqual(idle);
    expect(await livekit.names()).toEqual([]);
    // the next session finds it whole
    await open();
    expect((await rest(`${gateway.url}/ready`)).body).toMatchObject({ ready: true, livekit: { reachable: true } });
    await gateway.close();
    expect(await livekit.names()).toEqual([]);
  });

  test('ends a session whose user had left its room as gone', long, async () => {
    const { clock, livekit, gateway, client, open, look } = await setUp();
    const { me } = await open();
    await me.leave();
    await look(lookMs);
    await client.next((frame) => frame.type === 'SessionStatusChanged' && frame.from === 'Active');
    await livekit.kill();
    await livekit.start();
    clock.pass(2_000);
    expect(await client.next('SessionEnded')).toMatchObject({ reason: 'client_gone', by: 'gateway' });
    expect(gateway.holds()).toEqual(idle);
  });

  test('loses its sessions when it stays away, and a room that an old token brings back goes when it can be reached', long, async () => {
    const { clock, livekit, gateway, client, status, open, look } = await setUp();
    const { me, room_name, join } = await open();
    await livekit.kill();
    await me.leave();
    await look(lookMs);
    await look(lostMs - 1_000);
    expect(await status()).toBe('Active');
    await look(lookMs);
    expect(await client.next((frame) => frame.type === 'SessionStatusChanged' && frame.to === 'Terminating')).toMatchObject({
      reason: 'livekit_error',
    });
    const { rooms } = gateway;
    for (let tries = 1; tries <= 3; tries++) {
      await expect.poll(() => rooms.inVain, soon).toBe(tries);
      clock.pass(4_000);
    }
    expect(await client.next('SessionEnded')).toMatchObject({ reason: 'livekit_error', by: 'gateway' });
    expect(gateway.holds()).toEqual(idle);
    await expect.poll(() => rooms.inVain, soon).toBe(4);
    expect(rooms.deleted).toBe(0);

    await livekit.start();
    const again = await join();
    expect(await livekit.names()).toEqual([room_name]);
    clock.pass(30_000);
    await again.gone;
    await expect.poll(() => rooms.deleted, soon).toBe(1);
    expect(await livekit.names()).toEqual([]);
  });

  test('has its rooms deleted when a session ends while it is away', long, async () => {
    const { clock, livekit, gateway, client, open } = await setUp();
    const { me, room_name, join } = await open();
    await livekit.kill();
    await me.leave();
    expect(await client.ask({ type: 'EndSessionRequest' })).toMatchObject({ type: 'EndSessionResponse' });
    await expect.poll(() => gateway.rooms.inVain, soon).toBe(1);
    expect(client.types()).not.toContain('SessionEnded');

    await livekit.start();
    const again = await join();
    expect(await livekit.names()).toEqual([room_name]);
    clock.pass(1_000);
    await again.gone;
    expect(await client.next('SessionEnded')).toMatchObject({ reason: 'client_ended', by: 'client' });
    expect(await livekit.names()).toEqual([]);
    expect(gateway.holds()).toEqual(idle);
  });

  test('refuses a session while it is away, with 502 and plain words, and makes the next one', long, async () => {
    const { livekit, gateway } = await setUp();
    await livekit.kill();
    const create = () => rest(`${gateway.url}/api/v1/create-session`, 'POST', { user_identity: 'ada', required_services: [] });
    const refused = await create();
    const body = { error: 'LiveKitError', code: 'LIVEKIT_ERROR', retryable: true, message: 'LiveKit is unreachable' };
    expect(refused).toMatchObject({ status: 502, body });
    expect(gateway.holds()).toMatchObject({ live_sessions: 0, watched_rooms: 0, waiting: 0 });

    await livekit.start();
    expect(await create()).toMatchObject({ status: 201, body: { status: 'Ready' } });
    await gateway.close();
  });

  test.each([
    ['secret', { apiSecret: 'another-secret-of-32-characters-or-more' }],
    ['key', { apiKey: 'another' }],
  ])('with another %s refuses a session with 502 and plain words', long, async (_, wrong) => {
    const livekit = await ownLiveKit();
    await livekit.start();
    const gateway = await startGatewayIn(new HandClock(), { ...livekit, ...wrong });
    const refused = await rest(`${gateway.url}/api/v1/create-session`, 'POST', { user_identity: 'ada', required_services: [] });
    const body = { error: 'LiveKitError', code: 'LIVEKIT_ERROR', retryable: false, message: 'LiveKit refused the request' };
    expect(refused).toMatchObject({ status: 502, body });
    expect((await rest(`${gateway.url}/ready`)).status).toBe(503);
    expect(gateway.holds()).toMatchObject({ live_sessions: 0, watched_rooms: 0, waiting: 0 });
    expect(await livekit.names()).toEqual([]);
  });
});
