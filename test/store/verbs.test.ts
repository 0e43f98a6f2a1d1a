import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { makeLog } from '../../src/log/log.ts';
import type { StoreOptions, StoreProvider } from '../../src/sessions/ports.ts';
import type { Session } from '../../src/sessions/record.ts';
import { memoryStore } from '../../src/store/memory.ts';
import { openStore, registerStoreProvider, storageUrl, WishError } from '../../src/store/open.ts';
import { withVerbs } from '../../src/store/verbs.ts';
import { active, creating, deleting, Story, terminated, terminating } from '../sessions/build.ts';
import { ManualClock } from '../support/clock.ts';

const range = (n: number) => Array.from({ length: n }, (_, i) => i);
const hourMs = 3_600_000;

function stage(provider: StoreProvider = memoryStore()) {
  const clock = new ManualClock();
  return { store: withVerbs(provider, clock), provider, clock };
}
const saved = (story: Story, session_id = 's1'): Session => ({ ...story.session, session_id, version: 1, commit_id: `made-${session_id}` });

describe('cleanExpiredSessions', () => {
  /** Sessions in every state; `dead`: those whose hour is over and that have nothing left to do. */
  async function filled() {
    const memory = memoryStore();
    // a provider may name sessions for nothing
    const due = async (_: number, limit: number) => (await memory.listSessions({ limit, offset: 0 })).map(({ session_id }) => session_id);
    const { store, provider, clock } = stage({ ...memory, due });
    const later = (story: Story, ms: number): Session => {
      const shift = clock.now() - story.now + ms;
      const { deadlines } = story.session;
      return { ...saved(story), deadlines: Object.fromEntries(Object.entries(deadlines).map(([name, at]) => [name, at && at + shift])) };
    };
    const sessions: Record<string, Session> = {
      creating: later(creating(), -hourMs),
      active: later(active(), -hourMs),
      terminating: later(terminating(), -2 * hourMs),
      'fresh tombstone': later(terminated(), -hourMs + 1_000),
      'tombstone with a room to delete': {
        ...later(terminated(), -2 * hourMs),
        room: deleting().session.room as NonNullable<Session['room']>,
      },
      'tombstone that rests its name': later(terminated({ room_name: 'lobby' }), -2 * hourMs),
      'dead with a room': later(terminated(), -hourMs),
      'dead without one': later(
        new Story({ room: false, required: [] }).happens({ type: 'End', reason: 'ttl', by: 'gateway' }),
        -2 * hourMs,
      ),
    };
    for (const [session_id, session] of Object.entries(sessions))
      await store.saveSession({ ...session, session_id, commit_id: session_id, claims: [] }, 0, []);
    const left = async () => (await provider.listSessions({ limit: 100, offset: 0 })).map(({ session_id }) => session_id).sort();
    return { store, provider, clock, left, names: Object.keys(sessions).sort() };
  }

  test('drops tombstones whose hour is over and whose room is deleted, and nothing else', async () => {
    const { store, left, names, clock } = await filled();
    expect(await store.cleanExpiredSessions()).toBe(2);
    expect(await left()).toEqual(names.filter((name) => !name.startsWith('dead')));
    expect(await store.cleanExpiredSessions()).toBe(0);
    await clock.advance(2_000);
    expect(await store.cleanExpiredSessions()).toBe(1);
    expect(await left()).not.toContain('fresh tombstone');
  });

  test('drops no more than asked for', async () => {
    const { store, clock } = stage();
    const dead = { ...saved(terminated()), deadlines: { forget: clock.now() } };
    for (const i of range(5)) await store.saveSession({ ...dead, session_id: `s${i}`, commit_id: `${i}` }, 0, []);
    expect(await store.cleanExpiredSessions(2)).toBe(2);
    expect(await store.cleanExpiredSessions()).toBe(3);
  });

  test('is safe on two nodes at once', async () => {
    const { store, provider, clock, left, names } = await filled();
    const other = withVerbs(provider, clock);
    await Promise.all([store.cleanExpiredSessions(), other.cleanExpiredSessions(), store.cleanExpiredSessions()]);
    expect(await left()).toEqual(names.filter((name) => !name.startsWith('dead')));
  });
});

