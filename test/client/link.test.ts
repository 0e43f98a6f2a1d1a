import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { Close, verdict } from '../../protocol/close.ts';
import { type Frame, Link, type LinkOptions, type LinkState } from '../../src/client/link.ts';
import { FakeSocket, fakeNetwork } from './fake-socket.ts';

/** A link on fake sockets, and what it tells. Every wait is as long as its backoff may be. */
async function makeLink(options: LinkOptions = {}) {
  fakeNetwork();
  const random = vi.spyOn(Math, 'random').mockReturnValue(1);
  onTestFinished(() => random.mockRestore());
  const told = { states: [] as LinkState[], frames: [] as Frame[], closed: [] as { code: number; reason: string }[] };
  const link = new Link(
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

  const codes = [...Object.values(Close).map(({ code }) => code), 1000, 1001, 1003, 1005, 1006, 1007, 1009, 1011, 1012, 4000, 4999];
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

  test('told to reconnect does so at once, then waits where that repeats, until a socket lived for 5 s', async () => {
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
      link.gotThrough();
      await vi.advanceTimersByTimeAsync(livedMs);
      FakeSocket.last.end(1006);
      waits.push(await untilNextSocket());
    }
    expect(waits).toEqual([50, 50, 50, 500, 1_000, 50, 50]);
  });

  test('that got through has not after the next break', async () => {
    const { link } = await makeLink();
    FakeSocket.last.open();
    link.gotThrough();
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
    expect([link.state, link.lastError]).toEqual(['waiting', 'refused']);
    expect(await untilNextSocket()).toBe(500);
    FakeSocket.last.onerror?.({ message: '' } as never);
    expect([link.state, link.lastError]).toEqual(['waiting', 'refused']);
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

  test('asks for a sign of life after 25 s of silence, and gives the socket up 10 s later', async () => {
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

  test('waits, asks and gives up as it was told to', async () => {
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
    link.reconnect('reconnect');
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

  test('that has ended is told of once, also where it is closed then', async () => {
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
