import { expect, onTestFinished, test, vi } from 'vitest';
import { TestClient } from '../support/client.ts';
import { Decision, listed, slowHandler, startAll } from './served.ts';

test('a session is ready when the handler is done, and not before', async () => {
  const { client, start, open } = await startAll();
  const { handler, came, done } = slowHandler();
  const service = await start(handler);
  const session_id = await open({ metadata: { robot: 'r2' } });
  const join = await came;
  expect(join).toMatchObject({ session_id, room_name: `room-${session_id}`, attempt: 1, resuming: false, metadata: { robot: 'r2' } });
  expect(join).toMatchObject({ livekit_url: 'ws://livekit.test', access_token: 'service-token-of-asr', service_identity: 'asr' });
  expect(service.sessions).toEqual([join]);
  await client.caughtUp();
  expect(client.types()).not.toContain('SessionReady');
  done.make(undefined);
  await client.next('SessionReady');
});

test('a service is found by its metadata, and asked for no more sessions than it takes', async () => {
  const { start, gateway, open, client } = await startAll();
  await start(() => {}, { metadata: { type: 'ASR', version: 2 }, max_sessions: 1 });
  await open({ required_services: [{ type: 'ASR', version: '2' }] });
  await client.next('SessionReady');
  expect(await listed(gateway.url)).toMatchObject({ service_id: 'asr', metadata: { type: 'ASR', version: '2' }, max_sessions: 1 });
});

test.each([
  ['throws', () => Promise.reject(new Error('no model'))],
  [
    'throws at once',
    () => {
      throw new Error('no model');
    },
  ],
])('a handler that %s fails the session with its message, and reports it to the program', async (_, handler) => {
  const { client, start, open } = await startAll();
  const service = await start(handler);
  const told = new Decision<Error>();
  service.on('error', told.make);
  await open();
  expect(await client.next((f) => f.error)).toMatchObject({ service_id: 'asr', error: 'no model' });
  expect(await told.made).toMatchObject({ message: 'no model' });
  expect(service.sessions).toEqual([]);
});

test('an error without a text, or with one the contract does not take, is reported as well', async () => {
  const { client, start, open } = await startAll();
  await start(() => Promise.reject(`\0${'x'.repeat(511)}😀`));
  await open();
  expect((await client.next((f) => f.error)).error).toBe(`${'x'.repeat(511)}\uFFFD`);
});

test('what the handler returned is called once, when the session ends, and is waited for', async () => {
  const { client, start, open } = await startAll();
  const left = new Decision();
  const calls: string[] = [];
  const service = await start(() => () => {
    calls.push('leave');
    return left.made;
  });
  await open();
  await client.next('SessionReady');
  await client.ask({ type: 'EndSessionRequest' });
  await expect.poll(() => calls).toEqual(['leave']);
  await client.caughtUp();
  expect(client.types()).not.toContain('SessionEnded');
  left.make();
  // the clock stands still: the gateway would wait for ServiceLeft
  expect(await client.next('SessionEnded')).toMatchObject({ reason: 'client_ended' });
  expect(calls).toEqual(['leave']);
  expect(service.sessions).toEqual([]);
});

test('a leave that throws ends the session anyway, and reports it to the program', async () => {
  const { client, start, open } = await startAll();
  const service = await start(() => () => Promise.reject(new Error('stuck')));
  const told = new Decision<Error>();
  service.on('error', told.make);
  await open();
  await client.next('SessionReady');
  await client.ask({ type: 'EndSessionRequest' });
  await client.next('SessionEnded');
  expect(await told.made).toMatchObject({ message: 'stuck' });
});

test('a handler at work is notified when the session ends, and does not become ready', async () => {
  const { client, start, open, sent } = await startAll();
  const { handler, came, done } = slowHandler();
  await start(handler);
  await open();
  const join = await came;
  const aborted = new Promise<unknown>((told) => join.signal.addEventListener('abort', () => told(join.signal.reason)));
  await client.ask({ type: 'EndSessionRequest' });
  expect(await aborted).toMatchObject({ message: 'client_ended' });
  let left = false;
  done.make(() => {
    left = true;
  });
  await client.next('SessionEnded');
  expect(left).toBe(true);
  expect(sent.map(({ type }) => type)).toEqual(['RegisterServiceRequest', 'JoinRoomResponse', 'ServiceLeft']);
});

