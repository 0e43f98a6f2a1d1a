import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { afterAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { systemClock } from '../src/clock.ts';
import {
  createSessionManager,
  GatewayError,
  getSessionManager,
  registerStoreProvider,
  type SessionManager,
  type SessionManagerOptions,
} from '../src/library.ts';
import { makeLog } from '../src/log/log.ts';
import type { StoreProvider } from '../src/sessions/ports.ts';
import { memoryStore } from '../src/store/memory.ts';
import { openStore } from '../src/store/open.ts';
import { storeContract } from './store/contract.ts';
import { ManualClock } from './support/clock.ts';

const root = join(import.meta.dirname, '..');
const readme = readFileSync(join(root, 'src/sessions/README.md'), 'utf8');
const [example, provider] = [...readme.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code = '']) =>
  code.replaceAll("'session-gateway/sessions'", `'${join(root, 'src/library.ts')}'`),
);

// inside the folder of the tests, where what is imported is TypeScript
const folder = mkdtempSync(join(import.meta.dirname, 'readme-'));
afterAll(() => rmSync(folder, { recursive: true }));
const written = (name: string, code = '') => {
  const file = join(folder, name);
  writeFileSync(file, code);
  return file;
};
const mapModule = `./${relative(process.cwd(), written('map-store.ts', provider))}`;

/** A manager that is ready. Shut down with the test. */
async function ready(options: SessionManagerOptions = {}) {
  const clock = new ManualClock();
  const manager = createSessionManager({ clock, ...options });
  await manager.initialize();
  onTestFinished(() => manager.shutdown());
  return { manager, clock };
}
const refusal = (code: string) => expect.objectContaining({ constructor: GatewayError, code });
const range = (n: number) => Array.from({ length: n }, (_, i) => i);

describe('the README', () => {
  test('has an example that runs and says what it says', async () => {
    const said = vi.spyOn(console, 'log').mockImplementation(() => {});
    onTestFinished(() => said.mockRestore());
    await import(written('example.ts', example));
    expect(said.mock.calls).toEqual([['user: 你好，这是一条测试消息'], [['Active, 1 message']]]);
  });

  test('names every method', async () => {
    const { manager } = await ready();
    for (const method of Object.keys(manager)) expect(readme).toContain(`\`${method}\``);
  });

  test('has a provider that a manager loads from its module and uses', async () => {
    const { manager, clock } = await ready({ storage: { providers: [mapModule], url: 'map:' } });
    const session_id = await manager.createSession({ user_id: 'ada', metadata: { tags: ['demo'] }, ttl_hours: 0.01 });
    await manager.addMessage({ session_id, user_id: 'ada', role: 'user', content: 'hello' });
    expect(await manager.getSessionMessages({ session_id, user_id: 'ada' })).toMatchObject([{ content: 'hello' }]);
    expect(await manager.listUserSessions({ user_id: 'ada', tags: ['demo'] })).toMatchObject([{ session_id, status: 'Active' }]);
    await clock.advance(37_000);
    expect(await manager.getSession({ session_id, user_id: 'ada' })).toMatchObject({ status: 'Terminated', end_reason: 'ttl' });
    await manager.deleteSession({ session_id, user_id: 'ada' });
    expect(await manager.getStatistics()).toEqual({ sessions: 1, by_status: { Terminated: 1 }, messages: 0 });
  });
});

storeContract("README's provider", () =>
  openStore({ providers: [mapModule], url: 'map:' }, { keyPrefix: '', timeoutMs: 3_000, clock: systemClock, log: makeLog('silent') }),
);

describe('managers', () => {
  test('made one by one have storages of their own', async () => {
    const managers = await Promise.all(range(3).map(async () => (await ready()).manager));
    const [first, ...others] = managers as [SessionManager, ...SessionManager[]];
    const session_id = await first.createSession({ user_id: 'ada' });
    expect(await first.getSession({ session_id, user_id: 'ada' })).toMatchObject({ session_id });
    for (const other of others)
      await expect(other.getSession({ session_id, user_id: 'ada' })).rejects.toEqual(refusal('SESSION_NOT_FOUND'));
  });

  test('on one storage have the same sessions', async () => {
    const store = memoryStore();
    registerStoreProvider('common', async () => store);
    const { manager: one } = await ready({ storage: 'common:' });
    const { manager: other } = await ready({ storage: { storage_type: 'common' } });
    const session_id = await one.createSession({ user_id: 'ada' });
    await other.addMessage({ session_id, user_id: 'ada', role: 'user', content: 'hello' });
    expect(await one.getSessionMessages({ session_id, user_id: 'ada' })).toMatchObject([{ content: 'hello' }]);
  });

  test('that are asked for without a name are one', async () => {
    expect(getSessionManager()).toBe(getSessionManager({ storage: 'memory:' }));
    expect(createSessionManager()).not.toBe(getSessionManager());
    const shared = getSessionManager();
    await shared.initialize();
    await expect(shared.createSession({ user_id: 'ada' })).resolves.toEqual(expect.any(String));
    await shared.shutdown();
  });
});

