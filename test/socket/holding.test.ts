import { describe, expect, test } from 'vitest';
import type { StoreProvider } from '../../src/sessions/ports.ts';
import { memoryStore } from '../../src/store/memory.ts';
import { registerStoreProvider } from '../../src/store/open.ts';
import { type Frame, TestClient } from '../support/client.ts';
import { startGateway } from '../support/gateway.ts';
import { rest } from '../support/http-service.ts';

const range = (n: number) => Array.from({ length: n }, (_, i) => i);
const oddities = [
  ['emoji', '👩‍👩‍👧 🇩🇪 é̂'],
  ['right to left', '\u202eمرحبا שלום'],
  ['line breaks and controls', 'a\r\n\t\u0001\u007f\u2028'],
  ['quotes and markup', `'";--<script>\\u0000{}`],
  ['nothing', ''],
] as const;
// as JSON writes them: the text itself is sent
const refusals = [
  ['NUL', '"a\\u0000b"'],
  ['half a surrogate pair', '"a\\ud800b"'],
  ['the other half', '"\\udc00"'],
] as const;

/** A gateway with ada's session, held by her socket. */
async function open(wish: object = {}, config: Parameters<typeof startGateway>[0] = {}) {
  const gateway = await startGateway(config);
  const ada = await TestClient.connect(gateway.url);
  const made = await ada.ask({ type: 'NewSessionRequest', user_identity: 'ada', room: false, ...wish });
  expect(made).toMatchObject({ type: 'NewSessionResponse', status: 'Active' });
  const id: string = made.session_id;
  const path = `${gateway.url}/api/v1/sessions/${id}`;
  return { ...gateway, ada, id, path, api: `${gateway.url}/api/v1` };
}
const ask = (client: TestClient, type: string, body: object = {}) => client.ask({ type, ...body });
const eventsOf = (client: TestClient, type: string): Frame[] => client.all.filter((frame) => frame.type === type);

