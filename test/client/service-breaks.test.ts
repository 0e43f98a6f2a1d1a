import { describe, expect, test } from 'vitest';
import { connectService, TestClient } from '../support/client.ts';
import { settled } from '../support/clock.ts';
import { startGateway } from '../support/gateway.ts';
import { Decision, isAgain, slowHandler, startAll } from './served.ts';

const types = (frames: { type: string }[]) => frames.map(({ type }) => type);

describe('a connection that breaks', () => {
  test('while a session is served leaves it as it is', async () => {
    const { client, start, open, cut, gateway, sent } = await startAll();
    const { handler, joins, done } = slowHandler();
    let left = 0;
    done.make(() => left++);
    const service = await start(handler);
    const session_id = await open();
    await client.next('SessionReady');
    const [join] = joins;
    await cut(service);
    expect(sent.findLast(({ type }) => type === 'RegisterServiceRequest')).toMatchObject({
      instance_id: sent[0]?.instance_id,
      held: [{ session_id, assignment_id: join?.assignment_id }],
    });
    // longer than the five seconds it has to come back
    await gateway.clock.advance(10_000);
    expect(await client.ask({ type: 'GetSessionRequest' })).toMatchObject({ health: 'ok', ready_services: ['asr'] });
    expect(client.types()).not.toContain('SessionDegraded');
    expect(joins).toHaveLength(1);
    expect(service.sessions).toEqual([join]);
    expect([left, join?.signal.aborted]).toEqual([0, false]);
    await client.ask({ type: 'EndSessionRequest' });
    await client.next('SessionEnded');
    expect(left).toBe(1);
  });

  test('without the gateway noticing leaves it as it is, too', async () => {
    const { client, proxy, start, open, gateway, sockets } = await startAll();
    const { handler, joins, came, done } = slowHandler();
    done.make(undefined);
    const service = await start(handler);
    await open();
    await client.next('SessionReady');
    // the gateway's side stays open: what is held back covers the end
    proxy.holdsEnds = true;
    proxy.rule = (from) => (from === 'client' ? 'hold' : 'pass');
    (await came).progress('lost');
    await expect.poll(() => proxy.holds).toBe(true);
    proxy.rule = () => 'pass';
    const back = isAgain(service, 'open');
    sockets[0]?.terminate();
    await back;
    expect(gateway.holds().sockets).toBe(3);
    // longer than the five seconds, and not long enough for pings, which loopback could answer too late
    await gateway.clock.advance(9_000);
    expect(await client.ask({ type: 'GetSessionRequest' })).toMatchObject({ health: 'ok', ready_services: ['asr'] });
    expect(client.types()).not.toContain('SessionDegraded');
    expect(joins).toHaveLength(1);
  });

  test('while the handler works is not seen by it: what became ready is reported on the new one', async () => {
    const { client, start, open, cut, gateway, sent, begun } = await startAll();
    const { handler, joins, came, done } = slowHandler();
    const service = await start(handler);
    await open();
    await begun(await came);
    await cut(service);
    await gateway.clock.advance(10_000);
    expect(joins[0]?.signal.aborted).toBe(false);
    done.make(undefined);
    await client.next('SessionReady');
    expect(joins).toHaveLength(1);
    expect(types(sent)).toEqual([
      'RegisterServiceRequest',
      'JoinRoomResponse',
      'ServiceProgress',
      'RegisterServiceRequest',
      'ServiceReady',
    ]);
  });

  test('and is not back when the handler is done: ready is reported when it is', async () => {
    const { client, proxy, start, open, sent, begun } = await startAll();
    const { handler, came, done } = slowHandler();
    const service = await start(handler);
    await open();
    await begun(await came);
    const [broken, back] = [isAgain(service, 'waiting'), isAgain(service, 'open')];
    proxy.cut();
    await broken;
    done.make(undefined);
    await back;
    await client.next('SessionReady');
    expect(types(sent).filter((type) => type === 'ServiceReady')).toHaveLength(1);
  });

  test('with many sessions on their way: each is reported ready afterwards', async () => {
    const { proxy, start, gateway } = await startAll();
    const { handler, joins, done } = slowHandler();
    const service = await start(handler);
    // more than a client's requests that may wait
    const ids = Array.from({ length: 70 }, (_, n) => `user-${n}`);
    const create = (user_identity: string) =>
      fetch(`${gateway.url}/api/v1/create-session`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ user_identity, required_services: ['asr'] }),
      });
    await Promise.all(ids.map(create));
    await expect.poll(() => joins.length).toBe(ids.length);
    const [broken, back] = [isAgain(service, 'waiting'), isAgain(service, 'open')];
    await settled(50);
    proxy.cut();
    await broken;
    done.make(undefined);
    await back;
    // a page ends at 32 KiB
    const countReady = async (cursor = ''): Promise<number> => {
      const page = await (await fetch(`${gateway.url}/api/v1/sessions?status=Ready&limit=100${cursor}`)).json();
      return page.items.length + (page.next_cursor === undefined ? 0 : await countReady(`&cursor=${page.next_cursor}`));
    };
    await expect.poll(() => countReady()).toBe(ids.length);
    expect(joins).toHaveLength(ids.length);
  });

  test('with the answer to ServiceReady: it is said again, the same', async () => {
    const { client, start, open, cutAt, sent } = await startAll();
    const service = await start();
    cutAt('ServiceReadyResponse');
    const back = isAgain(service, 'open');
    await open();
    await client.next('SessionReady');
    await back;
    const ready = sent.filter(({ type }) => type === 'ServiceReady');
    expect(ready).toHaveLength(2);
    expect(ready[1]).toEqual(ready[0]);
  });

  test('with the answer to ServiceReady: once answered it is not said a third time', async () => {
    const { client, start, open, cut, cutAt, sent } = await startAll();
    const service = await start();
    cutAt('ServiceReadyResponse');
    const back = isAgain(service, 'open');
    await open();
    await client.next('SessionReady');
    await back;
    // behind the answer
    await client.ask({ type: 'EndSessionRequest' });
    await client.next('SessionEnded');
    await cut(service);
    expect(sent.filter(({ type }) => type === 'ServiceReady')).toHaveLength(2);
  });

  test('before an offer was looked at takes the offer along', async () => {
    const { client, start, open, cut, gateway, sent } = await startAll();
    const [asked, looked] = [new Decision(), new Decision()];
    const { handler, joins, done } = slowHandler();
    done.make(undefined);
    let offers = 0;
    const service = await start(handler, {
      accept: () => {
        asked.make();
        return ++offers === 1 ? looked.made : undefined;
      },
    });
    await open();
    await asked.made;
    await cut(service);
    expect(sent.at(-1)).toMatchObject({ type: 'RegisterServiceRequest', held: [] });
    looked.make();
    await gateway.clock.advance(2_000);
    await client.next('SessionReady');
    expect(joins.map((join) => join.attempt)).toEqual([2]);
    expect(sent.filter(({ type }) => type === 'JoinRoomResponse')).toHaveLength(1);
  });

  test('with an acceptance that did not arrive: the session is let go, and served when asked again', async () => {
    const { client, proxy, start, open, gateway } = await startAll();
    const { handler, joins, done } = slowHandler();
    const left: number[] = [];
    const service = await start(async (join) => {
      const leave = () => left.push(join.attempt);
      await handler(join);
      return leave;
    });
    const back = isAgain(service, 'open');
    let isOffered = false;
    proxy.rule = (from, text) => {
      isOffered ||= text.includes('JoinRoomRequest');
      if (from === 'server' || !isOffered) return 'pass';
      proxy.rule = () => 'pass';
      return 'cut';
    };
    await open();
    await client.next((f) => f.error);
    await back;
    done.make(undefined);
    expect(joins[0]?.signal.aborted).toBe(true);
    await gateway.clock.advance(2_000);
    await client.next('SessionReady');
    expect(left).toEqual([1]);
  });

  test('for longer than the gateway waits: what it released is left, and nothing is said of it', async () => {
    const { client, proxy, start, open, gateway, sent } = await startAll();
    const { handler, joins, done } = slowHandler();
    let left = 0;
    done.make(() => left++);
    const service = await start(handler);
    await open({ on_service_loss: 'degrade' });
    await client.next('SessionReady');
    const back = isAgain(service, 'open');
    // what comes next is the answer to its registration
    proxy.rule = (from) => (from === 'client' ? 'hold' : 'pass');
    proxy.cut();
    await expect.poll(() => gateway.holds().sockets).toBe(1);
    await gateway.clock.advance(6_000);
    await client.next('SessionDegraded');
    proxy.rule = () => 'pass';
    proxy.release();
    await back;
    expect(joins[0]?.signal.reason).toMatchObject({ message: 'the session went on without it' });
    await expect.poll(() => left).toBe(1);
    expect(service.sessions).toEqual([]);
    expect(types(sent)).not.toContain('ServiceLeft');
  });

  test('before a failure could be reported: it is reported afterwards', async () => {
    const { client, proxy, start, open, begun } = await startAll();
    const { handler, came, done } = slowHandler();
    const service = await start(handler);
    await open();
    await begun(await came);
    const [broken, back] = [isAgain(service, 'waiting'), isAgain(service, 'open')];
    proxy.cut();
    await broken;
    done.refuse(new Error('out of memory'));
    await back;
    expect(await client.next((f) => f.error)).toMatchObject({ error: 'out of memory' });
    expect(service.sessions).toEqual([]);
  });

  test('drops progress meanwhile', async () => {
    const { client, proxy, start, open, sent, begun } = await startAll();
    const { handler, came, done } = slowHandler();
    const service = await start(handler);
    await open();
    const join = await came;
    await begun(join);
    const [broken, back] = [isAgain(service, 'waiting'), isAgain(service, 'open')];
    proxy.cut();
    await broken;
    join.progress('lost');
    await back;
    join.progress('told');
    done.make(undefined);
    await client.next('SessionReady');
    expect(sent.filter(({ type }) => type === 'ServiceProgress')).toMatchObject([{ phase: 'begun' }, { phase: 'told' }]);
  });

  test('leaves a full service full', async () => {
    const { client, start, cut, open, sent } = await startAll();
    const service = await start();
    service.setStatus('full');
    await cut(service);
    expect(sent.at(-1)).toEqual({ type: 'ServiceStatus', status: 'full' });
    await open();
    await client.caughtUp();
    expect(client.types()).not.toContain('SessionReady');
  });

  test('because the gateway stopped is opened again at the next one', async () => {
    const { gateway, proxy, start } = await startAll();
    const service = await start();
    const next = await startGateway();
    const back = isAgain(service, 'open');
    proxy.target = Number(new URL(next.url).port);
    await gateway.close();
    await back;
    const client = await TestClient.connect(next.url);
    await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: ['asr'] });
    await client.next('SessionReady');
  });

  test('keeps what is said until the gateway has answered the registration', async () => {
    const { client, proxy, start, open, sent, begun } = await startAll();
    const { handler, came, done } = slowHandler();
    const service = await start(handler);
    await open();
    const join = await came;
    await begun(join);
    const back = isAgain(service, 'open');
    proxy.rule = (_, text) => (text.includes('RegisterServiceResponse') ? 'hold' : 'pass');
    proxy.cut();
    await expect.poll(() => proxy.holds).toBe(true);
    join.progress('to nobody');
    done.refuse(new Error('out of memory'));
    await settled();
    expect(types(sent).slice(3)).toEqual(['RegisterServiceRequest']);
    proxy.rule = () => 'pass';
    proxy.release();
    await back;
    expect(await client.next((f) => f.error)).toMatchObject({ error: 'out of memory' });
    expect(types(sent).slice(3)).toEqual(['RegisterServiceRequest', 'ServiceFailed']);
  });

  test('for longer than the gateway waits: a failure meanwhile is reported to nobody', async () => {
    const { client, proxy, start, open, gateway, sent } = await startAll();
    const { handler, came, done } = slowHandler();
    done.make(undefined);
    const service = await start(handler);
    await open({ on_service_loss: 'degrade' });
    await client.next('SessionReady');
    const back = isAgain(service, 'open');
    proxy.rule = (from) => (from === 'client' ? 'hold' : 'pass');
    proxy.cut();
    await expect.poll(() => gateway.holds().sockets).toBe(1);
    (await came).leave(new Error('out of memory'));
    await gateway.clock.advance(6_000);
    await client.next('SessionDegraded');
    proxy.rule = () => 'pass';
    proxy.release();
    await back;
    // nothing is held any more
    await service.drain();
    expect(types(sent)).not.toContain('ServiceFailed');
  });

  test('takes along what was not answered of a session that was left', async () => {
    const { client, proxy, start, open, cut, sent } = await startAll();
    const { handler, came, done } = slowHandler();
    done.make(undefined);
    const service = await start(handler);
    proxy.rule = (_, text) => (text.includes('ServiceReadyResponse') ? 'hold' : 'pass');
    await open();
    await client.next('SessionReady');
    (await came).leave();
    await client.next('SessionDegraded');
    proxy.rule = () => 'pass';
    await cut(service);
    await service.drain();
    expect(types(sent).filter((type) => type === 'ServiceReady')).toHaveLength(1);
  });

  test('for good while a session is being left: it is over when that is done', async () => {
    const { client, proxy, start, open, gateway } = await startAll();
    const [asked, left] = [new Decision(), new Decision()];
    const service = await start(() => () => {
      asked.make();
      return left.made;
    });
    await open();
    await client.next('SessionReady');
    await client.ask({ type: 'EndSessionRequest' });
    await asked.made;
    proxy.rule = (from) => (from === 'client' ? 'hold' : 'pass');
    proxy.cut();
    await expect.poll(() => gateway.holds().sockets).toBe(1);
    await connectService(gateway.url, 'asr');
    proxy.rule = () => 'pass';
    proxy.release();
    await service.closed;
    const drained = service.drain();
    left.make();
    await drained;
  });

  test('for good before a failure could be reported: nobody waits for it now', async () => {
    const { client, proxy, start, open, gateway } = await startAll();
    const { handler, came, done } = slowHandler();
    done.make(undefined);
    const service = await start(handler);
    await open();
    await client.next('SessionReady');
    proxy.rule = (from) => (from === 'client' ? 'hold' : 'pass');
    proxy.cut();
    await expect.poll(() => gateway.holds().sockets).toBe(1);
    (await came).leave(new Error('out of memory'));
    await settled();
    await connectService(gateway.url, 'asr');
    proxy.rule = () => 'pass';
    proxy.release();
    await service.closed;
    await service.drain();
  });
});
