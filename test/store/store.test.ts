import { describe, expect, test } from 'vitest';
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
