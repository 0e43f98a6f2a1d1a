import { describe, expect, test } from 'vitest';
import { connectService, type Frame, TestClient } from '../support/client.ts';
import { settled } from '../support/clock.ts';
import { startGateway } from '../support/gateway.ts';
import { rest } from '../support/http-service.ts';

const zh = { type: 'ASR', language: 'zh-CN' };
const manual = { auto: false, metadata: zh };
const automatic = { metadata: zh };

async function open(url: string, more: object = {}) {
  const client = await TestClient.connect(url);
  const made = await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: [zh], ...more });
  return { client, session_id: made.session_id as string, made };
}

/** The services that serve a session now. */
const serving = async (client: TestClient) => (await client.ask({ type: 'GetSessionRequest' })).ready_services as string[];

const listed = async (url: string) =>
  Object.fromEntries((await rest(`${url}/api/v1/microservices`)).body.items.map((item: Frame) => [item.service_id, item])) as Record<
    string,
    Frame
  >;

const loads = async (url: string) => Object.fromEntries(Object.entries(await listed(url)).map(([id, { sessions }]) => [id, sessions]));

const offers = (service: TestClient) => service.all.filter((frame) => frame.type === 'JoinRoomRequest');

async function accept(service: TestClient): Promise<Frame> {
  const offer = await service.next('JoinRoomRequest');
  service.send({ type: 'JoinRoomResponse', assignment_id: offer.assignment_id, accepted: true });
  return offer;
}

async function serve(service: TestClient): Promise<Frame> {
  const offer = await accept(service);
  expect(await service.ask({ type: 'ServiceReady', assignment_id: offer.assignment_id })).toMatchObject({ success: true });
  return offer;
}

async function decline(service: TestClient, more: object = {}): Promise<Frame> {
  const offer = await service.next('JoinRoomRequest');
  service.send({ type: 'JoinRoomResponse', assignment_id: offer.assignment_id, accepted: false, ...more });
  return offer;
}

async function drop(service: TestClient): Promise<void> {
  service.ws.terminate();
  await service.closed;
  // the gateway notices
  await settled(20);
}