describe('an update', () => {
  test('merges, removes with null, and reports what changed in which version', async () => {
    const { ada, path } = await open({ metadata: { topic: 'weather', level: 3 } });
    const first = await ask(ada, 'UpdateSessionRequest', { context_updates: { turn: 1, plan: { steps: ['a'] }, gone: true } });
    const second = await ask(ada, 'UpdateSessionRequest', {
      context_updates: { turn: 2, gone: null, never: null },
      metadata_updates: { level: null, language: 'zh', loud: true, tags: ['demo'] },
      visibility: 'public',
    });
    expect((await rest(path)).body).toMatchObject({ version: second.version, visibility: 'public' });
    const { context, metadata } = (await rest(path)).body;
    expect(context).toEqual({ turn: 2, plan: { steps: ['a'] } });
    expect(metadata).toEqual({ topic: 'weather', language: 'zh', loud: 'true', tags: ['demo'] });
    expect(await ada.next('SessionUpdated')).toMatchObject({ version: first.version, changed: ['context'] });
    expect(await ada.next('SessionUpdated')).toMatchObject({ version: second.version, changed: ['context', 'metadata', 'visibility'] });
    expect(second.version).toBe(first.version + 1);
  });

  test('that says nothing new is no change', async () => {
    const { ada, path } = await open({ visibility: 'public' });
    const { version } = (await rest(path)).body;
    for (const nothing of [{}, { context_updates: {} }, { metadata_updates: {} }, { visibility: 'public' }])
      expect(await ask(ada, 'UpdateSessionRequest', nothing)).toMatchObject({ version });
    await ada.caughtUp();
    expect(eventsOf(ada, 'SessionUpdated')).toEqual([]);
  });

  test('with a key named __proto__ changes no prototype, and what is kept can be read', async () => {
    const { ada, path } = await open();
    ada.send(
      '{"type":"UpdateSessionRequest","id":"odd","context_updates":{"__proto__":{"polluted":1},"inner":{"__proto__":{"polluted":1}},"constructor":2}}',
    );
    expect(await ada.next((frame) => frame.id === 'odd')).toMatchObject({ type: 'UpdateSessionResponse' });
    ada.send('{"type":"UpdateSessionRequest","id":"odd2","metadata_updates":{"__proto__":"x","toString":"y"}}');
    expect(await ada.next((frame) => frame.id === 'odd2')).toMatchObject({ type: 'UpdateSessionResponse' });
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
    const text = await (await fetch(path)).text();
    expect(text).toContain('"constructor":2');
    expect(text).toContain('"toString":"y"');
    expect(Object.getPrototypeOf(JSON.parse(text).context)).toBe(Object.prototype);
  });

  test('with another version than the session has is refused, and changes nothing', async () => {
    const { ada, path } = await open();
    const { version } = await ask(ada, 'UpdateSessionRequest', { context_updates: { turn: 1 } });
    for (const if_version of [version - 1, version + 1])
      expect(await ask(ada, 'UpdateSessionRequest', { context_updates: { turn: 9 }, if_version })).toMatchObject({
        type: 'Error',
        code: 'VERSION_CONFLICT',
        retryable: true,
      });
    expect(await rest(path, 'PATCH', { context_updates: { turn: 9 } }, { headers: { 'if-match': `"${version - 1}"` } })).toMatchObject({
      status: 412,
      body: { code: 'PRECONDITION_FAILED' },
    });
    expect((await rest(path)).body).toMatchObject({ version, context: { turn: 1 } });
    expect(await ask(ada, 'UpdateSessionRequest', { context_updates: { turn: 2 }, if_version: version })).toMatchObject({
      version: version + 1,
    });
    for (const [header, next] of [
      [`"${version + 1}"`, version + 2],
      [`${version + 2}`, version + 3],
    ] as const)
      expect(await rest(path, 'PATCH', { context_updates: { turn: next } }, { headers: { 'if-match': header } })).toMatchObject({
        status: 200,
        body: { version: next },
      });
  });

  test('of one among twenty with the same version succeeds', async () => {
    const { path } = await open();
    const { version } = (await rest(path)).body;
    const answers = await Promise.all(range(20).map((n) => rest(path, 'PATCH', { context_updates: { winner: n }, if_version: version })));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(answers.filter(({ body }) => body.code === 'VERSION_CONFLICT')).toHaveLength(19);
  });

  test('beyond 64 KiB of context or 64 keys of metadata is refused, and changes nothing', async () => {
    const { ada, path } = await open();
    const half = 'x'.repeat(33_000);
    expect(await ask(ada, 'UpdateSessionRequest', { context_updates: { a: half } })).toMatchObject({ type: 'UpdateSessionResponse' });
    const before = (await rest(path)).body;
    expect(await ask(ada, 'UpdateSessionRequest', { context_updates: { b: half } })).toMatchObject({ code: 'VALIDATION_FAILED' });
    const keys = (from: number, n: number) => Object.fromEntries(range(n).map((i) => [`k${from + i}`, i]));
    expect(await ask(ada, 'UpdateSessionRequest', { context_updates: keys(0, 65) })).toMatchObject({ code: 'VALIDATION_FAILED' });
    expect((await rest(path)).body).toEqual(before);
    // bytes count, not characters
    expect(await ask(ada, 'UpdateSessionRequest', { context_updates: { b: '好'.repeat(11_000) } })).toMatchObject({
      code: 'VALIDATION_FAILED',
    });
    // what makes room and takes it in one update fits
    expect(await ask(ada, 'UpdateSessionRequest', { context_updates: { a: null, b: half } })).toMatchObject({
      type: 'UpdateSessionResponse',
    });
    expect(await ask(ada, 'UpdateSessionRequest', { metadata_updates: keys(0, 64) })).toMatchObject({ type: 'UpdateSessionResponse' });
    expect(await ask(ada, 'UpdateSessionRequest', { metadata_updates: { more: 1 } })).toMatchObject({ code: 'VALIDATION_FAILED' });
    expect(await ask(ada, 'UpdateSessionRequest', { metadata_updates: { k0: null, more: 1 } })).toMatchObject({
      type: 'UpdateSessionResponse',
    });
  });

  test('of duration_limit is refused', async () => {
    const { ada } = await open();
    expect(await ask(ada, 'UpdateSessionRequest', { metadata_updates: { duration_limit: '9' } })).toMatchObject({
      code: 'VALIDATION_FAILED',
    });
  });

  test.each(refusals)('with %s in it is refused', async (_, text) => {
    const { ada } = await open();
    for (const [i, body] of [`{"a":${text}}`, `{"a":{"b":[${text}]}}`, `{${text}:1}`, `{"a":{${text}:1}}`].entries()) {
      ada.send(`{"type":"UpdateSessionRequest","id":"${i}","context_updates":${body}}`);
      expect(await ada.next((frame) => frame.id === `${i}`), body).toMatchObject({ code: 'VALIDATION_FAILED' });
    }
    ada.send(`{"type":"UpdateSessionRequest","id":"m","metadata_updates":{"a":${text}}}`);
    expect(await ada.next((frame) => frame.id === 'm')).toMatchObject({ code: 'VALIDATION_FAILED' });
  });

  test('of a session that has ended is ILLEGAL_STATE', async () => {
    const { ada, path } = await open();
    await ask(ada, 'EndSessionRequest');
    for (const [method, suffix, body] of [
      ['PATCH', '', { context_updates: { a: 1 } }],
      ['POST', '/extend', { ttl_hours: 1 }],
      ['POST', '/share', { target_user_id: 'bob' }],
      ['DELETE', '/share/bob', undefined],
      ['POST', '/messages', { role: 'user', content: 'late' }],
    ] as const)
      expect(await rest(path + suffix, method, body), suffix).toMatchObject({
        status: 409,
        body: { code: 'ILLEGAL_STATE', details: { reason: 'client_ended' } },
      });
  });
});

