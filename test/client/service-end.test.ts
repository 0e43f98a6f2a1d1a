import { describe, expect, onTestFinished, test, vi } from 'vitest';
import WebSocket from 'ws';
import { serve } from '../../src/client/service.ts';
import type { SocketClass } from '../../src/client/socket.ts';
import { connectService, TestClient } from '../support/client.ts';
import { settled } from '../support/clock.ts';
import { Decision, isAgain, listed, slowHandler, startAll } from './served.ts';

const types = (frames: { type: string }[]) => frames.map(({ type }) => type);

describe('drain', () => {
  test('takes no further session, lets what is served end, and closes', async () => {
    const { client, start, open, gateway } = await startAll();
    let left = 0;
    const service = await start(() => () => left++);
    await open();
    await client.next('SessionReady');
    const drained = service.drain();
    await expect.poll(async () => (await listed(gateway.url)).availability).toBe('draining');
    const other = await TestClient.connect(gateway.url);
    const { session_id } = await other.ask({ type: 'NewSessionRequest', user_identity: 'eve', required_services: ['asr'] });
    await other.caughtUp();
    expect([service.state, left, other.types()]).toEqual(['open', 0, ['NewSessionResponse', 'ServiceStatusChanged', 'Pong']]);
    await client.ask({ type: 'EndSessionRequest' });
    await client.next('SessionEnded');
    await drained;
    expect([service.state, left]).toEqual(['closed', 1]);
    expect(service.sessions).toEqual([]);
    expect(await listed(gateway.url)).toEqual({ type: 'none' });
    // who waits for it gets the next that comes
    const next = await connectService(gateway.url, 'asr');
    expect(await next.next('JoinRoomRequest')).toMatchObject({ session_id });
  });

  test('closes at once where nothing is served', async () => {
    const { start } = await startAll();
    const service = await start();
    await service.drain();
    expect(service.state).toBe('closed');
  });

  test('leaves what is left at its time', async () => {
    const { client, start, open } = await startAll();
    let left = 0;
    const service = await start(() => () => left++);
    await open();
    await client.next('SessionReady');
    await service.drain({ timeoutMs: 1 });
    expect([service.state, left]).toEqual(['closed', 1]);
    await client.next('SessionDegraded');
  });

  test('goes on over a break', async () => {
    const { client, start, open, cut, gateway, proxy } = await startAll();
    const service = await start();
    await open();
    await client.next('SessionReady');
    const answered = new Decision();
    proxy.rule = (_, text) => {
      if (text.includes('DeregisterServiceResponse')) answered.make();
      return 'pass';
    };
    const drained = service.drain();
    await answered.made;
    await settled();
    await cut(service);
    await expect.poll(async () => (await listed(gateway.url)).availability).toBe('draining');
    await client.ask({ type: 'EndSessionRequest' });
    await client.next('SessionEnded');
    await drained;
  });

  test('an offer that was on its way is declined', async () => {
    const { client, start, open, proxy, sent } = await startAll();
    const { handler, joins } = slowHandler();
    const service = await start(handler);
    proxy.rule = (from) => (from === 'server' ? 'hold' : 'pass');
    await open();
    await expect.poll(() => proxy.holds).toBe(true);
    const drained = service.drain();
    proxy.rule = () => 'pass';
    proxy.release();
    await drained;
    expect(sent.at(-1)).toMatchObject({ type: 'JoinRoomResponse', accepted: false, reason: 'draining' });
    expect(await client.next((f) => f.error)).toMatchObject({ error: 'draining' });
    expect(joins).toEqual([]);
  });
});