describe('a selector', () => {
  test('takes the least loaded service that is what it says', async () => {
    const { url } = await startGateway();
    for (const id of ['asr-1', 'asr-2']) await connectService(url, id, automatic);
    await connectService(url, 'asr-en', { metadata: { type: 'ASR', language: 'en' } });
    for (let i = 0; i < 4; i++) await (await open(url)).client.next('SessionReady');
    expect(await loads(url)).toEqual({ 'asr-1': 2, 'asr-2': 2, 'asr-en': 0 });
    await (await open(url, { required_services: [{ type: 'ASR' }] })).client.next('SessionReady');
    expect(await loads(url)).toMatchObject({ 'asr-en': 1 });
  });

  test('among equals takes the one that was not asked for the longest time', async () => {
    const { url, clock } = await startGateway();
    for (const id of ['asr-1', 'asr-2', 'asr-3']) await connectService(url, id, automatic);
    const order: string[] = [];
    for (let i = 0; i < 6; i++) {
      const { client } = await open(url);
      await client.next('SessionReady');
      order.push(...(await serving(client)));
      await client.ask({ type: 'EndSessionRequest' });
      await client.next('SessionEnded');
      await clock.advance(1_000);
    }
    expect(order).toEqual(['asr-1', 'asr-2', 'asr-3', 'asr-1', 'asr-2', 'asr-3']);
  });

  test('is listed by what it asks for until a service holds it', async () => {
    const { url } = await startGateway();
    const { client, made } = await open(url);
    expect(made.pending_services).toEqual(['type=ASR,language=zh-CN']);
    await connectService(url, 'asr-1', automatic);
    await client.next('SessionReady');
    expect(await serving(client)).toEqual(['asr-1']);
  });

  test('never takes a service that serves the session already', async () => {
    const { url } = await startGateway();
    await connectService(url, 'asr-1', automatic);
    const { client } = await open(url, { required_services: ['asr-1', zh] });
    await client.next((f) => f.status === 'Ready' && f.service_id === 'asr-1');
    await client.caughtUp();
    expect(await loads(url)).toEqual({ 'asr-1': 1 });
    await connectService(url, 'asr-2', automatic);
    await client.next('SessionReady');
    expect(await serving(client)).toEqual(['asr-1', 'asr-2']);
  });

  test('leaves a service alone that the session asks for by its id', async () => {
    const { url } = await startGateway();
    for (const id of ['asr-1', 'asr-2']) await connectService(url, id, automatic);
    const { client } = await open(url, { required_services: [zh, 'asr-1'] });
    await client.next('SessionReady');
    expect(await serving(client)).toEqual(['asr-2', 'asr-1']);
  });

  test('leaves a service alone that only a narrower one can take', async () => {
    const { url } = await startGateway();
    await connectService(url, 'asr-zh', automatic);
    await connectService(url, 'asr-en', { metadata: { type: 'ASR', language: 'en' } });
    const { client } = await open(url, { required_services: [{ type: 'ASR' }, zh] });
    await client.next('SessionReady');
    expect(await serving(client)).toEqual(['asr-en', 'asr-zh']);
  });

  test('never takes a service that is named like the user', async () => {
    const { url } = await startGateway();
    const ada = await connectService(url, 'ada', manual);
    const { client } = await open(url);
    await ada.caughtUp();
    expect(offers(ada)).toEqual([]);
    await connectService(url, 'asr-1', automatic);
    await client.next('SessionReady');
  });

  test('twice in a session takes two services', async () => {
    const { url } = await startGateway();
    for (const id of ['asr-1', 'asr-2']) await connectService(url, id, automatic);
    const { client } = await open(url, { required_services: [zh, zh] });
    await client.next('SessionReady');
    expect((await serving(client)).sort()).toEqual(['asr-1', 'asr-2']);
  });

  test('and an id that is spelt like it are two different things', async () => {
    const { url } = await startGateway();
    const byId = await open(url, { required_services: ['type=ASR'] });
    const bySelector = await open(url, { required_services: [{ type: 'ASR' }] });
    await connectService(url, 'asr-1', automatic);
    await bySelector.client.next('SessionReady');
    await connectService(url, 'type=ASR');
    await byId.client.next('SessionReady');
  });
});

