import { expect, test } from 'vitest';
import { createSessionManager } from '../../src/library.ts';
import { maxPageBytes } from '../../src/sessions/pages.ts';
import { type Frame, TestClient } from '../support/client.ts';
import { startGateway } from '../support/gateway.ts';
import { rest } from '../support/http-service.ts';

/** What stands around the items. */
const envelope = 256;
const sizeOf = (value: unknown) => Buffer.byteLength(JSON.stringify(value));
/** Values of metadata of about so many bytes. */
const metadata = (bytes: number) =>
  Object.fromEntries(Array.from({ length: Math.ceil(bytes / 1_000) }, (_, i) => [`k${i}`, 'v'.repeat(1_000)]));

async function open() {
  const { url, clock } = await startGateway();
  const api = `${url}/api/v1/sessions`;
  const client = await TestClient.connect(url);
  /** A session, newer than those before, with a context of about so many bytes. */
  const make = async (contextBytes = 0, metadataBytes = 0): Promise<string> => {
    await clock.advance(1_000);
    const wish = { user_identity: 'ada', room: false, metadata: metadata(metadataBytes) };
    const { session_id } = (await rest(api, 'POST', wish)).body;
    for (let left = contextBytes; left > 0; left -= 15_000)
      await rest(`${api}/${session_id}`, 'PATCH', { context_updates: { [`c${left}`]: 'c'.repeat(Math.min(left, 15_000)) } });
    return session_id;
  };
  return { url, api, client, make };
}

/** Every page of a list, followed to its end. */
async function pages(ask: (place: object) => Promise<Frame>, next: 'next_cursor' | 'next_after', place: 'cursor' | 'after') {
  const found: Frame[] = [];
  for (let at: unknown; found.length === 0 || at !== undefined; at = found.at(-1)?.[next])
    found.push(await ask(at === undefined ? {} : { [place]: at }));
  return found;
}
const items = (found: Frame[]) => found.flatMap((page) => page.items as Frame[]);

test('a page of sessions ends at 32 KiB, and the cursor goes on where it ended', async () => {
  const { api, client, make } = await open();
  const ids: string[] = [];
  for (let i = 0; i < 20; i++) ids.unshift(await make(0, 8_000));
  for (const ask of [
    (place: object) => client.ask({ type: 'ListSessionsRequest', limit: 100, ...place }),
    async (place: object) => (await rest(`${api}?${new URLSearchParams({ limit: '100', ...place })}`)).body as Frame,
  ]) {
    const found = await pages(ask, 'next_cursor', 'cursor');
    expect(items(found).map(({ session_id }) => session_id)).toEqual(ids);
    for (const page of found) expect(sizeOf(page)).toBeLessThanOrEqual(maxPageBytes + envelope);
    // and is not much shorter than it may be
    expect(found.length).toBe(7);
  }
});

test('what is larger than a page is a page of its own', async () => {
  const { client, make } = await open();
  const ids: string[] = [];
  for (const bytes of [0, 50_000, 50_000, 0]) ids.unshift(await make(0, bytes));
  const found = await pages((place) => client.ask({ type: 'ListSessionsRequest', ...place }), 'next_cursor', 'cursor');
  expect(found.map((page) => page.items.map(({ session_id }: Frame) => ids.indexOf(session_id)))).toEqual([[0], [1], [2], [3]]);
});

test('contexts stand in a list as far as its page has room; the others are marked, and can be read', async () => {
  const { api, client, make } = await open();
  const ids: string[] = [];
  for (const bytes of [0, 60_000, 2_000, 14_000, 14_000, 2_000]) ids.unshift(await make(bytes));
  const page = await client.ask({ type: 'ListSessionsRequest' });
  expect(page).not.toHaveProperty('next_cursor');
  const shown = page.items.map(({ context, context_omitted }: Frame) => [sizeOf(context) > 2, context_omitted]);
  expect(shown).toEqual([
    [true, undefined],
    [true, undefined],
    [false, true],
    [true, undefined],
    [false, true],
    [false, undefined],
  ]);
  expect(sizeOf(page)).toBeLessThanOrEqual(maxPageBytes + envelope);
  const whole = await client.ask({ type: 'GetSessionRequest', session_id: ids[4] ?? '' });
  expect(sizeOf(whole.context)).toBeGreaterThan(60_000);
  expect(whole).not.toHaveProperty('context_omitted');
  expect((await rest(api)).body.items.map(({ context_omitted }: Frame) => context_omitted === true)).toEqual(
    shown.map(([, omitted]: boolean[]) => omitted === true),
  );
});

test('a page of messages ends at 32 KiB or after one message', async () => {
  const { api, client, make } = await open();
  const session_id = await make();
  const contents = [
    ...Array.from({ length: 60 }, (_, i) => `${i}`.padEnd(1_000)),
    '語'.repeat(15_000),
    // as JSON six times as long
    ...Array.from({ length: 3 }, () => '\u0001'.repeat(4_000)),
    ...Array.from({ length: 200 }, (_, i) => `${i}`),
  ];
  for (const content of contents) await client.ask({ type: 'AddMessageRequest', session_id, role: 'user', content });
  for (const ask of [
    (place: object) => client.ask({ type: 'GetMessagesRequest', session_id, limit: 200, ...place }),
    async (place: object) => (await rest(`${api}/${session_id}/messages?${new URLSearchParams({ limit: '200', ...place })}`)).body as Frame,
  ]) {
    const found = await pages(ask, 'next_after', 'after');
    expect(items(found).map(({ content }) => content)).toEqual(contents);
    for (const page of found) if (page.items.length > 1) expect(sizeOf(page)).toBeLessThanOrEqual(maxPageBytes + envelope);
    expect(found.map((page) => page.items.length > 1)).toContain(false);
  }
});

test('the library, which has no frames, gives all that was asked for, with contexts', async () => {
  const manager = createSessionManager();
  await manager.initialize();
  const session_id = await manager.createSession({ user_id: 'ada' });
  for (let i = 0; i < 5; i++) {
    const session_id = await manager.createSession({ user_id: 'ada' });
    await manager.updateSession({ session_id, user_id: 'ada', context_updates: { pad: 'x'.repeat(30_000) } });
  }
  for (let i = 0; i < 100; i++) await manager.addMessage({ session_id, user_id: 'ada', role: 'user', content: 'x'.repeat(30_000) });
  expect(await manager.getSessionMessages({ session_id, user_id: 'ada', limit: 200 })).toHaveLength(100);
  const listed = await manager.listUserSessions({ user_id: 'ada' });
  expect(listed).toHaveLength(6);
  expect(listed.filter(({ context }) => sizeOf(context) > 30_000)).toHaveLength(5);
  await manager.shutdown();
});
