import { describe, expect, test } from 'vitest';
import { StorageError } from '../../src/errors.ts';
import type { StoreProvider } from '../../src/sessions/ports.ts';
import type { Session } from '../../src/sessions/record.ts';
import { memoryStore } from '../../src/store/memory.ts';
import { registerStoreProvider } from '../../src/store/open.ts';
import { type Frame, TestClient } from '../support/client.ts';
import { rest } from '../support/http-service.ts';
import { TcpProxy } from '../support/proxy.ts';
import { comeBack, eventsAt, resumable } from '../support/resume.ts';

/** Each command that changes something, as its client sends it, and the event of its effect. */
const commands = {
  update: {
    frame: { type: 'UpdateSessionRequest', id: 'c', context_updates: { turn: 1 }, metadata_updates: { topic: 'weather' } },
    event: 'SessionUpdated',
  },
  'update of one version': {
    frame: { type: 'UpdateSessionRequest', id: 'c', context_updates: { turn: 1 }, if_version: 3 },
    event: 'SessionUpdated',
  },
  extend: { frame: { type: 'ExtendSessionRequest', id: 'c', ttl_hours: 2 }, event: 'SessionUpdated' },
  'add message': { frame: { type: 'AddMessageRequest', id: 'c', role: 'user', content: 'hello' }, event: 'MessageAdded' },
  'add message with an id': {
    frame: { type: 'AddMessageRequest', id: 'c', role: 'user', content: 'hello', message_id: 'm1' },
    event: 'MessageAdded',
  },
  share: { frame: { type: 'ShareSessionRequest', id: 'c', target_user_id: 'bob' }, event: 'SessionUpdated' },
  unshare: { frame: { type: 'UnshareSessionRequest', id: 'c', target_user_id: 'zoe' }, event: 'SessionUpdated' },
} satisfies Record<string, { frame: { type: string; id: string; [field: string]: unknown }; event: string }>;
const rows = Object.entries(commands).map(([name, row]) => ({ name, ...row }));

/** The first frame of this type among bytes from the gateway. */
function frameIn(bytes: string, type: string): Frame {
  const from = bytes.slice(bytes.indexOf(`{"type":"${type}"`));
  for (let end = from.indexOf('}'); end >= 0; end = from.indexOf('}', end + 1)) {
    try {
      return JSON.parse(from.slice(0, end + 1));
    } catch {
      // a brace inside the frame
    }
  }
  throw new Error(`no ${type} in ${bytes}`);
}

/** A session without a room, shared with zoe: its version is 3 then. */
async function stage(wish: object = {}) {
  const made = await resumable({ room: false, required_services: undefined, ...wish });
  await rest(`${made.path}/share`, 'POST', { target_user_id: 'zoe' });
  await rest(made.path, 'PATCH', { context_updates: { begun: true } });
  expect(await made.read()).toMatchObject({ version: 3 });
  await made.client.next((frame) => frame.seq === 3);
  const proxy = await TcpProxy.before(Number(new URL(made.url).port));
  return { ...made, proxy, throughProxy: `http://127.0.0.1:${proxy.port}` };
}

describe('sent again on the next socket with the same id, after its answer was lost', () => {
  test.each(rows)('$name has one effect, and the same answer', async ({ frame: sent, event }) => {
    const { made, url, proxy, throughProxy, read, clock } = await stage();
    const { client } = await comeBack(throughProxy, made, 3);
    await client.next('ResumeComplete');
    // a resume makes a version of its own
    const frame = { ...sent, ...('if_version' in sent && { if_version: 4 }) };
    let answer = '';
    proxy.rule = (from, text) => {
      if (from === 'client' || !text.includes(`"type":"${frame.type.replace('Request', 'Response')}"`)) return 'pass';
      answer = text;
      return 'cut';
    };
    client.send(frame);
    expect((await client.closed).code).toBe(1006);
    await expect.poll(read).toMatchObject({ link: 'away' });
    const done = await read();
    // others go on meanwhile: the answer is that of the time it was carried out
    await rest(`${url}/api/v1/sessions/${made.session_id}`, 'PATCH', { context_updates: { other: 1 } });
    await rest(`${url}/api/v1/sessions/${made.session_id}/share`, 'POST', { target_user_id: 'later' });
    await clock.advance(5_000);

    const { client: fresh } = await comeBack(url, made, 3);
    await fresh.next('ResumeComplete');
    const again = await fresh.ask(frame);
    expect(again).toEqual(frameIn(answer, again.type));
    expect(eventsAt(fresh).filter(({ type, seq }) => type === event && seq === done.seq)).toHaveLength(1);
    expect(eventsAt(fresh)).toHaveLength(3);
    expect(await read()).toMatchObject({ messages: done.messages, expires_at: done.expires_at });
  });
});

