import { expect, test } from 'vitest';
import { connectService, type TestClient } from '../support/client.ts';
import { settled } from '../support/clock.ts';
import { HttpService, rest } from '../support/http-service.ts';
import { resumable } from '../support/resume.ts';

const presences = (service: TestClient) => service.all.filter(({ type }) => type === 'ClientPresence');
const inAMinute = (now: number) => new Date(now + 60_000).toISOString();

/** A session that waits for `asr` and `tts`: the first has accepted, and the second is ready. `idle` has no part in it. */
async function served(wish: object = {}) {
  const stage = await resumable({ required_services: ['asr', 'tts'], ...wish });
  const asr = await connectService(stage.url, 'asr', { auto: false });
  const { assignment_id } = await asr.next('JoinRoomRequest');
  asr.send({ type: 'JoinRoomResponse', assignment_id, accepted: true });
  await asr.caughtUp();
  const tts = await connectService(stage.url, 'tts');
  await tts.next('ServiceReadyResponse');
  const idle = await connectService(stage.url, 'idle');
  return { ...stage, asr, tts, idle, assignment_id };
}

test('every service of the session is notified when its client goes away, until when, and when it is back', async () => {
  const { made, breaks, back, clock, asr, tts, idle } = await served();
  await breaks();
  const { session_id } = made;
  const away = { type: 'ClientPresence', session_id, status: 'away', resume_deadline: inAMinute(clock.now()) };
  for (const service of [asr, tts]) expect(await service.next('ClientPresence')).toEqual(away);
  await back(made.seq);
  const connected = { type: 'ClientPresence', session_id, status: 'connected' };
  for (const service of [asr, tts]) expect(await service.next('ClientPresence')).toEqual(connected);
  await idle.caughtUp();
  expect(presences(idle)).toEqual([]);
  expect(presences(asr)).toHaveLength(2);
});

test.each([
  ['a newer socket that takes over', { back: true }],
  ['a close with 1000', { close: true }],
  ['the end of the session', { end: true }],
])('%s is neither', async (_, does: { back?: boolean; close?: boolean; end?: boolean }) => {
  const { made, client, path, back, clock, asr, tts } = await served();
  if (does.back) await back(made.seq);
  if (does.close) client.ws.close(1000);
  if (does.end) await rest(`${path}/terminate`, 'POST');
  await clock.advance(5_000);
  for (const service of [asr, tts]) await service.caughtUp();
  expect([...presences(asr), ...presences(tts)]).toEqual([]);
});

test('a session without a window only asks its services to leave', async () => {
  const { client, clock, asr } = await served({ resume_window_s: 0 });
  client.ws.terminate();
  await client.closed;
  expect(await asr.next('LeaveRoomRequest')).toMatchObject({ reason: 'client_gone' });
  await clock.advance(5_000);
  await asr.caughtUp();
  expect(presences(asr)).toEqual([]);
});

test('the window over, they are asked to leave, and sent nothing else', async () => {
  const { breaks, clock, asr } = await served({ join_timeout_s: 300 });
  await breaks();
  await clock.advance(61_000);
  expect(await asr.next('LeaveRoomRequest')).toMatchObject({ reason: 'resume_expired' });
  expect(presences(asr)).toHaveLength(1);
});

test('a service that returns is notified how the client stands by then', async () => {
  const { url, made, breaks, back, asr, tts, assignment_id } = await served();
  const comesBack = async () => {
    const service = await connectService(url, 'asr', { auto: false, held: [{ session_id: made.session_id, assignment_id }] });
    expect(service.types()[0]).toBe('RegisterServiceResponse');
    return service;
  };
  asr.ws.terminate();
  await asr.closed;
  await breaks();
  await tts.next('ClientPresence');
  const second = await comesBack();
  expect(await second.next('ClientPresence')).toMatchObject({ status: 'away' });
  second.ws.terminate();
  await second.closed;
  await settled();
  await back(made.seq);
  await tts.next('ClientPresence');
  const third = await comesBack();
  expect(await third.next('ClientPresence')).toMatchObject({ status: 'connected' });
  // nobody else is told again
  await tts.caughtUp();
  expect(presences(tts)).toHaveLength(2);
});