describe('messages', () => {
  const say = (client: TestClient, content: string, more: object = {}) =>
    ask(client, 'AddMessageRequest', { role: 'user', content, ...more });

  test('are kept in order, with who said them, and sent as they come', async () => {
    const { ada, path } = await open();
    const first = await say(ada, 'hello');
    const second = (await rest(`${path}/messages`, 'POST', { role: 'assistant', content: 'hi' })).body;
    const third = (await rest(`${path}/messages?user_identity=ada`, 'POST', { role: 'user', content: 'bye' })).body;
    expect(first).toMatchObject({
      role: 'user',
      content: 'hello',
      user_id: 'ada',
      duplicate: false,
      created_at: '2030-01-01T00:00:00.000Z',
    });
    expect(second).not.toHaveProperty('user_id');
    const { items, ...page } = await ask(ada, 'GetMessagesRequest');
    expect(items).toEqual([first, second, third].map(({ type: _, id: __, session_id: ___, duplicate: ____, ...message }) => message));
    expect(page).not.toHaveProperty('next_after');
    for (const { seq, content } of [first, second, third]) expect(await ada.next('MessageAdded')).toMatchObject({ seq, content });
    expect((await rest(path)).body).toMatchObject({ messages: 3 });
  });

  test('are paged without losing or doubling any while others come in', async () => {
    const { ada, path } = await open();
    const contents: string[] = [];
    const add = async (n: number) => {
      for (const _ of range(n)) await say(ada, contents[contents.push(`message ${contents.length}`) - 1] ?? '');
    };
    await add(20);
    const read: string[] = [];
    for (let after: number | undefined = 0; after !== undefined; ) {
      const { body } = await rest(`${path}/messages?limit=7&after=${after}`);
      read.push(...body.items.map((item: { content: string }) => item.content));
      expect(body.items.length).toBeLessThanOrEqual(7);
      after = body.next_after;
      if (read.length < 20) {
        // what else happens in the log takes no place on the page
        await ask(ada, 'UpdateSessionRequest', { context_updates: { read: read.length } });
        await add(2);
      }
    }
    expect(read).toEqual(contents);
    for (const query of ['limit=0', 'limit=201', 'after=-1', 'after=x'])
      expect(await rest(`${path}/messages?${query}`), query).toMatchObject({ status: 400 });
  });

  test('with the same id are one message, whatever the second says', async () => {
    const { ada, path, api } = await open();
    const first = await say(ada, 'once', { message_id: 'm1' });
    expect(await say(ada, 'twice', { message_id: 'm1', role: 'other' })).toMatchObject({
      duplicate: true,
      seq: first.seq,
      content: 'once',
      role: 'user',
    });
    await ada.caughtUp();
    expect(eventsOf(ada, 'MessageAdded')).toHaveLength(1);
    expect((await rest(path)).body.messages).toBe(1);
    // an id is known in its session alone
    const { body } = await rest(`${api}/sessions`, 'POST', { user_identity: 'ada', room: false });
    const elsewhere = await rest(`${api}/sessions/${body.session_id}/messages`, 'POST', { role: 'user', content: 'x', message_id: 'm1' });
    expect(elsewhere.body.duplicate).toBe(false);
  });

  test('with the same id, twenty at once, are one message', async () => {
    const { ada, path } = await open();
    const answers = await Promise.all(
      range(20).map((n) => rest(`${path}/messages`, 'POST', { role: 'user', content: `${n}`, message_id: 'm1' })),
    );
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(201));
    expect(answers.filter(({ body }) => !body.duplicate)).toHaveLength(1);
    expect(new Set(answers.map(({ body }) => JSON.stringify([body.seq, body.content]))).size).toBe(1);
    await ada.caughtUp();
    expect(eventsOf(ada, 'MessageAdded')).toHaveLength(1);
  });

  test('a hundred at once are a hundred, each sent once in order', async () => {
    const { ada, path } = await open();
    const answers = await Promise.all(range(100).map((n) => rest(`${path}/messages`, 'POST', { role: 'user', content: `${n}` })));
    expect(answers.map(({ status }) => status)).toEqual(Array(100).fill(201));
    const seqs = answers.map(({ body }) => body.seq).sort((a, b) => a - b);
    expect(new Set(seqs).size).toBe(100);
    await ada.caughtUp();
    expect(eventsOf(ada, 'MessageAdded').map(({ seq }) => seq)).toEqual(seqs);
    const { items } = (await rest(`${path}/messages?limit=200`)).body;
    expect(items.map((item: { seq: number }) => item.seq)).toEqual(seqs);
  });

  test.each(oddities)('hold %s unchanged', async (_, content) => {
    const { ada, path } = await open();
    const role = content.slice(0, 64) || 'user';
    await say(ada, content, { role, message_id: content || 'empty' });
    expect((await rest(`${path}/messages`)).body.items).toMatchObject([{ content, role, message_id: content || 'empty' }]);
    expect(await ada.next('MessageAdded')).toMatchObject({ content });
  });

  test('hold 32 KiB and no character more', async () => {
    const { ada, path } = await open();
    const longest = 'x'.repeat(32_768);
    await say(ada, longest);
    expect((await rest(`${path}/messages`)).body.items[0].content).toBe(longest);
    expect(await say(ada, `${longest}x`)).toMatchObject({ code: 'VALIDATION_FAILED' });
  });

  test.each(refusals)('with %s are refused', async (_, text) => {
    const { ada, path } = await open();
    for (const [i, body] of [
      `"role":"user","content":${text}`,
      `"role":${text},"content":"x"`,
      `"role":"user","content":"x","message_id":${text}`,
    ].entries()) {
      ada.send(`{"type":"AddMessageRequest","id":"${i}",${body}}`);
      expect(await ada.next((frame) => frame.id === `${i}`), body).toMatchObject({ code: 'VALIDATION_FAILED' });
    }
    expect((await rest(`${path}/messages`)).body.items).toEqual([]);
  });

  test('of a session that has ended can be read, and none is added', async () => {
    const { ada, path } = await open();
    await say(ada, 'last words');
    await ask(ada, 'EndSessionRequest');
    expect((await rest(`${path}/messages`)).body.items).toMatchObject([{ content: 'last words' }]);
    expect(await rest(`${path}/messages`, 'POST', { role: 'user', content: 'late' })).toMatchObject({
      status: 409,
      body: { code: 'ILLEGAL_STATE' },
    });
  });

  test('of a deleted session are forgotten, in the log as well', async () => {
    let store: StoreProvider | undefined;
    registerStoreProvider('kept', async () => {
      store = memoryStore();
      return store;
    });
    const { ada, id, path, api } = await open({}, { storage: { url: 'kept:' } });
    await say(ada, 'a secret');
    await ask(ada, 'UpdateSessionRequest', { context_updates: { turn: 1 } });
    const { messages: before } = (await rest(`${api}/stats`)).body;
    expect(before).toBe(1);
    for (const _ of range(2)) expect(await rest(path, 'DELETE')).toMatchObject({ status: 200, body: { end_reason: 'owner_deleted' } });
    expect((await rest(`${path}/messages`)).body.items).toEqual([]);
    expect((await rest(`${api}/stats`)).body.messages).toBe(0);
    const log = await store?.eventsAfter(id, 0, 100);
    expect(log?.filter(({ type }) => type === 'MessageAdded')).toMatchObject([{ content: '' }]);
    expect(log?.map(({ seq }) => seq)).toEqual(range(log?.length ?? 0).map((i) => i + 1));
    expect(JSON.stringify(log)).not.toContain('a secret');
  });
});

