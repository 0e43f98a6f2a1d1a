import dns from 'node:dns';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { networkInterfaces } from 'node:os';
import { gzipSync } from 'node:zlib';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { isBoundAt } from '../../src/addresses.ts';
import { allowedNetworks } from '../../src/config-load.ts';
import { guard } from '../../src/services/guard.ts';
import { Outbound } from '../../src/services/outbound.ts';
import { TestClient } from '../support/client.ts';
import { settled } from '../support/clock.ts';
import { startGateway, testConfig } from '../support/gateway.ts';
import { HttpService, rest, type Script } from '../support/http-service.ts';

async function waiting(url: string, more: object = {}) {
  const client = await TestClient.connect(url);
  const made = await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: ['asr'], ...more });
  return { client, session_id: made.session_id as string };
}

const sayReady = (url: string, session_id: string, service_id = 'asr') =>
  rest(`${url}/api/v1/sessions/${session_id}/ready`, 'POST', { service_id });

const listed = async (url: string, service_id = 'asr') => {
  const { body } = await rest(`${url}/api/v1/microservices`);
  return (body.items as { service_id: string; [field: string]: unknown }[]).find((item) => item.service_id === service_id);
};

/** A gateway, an HTTP service `asr` that does as scripted, and a session that waits for it. */
async function served(scripts: Record<string, Script> = {}, more: object = {}) {
  const gateway = await startGateway();
  const asr = await HttpService.start(scripts);
  await asr.register(gateway.url, { service_id: 'asr', ...more });
  return { ...gateway, asr, ...(await waiting(gateway.url)) };
}

/** As `served`, and the session is ready. */
async function ready(scripts: Record<string, Script> = {}, more: object = {}) {
  const all = await served(scripts, more);
  await all.asr.next('/join');
  await sayReady(all.url, all.session_id);
  await all.client.next('SessionReady');
  return all;
}

/** Finds nobody at the service, one round of probes after the other, and says how many it took. */
async function probesUntilGone({ url, clock, asr }: { url: string; clock: { advance(ms: number): Promise<void> }; asr: HttpService }) {
  asr.on('/health', 'reset');
  for (let rounds = 1; rounds < 10; rounds++) {
    await clock.advance(10_000);
    await asr.next('/health');
    await settled(100);
    if ((await listed(url))?.status === 'Disconnected') return rounds;
  }
  throw new Error('never disconnected');
}