describe('slots', () => {
  test('are never given twice when fifty sessions want ten of them at once', async () => {
    const { url, holds } = await startGateway();
    const most: number[] = [];
    for (const id of ['asr-1', 'asr-2']) {
      const held = new Set<string>();
      const service = await connectService(url, id, { ...manual, max_sessions: 5 });
      service.ws.on('message', (data) => {
        const { type, assignment_id } = JSON.parse(String(data)) as Frame;
        if (type === 'JoinRoomRequest') {
          most.push(held.add(assignment_id).size);
          service.send({ type: 'ServiceReady', assignment_id });
        }
        if (type === 'LeaveRoomRequest') {
          held.delete(assignment_id);
          service.send({ type: 'ServiceLeft', assignment_id });
        }
      });
    }
    const sessions = await Promise.all(Array.from({ length: 50 }, (_, i) => open(url, { user_identity: `user-${i}` })));
    expect(holds().waiting).toBe(40);
    await Promise.all(
      sessions.map(async ({ client }) => {
        await client.next('SessionReady');
        await client.ask({ type: 'EndSessionRequest' });
        await client.next('SessionEnded');
      }),
    );
    expect(most).toHaveLength(50);
    expect(Math.max(...most)).toBe(5);
    expect(await loads(url)).toEqual({ 'asr-1': 0, 'asr-2': 0 });
    expect(holds()).toMatchObject({ live_sessions: 0, watched_rooms: 0, waiting: 0 });
  });

  test('go to those who wait in the order they came, whatever they asked for', async () => {
    const { url, holds } = await startGateway();
    const asr = await connectService(url, 'asr-1', { ...automatic, max_sessions: 1 });
    const first = await open(url);
    await first.client.next('SessionReady');
    const wishes = [{ type: 'ASR' }, 'asr-1', zh, { type: 'ASR' }, zh, 'asr-1'];
    const queue: Awaited<ReturnType<typeof open>>[] = [];
    for (const wish of wishes) queue.push(await open(url, { required_services: [wish] }));
    expect(holds().waiting).toBe(6);
    // one ends properly, one just goes
    await queue[1]?.client.ask({ type: 'EndSessionRequest' });
    if (queue[3]) await drop(queue[3].client);
    await expect.poll(() => holds().waiting).toBe(4);
    const staying = queue.filter((_, i) => i !== 1 && i !== 3);
    let { client } = first;
    for (const next of staying) {
      await client.ask({ type: 'EndSessionRequest' });
      await next.client.next('SessionReady');
      client = next.client;
    }
    expect(offers(asr).map((f) => f.session_id)).toEqual([first, ...staying].map((s) => s.session_id));
    expect(holds().waiting).toBe(0);
  });

  test('of a service that says full are not used until it says available', async () => {
    const { url } = await startGateway();
    const asr = await connectService(url, 'asr-1', automatic);
    const first = await open(url);
    await first.client.next('SessionReady');
    asr.send({ type: 'ServiceStatus', status: 'full' });
    await asr.caughtUp();
    const second = await open(url);
    await second.client.caughtUp();
    expect(offers(asr)).toHaveLength(1);
    expect(await serving(first.client)).toEqual(['asr-1']);
    asr.send({ type: 'ServiceStatus', status: 'available' });
    await second.client.next('SessionReady');
  });
});