describe('the address of a storage', () => {
  test.each([
    [{}, 'memory:'],
    [{ storage_type: 'memory' }, 'memory:'],
    [{ url: 'redis://localhost:6379/0' }, 'redis://localhost:6379/0'],
    [{ storage_type: 'redis', connection_string: 'redis://:pass@db:6379/2' }, 'redis://:pass@db:6379/2'],
    [{ storage_type: 'redis', connection_string: 'rediss://db:6380' }, 'rediss://db:6380'],
    [{ storage_type: 'redis', url: 'redis-sentinel://a:26379,b:26379/mymaster' }, 'redis-sentinel://a:26379,b:26379/mymaster'],
    [{ storage_type: 'postgres', connection_string: 'postgres://u:p@db/app' }, 'postgres://u:p@db/app'],
    [{ storage_type: 'postgres', connection_string: 'postgresql://u:p@db/app?sslmode=require' }, 'postgresql://u:p@db/app?sslmode=require'],
    [{ storage_type: 'postgresql', connection_string: 'postgresql://db/app' }, 'postgresql://db/app'],
    [{ storage_type: 'mine', connection_string: 'anything at all' }, 'anything at all'],
    [{ connection_string: 'redis://localhost' }, 'redis://localhost'],
  ])('%j is %s', (wish, url) => {
    expect(storageUrl(wish)).toBe(url);
  });

  test.each([
    [{ storage_type: 'redis', connection_string: 'postgres://db/app' }, 'redis beside the address of a postgres storage'],
    [{ storage_type: 'memory', url: 'redis://localhost' }, 'memory beside the address of a redis storage'],
    [{ storage_type: 'postgres', url: 'rediss://localhost' }, 'postgres beside the address of a redis storage'],
  ])('%j is refused', (wish, message) => {
    expect(() => storageUrl(wish)).toThrow(new WishError('storage_type', message));
  });
});

describe('a storage is opened', () => {
  const clock = new ManualClock();
  const options = { keyPrefix: 'session:', timeoutMs: 3_000, clock, log: makeLog('silent') };
  const folder = mkdtempSync(join(import.meta.dirname, 'providers-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const module = (name: string, code: string) => {
    writeFileSync(join(folder, name), code);
    return `./${relative(process.cwd(), join(folder, name))}`;
  };
  /** Where a factory under this name was sent. */
  const sentTo = (name: string) => {
    const sent: StoreOptions[] = [];
    registerStoreProvider(name, async (given) => {
      sent.push(given);
      return memoryStore();
    });
    return sent;
  };

  test.each([
    ['redis', { url: 'redis://localhost:6379/0' }],
    ['redis', { url: 'rediss://localhost' }],
    ['redis', { url: 'redis-sentinel://a,b/mymaster' }],
    ['redis', { url: 'redis-cluster://a,b' }],
    ['redis', { storage_type: 'redis' }],
    ['postgres', { url: 'postgres://u@db/app' }],
    ['postgres', { url: 'postgresql://u@db/app' }],
    ['postgres', { storage_type: 'postgres', connection_string: 'postgresql://u@db/app' }],
    ['postgres', { storage_type: 'postgresql', connection_string: 'postgres://u@db/app' }],
    ['mine', { storage_type: 'mine', connection_string: 'anything at all' }],
    ['mine', { url: 'mine://x' }],
  ])('as %s by %j', async (name, wish) => {
    const sent = sentTo(name);
    await openStore(wish, options);
    expect(sent).toEqual([{ ...options, url: storageUrl(wish) }]);
  });

  test('in memory where nothing is asked for', async () => {
    const store = await openStore({}, options);
    await store.saveSession(saved(active()), 0, []);
    expect(await store.loadSession('s1')).toMatchObject({ session_id: 's1' });
  });

  test.each([
    [{ url: 'mongodb://localhost' }, 'there is no storage named mongodb; known are memory, redis, postgres'],
    [{ storage_type: 'toString' }, 'there is no storage named toString'],
    [{ url: 'constructor://x' }, 'there is no storage named constructor'],
    [{ url: 'localhost:6379' }, 'there is no storage named localhost'],
    [{ url: '127.0.0.1:6379' }, 'has no scheme: write redis://127.0.0.1:6379'],
  ])('not by %j', async (wish, message) => {
    const refused = openStore(wish, options);
    await expect(refused).rejects.toThrow(RangeError);
    await expect(refused).rejects.toThrow(message);
  });

  test('by a module that exports register', async () => {
    const providers = [module('exports.mjs', "export const register = (add) => add('exported', async ({ url }) => ({ named: url }));")];
    expect(await openStore({ providers, url: 'exported://x' }, options)).toEqual({ named: 'exported://x' });
    // again, as a second manager does
    expect(await openStore({ providers, storage_type: 'exported' }, options)).toEqual({ named: 'exported:' });
  });

  test('by a module that registers by itself', async () => {
    const open = join(import.meta.dirname, '../../src/store/open.ts');
    const code = `import { registerStoreProvider } from ${JSON.stringify(open)};\nregisterStoreProvider('itself', async () => ({ named: 'itself' }) as never);`;
    expect(await openStore({ providers: [module('itself.ts', code)], url: 'itself:' }, options)).toEqual({ named: 'itself' });
  });

  test.each([
    ['is not there', './not-there.mjs'],
    ['is a package that is not installed', 'no-such-package-here'],
    ['throws', ''],
  ])('not by a module that %s', async (_, name) => {
    const provider = name || module('throws.mjs', "throw new Error('out of order');");
    const refused = openStore({ providers: [provider], url: 'memory:' }, options);
    await expect(refused).rejects.toThrow(RangeError);
    await expect(refused).rejects.toThrow(`${provider} cannot be loaded: ${name ? '' : 'out of order'}`);
  });
});