describe('the time a session has', () => {
  const hour = 3_600_000;
  const start = Date.parse('2030-01-01T00:00:00Z');
  /** How long before its end each announcement came, in seconds. */
  const announced = (client: TestClient) =>
    eventsOf(client, 'SessionExpiring').map(({ expires_at, ts }) => (Date.parse(expires_at) - Date.parse(ts)) / 1_000);

  test('is counted from now when it is extended', async () => {
    const { ada, path, clock } = await open({ ttl_hours: 1 });
    await clock.advance(60_000);
    const { expires_at } = await ask(ada, 'ExtendSessionRequest', { ttl_hours: 2 });
    expect(Date.parse(expires_at)).toBe(start + 60_000 + 2 * hour);
    expect(await ada.next('SessionUpdated')).toMatchObject({ changed: ['expires_at'] });
    expect((await rest(path)).body).toMatchObject({ expires_at });
    // it may be shortened as well
    expect(Date.parse((await rest(`${path}/extend`, 'POST', { ttl_hours: 0.5 })).body.expires_at)).toBe(start + 60_000 + hour / 2);
    expect(await ask(ada, 'ExtendSessionRequest', { ttl_hours: 721 })).toMatchObject({ code: 'VALIDATION_FAILED' });
    expect(await ask(ada, 'ExtendSessionRequest', { ttl_hours: 0 })).toMatchObject({ code: 'VALIDATION_FAILED' });
  });

  test('is never longer than its duration_limit', async () => {
    const { ada, clock } = await open({ ttl_hours: 0.02, metadata: { duration_limit: 100 } });
    const { expires_at } = await ask(ada, 'ExtendSessionRequest', { ttl_hours: 5 });
    expect(Date.parse(expires_at)).toBe(start + 100_000);
    await clock.advance(101_000);
    expect(await ada.next('SessionEnded')).toMatchObject({ reason: 'duration_limit' });
    expect(eventsOf(ada, 'SessionExpiring').map(({ reason }) => reason)).toEqual(['duration_limit', 'duration_limit']);
  });

  test('is announced 60 s and 10 s before its end', async () => {
    const { ada, clock } = await open({ ttl_hours: 0.05 });
    await clock.advance(119_000);
    expect(announced(ada)).toEqual([]);
    await clock.advance(1_000);
    expect(await ada.next('SessionExpiring')).toMatchObject({ reason: 'ttl', expires_at: '2030-01-01T00:03:00.000Z' });
    await clock.advance(61_000);
    await ada.next('SessionEnded');
    expect(announced(ada)).toEqual([60, 10]);
  });

  test('is announced anew after it was extended', async () => {
    const { ada, clock } = await open({ ttl_hours: 0.05 });
    await clock.advance(125_000);
    await ask(ada, 'ExtendSessionRequest', { ttl_hours: 0.05 });
    await clock.advance(181_000);
    expect(await ada.next('SessionEnded')).toMatchObject({ reason: 'ttl' });
    expect(announced(ada)).toEqual([60, 60, 10]);
  });

  test('that is shorter than 60 s is announced 10 s before its end', async () => {
    const { ada, clock } = await open({ ttl_hours: 0.01 });
    await clock.advance(37_000);
    await ada.next('SessionEnded');
    expect(announced(ada)).toEqual([10]);
  });
});