test('a service that is offered the session while its client is away is notified after the offer', async () => {
  const { url, breaks, back, made, clock } = await resumable({ required_services: ['asr', 'tts'] });
  await breaks();
  const asr = await connectService(url, 'asr');
  expect(await asr.next('ClientPresence')).toMatchObject({ status: 'away', resume_deadline: inAMinute(clock.now()) });
  expect(asr.types().indexOf('ClientPresence')).toBeGreaterThan(asr.types().indexOf('JoinRoomRequest'));
  await back(made.seq);
  expect(await asr.next('ClientPresence')).toMatchObject({ status: 'connected' });
  // with the client there is nothing to say
  const tts = await connectService(url, 'tts');
  await tts.next('ServiceReadyResponse');
  await tts.caughtUp();
  expect(presences(tts)).toEqual([]);
});

test.each([
  ['goes away', false, ['JoinRoomRequest', 'ClientPresence']],
  ['goes away and comes back', true, ['JoinRoomRequest']],
])('of a client that %s while the offer is made ready, the service knows what is so in the end', async (_, comesBack, types) => {
  const { url, rooms, made, breaks, back } = await resumable({ required_services: ['asr'] });
  let sign = () => {};
  const signed = new Promise<void>((done) => {
    sign = done;
  });
  rooms.serviceToken = async () => {
    await signed;
    return 'token';
  };
  const asr = await connectService(url, 'asr', { auto: false });
  await breaks();
  if (comesBack) await back(made.seq);
  await asr.caughtUp();
  const before = asr.all.length;
  sign();
  await asr.next('JoinRoomRequest');
  await settled();
  await asr.caughtUp();
  const told = asr.all.slice(before).filter(({ type }) => type !== 'Pong');
  expect(told.map(({ type }) => type)).toEqual(types);
  expect(presences(asr).at(-1)).toMatchObject({ status: comesBack ? 'connected' : 'away' });
});

test.each([
  ['presence', {}, '/presence'],
  ['a path of its own', { microservices: { presence_path: '/v1/client' } }, '/v1/client'],
])('an HTTP service is notified at %s', async (_, config, path) => {
  const { url, made, breaks, back, clock } = await resumable({ required_services: ['asr'] }, config);
  const asr = await HttpService.start();
  await asr.register(url, { service_id: 'asr' });
  await asr.next('/join');
  await breaks();
  const { session_id } = made;
  expect(await asr.next(path)).toMatchObject({
    method: 'POST',
    body: { session_id, status: 'away', resume_deadline: inAMinute(clock.now()) },
  });
  await back(made.seq);
  expect((await asr.next(path)).body).toEqual({ session_id, status: 'connected' });
});

test('an HTTP service that does not answer costs the session nothing', async () => {
  const { url, made, breaks, back, read } = await resumable({ required_services: ['asr'] });
  const asr = await HttpService.start({ '/presence': { status: 500 } });
  await asr.register(url, { service_id: 'asr' });
  await asr.next('/join');
  await rest(`${url}/api/v1/sessions/${made.session_id}/ready`, 'POST', { service_id: 'asr' });
  await breaks();
  await asr.next('/presence');
  await asr.down();
  expect((await back(made.seq)).answer).toMatchObject({ recovered: true });
  await settled(50);
  expect(await read()).toMatchObject({ status: 'Ready', ready_services: ['asr'] });
});

test('an HTTP service that registers again while the client is away is notified', async () => {
  const { url, breaks } = await resumable({ required_services: ['asr'] });
  const asr = await HttpService.start();
  await asr.register(url, { service_id: 'asr', instance_id: 'one' });
  await asr.next('/join');
  await breaks();
  await asr.next('/presence');
  await asr.register(url, { service_id: 'asr', instance_id: 'one' });
  expect((await asr.next('/presence')).body).toMatchObject({ status: 'away' });
});