describe('an offer', () => {
  test('that is declined goes to the next candidate at once', async () => {
    const { url } = await startGateway();
    const one = await connectService(url, 'asr-1', manual);
    const two = await connectService(url, 'asr-2', manual);
    const { client } = await open(url);
    await decline(one, { reason: 'busy' });
    expect(await serve(two)).toMatchObject({ attempt: 2, resuming: false });
    await client.next('SessionReady');
    expect(await client.next((f) => f.error)).toMatchObject({ service_id: 'asr-1', error: 'busy' });
    expect(await loads(url)).toEqual({ 'asr-1': 0, 'asr-2': 1 });
  });

  test('that hangs goes to the next candidate after ten seconds, and the late one is asked to leave', async () => {
    const { url, clock } = await startGateway();
    const one = await connectService(url, 'asr-1', manual);
    const two = await connectService(url, 'asr-2', manual);
    const { client } = await open(url);
    const { assignment_id } = await one.next('JoinRoomRequest');
    await clock.advance(9_000);
    await two.caughtUp();
    expect(offers(two)).toEqual([]);
    await clock.advance(1_000);
    expect(await one.next('LeaveRoomRequest')).toMatchObject({ assignment_id });
    await serve(two);
    await client.next('SessionReady');
    one.send({ type: 'JoinRoomResponse', assignment_id, accepted: true });
    expect(await one.next('LeaveRoomRequest')).toMatchObject({ assignment_id, reason: 'the offer is over' });
    expect(await one.ask({ type: 'ServiceReady', assignment_id })).toMatchObject({ code: 'ASSIGNMENT_NOT_FOUND' });
    expect(await serving(client)).toEqual(['asr-2']);
  });

  test('to a socket that dies before it accepts goes to the next candidate at once', async () => {
    const { url } = await startGateway();
    const one = await connectService(url, 'asr-1', manual);
    const two = await connectService(url, 'asr-2', manual);
    const { client } = await open(url);
    await one.next('JoinRoomRequest');
    await drop(one);
    await serve(two);
    await client.next('SessionReady');
    expect(await client.next((f) => f.error)).toMatchObject({ service_id: 'asr-1', attempt: 1 });
  });

  test('is made again to everybody after their pauses, until the time to join is over', async () => {
    const { url, clock } = await startGateway();
    const services = [await connectService(url, 'asr-1', manual), await connectService(url, 'asr-2', manual)];
    for (const service of services) {
      service.ws.on('message', (data) => {
        const { type, assignment_id } = JSON.parse(String(data)) as Frame;
        if (type === 'JoinRoomRequest') service.send({ type: 'JoinRoomResponse', assignment_id, accepted: false });
      });
    }
    const { client } = await open(url, { join_timeout_s: 30 });
    await client.next((f) => f.service_id === 'asr-2' && f.error);
    await clock.advance(29_000);
    await client.caughtUp();
    // at once, then after 1, 2, 4, 8 and 10 s
    for (const service of services) expect(offers(service)).toHaveLength(6);
    await clock.advance(1_000);
    expect(await client.next((f) => f.to === 'Terminating')).toMatchObject({ reason: 'join_timeout' });
    await client.next('SessionEnded');
    const asked = services.map((service) => offers(service).length);
    await clock.advance(30_000);
    for (const service of services) await service.caughtUp();
    expect(services.map((service) => offers(service).length)).toEqual(asked);
  });

  test('that is declined with no pause at all is not made in a loop', async () => {
    const { url } = await startGateway();
    const asr = await connectService(url, 'asr-1', manual);
    const { client } = await open(url);
    await decline(asr, { retry_after_ms: 0 });
    await client.next((f) => f.error);
    await asr.caughtUp();
    expect(offers(asr)).toHaveLength(1);
  });

  test('waits for a service that registers late', async () => {
    const { url, clock } = await startGateway();
    const { client } = await open(url);
    await clock.advance(45_000);
    const asr = await connectService(url, 'asr-1', manual);
    expect(await serve(asr)).toMatchObject({ attempt: 1, deadline_ms: 15_000 });
    await client.next('SessionReady');
  });

  test('is not made for an id that never registers, whose session ends after thirty seconds', async () => {
    const { url, clock } = await startGateway();
    const { client } = await open(url, { required_services: ['nobody'] });
    await clock.advance(31_000);
    expect(await client.next('SessionEnded')).toMatchObject({ reason: 'registration_timeout' });
  });
});

