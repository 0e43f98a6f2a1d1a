import { expect, test } from 'vitest';
import type { Assignment, Handler, Presence } from '../../src/client/assignment.ts';
import { TestClient } from '../support/client.ts';
import { Decision, startAll } from './served.ts';

/** A client whose session waits for it when its socket breaks, and the service in it. */
async function serveOne() {
  const all = await startAll();
  const seen: Presence[] = [];
  const told = [new Decision(), new Decision()];
  let off = () => {};
  const service = await all.start((join) => {
    off = join.on('presence', (presence) => told[seen.push(presence) - 1]?.make());
  });
  const ada = await TestClient.connect(all.gateway.url);
  const opened = await ada.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: ['asr'], resume_window_s: 60 });
  await ada.next('SessionReady');
  const { session_id, resume_token } = opened;
  const comeBack = async () => {
    const back = await TestClient.connect(all.gateway.url);
    await back.ask({ type: 'ResumeRequest', session_id, resume_token, last_seq: 1 });
    return back;
  };
  return { ...all, service, ada, session_id, seen, told, comeBack, off: () => off() };
}

test('a handler is notified that the client is away, until when, and that it is back', async () => {
  const { ada, session_id, seen, told, comeBack, service } = await serveOne();
  ada.ws.terminate();
  await told[0]?.made;
  await comeBack();
  await told[1]?.made;
  expect(seen).toEqual([
    { session_id, status: 'away', resume_deadline: '2030-01-01T00:01:00.000Z' },
    { session_id, status: 'connected' },
  ]);
  expect(service.sessions).toHaveLength(1);
});

test('a handler that has unsubscribed is not notified', async () => {
  const { ada, seen, off, comeBack } = await serveOne();
  off();
  ada.ws.terminate();
  const back = await comeBack();
  await back.ask({ type: 'EndSessionRequest' });
  await back.next('SessionEnded');
  expect(seen).toEqual([]);
});

test('a handler is notified of its own session only', async () => {
  const { ada, session_id, seen, told, client, open } = await serveOne();
  const other = await open();
  await client.next('SessionReady');
  ada.ws.terminate();
  await told[0]?.made;
  expect(other).not.toBe(session_id);
  expect(seen).toHaveLength(1);
});

/** A session whose client was away before the service that serves it was asked. */
async function offeredWhileAway(handler: Handler) {
  const { gateway, start } = await startAll();
  const first = await start(() => {}, { service_id: 'asr-1', metadata: { type: 'ASR' } });
  const ada = await TestClient.connect(gateway.url);
  const wish = { user_identity: 'ada', required_services: [{ type: 'ASR' }], resume_window_s: 60 };
  const { session_id, resume_token } = await ada.ask({ type: 'NewSessionRequest', ...wish });
  await ada.next('SessionReady');
  ada.ws.terminate();
  await expect.poll(() => first.sessions[0]?.presence?.status).toBe('away');
  await first.close();
  await start(handler, { service_id: 'asr-2', metadata: { type: 'ASR' } });
  const comeBack = async () => {
    const back = await TestClient.connect(gateway.url);
    await back.ask({ type: 'ResumeRequest', session_id, resume_token, last_seq: 1 });
  };
  return { away: { session_id, status: 'away', resume_deadline: '2030-01-01T00:01:00.000Z' }, session_id, comeBack };
}

test.each([
  ['first thing', () => {}],
  ['after a wait', () => new Promise(setImmediate)],
])('a handler that subscribes %s is notified once that the client was away when the service was asked', async (_, wait) => {
  const seen: Presence[] = [];
  const [asked, back] = [new Decision<Assignment>(), new Decision()];
  const { away, session_id, comeBack } = await offeredWhileAway(async (join) => {
    await wait();
    join.on('presence', (presence) => {
      seen.push(presence);
      if (presence.status === 'connected') back.make();
    });
    asked.make(join);
  });
  const join = await asked.made;
  await Promise.resolve();
  expect(seen).toEqual([away]);
  expect(join.presence).toEqual(away);
  await comeBack();
  await back.made;
  expect(seen).toEqual([away, { session_id, status: 'connected' }]);
  expect(join.presence).toEqual(seen[1]);
});

test('a handler that unsubscribes at once is not notified of what was sent before', async () => {
  const asked = new Decision();
  let calls = 0;
  await offeredWhileAway((join) => {
    join.on('presence', () => calls++)();
    join.on('presence', () => asked.make());
  });
  await asked.made;
  expect(calls).toBe(0);
});
