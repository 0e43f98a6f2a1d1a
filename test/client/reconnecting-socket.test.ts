import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { Close, verdict } from '../../protocol/close.ts';
import {
  type ConnectionState,
  type Frame,
  ReconnectingSocket,
  type ReconnectingSocketOptions,
} from '../../src/client/reconnecting-socket.ts';
import type { Refusal } from '../../src/client/refusal.ts';
import { FakeSocket, fakeNetwork } from './fake-socket.ts';

/** A link on fake sockets, and what it tells. Every wait is as long as its backoff may be. */
async function makeLink(options: ReconnectingSocketOptions = {}) {
  fakeNetwork();
  const random = vi.spyOn(Math, 'random').mockReturnValue(1);
  onTestFinished(() => random.mockRestore());
  const told = { states: [] as ConnectionState[], frames: [] as Frame[], closed: [] as { code: number; reason: string }[] };
  const link = new ReconnectingSocket(
    'ws://gateway/ws',
    {
      changed: (state) => told.states.push(state),
      frame: (frame) => told.frames.push(frame),
      closed: (code, reason) => told.closed.push({ code, reason }),
    },
    { WebSocket: FakeSocket, ...options },
  );
  await vi.advanceTimersByTimeAsync(0);
  return { link, told };
}

/** Everything that is due now has happened. */
const turn = () => vi.advanceTimersByTimeAsync(1);

/** Milliseconds until the next socket is made. */
async function untilNextSocket(): Promise<number> {
  const { length } = FakeSocket.all;
  for (let ms = 0; ms <= 30_000; ms += 50) {
    if (FakeSocket.all.length > length) return ms;
    await vi.advanceTimersByTimeAsync(50);
  }
  throw new Error('no further socket within 30 s');
}

