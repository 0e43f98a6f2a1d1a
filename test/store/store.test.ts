import { describe, expect, test } from 'vitest';
import type { SessionFilter } from '../../src/sessions/ports.ts';
import type { Session } from '../../src/sessions/record.ts';
import { memoryStore } from '../../src/store/memory.ts';
import { creating, deleting, terminated } from '../sessions/build.ts';
import { storeContract } from './contract.ts';

storeContract('memory', async () => memoryStore());

describe('memory store', () => {
  const ended = terminated().session;
  const tombstone = (n: number, like = ended): Session => ({ ...like, session_id: `s${n}`, version: 1 });
  const fill = async (store: ReturnType<typeof memoryStore>, from: number, to: number, like?: Session) => {
    for (let n = from; n <= to; n++) await store.saveSession(tombstone(n, like), 0, []);
  };

  test('keeps 10,000 ended sessions, and drops the oldest for the next', async () => {
    const store = memoryStore();
    await fill(store, 1, 10_000);
    expect(await store.loadSession('s1')).toBeDefined();
    await fill(store, 10_001, 10_001);
    expect(await store.loadSession('s1')).toBeUndefined();
    expect(await store.loadSession('s2')).toBeDefined();
    expect(await store.loadSession('s10001')).toBeDefined();
  });

  describe('with many sessions', () => {
    /** The oldest first; every 7th is of ada, every 500th has the tag, the first 20 were deleted. */
    const many = async () => {
      const store = memoryStore();
      const live = creating({ room: false, required: [] }).session;
      const all = Array.from({ length: 5_000 }, (_, n) => ({
        ...live,
        session_id: `s${n}`,
        version: 1,
        created_at: n,
        owner_id: n % 7 === 0 ? 'ada' : `user-${n}`,
        metadata: { tags: n % 500 === 499 ? ['rare'] : [] } as unknown as Session['metadata'],
        claims: [],
      }));
      for (const session of all) await store.saveSession(session, 0, []);
      for (let n = 0; n < 20; n++) await store.deleteSession(`s${n}`);
      return { store, newest: all.slice(20).reverse() };
    };

    test('a filter that little fits gives what fits, and others come in between', async () => {
      const { store, newest } = await many();
      const fits = newest.filter(({ metadata }) => (metadata.tags as string[]).length > 0).map(({ session_id }) => session_id);
      let turns = 0;
      let isOver = false;
      const count = () => {
        turns += 1;
        if (!isOver) setImmediate(count);
      };
      setImmediate(count);
      const listed = await store.listSessions({ tags: ['rare'], limit: 100, offset: 0 });
      isOver = true;
      expect(listed.map(({ session_id }) => session_id)).toEqual(fits);
      expect(turns).toBeGreaterThanOrEqual(4);
    });

    const pages: [Omit<SessionFilter, 'tags' | 'owner_id' | 'status'>, Pick<SessionFilter, 'tags' | 'owner_id' | 'status'>][] = [
      [{ limit: 3, offset: 2 }, { tags: ['rare'] }],
      [{ limit: 3, offset: 2, before: { created_at: 3_000, session_id: 's3000' } }, { tags: ['rare'] }],
      [{ limit: 700, offset: 1_500 }, {}],
      [{ limit: 50, offset: 690 }, { owner_id: 'ada' }],
      [{ limit: 10, offset: 0 }, { status: 'Ready' }],
    ];
    test.for(pages)('a page %j of %j is what a look at all gives', async ([page, wanted]) => {
      const { store, newest } = await many();
      const { before } = page;
      const { owner_id: owner, status: state, tags } = wanted;
      const fits = newest.filter(
        ({ created_at, owner_id, status, metadata }) =>
          (before === undefined || created_at < before.created_at) &&
          (owner === undefined || owner_id === owner) &&
          (state === undefined || status === state) &&
          (tags === undefined || (metadata.tags as string[]).length > 0),
      );
      const expected = fits.slice(page.offset, page.offset + page.limit).map(({ session_id }) => session_id);
      expect((await store.listSessions({ ...page, ...wanted })).map(({ session_id }) => session_id)).toEqual(expected);
    });
  });

  test('does not count ended sessions that are deleted', async () => {
    const store = memoryStore();
    await fill(store, 1, 10_000);
    await store.deleteSession('s5');
    await fill(store, 10_001, 10_001);
    expect(await store.loadSession('s1')).toBeDefined();
  });

  test.for([
    ['live', creating().session],
    ['live without a room', creating({ room: false, required: [] }).session],
    ['ended with a room still to delete', deleting().waits(10_000).session],
    ['ended and resting their name', terminated({ room_name: 'lobby' }).session],
  ] as const)('never drops sessions that are %s', async ([, session]) => {
    const store = memoryStore();
    await store.saveSession({ ...session, session_id: 'kept', version: 1 }, 0, []);
    await fill(store, 1, 10_001);
    expect(await store.loadSession('kept')).toBeDefined();
    expect(await store.loadSession('s1')).toBeUndefined();
  });

  describe('a page of the list', () => {
    const many = 2_000;
    /** Sessions that count how often their place or owner is read. */
    const counted = async () => {
      const store = memoryStore();
      const read = { count: 0 };
      const live = creating().session;
      for (let n = 0; n < many; n++) {
        const session: Session = { ...live, session_id: `s${String(n).padStart(5, '0')}`, version: 1, owner_id: n % 2 ? 'ann' : `o${n}` };
        for (const [key, value] of Object.entries({ created_at: 1_000 + (n % 7), owner_id: session.owner_id })) {
          const get = () => {
            read.count += 1;
            return value;
          };
          Object.defineProperty(session, key, { enumerable: true, get });
        }
        await store.saveSession(session, 0, []);
      }
      return { store, read };
    };

    test.for([
      ['of everything', {}],
      ['of one owner', { owner_id: 'ann' }],
      ['of one owner of one session', { owner_id: 'o4' }],
      ['far down', { offset: 900 }],
      ['after a cursor', { before: { created_at: 1_003, session_id: 's01000' } }],
    ] as const)('%s reads what it shows, and not every session', async ([, filter]) => {
      const { store, read } = await counted();
      read.count = 0;
      expect(await store.listSessions({ limit: 1, offset: 0, ...filter })).toHaveLength(1);
      expect(read.count).toBeLessThan(50);
    });
  });
});
