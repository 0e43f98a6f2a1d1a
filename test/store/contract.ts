import { describe, expect, test, vi } from 'vitest';
import type { LogEvent } from '../../protocol/events.ts';
import { create } from '../../src/sessions/create.ts';
import { ClaimTaken, type SessionStore, VersionConflict } from '../../src/sessions/ports.ts';
import { roomClaim, type Session } from '../../src/sessions/record.ts';
import { spec, t0 } from '../sessions/build.ts';

/** A record as a commit would write it. Nothing is due for it unless `wish` says so. */
export const record = (session_id: string, wish: Partial<Session> = {}): Session => ({
  ...create(spec({ session_id }), t0).session,
  deadlines: {},
  ...wish,
});

const at = (session_id: string, expiry: number, version = 1) => record(session_id, { version, deadlines: { expiry } });

/** Events `from` to `to` of a log. */
const log = (session_id: string, from: number, to: number): LogEvent[] =>
  Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => ({
    type: 'SessionDegraded',
    seq: from + i,
    ts: new Date(t0).toISOString(),
    session_id,
    missing: [],
  }));

const seqs = (events: readonly LogEvent[] | undefined) => events?.map((event) => event.seq);

/** What every provider of the SessionStore does. `make` gives an empty store; undefined: it cannot run here, and the report says so. */
export function storeContract(name: string, make: (() => Promise<SessionStore>) | undefined): void {
  const open = make ?? (() => Promise.reject(new Error('no store')));

  describe.skipIf(make === undefined)(`${name} store`, () => {
    describe('a commit', () => {
      test('with 0 creates the record', async () => {
        const store = await open();
        const session = record('a');
        await store.saveSession(session, 0, []);
        expect(await store.loadSession('a')).toEqual(session);
      });

      test('with the stored version updates the record', async () => {
        const store = await open();
        await store.saveSession(record('a'), 0, []);
        await store.saveSession(record('a', { version: 2, health: 'degraded' }), 1, []);
        expect(await store.loadSession('a')).toMatchObject({ version: 2, health: 'degraded' });
      });

      test('with 0 conflicts with a record that is there', async () => {
        const store = await open();
        await store.saveSession(record('a'), 0, []);
        await expect(store.saveSession(record('a', { health: 'degraded' }), 0, [])).rejects.toThrow(VersionConflict);
        expect(await store.loadSession('a')).toMatchObject({ health: 'ok' });
      });

      test('with an older version conflicts', async () => {
        const store = await open();
        await store.saveSession(record('a'), 0, []);
        await store.saveSession(record('a', { version: 2 }), 1, []);
        await expect(store.saveSession(record('a', { version: 2 }), 1, [])).rejects.toThrow(VersionConflict);
      });

      test('with a version conflicts where nothing is stored', async () => {
        const store = await open();
        await expect(store.saveSession(record('a', { version: 2 }), 1, [])).rejects.toThrow(VersionConflict);
        expect(await store.loadSession('a')).toBeUndefined();
      });

      test('that conflicts leaves log, claims and due time as they were', async () => {
        const store = await open();
        await store.saveSession(at('a', t0 + 1_000), 0, log('a', 1, 1));
        const late = { ...at('a', t0 + 9_000, 2), claims: [roomClaim('lobby')] };
        await expect(store.saveSession(late, 7, log('a', 2, 2))).rejects.toThrow(VersionConflict);
        expect(seqs(await store.eventsAfter('a', 0, 10))).toEqual([1]);
        expect(await store.due(t0 + 1_000, 10)).toEqual(['a']);
        await store.saveSession(record('b', { claims: [roomClaim('lobby')] }), 0, []);
      });

      test('of one among a hundred at once succeeds, and the versions are the successes', async () => {
        const store = await open();
        await store.saveSession(record('a'), 0, log('a', 1, 1));
        let successes = 0;
        let conflicts = 0;
        const write = async () => {
          for (;;) {
            const session = await store.loadSession('a');
            if (!session) throw new Error('the record is gone');
            const version = session.version + 1;
            try {
              await store.saveSession({ ...session, version }, session.version, log('a', version, version));
              successes += 1;
              return;
            } catch (error) {
              if (!(error instanceof VersionConflict)) throw error;
              conflicts += 1;
            }
          }
        };
        await Promise.all(Array.from({ length: 100 }, write));
        expect(successes).toBe(100);
        expect(conflicts).toBeGreaterThan(0);
        expect(await store.loadSession('a')).toMatchObject({ version: 101 });
        expect(seqs(await store.eventsAfter('a', 0, 200))).toEqual(Array.from({ length: 101 }, (_, i) => i + 1));
      });
    });

    describe('a claim', () => {
      const lobby = [roomClaim('lobby')];

      test('has one holder', async () => {
        const store = await open();
        await store.saveSession(record('a', { claims: lobby }), 0, []);
        const refused = store.saveSession(record('b', { claims: lobby }), 0, log('b', 1, 1));
        await expect(refused).rejects.toThrow(ClaimTaken);
        await expect(refused).rejects.toMatchObject({ claim: 'room:lobby' });
        expect(await store.loadSession('b')).toBeUndefined();
      });

      test('stays with its holder through further commits', async () => {
        const store = await open();
        await store.saveSession(record('a', { claims: lobby }), 0, []);
        await store.saveSession(record('a', { version: 2, claims: lobby }), 1, []);
        await expect(store.saveSession(record('b', { claims: lobby }), 0, [])).rejects.toThrow(ClaimTaken);
      });

      test('is free when its holder drops it', async () => {
        const store = await open();
        await store.saveSession(record('a', { claims: lobby }), 0, []);
        await store.saveSession(record('a', { version: 2, claims: [] }), 1, []);
        await store.saveSession(record('b', { claims: lobby }), 0, []);
        expect(await store.loadSession('b')).toBeDefined();
      });

      test('that is exchanged for another frees the first and holds the second', async () => {
        const store = await open();
        await store.saveSession(record('a', { claims: lobby }), 0, []);
        await store.saveSession(record('a', { version: 2, claims: [roomClaim('hall')] }), 1, []);
        await store.saveSession(record('b', { claims: lobby }), 0, []);
        await expect(store.saveSession(record('c', { claims: [roomClaim('hall')] }), 0, [])).rejects.toThrow(ClaimTaken);
      });

      test('that is refused leaves the commit s other claims untaken', async () => {
        const store = await open();
        await store.saveSession(record('a', { claims: lobby }), 0, []);
        await expect(store.saveSession(record('b', { claims: [roomClaim('hall'), ...lobby] }), 0, [])).rejects.toThrow(ClaimTaken);
        await store.saveSession(record('c', { claims: [roomClaim('hall')] }), 0, []);
        expect(await store.loadSession('c')).toBeDefined();
      });

      test('that is refused leaves those its record had', async () => {
        const store = await open();
        await store.saveSession(record('a', { claims: lobby }), 0, []);
        await store.saveSession(record('b', { claims: [roomClaim('hall')] }), 0, []);
        await expect(store.saveSession(record('b', { version: 2, claims: lobby }), 1, [])).rejects.toThrow(ClaimTaken);
        await expect(store.saveSession(record('c', { claims: [roomClaim('hall')] }), 0, [])).rejects.toThrow(ClaimTaken);
      });
    });

    describe('the log', () => {
      test('is read after a seq, in order', async () => {
        const store = await open();
        await store.saveSession(record('a'), 0, log('a', 1, 3));
        await store.saveSession(record('a', { version: 2 }), 1, log('a', 4, 5));
        expect(await store.eventsAfter('a', 2, 10)).toEqual(log('a', 3, 5));
      });

      test('is read in pages', async () => {
        const store = await open();
        await store.saveSession(record('a'), 0, log('a', 1, 5));
        expect(seqs(await store.eventsAfter('a', 0, 2))).toEqual([1, 2]);
        expect(seqs(await store.eventsAfter('a', 2, 2))).toEqual([3, 4]);
        expect(seqs(await store.eventsAfter('a', 4, 2))).toEqual([5]);
      });

      test('has nothing after its last event', async () => {
        const store = await open();
        await store.saveSession(record('a'), 0, log('a', 1, 3));
        expect(await store.eventsAfter('a', 3, 10)).toEqual([]);
        expect(await store.eventsAfter('a', 9, 10)).toEqual([]);
      });

      test('of a session that is not there is empty', async () => {
        expect(await (await open()).eventsAfter('a', 0, 10)).toEqual([]);
      });

      test('keeps the last 512 events', async () => {
        const store = await open();
        await store.saveSession(record('a'), 0, log('a', 1, 500));
        await store.saveSession(record('a', { version: 2 }), 1, log('a', 501, 600));
        expect(seqs(await store.eventsAfter('a', 88, 1_000))).toEqual(Array.from({ length: 512 }, (_, i) => 89 + i));
      });

      test('says so when events asked for are no longer kept', async () => {
        const store = await open();
        await store.saveSession(record('a'), 0, log('a', 1, 500));
        await store.saveSession(record('a', { version: 2 }), 1, log('a', 501, 600));
        expect(await store.eventsAfter('a', 87, 1_000)).toBeUndefined();
        expect(await store.eventsAfter('a', 0, 1)).toBeUndefined();
      });
    });

    describe('a subscriber', () => {
      test('is woken after a commit, which it can read then', async () => {
        const store = await open();
        await store.saveSession(record('a'), 0, log('a', 1, 1));
        const seen: Promise<readonly LogEvent[] | undefined>[] = [];
        store.subscribe('a', () => seen.push(store.eventsAfter('a', 1, 10)));
        await store.saveSession(record('a', { version: 2 }), 1, log('a', 2, 2));
        await vi.waitFor(() => expect(seen.length).toBeGreaterThan(0));
        expect(seqs(await seen[0])).toEqual([2]);
      });

      test('is not woken after it unsubscribed, while others still are', async () => {
        const store = await open();
        await store.saveSession(record('a'), 0, []);
        const gone = vi.fn();
        const stays = vi.fn();
        const unsubscribe = store.subscribe('a', gone);
        store.subscribe('a', stays);
        unsubscribe();
        await store.saveSession(record('a', { version: 2 }), 1, []);
        await vi.waitFor(() => expect(stays).toHaveBeenCalled());
        expect(gone).not.toHaveBeenCalled();
      });

      test('may unsubscribe twice without taking another with it', async () => {
        const store = await open();
        await store.saveSession(record('a'), 0, []);
        const stays = vi.fn();
        const unsubscribe = store.subscribe('a', () => {});
        unsubscribe();
        store.subscribe('a', stays);
        unsubscribe();
        await store.saveSession(record('a', { version: 2 }), 1, []);
        await vi.waitFor(() => expect(stays).toHaveBeenCalled());
      });
    });

    describe('due', () => {
      test('names the earliest first', async () => {
        const store = await open();
        await store.saveSession(at('late', t0 + 3_000), 0, []);
        await store.saveSession(at('early', t0 + 1_000), 0, []);
        await store.saveSession(at('middle', t0 + 2_000), 0, []);
        expect(await store.due(t0 + 5_000, 10)).toEqual(['early', 'middle', 'late']);
      });

      test('leaves out what comes later, and what never comes', async () => {
        const store = await open();
        await store.saveSession(at('now', t0 + 1_000), 0, []);
        await store.saveSession(at('later', t0 + 2_000), 0, []);
        await store.saveSession(record('never'), 0, []);
        expect(await store.due(t0 + 1_000, 10)).toEqual(['now']);
      });

      test('names at most as many as asked for', async () => {
        const store = await open();
        for (const [i, id] of ['a', 'b', 'c'].entries()) await store.saveSession(at(id, t0 + 1_000 * i), 0, []);
        expect(await store.due(t0 + 5_000, 2)).toEqual(['a', 'b']);
      });

      test('names them again until their record says otherwise', async () => {
        const store = await open();
        await store.saveSession(at('a', t0), 0, []);
        expect(await store.due(t0, 10)).toEqual(['a']);
        expect(await store.due(t0, 10)).toEqual(['a']);
        await store.saveSession(record('a', { version: 2 }), 1, []);
        expect(await store.due(t0 + 1_000, 10)).toEqual([]);
      });

      test('follows a record to a later and to an earlier time', async () => {
        const store = await open();
        await store.saveSession(at('a', t0 + 1_000), 0, []);
        await store.saveSession(at('a', t0 + 5_000, 2), 1, []);
        expect(await store.due(t0 + 4_000, 10)).toEqual([]);
        await store.saveSession(at('a', t0 + 2_000, 3), 2, []);
        expect(await store.due(t0 + 2_000, 10)).toEqual(['a']);
      });
    });

    test('a deleted session leaves no record, log, claim or due time', async () => {
      const store = await open();
      await store.saveSession({ ...at('a', t0), claims: [roomClaim('lobby')] }, 0, log('a', 1, 3));
      await store.deleteSession('a');
      expect(await store.loadSession('a')).toBeUndefined();
      expect(await store.eventsAfter('a', 0, 10)).toEqual([]);
      expect(await store.due(t0 + 1_000, 10)).toEqual([]);
      await store.saveSession(record('b', { claims: [roomClaim('lobby')] }), 0, []);
      await store.saveSession(record('a'), 0, log('a', 1, 1));
      expect(seqs(await store.eventsAfter('a', 0, 10))).toEqual([1]);
    });

    test('deleting a session that is not there succeeds', async () => {
      await expect((await open()).deleteSession('a')).resolves.toBeUndefined();
    });
  });
}