describe('a link', () => {
  test('connects, and hands over frames until it is closed', async () => {
    const { link, told } = await makeLink();
    expect([link.state, FakeSocket.last.url]).toEqual(['connecting', 'ws://gateway/ws']);
    expect(link.send('{"type":"Ping"}')).toBe(false);
    FakeSocket.last.open();
    expect(link.send('{"type":"Ping"}')).toBe(true);
    FakeSocket.last.receive({ type: 'Pong' });
    const closed = link.close();
    FakeSocket.last.receive({ type: 'Late' });
    expect(FakeSocket.last.closedWith).toBe(1000);
    FakeSocket.last.end(1000);
    await closed;
    expect(told).toEqual({
      states: ['open'],
      frames: [{ type: 'Pong' }],
      closed: [{ code: 1000, reason: 'closed by this side' }],
    });
    expect(vi.getTimerCount()).toBe(0);
  });

  test.each([['{'], ['[]'], ['null'], ['1'], ['{"type":1}'], ['{}'], [Buffer.from('{"type":"Pong"}')]])('ignores %j', async (frame) => {
    const { told } = await makeLink();
    FakeSocket.last.open();
    FakeSocket.last.receive(frame);
    FakeSocket.last.receive({ type: 'Pong' });
    expect(told).toMatchObject({ frames: [{ type: 'Pong' }], closed: [] });
  });

  const codes = [
    ...Object.values(Close).map(({ code }) => code),
    1000,
    1001,
    1003,
    1005,
    1006,
    1007,
    1008,
    1009,
    1011,
    1012,
    1013,
    1014,
    4000,
    4999,
  ];
  test.each(codes.map((code) => [code, verdict(code)] as const))('closed with %i does: %s', async (code, what) => {
    const { link, told } = await makeLink();
    FakeSocket.last.open();
    FakeSocket.last.end(code, 'why');
    if (what === 'stop') {
      expect(link.state).toBe('closed');
      expect(told.closed).toEqual([{ code, reason: 'why' }]);
      expect(vi.getTimerCount()).toBe(0);
      return;
    }
    expect(link.state).toBe('waiting');
    expect(await untilNextSocket()).toBe(what === 'reconnect' ? 50 : 500);
    expect(told).toMatchObject({ states: ['open', 'waiting', 'connecting'], closed: [] });
  });

  test('waits longer with each failure in a row, at most 20 s', async () => {
    await makeLink();
    const waits: number[] = [];
    for (let i = 0; i < 8; i++) {
      FakeSocket.last.end(1006);
      waits.push(await untilNextSocket());
    }
    expect(waits).toEqual([500, 1_000, 2_000, 4_000, 8_000, 16_000, 20_000, 20_000]);
  });

  test('asked to reconnect does so at once, then waits where that repeats, until a socket lived for 5 s', async () => {
    await makeLink();
    const waits: number[] = [];
    for (const livedMs of [0, 4_999, 0, 5_000, 0]) {
      FakeSocket.last.open();
      await vi.advanceTimersByTimeAsync(livedMs);
      FakeSocket.last.end(4452);
      waits.push(await untilNextSocket());
    }
    expect(waits).toEqual([50, 500, 1_000, 50, 500]);
  });

  test('that got through opens the next at once, three times in a row, then waits until a socket lived for 5 s', async () => {
    const { link } = await makeLink();
    const waits: number[] = [];
    for (const livedMs of [5_000, 0, 4_999, 0, 0, 5_000, 0]) {
      FakeSocket.last.open();
      link.markEstablished();
      await vi.advanceTimersByTimeAsync(livedMs);
      FakeSocket.last.end(1006);
      waits.push(await untilNextSocket());
    }
    expect(waits).toEqual([50, 50, 50, 500, 1_000, 50, 50]);
  });

  test('that got through has not after the next break', async () => {
    const { link } = await makeLink();
    FakeSocket.last.open();
    link.markEstablished();
    const waits: number[] = [];
    for (let i = 0; i < 3; i++) {
      FakeSocket.last.open();
      FakeSocket.last.end(1006);
      waits.push(await untilNextSocket());
    }
    expect(waits).toEqual([50, 500, 1_000]);
  });

  test('waits as long as the gateway asked before it closed', async () => {
    await makeLink();
    FakeSocket.last.open();
    FakeSocket.last.receive({ type: 'Error', code: 'RATE_LIMITED', message: 'slower', retry_after_ms: 7_000 });
    FakeSocket.last.end(4529);
    expect(await untilNextSocket()).toBe(7_000);
    FakeSocket.last.open();
    FakeSocket.last.end(4529);
    expect(await untilNextSocket()).toBe(1_000);
  });

  test('does not take the wait of a refused request for its own', async () => {
    await makeLink();
    FakeSocket.last.open();
    FakeSocket.last.receive({ type: 'Error', id: '1', code: 'ROOM_NAME_IN_USE', message: 'taken', retry_after_ms: 7_000 });
    FakeSocket.last.end(4500);
    expect(await untilNextSocket()).toBe(500);
  });

  test('takes an error before the upgrade for its end: with some classes no close follows', async () => {
    const { link } = await makeLink();
    FakeSocket.last.onerror?.({ message: 'refused' } as never);
    expect([link.state, link.reason]).toEqual(['waiting', 'refused']);
    expect(await untilNextSocket()).toBe(500);
    FakeSocket.last.onerror?.({ message: '' } as never);
    expect([link.state, link.reason]).toEqual(['waiting', 'the connection could not be opened']);
    await untilNextSocket();
    const closed = link.close();
    FakeSocket.last.onerror?.({} as never);
    await closed;
    expect(vi.getTimerCount()).toBe(0);
  });

  test('that is not upgraded within 10 s tries again', async () => {
    const { link } = await makeLink();
    const [first] = FakeSocket.all;
    await vi.advanceTimersByTimeAsync(9_999);
    expect(link.state).toBe('connecting');
    await vi.advanceTimersByTimeAsync(1);
    expect(link.state).toBe('waiting');
    expect(first?.wasCut).toBe(true);
    expect(await untilNextSocket()).toBe(500);
  });

  test('has twice as long to be upgraded after each attempt that failed, up to 80 s, and 10 s again after a break', async () => {
    const { link } = await makeLink();
    const patience: number[] = [];
    for (let i = 0; i < 5; i++) {
      patience.push(link.attemptMs);
      const { last } = FakeSocket;
      await vi.advanceTimersByTimeAsync(link.attemptMs - 1);
      expect([link.state, last.wasCut]).toEqual(['connecting', false]);
      await vi.advanceTimersByTimeAsync(1);
      expect([link.state, last.wasCut]).toEqual(['waiting', true]);
      await untilNextSocket();
    }
    expect(patience).toEqual([10_000, 20_000, 40_000, 80_000, 80_000]);
    FakeSocket.last.open();
    link.markEstablished();
    FakeSocket.last.end(1006);
    await untilNextSocket();
    expect(link.attemptMs).toBe(10_000);
  });

  test('says why it is not open, and nothing while it is', async () => {
    const { link } = await makeLink({ answerMs: 2_000 });
    expect(link.reason).toBeUndefined();
    await vi.advanceTimersByTimeAsync(2_000);
    expect(link.reason).toBe('the connection was not opened within 2000 ms');
    await untilNextSocket();
    FakeSocket.last.open();
    expect(link.reason).toBeUndefined();
    FakeSocket.last.end(4452, 'draining');
    expect(link.reason).toBe('the connection was closed: 4452 draining');
    await untilNextSocket();
    FakeSocket.last.open();
    await vi.advanceTimersByTimeAsync(27_000);
    expect(link.reason).toBe('a heartbeat had no answer within 2000 ms');
    await link.close();
    expect(link.reason).toBe('closed by this side');
  });

  const permanent: [Refusal & { message: string }][] = [
    [{ message: 'refused with 404', status: 404 }],
    [{ message: 'refused with 403', status: 403 }],
    [{ message: 'refused with 301', status: 301 }],
    [{ message: 'wrong version number', error: { code: 'EPROTO' } }],
    [{ message: 'Parse Error: Expected HTTP/', error: { code: 'HPE_INVALID_CONSTANT' } }],
    [{ message: 'self-signed certificate', error: { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' } }],
  ];
  test.each(permanent)('refused five times with %j is closed, and says why', async (error) => {
    const { link, told } = await makeLink();
    for (let i = 0; i < 5; i++) {
      expect(told.closed).toEqual([]);
      FakeSocket.last.onerror?.(error as never);
      if (i < 4) await untilNextSocket();
    }
    expect(told.closed).toEqual([{ code: 1006, reason: error.message }]);
    expect([link.state, link.reason, vi.getTimerCount()]).toEqual(['closed', error.message, 0]);
  });

  test('refused where it was open before goes on for ten minutes', async () => {
    const { told } = await makeLink();
    FakeSocket.last.open();
    FakeSocket.last.end(1006);
    const since = performance.now();
    for (let seconds = 0; told.closed.length === 0; seconds = (performance.now() - since) / 1_000) {
      expect(seconds).toBeLessThan(630);
      await untilNextSocket();
      FakeSocket.last.onerror?.({ message: 'refused with 404', status: 404 } as never);
    }
    expect(performance.now() - since).toBeGreaterThanOrEqual(600_000);
  });

  const passing = [
    { message: 'refused with 503', status: 503 },
    { message: 'refused with 429', status: 429 },
    { message: 'connect ECONNREFUSED 127.0.0.1:8080', error: { code: 'ECONNREFUSED' } },
    {},
  ];
  test.each(passing.map((error) => [error]))('refused with %j tries on', async (error) => {
    const { told } = await makeLink();
    for (let i = 0; i < 20; i++) {
      FakeSocket.last.onerror?.(error as never);
      await untilNextSocket();
    }
    expect(told.closed).toEqual([]);
  });

  test('sends a heartbeat earlier where a break is to be noticed earlier, a second apart at least', async () => {
    const { link } = await makeLink();
    const { last } = FakeSocket;
    last.open();
    link.detectBreakWithin(15_000);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(last.sent).toHaveLength(1);
    last.receive({ type: 'Pong' });
    await vi.advanceTimersByTimeAsync(10_000);
    link.detectBreakWithin(1_000);
    last.receive({ type: 'Pong' });
    await vi.advanceTimersByTimeAsync(1_000);
    const { length } = last.sent;
    last.receive({ type: 'Pong' });
    link.detectBreakWithin(undefined);
    await vi.advanceTimersByTimeAsync(24_999);
    expect(last.sent).toHaveLength(length);
    await vi.advanceTimersByTimeAsync(1);
    expect(last.sent).toHaveLength(length + 1);
  });

  test('sends a heartbeat after 25 s of silence, and gives the socket up 10 s later', async () => {
    const { link, told } = await makeLink();
    const { last } = FakeSocket;
    last.open();
    await vi.advanceTimersByTimeAsync(20_000);
    last.receive({ type: 'Event' });
    await vi.advanceTimersByTimeAsync(24_999);
    expect(last.sent).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(last.sent).toEqual([{ type: 'Ping' }]);
    last.receive({ type: 'Pong' });
    await vi.advanceTimersByTimeAsync(25_000);
    expect(last.sent).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(9_999);
    expect([link.state, last.wasCut]).toEqual(['open', false]);
    await vi.advanceTimersByTimeAsync(1);
    expect(last.wasCut).toBe(true);
    expect(told.states.slice(0, 2)).toEqual(['open', 'waiting']);
    await turn();
    expect(FakeSocket.all).toHaveLength(2);
  });

  test('waits, asks and gives up as configured', async () => {
    const { link } = await makeLink({ heartbeatMs: 3_000, answerMs: 2_000, reconnect: { firstMs: 100, mostMs: 150 } });
    await vi.advanceTimersByTimeAsync(2_000);
    expect(link.state).toBe('waiting');
    expect(await untilNextSocket()).toBe(100);
    FakeSocket.last.end(1006);
    expect(await untilNextSocket()).toBe(150);
    const { last } = FakeSocket;
    last.open();
    await vi.advanceTimersByTimeAsync(3_000);
    expect(last.sent).toEqual([{ type: 'Ping' }]);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(last.wasCut).toBe(true);
  });

  test('that gives a socket up in a browser, which cannot cut it, closes it with a code that ends no session', async () => {
    class BrowserSocket extends FakeSocket {
      override terminate = undefined as never;
    }
    const { link } = await makeLink({ WebSocket: BrowserSocket });
    const { last } = FakeSocket;
    last.open();
    link.reconnect('reconnect', 'a gap');
    expect(last.closedWith).toBe(4_000);
    last.receive({ type: 'Late' });
    last.end(1006);
    await turn();
    expect(FakeSocket.all).toHaveLength(2);
  });

  test.each(['connecting', 'open', 'waiting'] as const)('closed while it is %s leaves no socket and no timer', async (state) => {
    const { link, told } = await makeLink();
    const { last } = FakeSocket;
    if (state !== 'connecting') last.open();
    if (state === 'waiting') last.end(1006);
    expect(link.state).toBe(state);
    const closed = link.close();
    expect(link.state).toBe('closed');
    if (state !== 'waiting') {
      expect(link.close()).toBe(closed);
      // the other side never answers
      await vi.advanceTimersByTimeAsync(2_000);
      expect(last.wasCut).toBe(true);
    }
    await closed;
    expect(vi.getTimerCount()).toBe(0);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(FakeSocket.all).toHaveLength(1);
    expect(told.closed).toHaveLength(1);
  });

  test('that has ended is reported once, also where it is closed then', async () => {
    const { link, told } = await makeLink();
    FakeSocket.last.open();
    FakeSocket.last.end(4409, 'taken over');
    await link.close();
    expect(told.closed).toEqual([{ code: 4409, reason: 'taken over' }]);
  });

  test('whose socket cannot be made is closed, and says why', async () => {
    class Forbidden {
      constructor() {
        throw new Error('an insecure page');
      }
    }
    const { told } = await makeLink({ WebSocket: Forbidden as never });
    expect(told.closed).toEqual([{ code: 1006, reason: 'an insecure page' }]);
    expect(vi.getTimerCount()).toBe(0);
  });
});