describe('sharing', () => {
  test('makes a private session a shared one, and is reported with visibility and shares', async () => {
    const { ada, path } = await open();
    expect(await ask(ada, 'ShareSessionRequest', { target_user_id: 'bob' })).toMatchObject({
      visibility: 'shared',
      shares: { bob: 'participant' },
    });
    expect(await ada.next('SessionUpdated')).toMatchObject({ changed: ['shares', 'visibility'] });
    expect((await rest(`${path}?user_identity=bob`)).status).toBe(200);
    expect(await ask(ada, 'ShareSessionRequest', { target_user_id: 'bob', role: 'viewer' })).toMatchObject({ shares: { bob: 'viewer' } });
    expect(await ada.next('SessionUpdated')).toMatchObject({ changed: ['shares'] });
    const { body } = await rest(`${path}/share/bob`, 'DELETE');
    expect(body).toMatchObject({ visibility: 'shared', shares: {} });
    expect((await rest(`${path}?user_identity=bob`)).status).toBe(404);
    expect(await ada.next('SessionUpdated')).toMatchObject({ changed: ['shares'] });
  });

  test('leaves a public session public', async () => {
    const { ada } = await open({ visibility: 'public' });
    expect(await ask(ada, 'ShareSessionRequest', { target_user_id: 'bob' })).toMatchObject({ visibility: 'public' });
  });

  test('the same again, and unsharing what is not shared, change nothing', async () => {
    const { ada } = await open();
    await ask(ada, 'ShareSessionRequest', { target_user_id: 'bob' });
    await ask(ada, 'ShareSessionRequest', { target_user_id: 'bob', role: 'participant' });
    await ask(ada, 'UnshareSessionRequest', { target_user_id: 'carol' });
    await ada.caughtUp();
    expect(eventsOf(ada, 'SessionUpdated')).toHaveLength(1);
  });

  test('with oneself is refused', async () => {
    const { ada } = await open();
    expect(await ask(ada, 'ShareSessionRequest', { target_user_id: 'ada' })).toMatchObject({ code: 'VALIDATION_FAILED' });
  });

  test('is for a hundred users, whatever they are named', async () => {
    const { ada, path } = await open();
    const users = ['__proto__', 'constructor', '小明 👋', ...range(97).map((n) => `user-${n}`)];
    for (const target_user_id of users)
      expect(await ask(ada, 'ShareSessionRequest', { target_user_id })).toMatchObject({ type: 'ShareSessionResponse' });
    expect(await ask(ada, 'ShareSessionRequest', { target_user_id: 'one-more' })).toMatchObject({ code: 'VALIDATION_FAILED' });
    for (const user of users) expect((await rest(`${path}?user_identity=${encodeURIComponent(user)}`)).status, user).toBe(200);
    // one who is in already may change, and one who goes makes room
    expect(await ask(ada, 'ShareSessionRequest', { target_user_id: 'user-1', role: 'viewer' })).toMatchObject({
      type: 'ShareSessionResponse',
    });
    await ask(ada, 'UnshareSessionRequest', { target_user_id: '__proto__' });
    expect(await ask(ada, 'ShareSessionRequest', { target_user_id: 'one-more' })).toMatchObject({ type: 'ShareSessionResponse' });
  });
});