describe('an HTTP service', () => {
  test('is registered with the answer of the documents', async () => {
    const { url } = await startGateway();
    const asr = await HttpService.start();
    expect(await asr.register(url, { service_id: 'asr', metadata: { type: 'ASR' } })).toEqual({
      status: 201,
      body: { success: true, service_id: 'asr', message: 'Microservice registered successfully' },
    });
  });

  test('is asked to join with everything it needs', async () => {
    const { url, rooms } = await startGateway();
    const asr = await HttpService.start();
    await asr.register(url, { service_id: 'asr' });
    const { session_id } = await waiting(url, { metadata: { language: 'zh-CN', tags: ['demo'] }, workspace_dir: process.cwd() });
    const { method, headers, body } = await asr.next('/join');
    expect(method).toBe('POST');
    expect(headers['content-type']).toBe('application/json');
    expect(body).toEqual({
      assignment_id: expect.any(String),
      attempt: 1,
      session_id,
      room_name: `room-${session_id}`,
      livekit_room: `room-${session_id}`,
      service_identity: 'asr',
      user_identity: 'ada',
      livekit_url: rooms.url,
      access_token: 'service-token-of-asr',
      context: {},
      metadata: { language: 'zh-CN', tags: ['demo'] },
      workspace_dir: process.cwd(),
      deadline_ms: 60_000,
      resuming: false,
    });
  });

  test('accepts with any 2xx, is ready by REST, and is asked once to leave', async () => {
    const { url, asr, client, session_id } = await served({ '/join': { status: 204 } });
    const { body } = await asr.next('/join');
    const yes = { status: 200, body: { success: true, session_id, service_id: 'asr', all_ready: true } };
    expect(await sayReady(url, session_id)).toEqual(yes);
    await client.next('SessionReady');
    expect(await sayReady(url, session_id)).toEqual(yes);
    await client.ask({ type: 'EndSessionRequest' });
    const leave = await asr.next('/leave');
    expect(leave.method).toBe('POST');
    expect(leave.body).toEqual({ assignment_id: body.assignment_id, reason: 'client_ended', deadline_ms: 3_000 });
    await client.next('SessionEnded');
    expect(await listed(url)).toMatchObject({ sessions: 0 });
    expect(asr.calls.map((call) => call.path)).toEqual(['/join', '/leave']);
  });

  test('that has lost a session leaves it anyway', async () => {
    const { client, asr } = await ready({ '/leave': { status: 404 } });
    await client.ask({ type: 'EndSessionRequest' });
    await client.next('SessionEnded');
    await asr.next('/leave');
    await settled(50);
    expect(asr.at('/leave')).toHaveLength(1);
  });

  test('may say ready before its answer to the offer', async () => {
    const { url, asr, client, session_id } = await served({ '/join': 'hang' });
    await asr.next('/join');
    expect(await sayReady(url, session_id)).toMatchObject({ status: 200 });
    await client.next('SessionReady');
    asr.answerHung({ status: 200 });
    await settled(50);
    expect(asr.at('/leave')).toEqual([]);
  });

  test('declines in its body, with a reason and a pause', async () => {
    const { client, clock, asr } = await served({
      '/join': { body: { accepted: false, reason: 'warming up', retry_after_ms: 4_000 } },
    });
    expect(await client.next((f) => f.error)).toMatchObject({ service_id: 'asr', status: 'Registered', attempt: 1, error: 'warming up' });
    await clock.advance(3_000);
    await settled(50);
    expect(asr.at('/join')).toHaveLength(1);
    await clock.advance(2_000);
    await asr.next('/join');
    expect((await asr.next('/join')).body).toMatchObject({ attempt: 2 });
  });

  for (const status of [409, 429, 503]) {
    test(`declines with ${status}, and Retry-After is honoured`, async () => {
      const { client, clock, asr } = await served({ '/join': { status, headers: { 'retry-after': '5' } } });
      expect(await client.next((f) => f.error)).toMatchObject({ error: 'the service declined' });
      expect(asr.at('/join')).toHaveLength(1);
      await clock.advance(4_000);
      await settled(50);
      expect(asr.at('/join')).toHaveLength(1);
      await clock.advance(2_000);
      await asr.next('/join');
      expect((await asr.next('/join')).body).toMatchObject({ attempt: 2 });
    });
  }

  test('declines until a date of its own clock', async () => {
    const headers = { date: 'Sun, 06 Nov 1994 08:49:37 GMT', 'retry-after': 'Sun, 06 Nov 1994 08:49:42 GMT' };
    const { client, clock, asr } = await served({ '/join': { status: 503, headers } });
    await client.next((f) => f.error);
    await clock.advance(4_000);
    await settled(50);
    expect(asr.at('/join')).toHaveLength(1);
    await clock.advance(2_000);
    await asr.next('/join');
    expect((await asr.next('/join')).body).toMatchObject({ attempt: 2 });
  });

  test('that declines with no pause at all is not asked in a loop', async () => {
    const { client, asr } = await served({ '/join': { status: 503, headers: { 'retry-after': '0' } } });
    await client.next((f) => f.error);
    await settled(200);
    expect(asr.at('/join')).toHaveLength(1);
  });

  for (const status of [400, 404, 422]) {
    test(`has failed with ${status}, and is not asked again at once`, async () => {
      const { client, asr } = await served({ '/join': { status } });
      expect(await client.next((f) => f.error)).toMatchObject({ status: 'Registered', error: 'the service refused the offer' });
      expect(asr.at('/join')).toHaveLength(1);
    });
  }

  test('that breaks is asked three times with the same offer', async () => {
    const { client, asr } = await served({ '/join': { status: 500 } });
    expect(await client.next((f) => f.error)).toMatchObject({ error: 'the service refused the offer' });
    expect(asr.at('/join')).toHaveLength(3);
    expect(new Set(asr.at('/join').map((call) => call.body.assignment_id)).size).toBe(1);
  });

  test('that breaks twice and then accepts has accepted', async () => {
    const { url, client, asr, session_id } = await served({});
    await asr.next('/join');
    await sayReady(url, session_id);
    await client.next('SessionReady');
    asr.on('/join', 'reset', { status: 502 }, {});
    const second = await waiting(url);
    for (let tries = 0; tries < 3; tries++) await asr.next('/join');
    await sayReady(url, second.session_id);
    await second.client.next('SessionReady');
    expect(second.client.all.filter((f) => f.error)).toEqual([]);
  });

  test('whose connection breaks three times has failed, and is asked to leave in case it joined', async () => {
    const { client, asr } = await served({ '/join': 'reset' });
    const failed = await client.next((f) => f.error);
    expect(failed.error).toBe('the service did not answer the offer');
    expect(asr.at('/join')).toHaveLength(3);
    expect((await asr.next('/leave')).body).toMatchObject({ assignment_id: failed.assignment_id });
  });

  test('that nobody runs has failed', async () => {
    const { url } = await startGateway();
    const asr = await HttpService.start();
    await asr.register(url, { service_id: 'asr' });
    await asr.down();
    const { client } = await waiting(url);
    expect(await client.next((f) => f.error)).toMatchObject({ error: 'the service did not answer the offer' });
  });

  test('that hangs has failed after ten seconds, and is asked to leave in case it joined', async () => {
    const { client, clock, asr } = await served({ '/join': 'hang' });
    const { assignment_id } = (await asr.next('/join')).body;
    await clock.advance(9_000);
    await client.caughtUp();
    expect(client.all.filter((f) => f.error)).toEqual([]);
    await clock.advance(1_000);
    expect(await client.next((f) => f.error)).toMatchObject({ error: 'the service did not answer the offer' });
    expect((await asr.next('/leave')).body).toMatchObject({ assignment_id });
  });

  test('that says ready after ten seconds has its place while nobody else was asked', async () => {
    const { url, client, clock, asr, session_id } = await served({ '/join': 'hang' });
    await asr.next('/join');
    await clock.advance(10_000);
    await client.next((f) => f.error);
    expect(await sayReady(url, session_id)).toMatchObject({ status: 200, body: { all_ready: true } });
    await client.next('SessionReady');
    expect(await listed(url)).toMatchObject({ sessions: 1 });
  });

  test('that says ready after it said again where it is has its place as well, and is reached there', async () => {
    const { url, client, clock, asr, session_id } = await served({ '/join': 'hang' }, { instance_id: 'a' });
    await asr.next('/join');
    await clock.advance(10_000);
    await client.next((f) => f.error);
    await asr.next('/leave');
    await asr.register(url, { service_id: 'asr', instance_id: 'a' });
    expect(await sayReady(url, session_id)).toMatchObject({ status: 200, body: { all_ready: true } });
    await client.ask({ type: 'EndSessionRequest' });
    expect((await asr.next('/leave')).body).toMatchObject({ reason: 'client_ended' });
  });

  test('is not asked on after its session has ended', async () => {
    const { client, asr } = await served({ '/join': 'hang' });
    await asr.next('/join');
    const broken = asr.hungUp();
    await client.ask({ type: 'EndSessionRequest' });
    await broken;
  });

  test('that hangs is called eight times at once and no more', async () => {
    const { url, asr } = await served({ '/join': 'hang' });
    for (let n = 1; n < 20; n++) await waiting(url);
    for (let n = 0; n < 8; n++) await asr.next('/join');
    await settled(100);
    expect(asr.at('/join')).toHaveLength(8);
    asr.answerHung({ status: 200 });
    for (let n = 0; n < 8; n++) await asr.next('/join');
  });

  test('that never answers is left alone for a while, and asked again after it', async () => {
    const { url, asr } = await served({ '/join': 'reset' });
    for (let n = 1; n < 5; n++) {
      const { client } = await waiting(url);
      await client.next((f) => f.error);
    }
    const calls = asr.at('/join').length;
    const { client } = await waiting(url);
    await client.next((f) => f.error);
    expect(asr.at('/join')).toHaveLength(calls);
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 10_000 });
    onTestFinished(() => void vi.useRealTimers());
    asr.on('/join', {});
    const last = await waiting(url);
    await sayReady(url, last.session_id);
    await last.client.next('SessionReady');
    expect(asr.at('/join').length).toBeGreaterThan(calls);
  });

  for (const [what, body] of Object.entries({
    compressed: gzipSync('{"accepted":true}'),
    'cut off': '{"accepted":tr',
    'a text': '"false"',
    'a list': '[]',
    'no JSON': 'OK',
    'of another kind': '{"accepted":"false"}',
  })) {
    test(`whose consent is ${what} has not consented, and is asked to leave in case it joined`, async () => {
      const { client, asr } = await served({ '/join': { raw: body } });
      const failed = await client.next((f) => f.error);
      expect(failed).toMatchObject({ error: 'the answer of the service could not be read' });
      expect((await asr.next('/leave')).body).toMatchObject({ assignment_id: failed.assignment_id });
    });
  }

  test('that answers with a redirect has failed, and nobody follows it', async () => {
    const other = await HttpService.start();
    const { client } = await served({ '/join': { status: 307, headers: { location: `${other.endpoint}/join` } } });
    expect(await client.next((f) => f.error)).toMatchObject({ error: 'the service refused the offer' });
    expect(other.calls).toEqual([]);
  });

  test('that answers more than 64 KiB is cut off, and asked to leave', async () => {
    const { client, asr } = await served({ '/join': { body: { text: 'x'.repeat(1_000_000) } } });
    const failed = await client.next((f) => f.error);
    expect(failed.error).toBe('the service did not answer the offer');
    expect((await asr.next('/leave')).body).toMatchObject({ assignment_id: failed.assignment_id });
  });

  test('at an address that is not allowed is never asked', async () => {
    const { url } = await startGateway({ microservices: { allowed_networks: ['10.0.0.0/8'] } });
    const asr = await HttpService.start();
    // where it lies is known only after its registration
    expect(await asr.register(url, { service_id: 'asr', endpoint: `http://asr.invalid:${asr.port}` })).toMatchObject({ status: 201 });
    const { lookup } = dns;
    const toHere = (name: string, ...rest: unknown[]) => Reflect.apply(lookup, dns, [name === 'asr.invalid' ? '127.0.0.1' : name, ...rest]);
    const spy = vi.spyOn(dns, 'lookup').mockImplementation(toHere as typeof lookup);
    onTestFinished(() => spy.mockRestore());
    const { client } = await waiting(url);
    expect(await client.next((f) => f.error)).toMatchObject({ error: 'the service did not answer the offer' });
    expect(asr.calls).toEqual([]);
  });

  test('is asked below its endpoint, at the configured paths', async () => {
    const { url, clock } = await startGateway({ microservices: { join_path: '/v1/in', leave_path: '/v1/out', health_path: '/v1/up' } });
    const asr = await HttpService.start();
    await asr.register(url, { service_id: 'asr', endpoint: `${asr.endpoint}/base/` });
    const { client } = await waiting(url);
    await asr.next('/base/v1/in');
    await client.ask({ type: 'EndSessionRequest' });
    await asr.next('/base/v1/out');
    await clock.advance(10_000);
    expect(await asr.next('/base/v1/up')).toMatchObject({ method: 'GET' });
  });
});