test('a handler that throws because it was asked to leave has left, not failed', async () => {
  const { client, start, open, sent } = await startAll();
  const { handler, came, done } = slowHandler();
  const service = await start(handler);
  const errors: Error[] = [];
  service.on('error', (error) => errors.push(error));
  await open();
  const { signal } = await came;
  signal.addEventListener('abort', () => done.refuse(signal.reason));
  await client.ask({ type: 'EndSessionRequest' });
  await client.next('SessionEnded');
  expect(errors).toEqual([]);
  expect(sent.at(-1)).toMatchObject({ type: 'ServiceLeft', clean: true });
});

test('progress reaches the client', async () => {
  const { client, start, open } = await startAll();
  await start((join) => {
    join.progress('loading', 40, '2 of 5 files');
    join.progress('x'.repeat(100));
  });
  const session_id = await open();
  const progress = { session_id, service_id: 'asr' };
  expect(await client.next('ServiceProgress')).toMatchObject({ ...progress, phase: 'loading', percent: 40, message: '2 of 5 files' });
  const bare = await client.next('ServiceProgress');
  expect(bare).toMatchObject({ phase: 'x'.repeat(64) });
  expect(bare).not.toHaveProperty('percent');
});

test('progress that the gateway would refuse is brought into its limits, and without words not sent', async () => {
  const { client, start, open } = await startAll();
  const service = await start((join) => {
    for (const phase of ['', '\0']) for (let i = 0; i < 20; i++) join.progress(phase, 50);
    for (const percent of [-1, 100.5, Number.NaN, Number.POSITIVE_INFINITY]) join.progress('loading', percent);
  });
  const errors: Error[] = [];
  service.on('error', (error) => errors.push(error));
  await open();
  await client.next('SessionReady');
  const told = client.all.filter(({ type }) => type === 'ServiceProgress');
  expect(told.map(({ phase, percent }) => [phase, percent])).toEqual([
    ['loading', 0],
    ['loading', 100],
    ['loading', undefined],
    ['loading', undefined],
  ]);
  expect(errors).toEqual([]);
});

test('progress after the end is not sent', async () => {
  const { client, start, open, sent } = await startAll();
  const { handler, came, done } = slowHandler();
  done.make(undefined);
  await start(handler);
  await open();
  await client.next('SessionReady');
  await client.ask({ type: 'EndSessionRequest' });
  await client.next('SessionEnded');
  (await came).progress('too late');
  expect(sent.map(({ type }) => type)).not.toContain('ServiceProgress');
});

test.each([
  ['a reason', () => ({ reason: 'no free GPU', retry_after_ms: 5_000 }), 'no free GPU', 5_000],
  ['a reason that is too long', () => ({ reason: 'x'.repeat(600) }), 'x'.repeat(512), 1_000],
  ['no reason', () => ({}), 'the service declined', 1_000],
  ['throwing', () => Promise.reject(new Error('cannot tell')), 'cannot tell', 1_000],
])('an offer is declined by %s, and asked again after the rest', async (_, decline, error, restMs) => {
  const { client, start, open, gateway } = await startAll();
  let asked = 0;
  const served: string[] = [];
  await start((join) => void served.push(join.session_id), {
    accept: () => (++asked === 1 ? decline() : undefined),
  });
  const session_id = await open();
  expect(await client.next((f) => f.error)).toMatchObject({ service_id: 'asr', error });
  expect(served).toEqual([]);
  await gateway.clock.advance(restMs - 1_000);
  expect(asked).toBe(1);
  await gateway.clock.advance(2_000);
  await client.next('SessionReady');
  expect(served).toEqual([session_id]);
});