describe('a list', () => {
  /** ada's socket with six sessions of hers, the newest first, and one of bob's. */
  async function six() {
    const { url, clock, ada, api, id } = await open({ metadata: { tags: ['a'] } });
    const ids = [id];
    for (const tags of [['a', 'b'], ['b'], ['a, c'], [], ['a', 'b', 'c']]) {
      await clock.advance(1_000);
      ids.unshift((await rest(`${api}/sessions`, 'POST', { user_identity: 'ada', room: false, metadata: { tags } })).body.session_id);
    }
    await rest(`${api}/sessions`, 'POST', { user_identity: 'bob', room: false, metadata: { tags: ['a'] } });
    const list = async (body: object) => (await ask(ada, 'ListSessionsRequest', body)) as Frame & { items: { session_id: string }[] };
    const places = ({ items }: { items: { session_id: string }[] }) => items.map(({ session_id }) => ids.indexOf(session_id));
    return { url, api, ids, list, places };
  }

  test("is of the user's own sessions, by status and by all of the tags", async () => {
    const { api, ids, list, places } = await six();
    expect(places(await list({}))).toEqual([0, 1, 2, 3, 4, 5]);
    expect(places(await list({ tags: ['a'] }))).toEqual([0, 4, 5]);
    expect(places(await list({ tags: ['b', 'a'] }))).toEqual([0, 4]);
    expect(places(await list({ tags: ['a, c'] }))).toEqual([2]);
    expect(places(await list({ tags: ['nobody'] }))).toEqual([]);
    await rest(`${api}/sessions/${ids[4]}`, 'DELETE');
    expect(places(await list({ status: 'Terminated' }))).toEqual([4]);
    expect(places(await list({ status: 'Active', tags: ['a'] }))).toEqual([0, 5]);
    const { body } = await rest(`${api}/sessions?user_identity=ada&tags=a,b`);
    expect(places(body)).toEqual([0, 4]);
  });

  test('goes on by offset, or by cursor where new ones come in between', async () => {
    const { api, list, places } = await six();
    expect(places(await list({ limit: 2, offset: 3 }))).toEqual([3, 4]);
    expect(places(await list({ offset: 6 }))).toEqual([]);
    const read: number[] = [];
    let cursor: string | undefined;
    do {
      const page = await list({ limit: 2, ...(cursor !== undefined && { cursor }) });
      read.push(...places(page));
      cursor = page.next_cursor;
      await rest(`${api}/sessions`, 'POST', { user_identity: 'ada', room: false });
    } while (cursor !== undefined);
    expect(read).toEqual([0, 1, 2, 3, 4, 5]);
    expect(await list({ cursor: 'nonsense' })).toMatchObject({ code: 'VALIDATION_FAILED' });
    expect(await list({ limit: 101 })).toMatchObject({ code: 'VALIDATION_FAILED' });
    expect(await list({ status: 'Sleeping' })).toMatchObject({ code: 'VALIDATION_FAILED' });
  });
});

