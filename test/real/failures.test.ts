import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { liveKitSecret } from '../support/canary.ts';
import { connectService, type Frame, TestClient } from '../support/client.ts';
import { freePort, sharedLiveKit, startGatewayOn, startLiveKit } from '../support/livekit.ts';
import { describeWith, parts } from '../support/parts.ts';
import { type Child, startScript } from '../support/process.ts';
import { joinRoom } from './room.ts';

const long = { timeout: 300_000 };

/** Nothing but the sockets of the test is held. */
const idle = { live_sessions: 0, watched_rooms: 0, waiting: 0 };

const nowhere = async () => ({
  url: `ws://127.0.0.1:${await freePort()}`,
  apiKey: 'none',
  apiSecret: liveKitSecret,
});

const startServiceProcess = (gateway: string, id: string, ready = true): Child =>
  startScript('test/real/child-service.ts', { gateway, id, ready });

const kill9 = async (child: Child) => {
  child.kill('SIGKILL');
  expect((await child.exited).signal).toBe('SIGKILL');
};

const isReady = (frame: Frame) => frame.type === 'ServiceStatusChanged' && frame.status === 'Ready';
const movedTo = (status: string) => (frame: Frame) => frame.type === 'SessionStatusChanged' && frame.to === status;

describeWith(parts.livekit)('what breaks on a real LiveKit', () => {
  const livekit = sharedLiveKit();

  const roomOf = async ({ session_id }: Frame) => (await livekit().client.listRooms([`room-${session_id}`])).length;

  test('a killed client ends its session and its room', long, async () => {
    const gateway = await startGatewayOn(livekit());
    const service = await connectService(gateway.url, 'asr');
    const client = startScript('test/real/child-client.ts', { gateway: gateway.socket, request: { user_identity: 'ada' } });
    const active = await client.json('"SessionActive"');
    expect(await roomOf(active)).toBe(1);
    await kill9(client);

    expect((await service.next('LeaveRoomRequest')).reason).toBe('client_gone');
    const session = async () => (await fetch(`${gateway.url}/api/v1/sessions/${active.session_id}`)).json();
    await expect.poll(session).toMatchObject({ status: 'Terminated', end_reason: 'client_gone', link: 'none' });
    expect(await roomOf(active)).toBe(0);
    expect(gateway.holds()).toEqual({ sockets: 1, ...idle });
  });

  test('a service killed before it is ready stays wanted until the join timeout', long, async () => {
    const gateway = await startGatewayOn(livekit());
    const service = startServiceProcess(gateway.socket, 'asr', false);
    await service.line('registered');
    const client = await TestClient.connect(gateway.url);
    await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: ['asr'], join_timeout_s: 3 });
    await service.line('joined the room');
    await kill9(service);
    await expect.poll(() => gateway.holds().sockets).toBe(1);

    expect(await client.ask({ type: 'GetSessionRequest' })).toMatchObject({ status: 'WaitingForServices', pending_services: ['asr'] });
    const ended = await client.next('SessionEnded');
    expect(ended).toMatchObject({ reason: 'join_timeout', by: 'gateway' });
    expect(client.types()).not.toContain('SessionReady');
    expect(await roomOf(ended)).toBe(0);
    expect(gateway.holds()).toEqual({ sockets: 1, ...idle });
  });

  test('a service killed before it is ready and started again in time serves the session', long, async () => {
    const gateway = await startGatewayOn(livekit());
    const service = startServiceProcess(gateway.socket, 'asr', false);
    await service.line('registered');
    const client = await TestClient.connect(gateway.url);
    await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: ['asr'] });
    await service.line('joined the room');
    await kill9(service);

    startServiceProcess(gateway.socket, 'asr');
    expect(await client.next(isReady)).toMatchObject({ service_id: 'asr', attempt: 2 });
    await client.next('SessionReady');
  });

  test('a service killed while it serves is replaced by a fresh one of its id', long, async () => {
    const gateway = await startGatewayOn(livekit());
    const service = startServiceProcess(gateway.socket, 'asr');
    await service.line('registered');
    const client = await TestClient.connect(gateway.url);
    await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: ['asr'] });
    const ready = await client.next('SessionReady');
    await client.next(isReady);
    await kill9(service);
    expect(await client.next('SessionDegraded')).toMatchObject({ missing: ['asr'] });
    expect(await client.ask({ type: 'GetSessionRequest' })).toMatchObject({
      status: 'Ready',
      health: 'degraded',
      pending_services: ['asr'],
    });

    startServiceProcess(gateway.socket, 'asr');
    await client.next('SessionRestored');
    const me = await joinRoom(ready.livekit_url, ready.access_token);
    const reply = me.heard('from-asr');
    await me.say('to-asr', 'are you there?');
    expect(await reply).toBe('are you there?');
  });

  test('a session whose service was killed and not replaced is lost', long, async () => {
    const gateway = await startGatewayOn(livekit());
    const service = startServiceProcess(gateway.socket, 'asr');
    await service.line('registered');
    const client = await TestClient.connect(gateway.url);
    const needs = { required_services: ['asr'], join_timeout_s: 3 };
    await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', ...needs });
    await client.next('SessionReady');
    await kill9(service);

    await client.next('SessionDegraded');
    const ended = await client.next('SessionEnded');
    expect(ended).toMatchObject({ reason: 'service_lost', by: 'gateway' });
    expect(await roomOf(ended)).toBe(0);
    expect(gateway.holds()).toEqual({ sockets: 1, ...idle });
  });

  test('a user who leaves the room may come back', long, async () => {
    const gateway = await startGatewayOn(livekit());
    await connectService(gateway.url, 'asr');
    const client = await TestClient.connect(gateway.url);
    await client.ask({ type: 'NewSessionRequest', user_identity: 'ada' });
    const { livekit_url, access_token } = await client.next('SessionReady');
    const first = await joinRoom(livekit_url, access_token);
    await client.next('SessionActive');
    await first.leave();
    expect(await client.next('ParticipantChanged')).toMatchObject({ participant: { identity: 'ada' }, present: true });
    expect(await client.next('ParticipantChanged')).toMatchObject({ participant: { identity: 'ada' }, present: false });
    expect(await client.next((frame) => movedTo('Ready')(frame) && frame.from === 'Active')).toMatchObject({
      type: 'SessionStatusChanged',
    });

    await joinRoom(livekit_url, access_token);
    expect((await client.next('SessionActive')).participant).toMatchObject({ identity: 'ada' });
  });

  test('a room deleted over the head of its user ends the session', long, async () => {
    const gateway = await startGatewayOn(livekit());
    await connectService(gateway.url, 'asr');
    const client = await TestClient.connect(gateway.url);
    await client.ask({ type: 'NewSessionRequest', user_identity: 'ada' });
    const { livekit_url, access_token, room_name } = await client.next('SessionReady');
    const me = await joinRoom(livekit_url, access_token);
    await client.next('SessionActive');
    await livekit().client.deleteRoom(room_name);
    await me.gone;
    expect(await client.next('SessionEnded')).toMatchObject({ reason: 'room_deleted', by: 'gateway' });
    expect(gateway.holds()).toEqual({ sockets: 2, ...idle });
  });

  test('a LiveKit that dies ends the sessions on it', long, async () => {
    const own = await startLiveKit();
    const gateway = await startGatewayOn(own, { livekit: { lost_after_s: 1 } });
    const client = await TestClient.connect(gateway.url);
    expect(await client.ask({ type: 'NewSessionRequest', user_identity: 'ada' })).toMatchObject({ status: 'Ready' });
    expect(await (await fetch(`${gateway.url}/ready`)).json()).toMatchObject({ ready: true, livekit: { mode: 'create', reachable: true } });
    await own.kill();
    expect(await client.next(movedTo('Terminating'))).toMatchObject({ reason: 'livekit_error' });
    expect((await fetch(`${gateway.url}/ready`)).status).toBe(503);
  });
});

test('where no LiveKit listens, a session is refused and its socket is free again', async () => {
  const gateway = await startGatewayOn(await nowhere());
  const client = await TestClient.connect(gateway.url);
  for (const user_identity of ['ada', 'grace']) {
    expect(await client.ask({ type: 'NewSessionRequest', user_identity })).toMatchObject({
      type: 'Error',
      error: 'LiveKitError',
      code: 'LIVEKIT_ERROR',
      retryable: true,
    });
    expect(gateway.holds()).toEqual({ sockets: 1, ...idle });
  }
});

test('a LiveKit that takes calls and never answers is refused within ten seconds', async () => {
  const sockets = new Set<Socket>();
  const silent = createServer((socket) => void sockets.add(socket)).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    silent.close();
  });
  const address = silent.address();
  const url = `ws://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
  const gateway = await startGatewayOn({ ...(await nowhere()), url });
  const client = await TestClient.connect(gateway.url);
  expect(await client.ask({ type: 'NewSessionRequest', user_identity: 'ada' })).toMatchObject({ type: 'Error', code: 'LIVEKIT_ERROR' });
  expect(gateway.holds()).toEqual({ sockets: 1, ...idle });
});
