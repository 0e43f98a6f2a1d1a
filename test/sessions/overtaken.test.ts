import { describe, expect, test } from 'vitest';
import { StorageError } from '../../src/errors.ts';
import type { StoreProvider, Wake } from '../../src/sessions/ports.ts';
import type { Session } from '../../src/sessions/record.ts';
import { memoryStore } from '../../src/store/memory.ts';
import { registerStoreProvider } from '../../src/store/open.ts';
import { TestClient } from '../support/client.ts';
import { settled } from '../support/clock.ts';
import { startGateway } from '../support/gateway.ts';
import { rest } from '../support/http-service.ts';
import { comeBack } from '../support/resume.ts';

const wish = { type: 'NewSessionRequest', user_identity: 'ada', required_services: [], resume_window_s: 60 };

/** Two nodes on one storage. What the first one is signalled waits while it is `deaf`; `onSave` stands between it and the storage. */
async function twoNodes(onSave: (save: () => Promise<void>, session: Session) => Promise<void> = (save) => save()) {
  const memory = memoryStore();
  const first = { deaf: false };
  let isFirst = true;
  registerStoreProvider('two-nodes', async (): Promise<StoreProvider> => {
    const own = isFirst;
    isFirst = false;
    const heard = new WeakMap<Wake, Wake>();
    return {
      ...memory,
      shared: true,
      subscribe(id, wake) {
        const alive: Wake = heard.get(wake) ?? ((...news) => (own && first.deaf) || wake(...news));
        heard.set(wake, alive);
        memory.subscribe(id, alive);
      },
      unsubscribe: (id, wake) => memory.unsubscribe(id, heard.get(wake) ?? wake),
      saveSession: (session, expected, events) => {
        const save = async () => memory.saveSession(session, expected, events);
        return own ? onSave(save, session) : save();
      },
    };
  });
  const storage = { url: 'two-nodes:' };
  return { memory, first, one: await startGateway({ storage }), two: await startGateway({ storage }) };
}

test('a socket whose session another node has given to a newer one is closed, though its own commit comes before the signal', async () => {
  const { first, one, two } = await twoNodes();
  const old = await TestClient.connect(one.url);
  const made = await old.ask(wish);
  first.deaf = true;
  const { answer } = await comeBack(two.url, made, made.seq);
  expect(answer).toMatchObject({ type: 'ResumeResponse', recovered: true });
  old.send({ type: 'AddMessageRequest', id: 'm', role: 'user', content: 'on the old socket' });
  expect(await old.closed).toEqual({ code: 4409, reason: 'taken over' });
});

describe('a write whose answer is lost', () => {
  test('is not made again where another node wrote on top of it: what it did is not known', async () => {
    let isLost = false;
    let wroteFirst = () => {};
    const written = new Promise<void>((done) => {
      wroteFirst = done;
    });
    let goOn: Promise<void> | undefined;
    const { one, two } = await twoNodes(async (save) => {
      await save();
      if (!isLost) return;
      isLost = false;
      wroteFirst();
      await goOn;
      throw new StorageError('no answer came');
    });
    const { body } = await rest(`${one.url}/api/v1/sessions`, 'POST', { user_identity: 'ada', room: false });
    const path = `/api/v1/sessions/${body.session_id}`;
    let letGo = () => {};
    goOn = new Promise((done) => {
      letGo = done;
    });
    isLost = true;
    const lost = rest(`${one.url}${path}`, 'PATCH', { context_updates: { a: 'one' } });
    await written;
    expect(await rest(`${two.url}${path}`, 'PATCH', { context_updates: { a: 'two' } })).toMatchObject({ status: 200 });
    letGo();
    expect(await lost).toMatchObject({ status: 503, body: { code: 'STORAGE_ERROR' } });
    expect((await rest(`${two.url}${path}`)).body.context).toEqual({ a: 'two' });
  });
});

test('of two own commits whose answers come in the other order those who watch hear in the order of the versions', async () => {
  let held: Promise<void> | undefined;
  let letGo = () => {};
  const { memory, one } = await twoNodes(async (save, session) => {
    const wait = session.context.slow === true && !session.ended ? held : undefined;
    await save();
    await wait;
  });
  const { body } = await rest(`${one.url}/api/v1/sessions`, 'POST', { user_identity: 'ada', required_services: [] });
  const id: string = body.session_id;
  const path = `${one.url}/api/v1/sessions/${id}`;
  held = new Promise((done) => {
    letGo = done;
  });
  const slow = rest(path, 'PATCH', { context_updates: { slow: true } });
  await expect.poll(async () => (await memory.loadSession(id))?.context.slow).toBe(true);
  const ending = rest(path, 'DELETE');
  await expect.poll(async () => (await memory.loadSession(id))?.ended?.reason).toBe('owner_deleted');
  // as far as the end comes without the answer
  await settled(200);
  letGo();
  expect(await slow).toMatchObject({ status: 200 });
  expect(await ending).toMatchObject({ status: 200 });
  await expect.poll(async () => (await memory.loadSession(id))?.status).toBe('Terminated');
  await expect.poll(() => one.holds()).toEqual({ sockets: 0, live_sessions: 0, watched_rooms: 0, waiting: 0 });
  // its record goes after an hour, and does not come back
  await memory.deleteSession(id);
  await one.clock.advance(20_000);
  expect(await memory.loadSession(id)).toBeUndefined();
});