test('the statistics count sessions, messages and what this node holds', async () => {
  const { ada, api } = await open();
  const { body } = await rest(`${api}/sessions`, 'POST', { user_identity: 'bob', required_services: [] });
  await ask(ada, 'AddMessageRequest', { role: 'user', content: 'one' });
  await rest(`${api}/sessions/${body.session_id}/messages`, 'POST', { role: 'user', content: 'two' });
  expect((await rest(`${api}/stats`)).body).toEqual({
    sessions: 2,
    by_status: { Active: 1, Ready: 1 },
    messages: 2,
    services: 0,
    sockets: 1,
    live_sessions: 1,
    running_sessions: 2,
  });
  await ask(ada, 'EndSessionRequest');
  await ada.next('SessionEnded');
  expect((await rest(`${api}/stats`)).body).toMatchObject({
    sessions: 2,
    by_status: { Terminated: 1, Ready: 1 },
    messages: 2,
    live_sessions: 0,
    running_sessions: 1,
  });
});

test('a session takes no more messages than the limit', async () => {
  const { url } = await startGateway({ limits: { messages_per_session: 2 } });
  const client = await TestClient.connect(url);
  await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', room: false });
  const say = () => client.ask({ type: 'AddMessageRequest', role: 'user', content: 'hello' });
  expect([(await say()).type, (await say()).type]).toEqual(['AddMessageResponse', 'AddMessageResponse']);
  expect(await say()).toMatchObject({ type: 'Error', code: 'ILLEGAL_STATE' });
});