describe('initialize and shutdown', () => {
  /** A storage that counts. */
  const counted = (name: string) => {
    const count = { opened: 0, closed: 0 };
    registerStoreProvider(name, async (): Promise<StoreProvider> => {
      count.opened += 1;
      const close = async () => {
        count.closed += 1;
      };
      return { ...memoryStore(), close };
    });
    return count;
  };

  test('have one effect, however often they are called, one by one or at once', async () => {
    const count = counted('counted');
    const manager = createSessionManager({ storage: 'counted:' });
    await Promise.all([manager.initialize(), manager.initialize()]);
    await manager.initialize();
    expect(count).toEqual({ opened: 1, closed: 0 });
    await Promise.all([manager.shutdown(), manager.shutdown()]);
    await manager.shutdown();
    expect(count).toEqual({ opened: 1, closed: 1 });
    // and begin again
    await manager.initialize();
    await manager.shutdown();
    expect(count).toEqual({ opened: 2, closed: 2 });
  });

  test('that failed can be called again, and a shutdown after it has nothing to do', async () => {
    const manager = createSessionManager({ storage: 'not-there-yet:' });
    await expect(manager.initialize()).rejects.toThrow('there is no storage named not-there-yet');
    await manager.shutdown();
    counted('not-there-yet');
    await manager.initialize();
    await expect(manager.createSession({ user_id: 'ada' })).resolves.toEqual(expect.any(String));
    await manager.shutdown();
  });

  test('are what every other method needs', async () => {
    const manager = createSessionManager();
    const one = { session_id: 's', user_id: 'ada' };
    const calls: Record<Exclude<keyof SessionManager, 'initialize' | 'shutdown'>, () => Promise<unknown>> = {
      createSession: () => manager.createSession({ user_id: 'ada' }),
      getSession: () => manager.getSession(one),
      updateSession: () => manager.updateSession({ ...one, visibility: 'public' }),
      addMessage: () => manager.addMessage({ ...one, role: 'user', content: 'x' }),
      getSessionMessages: () => manager.getSessionMessages(one),
      listUserSessions: () => manager.listUserSessions({ user_id: 'ada' }),
      deleteSession: () => manager.deleteSession(one),
      shareSession: () => manager.shareSession({ session_id: 's', owner_id: 'ada', target_user_id: 'bob' }),
      unshareSession: () => manager.unshareSession({ session_id: 's', owner_id: 'ada', target_user_id: 'bob' }),
      extendSession: () => manager.extendSession({ ...one, ttl_hours: 1 }),
      cleanExpiredSessions: () => manager.cleanExpiredSessions(),
      getStatistics: () => manager.getStatistics(),
    };
    for (const [method, call] of Object.entries(calls)) await expect(call(), method).rejects.toEqual(refusal('ILLEGAL_STATE'));
    await manager.initialize();
    await manager.shutdown();
    for (const [method, call] of Object.entries(calls))
      await expect(call(), `${method} after shutdown`).rejects.toEqual(refusal('ILLEGAL_STATE'));
  });
});