describe('what a service says', () => {
  test('twice has one effect and the same answer', async () => {
    const { url } = await startGateway();
    const asr = await connectService(url, 'asr-1', manual);
    const { client, session_id } = await open(url);
    const { assignment_id } = await accept(asr);
    asr.send({ type: 'JoinRoomResponse', assignment_id, accepted: true });
    const ready = { type: 'ServiceReadyResponse', success: true, session_id, service_id: 'asr-1', all_ready: true };
    for (const id of ['a', 'b']) expect(await asr.ask({ type: 'ServiceReady', id, assignment_id })).toEqual({ ...ready, id });
    asr.send({ type: 'JoinRoomResponse', assignment_id, accepted: true });
    // too late to decline: it serves
    asr.send({ type: 'JoinRoomResponse', assignment_id, accepted: false });
    await asr.caughtUp();
    await client.caughtUp();
    expect(client.all.filter((f) => f.type === 'ServiceStatusChanged').map((f) => f.status)).toEqual(['Ready']);
    expect(client.types().filter((type) => type === 'SessionReady')).toHaveLength(1);
    expect(asr.types()).not.toContain('LeaveRoomRequest');
    expect(asr.types()).not.toContain('Error');
  });

  test("of another's session is refused and changes nothing", async () => {
    const { url } = await startGateway();
    const asr = await connectService(url, 'asr-1', manual);
    const tts = await connectService(url, 'tts-1', { auto: false, metadata: { type: 'TTS' } });
    const { client, session_id } = await open(url);
    const { assignment_id } = await serve(asr);
    const other = await open(url, { user_identity: 'bob', required_services: ['tts-1'] });
    await serve(tts);
    for (const accepted of [true, false]) tts.send({ type: 'JoinRoomResponse', assignment_id, accepted });
    expect(await tts.next('LeaveRoomRequest')).toMatchObject({ assignment_id });
    for (const type of ['ServiceReady', 'ServiceFailed', 'ServiceProgress']) {
      expect(await tts.ask({ type, assignment_id, phase: 'x' })).toMatchObject({ type: 'Error', code: 'ASSIGNMENT_NOT_FOUND' });
    }
    expect(await tts.ask({ type: 'ServiceReady', session_id, service_id: 'tts-1' })).toMatchObject({ code: 'ASSIGNMENT_NOT_FOUND' });
    tts.send({ type: 'ServiceLeft', assignment_id });
    await tts.caughtUp();
    await client.caughtUp();
    expect(client.types()).not.toContain('SessionDegraded');
    expect(await serving(client)).toEqual(['asr-1']);
    expect(await serving(other.client)).toEqual(['tts-1']);
    expect(asr.types()).not.toContain('LeaveRoomRequest');
  });

  test('on a socket that the same instance left behind is not heard: that socket is closed', async () => {
    const { url, clock } = await startGateway();
    const old = await connectService(url, 'asr-1', { ...manual, instance_id: 'a' });
    const { client, session_id } = await open(url);
    const { assignment_id } = await serve(old);
    const fresh = await TestClient.connect(url);
    const held = [{ session_id, assignment_id }];
    expect(await fresh.ask({ type: 'RegisterServiceRequest', service_id: 'asr-1', instance_id: 'a', metadata: zh, held })).toMatchObject({
      keep: [assignment_id],
      release: [],
    });
    old.send({ type: 'ServiceFailed', assignment_id });
    expect(await old.closed).toEqual({ code: 4409, reason: 'taken over' });
    await clock.advance(10_000);
    await client.caughtUp();
    expect(client.types()).not.toContain('SessionDegraded');
    expect(await serving(client)).toEqual(['asr-1']);
    expect(fresh.types()).not.toContain('LeaveRoomRequest');
    expect(await listed(url)).toMatchObject({ 'asr-1': { status: 'Registered', availability: 'available', sessions: 1 } });
  });
});

describe('a service that comes back', () => {
  test('keeps its place with what it holds, and its slots with it', async () => {
    const { url, clock } = await startGateway();
    const asr = await connectService(url, 'asr-1', { ...manual, instance_id: 'a', max_sessions: 2 });
    const sessions = [await open(url), await open(url)];
    const held: object[] = [];
    for (const { session_id } of sessions) held.push({ session_id, assignment_id: (await serve(asr)).assignment_id });
    const third = await open(url);
    await drop(asr);
    await clock.advance(3_000);
    const back = await TestClient.connect(url);
    await back.ask({ type: 'RegisterServiceRequest', service_id: 'asr-1', instance_id: 'b', metadata: zh, max_sessions: 2, held });
    await clock.advance(10_000);
    await third.client.caughtUp();
    expect(offers(back)).toEqual([]);
    for (const { client } of sessions) expect(await serving(client)).toEqual(['asr-1']);
    await sessions[0]?.client.ask({ type: 'EndSessionRequest' });
    const { assignment_id } = await back.next('LeaveRoomRequest');
    back.send({ type: 'ServiceLeft', assignment_id });
    await serve(back);
    await third.client.next('SessionReady');
  });

  test('too late is notified of what is over, and is offered what waits', async () => {
    const { url, clock } = await startGateway();
    const asr = await connectService(url, 'asr-1', { ...manual, instance_id: 'a' });
    const { client, session_id } = await open(url);
    const { assignment_id } = await serve(asr);
    await drop(asr);
    await clock.advance(6_000);
    await client.next('SessionDegraded');
    const back = await TestClient.connect(url);
    const held = [{ session_id, assignment_id }];
    expect(await back.ask({ type: 'RegisterServiceRequest', service_id: 'asr-1', instance_id: 'a', metadata: zh, held })).toMatchObject({
      keep: [],
      release: [assignment_id],
    });
    expect(await serve(back)).toMatchObject({ attempt: 2, resuming: true });
    await client.next('SessionRestored');
  });

  test('may not name what another holds', async () => {
    const { url } = await startGateway();
    const asr = await connectService(url, 'asr-1', manual);
    const { client, session_id } = await open(url);
    const { assignment_id } = await serve(asr);
    const thief = await TestClient.connect(url);
    const held = [{ session_id, assignment_id }];
    expect(await thief.ask({ type: 'RegisterServiceRequest', service_id: 'asr-2', held })).toMatchObject({ release: [assignment_id] });
    expect(await thief.ask({ type: 'ServiceFailed', assignment_id })).toMatchObject({ code: 'ASSIGNMENT_NOT_FOUND' });
    expect(await serving(client)).toEqual(['asr-1']);
    expect(await loads(url)).toEqual({ 'asr-1': 1, 'asr-2': 0 });
  });
});