describe('probes', () => {
  test('any status counts as a heartbeat', async () => {
    const { url, clock } = await startGateway();
    const asr = await HttpService.start({ '/health': { status: 500 } });
    await asr.register(url, { service_id: 'asr' });
    for (let round = 0; round < 4; round++) {
      await clock.advance(10_000);
      await asr.next('/health');
      await settled(50);
    }
    expect(await listed(url)).toMatchObject({ status: 'Registered' });
  });

  test('three failures in a row disconnect a service, and its sessions lose it five seconds later', async () => {
    const all = await ready();
    const { url, clock, client, asr } = all;
    expect(await probesUntilGone(all)).toBe(3);
    await clock.advance(4_000);
    await client.caughtUp();
    expect(client.types()).not.toContain('SessionDegraded');
    await clock.advance(1_000);
    expect(await client.next('SessionDegraded')).toMatchObject({ missing: ['asr'] });
    asr.on('/health', {});
    await clock.advance(10_000);
    expect((await asr.next('/join')).body).toMatchObject({ attempt: 2, resuming: true });
    expect(await listed(url)).toMatchObject({ status: 'Registered' });
  });

  test('two failures and a success count for nothing', async () => {
    const { url, clock, asr } = await served();
    asr.on('/health', 'reset', 'reset', {}, 'reset', 'reset', {});
    for (let round = 0; round < 6; round++) {
      await clock.advance(10_000);
      await asr.next('/health');
      await settled(100);
      expect(await listed(url)).toMatchObject({ status: 'Registered' });
    }
  });

  test('a service that is down is back with its next answer, on the same port', async () => {
    const { url, clock } = await startGateway();
    const asr = await HttpService.start();
    await asr.register(url, { service_id: 'asr' });
    await asr.down();
    await expect
      .poll(async () => {
        await clock.advance(10_000);
        return (await listed(url))?.status;
      })
      .toBe('Disconnected');
    const { client, session_id } = await waiting(url);
    expect(await client.next('ServiceStatusChanged')).toMatchObject({ status: 'Disconnected', error: 'no registered service fits' });
    await asr.up();
    await clock.advance(10_000);
    await asr.next('/join');
    expect(await listed(url)).toMatchObject({ status: 'Registered', sessions: 1 });
    await sayReady(url, session_id);
    await client.next('SessionReady');
  });

  test('a service that nobody finds for five minutes is forgotten', async () => {
    const all = await served();
    await probesUntilGone(all);
    await all.asr.down();
    await all.clock.advance(290_000);
    expect(await listed(all.url)).toMatchObject({ status: 'Disconnected' });
    await all.clock.advance(20_000);
    expect(await listed(all.url)).toBeUndefined();
  });
});

