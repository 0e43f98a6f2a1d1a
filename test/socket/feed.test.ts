import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { LogEvent } from '../../protocol/events.ts';
import type { SessionStore } from '../../src/sessions/ports.ts';
import { Feeds, type Reader } from '../../src/socket/feed.ts';
import { Turn } from '../../src/turn.ts';

const id = '6f6f4a52-0d7e-4b1c-9c0e-2f3a5b7c9d11';
const readers = 64;
/** What a write to one reader takes here. */
const writeMs = 0.5;

/** A session followed by many, each of whom takes a while to be told. */
function followed() {
  const log: LogEvent[] = [];
  let wake = (_: string) => {};
  const store = {
    subscribe(_: string, given: (id: string) => void) {
      wake = given;
    },
    unsubscribe() {},
    eventsAfter: (_: string, seq: number, limit: number) => log.filter((event) => event.seq > seq).slice(0, limit),
  } as unknown as SessionStore;
  const feeds = new Feeds(store, new Turn());
  const taken: number[] = [];
  for (let i = 0; i < readers; i++) {
    const reader: Reader = {
      wake() {},
      take() {
        for (const until = performance.now() + writeMs; performance.now() < until; );
        taken.push(i);
      },
    };
    feeds.join(id, reader);
  }
  feeds.caughtUp(id, 0);
  return {
    taken,
    say(content: string) {
      const event = { type: 'MessageAdded', session_id: id, seq: log.length + 1, at: 0, content };
      log.push(event as unknown as LogEvent);
      wake(id);
    },
  };
}

test('a large event goes to many in several turns, each reader once and in order, and others come in between', async () => {
  const { taken, say } = followed();
  say('x'.repeat(16_384));
  await nextTurn();
  expect(taken.length).toBeLessThan(readers);
  while (taken.length < readers) await nextTurn();
  expect(taken).toEqual(Array.from({ length: readers }, (_, i) => i));
});

test('a small event goes to all at once', async () => {
  const { taken, say } = followed();
  say('x');
  await nextTurn();
  expect(taken).toHaveLength(readers);
});