test.each(rows)('$name that was lost on its way there is carried out once', async ({ frame }) => {
  const { made, url, proxy, throughProxy, read } = await stage();
  const { client } = await comeBack(throughProxy, made, 3);
  await client.next('ResumeComplete');
  proxy.rule = (from) => (from === 'client' ? 'cut' : 'pass');
  const { version, seq } = await read();
  client.send(frame);
  await client.closed;
  await expect.poll(read).toMatchObject({ link: 'away' });
  const { client: fresh } = await comeBack(url, made, 3);
  const answer = await fresh.ask(
    frame.type === 'UpdateSessionRequest' && 'if_version' in frame ? { ...frame, if_version: version + 2 } : frame,
  );
  expect(answer.type).toBe(frame.type.replace('Request', 'Response'));
  expect(await read()).toMatchObject({ seq: seq + 1 });
});

describe('on one socket', () => {
  test.each(rows)('$name sent twice has one effect, and one answer given twice', async ({ frame }) => {
    const { client, read } = await stage();
    const first = await client.ask(frame);
    const { version } = await read();
    expect(first.type).toBe(frame.type.replace('Request', 'Response'));
    expect(await client.ask(frame)).toEqual(first);
    expect(await read()).toMatchObject({ version });
  });

  test('another frame under a used id is a new command', async () => {
    const { client, read } = await stage();
    const frame = commands['add message'].frame;
    await client.ask(frame);
    const other = await client.ask({ ...frame, content: 'hello again' });
    expect(other).toMatchObject({ duplicate: false, content: 'hello again' });
    await client.ask({ ...frame, id: 'd' });
    expect(await read()).toMatchObject({ messages: 3 });
    // the first is remembered all the same
    await client.ask(frame);
    expect(await read()).toMatchObject({ messages: 3 });
  });

  test('one without an id is new each time', async () => {
    const { client, read } = await stage();
    for (let i = 0; i < 3; i++) {
      client.send({ type: 'AddMessageRequest', role: 'user', content: 'hello' });
      await client.next('AddMessageResponse');
    }
    expect(await read()).toMatchObject({ messages: 3 });
  });

  test('one that was refused is no memory: it is tried again', async () => {
    const { client, read } = await stage();
    const frame = { type: 'UpdateSessionRequest', id: 'c', context_updates: { turn: 1 }, if_version: 4 };
    expect(await client.ask(frame)).toMatchObject({ code: 'VERSION_CONFLICT' });
    await client.ask({ type: 'AddMessageRequest', id: 'd', role: 'user', content: 'hello' });
    expect(await client.ask(frame)).toMatchObject({ type: 'UpdateSessionResponse', version: 5 });
    expect(await read()).toMatchObject({ version: 5 });
  });

  test('one that came to nothing answers with what is', async () => {
    const { client } = await stage();
    const frame = { type: 'UnshareSessionRequest', id: 'c', target_user_id: 'nobody' };
    const first = await client.ask(frame);
    expect(first).toMatchObject({ shares: { zoe: 'participant' } });
    expect(await client.ask(frame)).toEqual(first);
  });

  test('one that came to nothing does not come to something, said again behind a later one', async () => {
    const { client, read } = await stage();
    const share = { type: 'ShareSessionRequest', id: 'c', target_user_id: 'zoe' };
    const first = await client.ask(share);
    expect(first).toMatchObject({ shares: { zoe: 'participant' } });
    const unshare = { type: 'UnshareSessionRequest', id: 'd', target_user_id: 'zoe' };
    expect((await client.ask(unshare)).shares).toEqual({});
    // neither answer arrived: both are sent again, in their order
    expect(await client.ask(share)).toEqual(first);
    await client.ask(unshare);
    expect((await read()).shares).toEqual({});
  });
});

test('a message that is kept between two looks of its repetition is no duplicate', async () => {
  const memory = memoryStore();
  let looks = 0;
  let letGo = () => {};
  const go = new Promise<void>((done) => {
    letGo = done;
  });
  let onKept = () => {};
  const kept = new Promise<void>((done) => {
    onKept = done;
  });
  registerStoreProvider('interleaved', async () => ({
    ...memory,
    async saveSession(...wish) {
      await memory.saveSession(...wish);
      if (wish[2].some(({ type }) => type === 'MessageAdded')) onKept();
    },
    async findMessage(...wish) {
      const look = ++looks;
      if (look === 1) await go;
      if (look === 2) {
        letGo();
        await kept;
      }
      return memory.findMessage(...wish);
    },
  }));
  const { made, client, back } = await resumable({ room: false }, { storage: { url: 'interleaved:' } });
  const frame = { type: 'AddMessageRequest', id: 'c', role: 'user', content: 'hello', message_id: 'm' };
  client.send(frame);
  await expect.poll(() => looks).toBe(1);
  // half open: the session is taken over before what came on the old socket is done
  const { client: fresh } = await back(made.seq);
  expect(await fresh.ask(frame)).toMatchObject({ type: 'AddMessageResponse', duplicate: false, message_id: 'm' });
});