describe('optional services', () => {
  const withOptional = { required_services: ['llm'], optional_services: [zh] };

  test('are asked, and nobody waits for them', async () => {
    const { url, clock } = await startGateway();
    await connectService(url, 'llm');
    const asr = await connectService(url, 'asr-1', manual);
    const { client } = await open(url, withOptional);
    await client.next('SessionReady');
    await accept(asr);
    await clock.advance(70_000);
    expect(await serving(client)).toEqual(['llm']);
    expect(client.types()).not.toContain('SessionDegraded');
  });

  test('that register late are offered the running session', async () => {
    const { url } = await startGateway();
    await connectService(url, 'llm');
    const { client } = await open(url, withOptional);
    await client.next('SessionReady');
    await connectService(url, 'asr-1', automatic);
    await client.next((f) => f.service_id === 'asr-1' && f.status === 'Ready');
    expect(await serving(client)).toEqual(['llm', 'asr-1']);
    expect(client.types()).not.toContain('SessionRestored');
  });

  for (const on_service_loss of ['replace', 'degrade', 'terminate']) {
    test(`that are lost do not degrade a session with on_service_loss ${on_service_loss}, and are replaced`, async () => {
      const { url, clock } = await startGateway();
      await connectService(url, 'llm');
      const asr = await connectService(url, 'asr-1', automatic);
      const { client } = await open(url, { ...withOptional, on_service_loss });
      await client.next((f) => f.service_id === 'asr-1' && f.status === 'Ready');
      await drop(asr);
      await clock.advance(5_000);
      await client.next((f) => f.service_id === 'asr-1' && f.error);
      await connectService(url, 'asr-2', automatic);
      await client.next((f) => f.service_id === 'asr-2' && f.status === 'Ready');
      expect(client.types()).not.toContain('SessionDegraded');
      expect(await client.ask({ type: 'GetSessionRequest' })).toMatchObject({ status: 'Ready', health: 'ok' });
    });
  }
});