describe('close', () => {
  test('leaves every session, which looks for another service, and closes with 1000', async () => {
    const { client, start, open, gateway, sent } = await startAll();
    let left = 0;
    const service = await start(() => () => left++);
    service.on('error', (error) => expect.fail(error.message));
    await open();
    await client.next('SessionReady');
    await service.close();
    expect([service.state, left]).toEqual(['closed', 1]);
    await client.next('SessionDegraded');
    // not offered again to the one that goes
    expect(types(sent)).toEqual(['RegisterServiceRequest', 'JoinRoomResponse', 'ServiceReady', 'DeregisterServiceRequest', 'ServiceLeft']);
    expect(types(sent.filter(({ type }) => type === 'JoinRoomResponse'))).toHaveLength(1);
    await expect.poll(() => gateway.holds().sockets).toBe(1);
    expect(await listed(gateway.url)).toEqual({ type: 'none' });
    await connectService(gateway.url, 'asr');
    await client.next('SessionRestored');
  });

  test('stops handlers at work', async () => {
    const { start, open } = await startAll();
    const { handler, came, done } = slowHandler();
    const service = await start(handler);
    await open();
    const { signal } = await came;
    signal.addEventListener('abort', () => done.refuse(signal.reason));
    await service.close();
    expect(signal.reason).toMatchObject({ message: 'the service closes' });
  });

  test('does not wait forever for what does not leave', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    const { client, start, open } = await startAll();
    const service = await start(() => () => new Promise(() => {}));
    const errors: Error[] = [];
    service.on('error', (error) => errors.push(error));
    await open();
    await client.next('SessionReady');
    const closed = service.close();
    await vi.advanceTimersByTimeAsync(2_999);
    expect(service.state).toBe('open');
    await vi.advanceTimersByTimeAsync(1);
    await closed;
    expect(errors).toMatchObject([{ message: 'not left within 3000 ms' }]);
    await client.next('SessionDegraded');
  });

  test('said twice is one', async () => {
    const { start, sent } = await startAll();
    const service = await start();
    await Promise.all([service.close(), service.close(), service.drain()]);
    expect(types(sent)).toEqual(['RegisterServiceRequest', 'DeregisterServiceRequest']);
  });

  test('while the connection is broken leaves anyway, and waits for nobody', async () => {
    const { client, start, open, proxy } = await startAll();
    let left = 0;
    const service = await start(() => () => left++);
    await open();
    await client.next('SessionReady');
    const broken = isAgain(service, 'waiting');
    proxy.rule = () => 'cut';
    proxy.cut();
    await broken;
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    await service.close();
    expect([service.state, left]).toEqual(['closed', 1]);
  });

  test('while the connection is broken does not wait for it to say what failed', async () => {
    const { start, open, proxy } = await startAll();
    const { handler, came, done } = slowHandler();
    const service = await start(handler);
    await open();
    await came;
    const broken = isAgain(service, 'waiting');
    proxy.rule = () => 'cut';
    proxy.cut();
    await broken;
    const told = new Decision<Error>();
    service.on('error', told.make);
    done.refuse(new Error('out of memory'));
    await told.made;
    await settled();
    await service.close();
  });

  test('for which nobody waited to be registered ends no process', async () => {
    const { begin } = await startAll();
    const refused: unknown[] = [];
    const told = (error: unknown) => void refused.push(error);
    process.on('unhandledRejection', told);
    onTestFinished(() => void process.off('unhandledRejection', told));
    await begin().close();
    await settled();
    expect(refused).toEqual([]);
  });

  test('before it was registered is no error', async () => {
    const { begin } = await startAll();
    const service = begin();
    await service.close();
    await expect(service.registered).rejects.toMatchObject({ name: 'ConnectionClosed', code: 1000 });
  });
});

describe('a registration that is refused', () => {
  test('because another instance holds the id ends the service', async () => {
    const { start, begin } = await startAll();
    await start();
    const second = begin();
    const told = new Decision<Error>();
    second.on('error', told.make);
    await expect(second.registered).rejects.toMatchObject({ name: 'RequestFailed', code: 'SERVICE_ID_EXISTS' });
    expect(await told.made).toMatchObject({ code: 'SERVICE_ID_EXISTS' });
    expect(second.state).toBe('closed');
  });

  test('after a break leaves what was served', async () => {
    const { client, start, open, proxy, gateway } = await startAll();
    let left = 0;
    const service = await start(() => () => left++);
    await open({ on_service_loss: 'degrade' });
    await client.next('SessionReady');
    const closed = isAgain(service, 'closed');
    const errors: Error[] = [];
    service.on('error', (error) => errors.push(error));
    proxy.rule = (from) => (from === 'client' ? 'hold' : 'pass');
    proxy.cut();
    await expect.poll(() => gateway.holds().sockets).toBe(1);
    await connectService(gateway.url, 'asr');
    proxy.rule = () => 'pass';
    proxy.release();
    await closed;
    await expect.poll(() => left).toBe(1);
    expect(service.sessions).toEqual([]);
    expect(errors).toMatchObject([{ code: 'SERVICE_ID_EXISTS' }]);
  });

  test('by a gateway that starts up or goes away is tried again', async () => {
    const { begin, proxy, gateway } = await startAll();
    proxy.target = 1;
    const service = begin();
    await isAgain(service, 'waiting');
    proxy.target = Number(new URL(gateway.url).port);
    await service.registered;
    expect(service.state).toBe('open');
  });
});