test('an offer that ends while it is looked at is not served', async () => {
  const { client, start, open, sent } = await startAll();
  const [asked, looked] = [new Decision(), new Decision()];
  const { handler, joins } = slowHandler();
  await start(handler, {
    accept: () => {
      asked.make();
      return looked.made;
    },
  });
  await open();
  await asked.made;
  await client.ask({ type: 'EndSessionRequest' });
  await client.next('SessionEnded');
  looked.make();
  await expect.poll(() => sent.map(({ type }) => type)).toEqual(['RegisterServiceRequest', 'ServiceLeft']);
  expect(joins).toEqual([]);
});

test('a session left unasked looks for a service again', async () => {
  const { client, start, open, gateway } = await startAll();
  const { handler, came, done, joins } = slowHandler();
  let left = 0;
  done.make(() => left++);
  const service = await start(handler);
  await open();
  await client.next('SessionReady');
  (await came).leave();
  (await came).leave(new Error('said twice'));
  expect(service.sessions).toEqual([]);
  await client.next('SessionDegraded');
  expect(left).toBe(1);
  await gateway.clock.advance(2_000);
  await client.next('SessionRestored');
  expect(joins.map((join) => join.resuming)).toEqual([false, true]);
});

test('the gateway is notified of a session left unasked also where leaving hangs, and what comes late is undone', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const { client, start, open, sent } = await startAll();
  const { handler, came, done } = slowHandler();
  const service = await start(handler);
  await open();
  (await came).leave();
  await vi.advanceTimersByTimeAsync(3_000);
  expect(await client.next((f) => f.error)).toMatchObject({ service_id: 'asr' });
  expect(sent.at(-1)).toMatchObject({ type: 'ServiceLeft', clean: false });
  expect(service.sessions).toEqual([]);
  const undone = new Decision();
  done.make(() => undone.make());
  await undone.made;
});

test('a session left with an error reports to the client why', async () => {
  const { client, start, open } = await startAll();
  const { handler, came, done } = slowHandler();
  done.make(undefined);
  await start(handler);
  await open();
  await client.next('SessionReady');
  (await came).leave(new Error('the microphone is gone'));
  expect(await client.next((f) => f.error)).toMatchObject({ error: 'the microphone is gone' });
});

test('a handler may give up by leaving', async () => {
  const { client, start, open } = await startAll();
  await start((join) => join.leave('not my language'));
  await open();
  expect(await client.next((f) => f.error)).toMatchObject({ error: 'not my language' });
});

test('a full service is asked again once it is available', async () => {
  const { client, start, open, gateway } = await startAll();
  const service = await start();
  service.setStatus('full');
  await expect.poll(async () => (await listed(gateway.url)).availability).toBe('full');
  await open();
  await client.caughtUp();
  expect(client.types()).not.toContain('SessionReady');
  service.setStatus('available');
  await client.next('SessionReady');
});

test('an offer that was on its way to a full service is declined', async () => {
  const { client, start, open, proxy, sent } = await startAll();
  const { handler, joins } = slowHandler();
  const service = await start(handler);
  proxy.rule = (from) => (from === 'server' ? 'hold' : 'pass');
  await open();
  await expect.poll(() => proxy.holds).toBe(true);
  service.setStatus('full');
  proxy.rule = () => 'pass';
  proxy.release();
  expect(await client.next((f) => f.error)).toMatchObject({ error: 'full' });
  expect(sent.at(-1)).toMatchObject({ type: 'JoinRoomResponse', accepted: false, reason: 'full' });
  expect(joins).toEqual([]);
});

test('several sessions are served at once, each with its own end', async () => {
  const { gateway, start } = await startAll();
  const left: string[] = [];
  const service = await start((join) => () => void left.push(join.session_id));
  const open = async () => {
    const client = await TestClient.connect(gateway.url);
    const { session_id } = await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: ['asr'] });
    await client.next('SessionReady');
    return { client, session_id };
  };
  const [one, two] = [await open(), await open()];
  expect(service.sessions.map((join) => join.session_id)).toEqual([one.session_id, two.session_id]);
  await one.client.ask({ type: 'EndSessionRequest' });
  await one.client.next('SessionEnded');
  expect(left).toEqual([one.session_id]);
  expect(service.sessions.map((join) => join.session_id)).toEqual([two.session_id]);
});