describe('a session', () => {
  /** ada's, shared with pat and with vic, who may only read. */
  async function shared() {
    const { manager, clock } = await ready();
    const session_id = await manager.createSession({ user_id: 'ada', metadata: { level: 3 } });
    await manager.shareSession({ session_id, owner_id: 'ada', target_user_id: 'pat' });
    await manager.shareSession({ session_id, owner_id: 'ada', target_user_id: 'vic', role: 'viewer' });
    return { manager, clock, session_id, as: (user_id: string) => ({ session_id, user_id }) };
  }

  test('is what it was made with, for a day unless another time was asked for', async () => {
    const { manager, session_id } = await shared();
    const session = await manager.getSession({ session_id, user_id: 'ada' });
    expect(session).toMatchObject({
      session_id,
      owner_id: 'ada',
      status: 'Active',
      visibility: 'shared',
      shares: { pat: 'participant', vic: 'viewer' },
      metadata: { level: '3' },
      context: {},
      created_at: '2030-01-01T00:00:00.000Z',
      expires_at: '2030-01-02T00:00:00.000Z',
    });
    expect(session).not.toHaveProperty('room_name');
  });

  test('is read, talked in and decided over by those who may', async () => {
    const { manager, as, session_id } = await shared();
    const message = await manager.addMessage({ ...as('pat'), role: 'user', content: 'hello', message_id: 'm1' });
    expect(message).toEqual({
      message_id: 'm1',
      seq: expect.any(Number),
      role: 'user',
      content: 'hello',
      user_id: 'pat',
      created_at: expect.any(String),
    });
    expect(await manager.addMessage({ ...as('ada'), role: 'user', content: 'again', message_id: 'm1' })).toEqual(message);
    expect(await manager.getSessionMessages(as('vic'))).toEqual([message]);
    const { version } = await manager.getSession(as('vic'));
    expect(await manager.updateSession({ ...as('ada'), context_updates: { turn: 1 }, if_version: version })).toBe(version + 1);
    expect(await manager.extendSession({ ...as('ada'), ttl_hours: 48 })).toBe('2030-01-03T00:00:00.000Z');

    const update = { context_updates: { turn: 2 } };
    for (const user of ['pat', 'vic']) {
      await expect(manager.updateSession({ ...as(user), ...update })).rejects.toEqual(refusal('FORBIDDEN'));
      await expect(manager.deleteSession(as(user))).rejects.toEqual(refusal('FORBIDDEN'));
      await expect(manager.extendSession({ ...as(user), ttl_hours: 1 })).rejects.toEqual(refusal('FORBIDDEN'));
      await expect(manager.shareSession({ session_id, owner_id: user, target_user_id: 'eve' })).rejects.toEqual(refusal('FORBIDDEN'));
      await expect(manager.unshareSession({ session_id, owner_id: user, target_user_id: 'pat' })).rejects.toEqual(refusal('FORBIDDEN'));
    }
    await expect(manager.addMessage({ ...as('vic'), role: 'user', content: 'x' })).rejects.toEqual(refusal('FORBIDDEN'));
    for (const call of [
      () => manager.getSession(as('eve')),
      () => manager.getSessionMessages(as('eve')),
      () => manager.addMessage({ ...as('eve'), role: 'user', content: 'x' }),
      () => manager.updateSession({ ...as('eve'), ...update }),
      () => manager.deleteSession(as('eve')),
      () => manager.getSession({ session_id: 'nobody', user_id: 'ada' }),
    ])
      await expect(call()).rejects.toEqual(refusal('SESSION_NOT_FOUND'));
    await expect(manager.updateSession({ ...as('ada'), ...update, if_version: version })).rejects.toEqual(refusal('VERSION_CONFLICT'));

    await manager.unshareSession({ session_id, owner_id: 'ada', target_user_id: 'pat' });
    await expect(manager.getSession(as('pat'))).rejects.toEqual(refusal('SESSION_NOT_FOUND'));
  });

  test('that was deleted is over, and what was said in it forgotten', async () => {
    const { manager, as } = await shared();
    await manager.addMessage({ ...as('ada'), role: 'user', content: 'hello' });
    for (const _ of range(2)) await manager.deleteSession(as('ada'));
    expect(await manager.getSession(as('ada'))).toMatchObject({ status: 'Terminated', end_reason: 'owner_deleted' });
    expect(await manager.getSessionMessages(as('ada'))).toEqual([]);
    for (const call of [
      () => manager.addMessage({ ...as('ada'), role: 'user', content: 'late' }),
      () => manager.updateSession({ ...as('ada'), visibility: 'public' }),
      () => manager.extendSession({ ...as('ada'), ttl_hours: 1 }),
      () => manager.shareSession({ session_id: as('ada').session_id, owner_id: 'ada', target_user_id: 'bob' }),
    ])
      await expect(call()).rejects.toEqual(refusal('ILLEGAL_STATE'));
  });

  test('ends with its time, and is dropped an hour later', async () => {
    const { manager, clock } = await ready();
    const session_id = await manager.createSession({ user_id: 'ada', ttl_hours: 0.01 });
    const lasting = await manager.createSession({ user_id: 'ada' });
    await clock.advance(35_000);
    expect(await manager.getSession({ session_id, user_id: 'ada' })).toMatchObject({ status: 'Active' });
    await clock.advance(2_000);
    expect(await manager.getSession({ session_id, user_id: 'ada' })).toMatchObject({ status: 'Terminated', end_reason: 'ttl' });
    expect(await manager.cleanExpiredSessions()).toBe(0);
    await clock.advance(3_600_000);
    await expect(manager.getSession({ session_id, user_id: 'ada' })).rejects.toEqual(refusal('SESSION_NOT_FOUND'));
    expect(await manager.getSession({ session_id: lasting, user_id: 'ada' })).toMatchObject({ status: 'Active' });
  });

  test.each([
    ['a user without a name', (m: SessionManager) => m.createSession({ user_id: '' })],
    ['a user with NUL in the name', (m: SessionManager) => m.createSession({ user_id: 'a\0b' })],
    ['no time at all', (m: SessionManager) => m.createSession({ user_id: 'ada', ttl_hours: 0 })],
    ['a list as metadata', (m: SessionManager) => m.createSession({ user_id: 'ada', metadata: { tags: 'demo' } })],
    ['an unknown visibility', (m: SessionManager) => m.createSession({ user_id: 'ada', visibility: 'open' as 'public' })],
    [
      'half a surrogate pair',
      (m: SessionManager, id: string) => m.addMessage({ session_id: id, user_id: 'ada', role: 'user', content: '\ud800' }),
    ],
    [
      'a message that is too long',
      (m: SessionManager, id: string) => m.addMessage({ session_id: id, user_id: 'ada', role: 'user', content: 'x'.repeat(32_769) }),
    ],
    ['more than a page', (m: SessionManager, id: string) => m.getSessionMessages({ session_id: id, user_id: 'ada', limit: 201 })],
    ['more sessions than a page', (m: SessionManager) => m.listUserSessions({ user_id: 'ada', limit: 101 })],
    ['sharing with oneself', (m: SessionManager, id: string) => m.shareSession({ session_id: id, owner_id: 'ada', target_user_id: 'ada' })],
    ['sharing with nobody', (m: SessionManager, id: string) => m.shareSession({ session_id: id, owner_id: 'ada', target_user_id: '' })],
    ['unsharing with NUL', (m: SessionManager, id: string) => m.unshareSession({ session_id: id, owner_id: 'ada', target_user_id: '\0' })],
    ['too long a time', (m: SessionManager, id: string) => m.extendSession({ session_id: id, user_id: 'ada', ttl_hours: 721 })],
    [
      'a function in the context',
      (m: SessionManager, id: string) => m.updateSession({ session_id: id, user_id: 'ada', context_updates: { a: '\0' } }),
    ],
    ['a session whose id has NUL', (m: SessionManager) => m.getSession({ session_id: 'a\0b', user_id: 'ada' })],
  ])('refuses %s', async (_, call) => {
    const { manager } = await ready();
    const id = await manager.createSession({ user_id: 'ada' });
    await expect(call(manager, id)).rejects.toEqual(refusal('VALIDATION_FAILED'));
  });

  test('takes a hundred messages at once', async () => {
    const { manager } = await ready();
    const session_id = await manager.createSession({ user_id: 'ada' });
    const added = await Promise.all(
      range(100).map((n) => manager.addMessage({ session_id, user_id: 'ada', role: 'user', content: `${n}` })),
    );
    expect(new Set(added.map(({ seq }) => seq)).size).toBe(100);
    const half = await manager.getSessionMessages({ session_id, user_id: 'ada' });
    expect(half).toHaveLength(50);
    const rest = await manager.getSessionMessages({ session_id, user_id: 'ada', after: half.at(-1)?.seq ?? 0, limit: 200 });
    expect([...half, ...rest]).toEqual(added.sort((a, b) => a.seq - b.seq));
  });
});