describe('the registry', () => {
  test('an id that a live service holds is refused', async () => {
    const { url } = await startGateway();
    const [one, other] = [await HttpService.start(), await HttpService.start()];
    await one.register(url, { service_id: 'asr', instance_id: 'a' });
    for (const more of [{}, { instance_id: 'b' }]) {
      expect(await other.register(url, { service_id: 'asr', ...more })).toEqual({
        status: 400,
        body: {
          error: 'InvalidRequest',
          code: 'SERVICE_ID_EXISTS',
          message:
            'Service ID already exists: another process holds this service_id; give each process its own id and ask for services by metadata, or send its instance_id if it is the same service',
          timestamp: expect.any(String),
          retryable: expect.any(Boolean),
        },
      });
    }
    expect(await listed(url)).toMatchObject({ endpoint: one.endpoint });
  });

  test('the same instance takes its registration over, at its new address', async () => {
    const { url, client } = await ready({}, { instance_id: 'a' });
    const moved = await HttpService.start();
    expect(await moved.register(url, { service_id: 'asr', instance_id: 'a' })).toMatchObject({ status: 201 });
    expect((await moved.next('/join')).body).toMatchObject({ attempt: 2, resuming: true });
    await client.next('SessionDegraded');
    expect(await listed(url)).toMatchObject({ endpoint: moved.endpoint });
  });

  test.each([
    ['without an instance_id', undefined, '', 'ok'],
    ['spelt with a slash at its end', undefined, '/', 'ok'],
    ['by another instance, which holds nothing', 'b', '', 'degraded'],
  ])('a registration is taken over from the same endpoint, %s', async (_, instance_id, end, health) => {
    const { url, client, asr } = await ready({}, instance_id === undefined ? {} : { instance_id: 'a' });
    const again = { service_id: 'asr', endpoint: asr.endpoint + end, ...(instance_id && { instance_id }) };
    expect(await rest(`${url}/api/v1/microservices/register`, 'POST', again)).toMatchObject({ status: 201 });
    if (health === 'degraded') expect((await asr.next('/join')).body).toMatchObject({ attempt: 2, resuming: true });
    expect(await client.ask({ type: 'GetSessionRequest' })).toMatchObject({ health });
  });

  test('a disconnected service may be replaced by any instance', async () => {
    const all = await served({}, { instance_id: 'a' });
    await probesUntilGone(all);
    const other = await HttpService.start();
    expect(await other.register(all.url, { service_id: 'asr', instance_id: 'b' })).toMatchObject({ status: 201 });
  });

  test('the list shows what each service said of itself and what it does', async () => {
    const { url, asr } = await ready({}, { instance_id: 'a', max_sessions: 4, metadata: { type: 'ASR', version: 2 } });
    const tts = await HttpService.start();
    await tts.register(url, { service_id: 'tts', metadata: { type: 'TTS' } });
    const first = {
      service_id: 'asr',
      endpoint: asr.endpoint,
      metadata: { type: 'ASR', version: '2' },
      status: 'Registered',
      availability: 'available',
      sessions: 1,
      max_sessions: 4,
      registered_at: '2030-01-01T00:00:00.000Z',
    };
    expect(await rest(`${url}/api/v1/microservices?type=ASR`)).toEqual({ status: 200, body: { items: [first] } });
    expect((await rest(`${url}/api/v1/microservices`)).body.items).toHaveLength(2);
  });

  test('a deregistered service leaves what it served, which is offered to others', async () => {
    const { url, client, asr } = await ready();
    const { assignment_id } = asr.at('/join')[0]?.body ?? {};
    expect(await rest(`${url}/api/v1/microservices/asr`, 'DELETE')).toEqual({
      status: 200,
      body: { success: true, service_id: 'asr', message: 'Microservice deregistered', sessions: 1 },
    });
    expect((await asr.next('/leave')).body).toMatchObject({ assignment_id, reason: 'the service was deregistered' });
    await client.next('SessionDegraded');
    expect(await listed(url)).toBeUndefined();
    const other = await HttpService.start();
    await other.register(url, { service_id: 'asr' });
    expect((await other.next('/join')).body).toMatchObject({ resuming: true });
    expect(await rest(`${url}/api/v1/microservices/nobody`, 'DELETE')).toMatchObject({ status: 404, body: { code: 'SERVICE_NOT_FOUND' } });
  });

  test('a draining service gets nothing new and goes with its last session', async () => {
    const { url, client, asr } = await ready();
    expect(await rest(`${url}/api/v1/microservices/asr/drain`, 'POST')).toEqual({
      status: 200,
      body: { success: true, service_id: 'asr', message: 'Microservice is draining', sessions: 1 },
    });
    const second = await waiting(url);
    await second.client.caughtUp();
    expect(asr.at('/join')).toHaveLength(1);
    expect(await listed(url)).toMatchObject({ availability: 'draining', sessions: 1 });
    await client.ask({ type: 'EndSessionRequest' });
    await client.next('SessionEnded');
    expect(await listed(url)).toBeUndefined();
    expect(asr.at('/join')).toHaveLength(1);
  });
});