test('the same instance_id takes the registration over, and what it does not hold is offered to it', async () => {
  const { client, start, open } = await startAll();
  const old = slowHandler();
  old.done.make(undefined);
  await start(old.handler, { instance_id: 'asr-0' });
  await open();
  await client.next('SessionReady');
  const next = slowHandler();
  next.done.make(undefined);
  await start(next.handler, { instance_id: 'asr-0' });
  await client.next('SessionDegraded');
  expect(await next.came).toMatchObject({ resuming: true, attempt: 2 });
  await client.next('SessionRestored');
});

test('the example of the description is a service', async () => {
  const { client, gateway, open } = await startAll();
  const calls: string[] = [];
  class Room {
    connect = async (url: string, token: string) => void calls.push(`connect ${url} ${token}`);
    disconnect = async () => void calls.push('disconnect');
  }
  const service = serve(gateway.url, { service_id: 'asr', metadata: { type: 'ASR' } }, async (join) => {
    const room = new Room();
    await room.connect(join.livekit_url, join.access_token);
    return () => room.disconnect();
  });
  onTestFinished(() => service.close());
  await open();
  await client.next('SessionReady');
  await client.ask({ type: 'EndSessionRequest' });
  await client.next('SessionEnded');
  expect(calls).toEqual(['connect ws://livekit.test service-token-of-asr', 'disconnect']);
});

test('a session that ended while its service spoke of it is no error', async () => {
  const { client, start, open, proxy, gateway } = await startAll();
  const { handler, came, done } = slowHandler();
  done.make(undefined);
  const service = await start(handler);
  const errors: Error[] = [];
  service.on('error', (error) => errors.push(error));
  await open();
  await client.next('SessionReady');
  proxy.rule = (from) => (from === 'server' ? 'hold' : 'pass');
  await client.ask({ type: 'EndSessionRequest' });
  // longer than a service is waited for
  await gateway.clock.advance(5_000);
  await client.next('SessionEnded');
  (await came).progress('still there');
  proxy.rule = () => 'pass';
  proxy.release();
  await service.drain();
  expect(errors).toEqual([]);
});

test('a frame that the gateway refuses is reported', async () => {
  const { client, start, open } = await startAll();
  const service = await start();
  const told = new Decision<Error>();
  service.on('error', told.make);
  await open();
  service.setStatus('asleep' as 'full');
  expect(await told.made).toMatchObject({ name: 'RequestFailed', code: 'VALIDATION_FAILED' });
  await client.caughtUp();
  expect(service.state).toBe('open');
});

test('a close code that says stop ends it, says why, and leaves what was served', async () => {
  const { client, gateway, start, open } = await startAll();
  let left = 0;
  class Loose extends WebSocket {
    override send(text: string): void {
      super.send(text.includes('ServiceProgress') ? 'not JSON' : text);
    }
  }
  const { handler, came, done } = slowHandler();
  done.make(() => left++);
  const service = await start(handler, { WebSocket: Loose as unknown as SocketClass });
  const errors: Error[] = [];
  service.on('error', (error) => errors.push(error));
  await open();
  await client.next('SessionReady');
  (await came).progress('x');
  expect(await service.closed).toEqual({ code: 4400, reason: 'bad message' });
  expect(errors).toMatchObject([{ code: 'INVALID_JSON' }, { name: 'ConnectionClosed', code: 4400 }]);
  await expect.poll(() => [left, service.sessions.length]).toEqual([1, 0]);
  await expect.poll(() => gateway.holds().sockets).toBe(1);
});