test("a user's sessions are listed by status and tags, page by page, the newest first", async () => {
  const { manager, clock } = await ready();
  const ids: string[] = [];
  for (const tags of [['a'], ['a', 'b'], ['b'], [], ['a']]) {
    ids.unshift(await manager.createSession({ user_id: 'ada', metadata: { tags } }));
    await clock.advance(1_000);
  }
  await manager.createSession({ user_id: 'bob', metadata: { tags: ['a'] } });
  const places = async (wish: object = {}) =>
    (await manager.listUserSessions({ user_id: 'ada', ...wish })).map(({ session_id }) => ids.indexOf(session_id));
  expect(await places()).toEqual([0, 1, 2, 3, 4]);
  expect(await places({ tags: ['a'] })).toEqual([0, 3, 4]);
  expect(await places({ tags: ['a', 'b'] })).toEqual([3]);
  expect(await places({ limit: 2 })).toEqual([0, 1]);
  expect(await places({ limit: 2, offset: 4 })).toEqual([4]);
  await manager.deleteSession({ session_id: ids[0] ?? '', user_id: 'ada' });
  expect(await places({ status: 'Active', tags: ['a'] })).toEqual([3, 4]);
  expect(await places({ status: 'Terminated' })).toEqual([0]);
  expect(await manager.listUserSessions({ user_id: 'nobody' })).toEqual([]);
});

test('an option or argument that is misspelt is refused, not left out', async () => {
  expect(() => createSessionManager({ storag: 'memory:' } as object)).toThrow(
    expect.objectContaining({ code: 'VALIDATION_FAILED', message: expect.stringContaining('storag: did you mean storage?') }),
  );
  const manager = createSessionManager();
  await manager.initialize();
  onTestFinished(() => manager.shutdown());
  const misspelt = manager.createSession({ user_id: 'ada', ttl_hour: 3 } as never);
  await expect(misspelt).rejects.toMatchObject({ code: 'VALIDATION_FAILED', message: expect.stringContaining('did you mean ttl_hours?') });
});