describe('on_join_timeout degrade', () => {
  const degrade = { required_services: ['llm', zh], on_join_timeout: 'degrade', join_timeout_s: 20 };

  test('lets a session go on without what is missing, and takes in the late one', async () => {
    const { url, clock } = await startGateway();
    await connectService(url, 'llm');
    const { client } = await open(url, degrade);
    await client.next((f) => f.service_id === 'llm' && f.status === 'Ready');
    await clock.advance(21_000);
    await client.next('SessionReady');
    expect(await client.next('SessionDegraded')).toMatchObject({ missing: ['type=ASR,language=zh-CN'] });
    expect(await client.ask({ type: 'GetSessionRequest' })).toMatchObject({ status: 'Ready', health: 'degraded' });
    await connectService(url, 'asr-1', automatic);
    expect(await client.next('SessionRestored')).toMatchObject({ missing: [] });
    expect(await client.ask({ type: 'GetSessionRequest' })).toMatchObject({ health: 'ok', ready_services: ['llm', 'asr-1'] });
    expect(client.types().filter((type) => type === 'SessionReady')).toHaveLength(1);
  });

  test('does not wait for ids that never registered', async () => {
    const { url, clock } = await startGateway();
    await connectService(url, 'llm');
    const { client } = await open(url, { ...degrade, required_services: ['llm', 'nobody'], join_timeout_s: 60 });
    await clock.advance(61_000);
    expect(await client.next('SessionDegraded')).toMatchObject({ missing: ['nobody'] });
  });

  test('with nobody ready ends the session', async () => {
    const { url, clock } = await startGateway();
    const { client } = await open(url, degrade);
    await clock.advance(21_000);
    expect(await client.next('SessionEnded')).toMatchObject({ reason: 'join_timeout' });
    expect(client.types()).not.toContain('SessionReady');
  });
});

describe('a service lost in a running session', () => {
  /** A ready session on asr-1, with asr-2 idle. */
  async function running(more: object = {}) {
    const gateway = await startGateway();
    const one = await connectService(gateway.url, 'asr-1', manual);
    const two = await connectService(gateway.url, 'asr-2', manual);
    const session = await open(gateway.url, { metadata: { topic: 'weather' }, ...more });
    const { assignment_id } = await serve(one);
    await session.client.next('SessionReady');
    return { ...gateway, ...session, one, two, assignment_id };
  }

  test('is replaced by another of its kind, which is notified that it takes over', async () => {
    const { client, clock, one, two } = await running();
    await drop(one);
    await clock.advance(4_000);
    await two.caughtUp();
    expect(offers(two)).toEqual([]);
    await clock.advance(1_000);
    expect(await serve(two)).toMatchObject({ attempt: 2, resuming: true, deadline_ms: 60_000, metadata: { topic: 'weather' } });
    await client.next('SessionDegraded');
    await client.next('SessionRestored');
    expect(await serving(client)).toEqual(['asr-2']);
  });

  test('that says so itself is asked again first when it is idle', async () => {
    const { client, one, assignment_id } = await running({ required_services: ['asr-1'] });
    one.send({ type: 'ServiceFailed', assignment_id, error: 'model crashed' });
    expect(await client.next('SessionDegraded')).toMatchObject({ missing: ['asr-1'] });
    expect(await serve(one)).toMatchObject({ attempt: 2, resuming: true });
    await client.next('SessionRestored');
  });

  test('is replaced three times, then the session ends', async () => {
    const { client, one, assignment_id } = await running({ required_services: ['asr-1'] });
    let failing = assignment_id;
    for (let replacement = 1; replacement <= 3; replacement++) {
      one.send({ type: 'ServiceFailed', assignment_id: failing });
      failing = (await serve(one)).assignment_id;
    }
    one.send({ type: 'ServiceFailed', assignment_id: failing });
    expect(await client.next('SessionEnded')).toMatchObject({ reason: 'service_lost' });
    expect(offers(one)).toHaveLength(4);
  });

  test('whose place nobody takes in time ends the session, or with degrade leaves it degraded', async () => {
    for (const on_join_timeout of ['fail', 'degrade']) {
      const { client, clock, one, two } = await running({ on_join_timeout, join_timeout_s: 20 });
      await drop(two);
      await drop(one);
      await clock.advance(5_000);
      await client.next('SessionDegraded');
      await clock.advance(21_000);
      if (on_join_timeout === 'fail') expect(await client.next('SessionEnded')).toMatchObject({ reason: 'service_lost' });
      else expect(await client.ask({ type: 'GetSessionRequest' })).toMatchObject({ status: 'Ready', health: 'degraded' });
    }
  });

  test('with on_service_loss degrade is not replaced', async () => {
    const { client, clock, one, two } = await running({ on_service_loss: 'degrade' });
    await drop(one);
    await clock.advance(5_000);
    expect(await client.next('SessionDegraded')).toMatchObject({ missing: ['type=ASR,language=zh-CN'] });
    await clock.advance(70_000);
    await two.caughtUp();
    expect(offers(two)).toEqual([]);
    expect(await client.ask({ type: 'GetSessionRequest' })).toMatchObject({ status: 'Ready', health: 'degraded' });
  });

  test('with on_service_loss terminate ends the session', async () => {
    const { client, clock, one } = await running({ on_service_loss: 'terminate' });
    await drop(one);
    await clock.advance(5_000);
    expect(await client.next('SessionEnded')).toMatchObject({ reason: 'service_lost' });
  });

  test('that only left the room is asked to leave before another comes', async () => {
    const { client, clock, rooms, one, two, session_id, assignment_id } = await running();
    rooms.join(`room-${session_id}`, 'asr-1', 'agent');
    await clock.advance(30_000);
    rooms.leave(`room-${session_id}`, 'asr-1');
    await clock.advance(9_000);
    expect(await one.next('LeaveRoomRequest')).toMatchObject({ assignment_id, reason: 'the service left the room' });
    await client.next('SessionDegraded');
    await serve(two);
    await client.next('SessionRestored');
  });
});