describe('the address guard', () => {
  const asks = async (allowed: string[], url: string) => {
    const outbound = new Outbound(guard(allowed), { all: 64, perService: 8 });
    onTestFinished(() => outbound.close());
    const reply = await outbound.get(url, 5_000);
    return 'error' in reply ? reply.error : reply.status;
  };

  for (const host of ['127.0.0.1', 'localhost', '2130706433', '0x7f.1', '[::ffff:127.0.0.1]']) {
    test(`the connected address of ${host} counts`, async () => {
      const service = await HttpService.start();
      const url = `http://${host}:${service.port}/health`;
      expect(await asks(['10.0.0.0/8', 'fd00::/8'], url)).toContain('127.0.0.1 is not an allowed address');
      expect(service.calls).toEqual([]);
      expect(await asks(['127.0.0.0/8', '::1'], url)).toBe(200);
    });
  }

  test('IPv6 loopback is an address like any other', async () => {
    const service = await HttpService.start({}, '::1');
    const url = `${service.endpoint}/health`;
    expect(await asks(['127.0.0.0/8'], url)).toContain('::1 is not an allowed address');
    expect(await asks(['::1'], url)).toBe(200);
    expect(service.calls).toHaveLength(1);
  });

  test('nothing is connected to the address of a name that may not be called, and its service is refused', async () => {
    let connections = 0;
    const listening = createServer(() => connections++).listen(0, 'localhost');
    onTestFinished(() => void listening.close());
    await once(listening, 'listening');
    const { port } = listening.address() as AddressInfo;
    expect(await asks(['10.0.0.0/8'], `http://localhost:${port}/health`)).toMatch(/(127\.0\.0\.1|::1) is not an allowed address/);
    expect(connections).toBe(0);
    const { url } = await startGateway({ microservices: { allowed_networks: ['10.0.0.0/8'] } });
    const service = await HttpService.start();
    expect(await service.register(url, { service_id: 'asr', endpoint: `http://localhost:${port}` })).toMatchObject({
      status: 400,
      body: { code: 'VALIDATION_FAILED', message: expect.stringMatching(/endpoint: .* is not an allowed address/) },
    });
    // it may be there later
    expect(await service.register(url, { service_id: 'asr', endpoint: 'http://asr.invalid:8001' })).toMatchObject({ status: 201 });
  });

  test('a listed host name may lie anywhere, under that name only', async () => {
    const service = await HttpService.start();
    expect(await asks(['LOCALHOST'], `http://localhost:${service.port}/health`)).toBe(200);
    expect(await asks(['localhost'], `http://127.0.0.1:${service.port}/health`)).toContain('not an allowed address');
  });

  test('the gateway itself is never called, however it is named', async () => {
    const { url } = await startGateway();
    const { port } = new URL(url);
    const asr = await HttpService.start();
    for (const host of ['127.0.0.1', '[::ffff:127.0.0.1]', '0x7f.1']) {
      const refused = await asr.register(url, { service_id: 'asr', endpoint: `http://${host}:${port}/api/v1/sessions` });
      expect(refused).toMatchObject({ status: 400, body: { message: `body: endpoint: 127.0.0.1:${port} is the gateway itself` } });
    }
    await asr.register(url, { service_id: 'asr', endpoint: `http://localhost:${port}/api/v1/sessions` });
    const { client, session_id } = await waiting(url);
    await client.next((f) => f.error);
    expect((await client.ask({ type: 'GetSessionRequest' })).session_id).toBe(session_id);
  });

  test('the gateway is bound to where its name leads, and never called there', async () => {
    const own = Object.values(networkInterfaces()).flatMap((all) => all?.filter((one) => one.family === 'IPv4' && !one.internal) ?? []);
    const address = own[0]?.address ?? '127.0.0.1';
    const { lookup } = dns;
    const toHere = (name: string, ...rest: unknown[]) => Reflect.apply(lookup, dns, [name === 'gateway.lan' ? address : name, ...rest]);
    const spy = vi.spyOn(dns, 'lookup').mockImplementation(toHere as typeof lookup);
    onTestFinished(() => spy.mockRestore());
    const { url } = await startGateway({
      server: { port: 0, host: 'gateway.lan' },
      auth: { mode: 'none' },
      microservices: { allowed_networks: ['0.0.0.0/0'] },
    });
    const { port } = new URL(url);
    const asr = await HttpService.start();
    const at = (host: string) => asr.register(`http://${address}:${port}`, { service_id: 'asr', endpoint: `http://${host}:${port}` });
    expect(await at(address)).toMatchObject({ status: 400, body: { message: `body: endpoint: ${address}:${port} is the gateway itself` } });
  });

  test('where the gateway listens on the network, it is none of its addresses, and no other of this machine unless that is listed', () => {
    const port = 8080;
    const bound = (own: string) => (address: string, at?: number) => at === port && isBoundAt(address, own);
    const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses?.map(({ address }) => address) ?? []);
    const allows = guard(['0.0.0.0/0', '::/0'], bound('0.0.0.0'));
    for (const remoteAddress of ['127.0.0.1', '127.8.8.8', '::ffff:127.0.0.1', ...all]) {
      expect(allows('x', { remoteAddress, remotePort: port })).toContain('is the gateway itself');
      expect(allows('x', { remoteAddress, remotePort: port + 1 })).toBeUndefined();
    }
    expect(allows('x', { remoteAddress: '203.0.113.7', remotePort: port })).toBeUndefined();
    const onOne = guard(['0.0.0.0/0'], bound('192.168.1.5'));
    expect(onOne('x', { remoteAddress: '192.168.1.5', remotePort: port })).toContain('is the gateway itself');
    expect(onOne('x', { remoteAddress: '127.0.0.1', remotePort: port })).toBeUndefined();
    const on = (settings: object) => allowedNetworks(testConfig({ ...settings }));
    expect(on({ server: { host: '127.0.0.1', port } })).toEqual(['127.0.0.0/8', '::1']);
    expect(on({ server: { host: '0.0.0.0', port }, auth: { mode: 'none' } })).toEqual([]);
    expect(on({ server: { host: '0.0.0.0', port }, microservices: { allowed_networks: ['127.0.0.1'] } })).toEqual(['127.0.0.1']);
  });

  for (const path of [
    '/admin/shutdown#',
    '/hook?key=abc',
    '?',
    '/a/../b',
    '/a/%2e%2E/b',
    '/..',
    '\\\\..\\\\admin',
    '/a b',
    '/a\\tb',
    '/a%w',
    '/%',
  ]) {
    test(`an endpoint like ${JSON.stringify(path)} is refused, and says what to do`, async () => {
      const { url } = await startGateway();
      const asr = await HttpService.start();
      const { status, body } = await asr.register(url, { service_id: 'asr', endpoint: asr.endpoint + path });
      expect({ status, code: body.code }).toEqual({ status: 400, code: 'VALIDATION_FAILED' });
      expect(body.message).toMatch(/(must (have no query|not contain dot segments, backslashes or spaces)|write % as %25)/);
    });
  }

  test('an endpoint with a path, a dot in it, and capitals is one', async () => {
    const { url } = await startGateway();
    const asr = await HttpService.start();
    for (const path of ['', '/', '/v1.2/a..b/%20c', '/.well-known']) {
      const endpoint = asr.endpoint.replace('http', 'HTTP') + path;
      expect(await asr.register(url, { service_id: 'asr', instance_id: 'a', endpoint })).toMatchObject({ status: 201 });
    }
  });

  test('listed networks, addresses and names are allowed, and nothing else', () => {
    const allows = guard(['10.0.0.0/8', '192.168.1.7', 'fd00::/8', 'asr.internal']);
    const table: [host: string, remoteAddress: string | undefined, allowed: boolean][] = [
      ['x', '10.255.0.1', true],
      ['x', '::ffff:10.0.0.1', true],
      ['x', '11.0.0.1', false],
      ['x', '192.168.1.7', true],
      ['x', '192.168.1.8', false],
      ['x', 'fd12::1', true],
      ['x', 'fe80::1', false],
      ['x', '127.0.0.1', false],
      ['x', undefined, false],
      ['asr.internal', '8.8.8.8', true],
      ['ASR.internal', '8.8.8.8', true],
      ['evil-asr.internal', '8.8.8.8', false],
    ];
    for (const [host, remoteAddress, allowed] of table) {
      // a socket that has lost its peer has the key, without a value
      const refusal = allows(host, { remoteAddress } as { remoteAddress: string; remotePort: number });
      expect([host, remoteAddress, refusal === undefined]).toEqual([host, remoteAddress, allowed]);
    }
  });

  for (const entry of [
    '10.0.0.0/',
    '10.0.0.0/33',
    '10.0.0.0/8/8',
    '10.0.0.0/x',
    '10.0.0.0/-1',
    '::1/129',
    'host/8',
    'http://host',
    '',
    '10.0.0',
    '10.0.0.1-10.0.0.9',
    '2130706433',
    '0x7f.1',
    '10.*',
    '::ffff:10.0.0.0/104',
  ]) {
    test(`the entry ${JSON.stringify(entry)} is neither a network nor a host name`, () => {
      expect(() => guard([entry])).toThrow(RangeError);
    });
  }
});

test('a call that gets no answer ends with its time, and is not repeated after it', async () => {
  const service = await HttpService.start({ '/join': 'hang' });
  const outbound = new Outbound(guard(['127.0.0.1']), { all: 64, perService: 8 });
  onTestFinished(() => outbound.close());
  expect(await outbound.calls(service.endpoint).request(`${service.endpoint}/join`, {}, 300)).toEqual({ error: 'no answer in time' });
  expect(service.calls).toHaveLength(1);
});
