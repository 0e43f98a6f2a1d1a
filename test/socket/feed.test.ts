import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import type { LogEvent } from '../../protocol/events.ts';
import type { Commit, SessionStore, Wake } from '../../src/sessions/ports.ts';
import type { Session } from '../../src/sessions/record.ts';
import { Feeds, type Reader } from '../../src/socket/feed.ts';
import { Turn } from '../../src/turn.ts';

const id = '6f6f4a52-0d7e-4b1c-9c0e-2f3a5b7c9d11';
const readers = 64;
/** What a write to one reader takes here. */
const writeMs = 0.5;

/** A session followed by many, each of whom takes a while. `isOwn`: this node commits its events, else another one does. */
function followed(isOwn: boolean) {
  const log: LogEvent[] = [];
  let wake = (_: string, __?: string) => {};
  let reads = 0;
  let committed = (_: Commit) => {};
  const sessions: ConstructorParameters<typeof Feeds>[2] = {
    isOwn: (commit_id) => commit_id === 'own',
    onCommit(watcher) {
      committed = watcher;
    },
    onUnsure() {},
  };
  const store = {
    shared: true,
    subscribe(_: string, given: Wake) {
      wake = given;
    },
    unsubscribe() {},
    eventsAfter(_: string, seq: number, limit: number) {
      reads += 1;
      return log.filter((event) => event.seq > seq).slice(0, limit);
    },
  } as unknown as SessionStore;
  const feeds = new Feeds(store, new Turn(), sessions);
  const taken: number[] = [];
  const seqs: number[][] = Array.from({ length: readers }, () => []);
  for (let i = 0; i < readers; i++) {
    const reader: Reader = {
      wake() {},
      take(news) {
        const seq = seqs[i]?.at(-1) ?? 0;
        const isNew = news.filter(({ event }) => event.seq > seq);
        if (isNew.some(({ frame }) => frame.length > 1_000)) for (const until = performance.now() + writeMs; performance.now() < until; );
        for (const { event } of isNew) {
          taken.push(i);
          seqs[i]?.push(event.seq);
        }
      },
    };
    feeds.join(id, reader);
  }
  feeds.caughtUp(id, 0);
  return {
    taken,
    seqs,
    reads: () => reads,
    say(content: string) {
      const event = { type: 'MessageAdded', session_id: id, seq: log.length + 1, at: 0, content } as unknown as LogEvent;
      log.push(event);
      wake(id, isOwn ? 'own' : 'of another');
      const session = { session_id: id, seq: event.seq } as Session;
      if (isOwn) committed({ before: session, session, events: [event], effects: [], conflicts: 0, ms: 0, remote: false });
    },
  };
}

describe.each([
  ['this node', true],
  ['another node', false],
])('of an event that %s commits', (_, isOwn) => {
  test('a large one goes to many in several turns, each reader once and in order, and others come in between', async () => {
    const { taken, say, reads } = followed(isOwn);
    say('x'.repeat(16_384));
    await nextTurn();
    expect(taken.length).toBeLessThan(readers);
    while (taken.length < readers) await nextTurn();
    expect(taken).toEqual(Array.from({ length: readers }, (_, i) => i));
    expect(reads()).toBe(isOwn ? 0 : 1);
  });

  test('a small one goes to all at once', async () => {
    const { taken, say, reads } = followed(isOwn);
    say('x');
    await nextTurn();
    expect(taken).toHaveLength(readers);
    expect(reads()).toBe(isOwn ? 0 : 1);
  });

  test('small ones that follow a large one wait for it, and come once and in order', async () => {
    const { taken, seqs, say } = followed(isOwn);
    say('x'.repeat(16_384));
    for (let i = 0; i < 200; i++) say('y');
    while (taken.length < readers * 201) await nextTurn();
    await nextTurn();
    for (const each of seqs) expect(each).toEqual(Array.from({ length: 201 }, (_, i) => i + 1));
  });
});