test('the sockets of others are not remembered, nor a session without a window', async () => {
  const { url, made, read } = await stage();
  const operator = await TestClient.connect(url);
  const frame = { ...commands['add message'].frame, session_id: made.session_id };
  for (let i = 0; i < 2; i++) await operator.ask(frame);
  expect(await read()).toMatchObject({ messages: 2 });
  const bob = await TestClient.connect(url);
  await bob.ask({ type: 'NewSessionRequest', user_identity: 'bob', room: false });
  for (let i = 0; i < 2; i++) await bob.ask(commands['add message'].frame);
  expect(await bob.ask({ type: 'GetSessionRequest' })).toMatchObject({ messages: 2 });
});

test('two clients that send the same frame for sessions of their own are two', async () => {
  const { url, client, read } = await stage();
  const bob = await TestClient.connect(url);
  await bob.ask({ type: 'NewSessionRequest', user_identity: 'bob', room: false, resume_window_s: 60 });
  const frame = commands['add message'].frame;
  await Promise.all([client.ask(frame), bob.ask(frame)]);
  expect(await read()).toMatchObject({ messages: 1 });
  expect(await bob.ask({ type: 'GetSessionRequest' })).toMatchObject({ messages: 1 });
});

test('the last 256 are remembered', async () => {
  const { client, read } = await stage();
  const frame = (n: number) => ({ type: 'AddMessageRequest', id: `c${n}`, role: 'user', content: 'hello' });
  for (let n = 0; n < 257; n++) await client.ask(frame(n));
  await client.ask(frame(1));
  expect(await read()).toMatchObject({ messages: 257 });
  // the oldest is not
  await client.ask(frame(0));
  expect(await read()).toMatchObject({ messages: 258 });
});

test('what is remembered takes no more than 32 KiB: large outcomes push out the oldest', async () => {
  let records: Session[] = [];
  registerStoreProvider('looking', async (): Promise<StoreProvider> => {
    const memory = memoryStore();
    return {
      ...memory,
      saveSession: (session, ...more) => {
        records = [...records, session];
        return memory.saveSession(session, ...more);
      },
    };
  });
  const { client, made } = await resumable({ room: false, required_services: undefined }, { storage: { url: 'looking:' } });
  const share = (n: number) => ({ type: 'ShareSessionRequest', id: `c${n}`, target_user_id: `${n}`.padStart(120, 'u') });
  for (let n = 0; n < 90; n++) expect(await client.ask(share(n))).toMatchObject({ type: 'ShareSessionResponse' });
  const last = records.at(-1)?.remembered ?? [];
  const bytes = last.reduce((sum, kept) => sum + kept.bytes, 0);
  expect(bytes).toBeLessThanOrEqual(32_768);
  expect(bytes).toBeGreaterThan(16_384);
  expect(last.length).toBeLessThan(90);
  // the newest of them is told again, without a change
  const before = records.length;
  expect(await client.ask(share(89))).toMatchObject({ session_id: made.session_id });
  expect(records.length).toBe(before);
});

test('nothing of it is shown to anybody', async () => {
  const { client, url, made, path } = await stage({ visibility: 'public' });
  await client.ask(commands['add message'].frame);
  const other = await TestClient.connect(url);
  const { session_id } = made;
  const told = [
    await client.ask({ type: 'GetSessionRequest' }),
    await other.ask({ type: 'WatchRequest', session_id }),
    await other.ask({ type: 'ListSessionsRequest' }),
    (await rest(path)).body,
    (await comeBack(url, made, 0)).answer,
  ];
  expect(JSON.stringify(told)).not.toMatch(/remembered|token_hash|resume_token|window_ms|connection_id/);
});

test('a command that the storage did not answer, and did carry out, is not carried out again', async () => {
  let lose = 0;
  registerStoreProvider('losing', async (): Promise<StoreProvider> => {
    const memory = memoryStore();
    return {
      ...memory,
      async saveSession(...args) {
        await memory.saveSession(...args);
        if (lose-- > 0) throw new StorageError('no answer');
      },
    };
  });
  const { client, read } = await resumable({ room: false, required_services: undefined }, { storage: { url: 'losing:' } });
  const frame = commands['add message'].frame;
  // the repetition within the gateway has no answer either
  lose = 2;
  expect(await client.ask(frame)).toMatchObject({ code: 'STORAGE_ERROR' });
  lose = 0;
  const again: Frame = await client.ask(frame);
  expect(again).toMatchObject({ type: 'AddMessageResponse', duplicate: false, content: 'hello' });
  expect(await read()).toMatchObject({ messages: 1 });
});
