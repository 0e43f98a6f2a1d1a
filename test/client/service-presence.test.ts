import { expect, test } from 'vitest';
import type { Presence } from '../../src/client/assignment.ts';
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

test('a handler is told that the client is away, until when, and that it is back', async () => {
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

test('a handler that looks no longer is told nothing', async () => {
  const { ada, seen, off, comeBack } = await serveOne();
  off();
  ada.ws.terminate();
  const back = await comeBack();
  await back.ask({ type: 'EndSessionRequest' });
  await back.next('SessionEnded');
  expect(seen).toEqual([]);
});

test('a handler is told of its own session only', async () => {
  const { ada, session_id, seen, told, client, open } = await serveOne();
  const other = await open();
  await client.next('SessionReady');
  ada.ws.terminate();
  await told[0]?.made;
  expect(other).not.toBe(session_id);
  expect(seen).toHaveLength(1);
});