describe('DeregisterServiceRequest', () => {
  test('with drain lets the service finish what it serves', async () => {
    const { url } = await startGateway();
    const asr = await connectService(url, 'asr-1', automatic);
    const { client } = await open(url);
    await client.next('SessionReady');
    expect(await asr.ask({ type: 'DeregisterServiceRequest', id: 'd' })).toEqual({
      type: 'DeregisterServiceResponse',
      id: 'd',
      success: true,
      service_id: 'asr-1',
      message: 'Microservice is draining',
      sessions: 1,
    });
    const second = await open(url);
    await second.client.caughtUp();
    expect(offers(asr)).toHaveLength(1);
    expect(await listed(url)).toMatchObject({ 'asr-1': { availability: 'draining', sessions: 1 } });
    await client.ask({ type: 'EndSessionRequest' });
    await client.next('SessionEnded');
    await settled();
    expect(await listed(url)).toEqual({});
    expect(offers(asr)).toHaveLength(1);
  });

  test('without drain takes the service out at once, and others take its place', async () => {
    const { url } = await startGateway();
    const asr = await connectService(url, 'asr-1', automatic);
    const { client } = await open(url);
    await client.next('SessionReady');
    const { assignment_id } = await asr.next('JoinRoomRequest');
    expect(await asr.ask({ type: 'DeregisterServiceRequest', drain: false })).toMatchObject({
      success: true,
      message: 'Microservice deregistered',
      sessions: 1,
    });
    expect(await asr.next('LeaveRoomRequest')).toMatchObject({ assignment_id });
    await client.next('SessionDegraded');
    expect(await listed(url)).toEqual({});
    await connectService(url, 'asr-2', automatic);
    await client.next('SessionRestored');
  });

  test('of a service that serves nothing takes it out at once, also with drain', async () => {
    const { url } = await startGateway();
    const asr = await connectService(url, 'asr-1', automatic);
    expect(await asr.ask({ type: 'DeregisterServiceRequest' })).toMatchObject({ success: true, sessions: 0 });
    expect(await listed(url)).toEqual({});
    expect(await asr.ask({ type: 'RegisterServiceRequest', service_id: 'asr-1' })).toMatchObject({ success: true });
  });

  test('drain as a status is the same', async () => {
    const { url } = await startGateway();
    const asr = await connectService(url, 'asr-1', automatic);
    const { client } = await open(url);
    await client.next('SessionReady');
    asr.send({ type: 'ServiceStatus', status: 'draining' });
    await asr.caughtUp();
    await client.ask({ type: 'EndSessionRequest' });
    await client.next('SessionEnded');
    await settled();
    expect(await listed(url)).toEqual({});
  });
});
