import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { Parsed } from '../../protocol/parse.ts';
import { Inbox } from '../../src/socket/inbox.ts';
import type { MeteredParts } from '../../src/socket/metered.ts';

/** An inbox whose frames are done when the test says so; a Ping is done at once. */
class HeldInbox extends Inbox {
  started: string[] = [];
  readonly #ends: (() => void)[] = [];

  frame(frame: object): void {
    this.receive(Buffer.from(JSON.stringify(frame)), false);
  }

  /** Ends the oldest `count` that run, and whatever comes of it without waiting. */
  async end(count = 1): Promise<void> {
    for (const end of this.#ends.splice(0, count)) end();
    await turn();
  }

  protected override handle(parsed: Parsed): Promise<void> | undefined {
    if (!parsed.ok) {
      this.started.push(parsed.code);
      return undefined;
    }
    const { type, id = '' } = parsed.request;
    this.started.push(id);
    return type === 'Ping' ? undefined : new Promise((done) => this.#ends.push(done));
  }

  override sendError(): void {}
  protected override onSign(): void {}
  protected override onWritable(): void {}
}

function heldInbox() {
  let isPaused = false;
  const ws = {
    bufferedAmount: 0,
    readyState: 1,
    OPEN: 1,
    pause: () => {
      isPaused = true;
    },
    resume: () => {
      isPaused = false;
    },
    close() {},
  };
  const limits = { messageBurst: 1e6, messagesPerSecond: 1e6, maxBufferedBytes: 1e6, answerBytesPerSecond: 1e9 };
  const parts = { limits, clock: { now: () => 0 }, turn: { isLongFor: () => false } } as unknown as MeteredParts;
  const inbox = new HeldInbox(ws as never, { writableLength: 0 } as never, parts);
  return { inbox, isPaused: () => isPaused };
}

const ready = (id: string) => ({ type: 'ServiceReady', id, session_id: 's', service_id: 'asr' });
const get = (id: string) => ({ type: 'GetSessionRequest', id });
const ping = (id: string) => ({ type: 'Ping', id });

test('a frame waits for the one before it', async () => {
  const { inbox } = heldInbox();
  inbox.frame(get('1'));
  inbox.frame(get('2'));
  inbox.frame(ping('3'));
  inbox.frame(ping('4'));
  expect(inbox.started).toEqual(['1']);
  await inbox.end();
  expect(inbox.started).toEqual(['1', '2']);
  await inbox.end();
  expect(inbox.started).toEqual(['1', '2', '3', '4']);
});

test('concurrent requests hold up none of their kind, and every other until all of them are done', async () => {
  const { inbox } = heldInbox();
  for (const id of ['1', '2', '3']) inbox.frame(ready(id));
  expect(inbox.started).toEqual(['1', '2', '3']);
  inbox.frame(ping('4'));
  inbox.frame(ready('5'));
  await inbox.end(2);
  expect(inbox.started).toEqual(['1', '2', '3']);
  await inbox.end();
  expect(inbox.started).toEqual(['1', '2', '3', '4', '5']);
  inbox.frame(ready('6'));
  expect(inbox.started.at(-1)).toBe('6');
});

test('what is no request waits for those that run as well', async () => {
  const { inbox } = heldInbox();
  inbox.frame(ready('1'));
  inbox.frame({ type: 'Nonsense' });
  expect(inbox.started).toEqual(['1']);
  await inbox.end();
  expect(inbox.started).toEqual(['1', 'UNKNOWN_TYPE']);
});

test('256 run concurrently, and the next waits for all of them', async () => {
  const { inbox } = heldInbox();
  for (let i = 0; i < 258; i++) inbox.frame(ready(String(i)));
  await turn();
  expect(inbox.started).toHaveLength(256);
  await inbox.end(255);
  expect(inbox.started).toHaveLength(256);
  await inbox.end();
  expect(inbox.started).toHaveLength(258);
});

test('with 32 frames that wait nothing more is read, until there are fewer', async () => {
  const { inbox, isPaused } = heldInbox();
  inbox.frame(get('first'));
  for (let i = 0; i < 31; i++) inbox.frame(get(String(i)));
  expect(isPaused()).toBe(false);
  inbox.frame(get('last'));
  expect(isPaused()).toBe(true);
  await inbox.end();
  expect(isPaused()).toBe(false);
});

test('when the socket closes, what waits is dropped, and its answer to the close is read', async () => {
  const { inbox, isPaused } = heldInbox();
  inbox.frame(get('first'));
  for (let i = 0; i < 32; i++) inbox.frame(get(String(i)));
  inbox.close({ code: 4400, reason: 'bad message' });
  expect(isPaused()).toBe(false);
  await inbox.end();
  expect(inbox.started).toEqual(['first']);
});

test('what waits for those that run is not started on a socket that closes meanwhile', async () => {
  const { inbox } = heldInbox();
  inbox.frame(ready('1'));
  inbox.frame(get('2'));
  inbox.close({ code: 4400, reason: 'bad message' });
  await inbox.end();
  expect(inbox.started).toEqual(['1']);
});
