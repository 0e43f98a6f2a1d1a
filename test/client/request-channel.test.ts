import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { ConnectionState, Frame } from '../../src/client/reconnecting-socket.ts';
import { type ChannelOptions, RequestChannel } from '../../src/client/request-channel.ts';
import { FakeSocket, fakeNetwork } from './fake-socket.ts';

const turn = () => vi.advanceTimersByTimeAsync(1);

/** A channel on fake sockets, which greets where it is told to. */
async function makeChannel({ greets = false, ...options }: ChannelOptions & { greets?: boolean } = {}) {
  fakeNetwork();
  const told = { states: [] as ConnectionState[], frames: [] as Frame[], greeted: [] as Frame[], closed: [] as number[] };
  const channel = new RequestChannel(
    'ws://gateway/ws',
    {
      greeting: () => (greets ? { type: 'ResumeRequest' } : undefined),
      greeted: (answer) => told.greeted.push(answer),
      frame: (frame) => told.frames.push(frame),
      changed: (state) => told.states.push(state),
      closed: (code) => told.closed.push(code),
    },
    { WebSocket: FakeSocket, ...options },
  );
  await turn();
  return { channel, told };
}

/** The next socket is there and open. */
async function reopen(ms = 1) {
  await vi.advanceTimersByTimeAsync(ms);
  FakeSocket.last.open();
  return FakeSocket.last;
}
const idOf = (socket: FakeSocket, n = 0) => socket.sent[n]?.id;
const types = (socket: FakeSocket) => socket.sent.map(({ type }) => type);

describe('a request', () => {
  test('gets the answer of its id', async () => {
    const { channel, told } = await makeChannel();
    const { last } = FakeSocket;
    last.open();
    const answers = [channel.request('UnwatchRequest', { session_id: 'a' }), channel.request('UnwatchRequest', { session_id: 'b' })];
    last.receive({ type: 'UnwatchResponse', id: idOf(last, 1), session_id: 'b' });
    last.receive({ type: 'UnwatchResponse', id: idOf(last, 0), session_id: 'a' });
    expect(await Promise.all(answers)).toMatchObject([{ session_id: 'a' }, { session_id: 'b' }]);
    last.receive({ type: 'UnwatchResponse', id: idOf(last, 0), session_id: 'a' });
    expect(told.frames).toHaveLength(1);
  });

  test('that is refused says why, and whether to try again', async () => {
    const { channel } = await makeChannel();
    const { last } = FakeSocket;
    last.open();
    const [refused, bare] = [channel.request('GetSessionRequest', {}), channel.request('GetSessionRequest', {})];
    const error = { code: 'STORAGE_ERROR', message: 'down', retryable: true, retry_after_ms: 500, details: { a: 1 } };
    last.receive({ type: 'Error', id: idOf(last, 0), ...error });
    last.receive({ type: 'Error', id: idOf(last, 1), code: 'FROM_LATER', message: 'new' });
    const said = { name: 'RequestFailed', code: 'STORAGE_ERROR', retryable: true, retryAfterMs: 500, details: { a: 1 } };
    await expect(refused).rejects.toMatchObject({ ...said, message: 'STORAGE_ERROR: down' });
    await expect(bare).rejects.toMatchObject({ code: 'FROM_LATER', retryable: false, retryAfterMs: undefined, details: {} });
  });

  test('waits for the connection, and is as it was at the call', async () => {
    const { channel } = await makeChannel();
    const fields = { session_id: 'a' };
    void channel.request('UnwatchRequest', fields).catch(() => {});
    fields.session_id = 'changed';
    FakeSocket.last.open();
    expect(FakeSocket.last.sent).toMatchObject([{ type: 'UnwatchRequest', session_id: 'a' }]);
  });

  test('without an answer is sent again on the next socket, the same, before what was asked since', async () => {
    const { channel } = await makeChannel();
    const { last: first } = FakeSocket;
    first.open();
    const answers = [
      channel.request('GetSessionRequest', {}),
      channel.request('UnwatchRequest', { session_id: 'a' }),
      channel.request('UnwatchRequest', { session_id: 'b' }),
    ];
    first.receive({ type: 'UnwatchResponse', id: idOf(first, 1) });
    first.end(1006);
    answers.push(channel.request('UnwatchRequest', { session_id: 'c' }));
    const second = await reopen();
    expect(second.sent.slice(0, 2)).toEqual([first.sent[0], first.sent[2]]);
    expect(second.sent).toMatchObject([{}, {}, { session_id: 'c' }]);
    for (const { id } of second.sent) second.receive({ type: 'Any', id });
    await Promise.all(answers);
  });

  test('ends with its time, counted from the call, and says how the connection is', async () => {
    const { channel } = await makeChannel();
    const ask = (options?: { timeoutMs: number }) => channel.request('GetSessionRequest', {}, options);
    FakeSocket.last.onerror?.({ message: 'Unexpected server response: 403' } as never);
    FakeSocket.last.end(1006);
    const slow = expect(ask({ timeoutMs: 600 })).rejects.toMatchObject({
      name: 'RequestTimeout',
      message: 'GetSessionRequest: no answer within 600 ms; the connection is connecting: Unexpected server response: 403',
    });
    await vi.advanceTimersByTimeAsync(500);
    const { last } = FakeSocket;
    const sent = expect(ask()).rejects.toMatchObject({
      name: 'RequestTimeout',
      message: 'GetSessionRequest: no answer within 10000 ms',
    });
    await vi.advanceTimersByTimeAsync(100);
    await slow;
    last.open();
    expect(types(last)).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(9_900);
    await sent;
    last.end(1006);
    expect((await reopen()).sent).toEqual([]);
  });

  test('fails with the close code where the connection ended for good, before and after', async () => {
    const { channel, told } = await makeChannel();
    FakeSocket.last.open();
    const failed = expect(channel.request('GetSessionRequest', {})).rejects.toMatchObject({ name: 'ConnectionClosed', code: 4409 });
    FakeSocket.last.end(4409, 'taken over');
    await failed;
    await expect(channel.request('GetSessionRequest', {})).rejects.toMatchObject({
      name: 'ConnectionClosed',
      code: 4409,
      message: 'the connection is closed: 4409 taken over',
    });
    expect(told.closed).toEqual([4409]);
    expect(vi.getTimerCount()).toBe(0);
  });

  test.each([
    ['64 by default', undefined, 64],
    ['as set', 2, 2],
  ])('that finds the queue full fails: %s', async (_, maxQueued, places) => {
    const { channel } = await makeChannel({ maxQueued });
    const ask = () => channel.request('GetSessionRequest', {});
    FakeSocket.last.open();
    // sent once: it takes no place
    ask().catch(() => {});
    FakeSocket.last.end(1006);
    for (let i = 0; i < places; i++) ask().catch(() => {});
    await expect(ask()).rejects.toMatchObject({ name: 'QueueFull', message: `${places} requests wait for the connection` });
    const { sent } = await reopen();
    expect(sent).toHaveLength(places + 1);
    ask().catch(() => {});
    expect(sent).toHaveLength(places + 2);
  });

  test('that is larger than the gateway takes is not sent: the socket would be closed for good', async () => {
    const { channel } = await makeChannel();
    FakeSocket.last.open();
    const say = (content: string) => channel.request('AddMessageRequest', { role: 'user', content });
    await expect(say('語'.repeat(22_000))).rejects.toThrow(RangeError);
    say('語'.repeat(21_000)).catch(() => {});
    expect(types(FakeSocket.last)).toEqual(['AddMessageRequest']);
  });

  test('of a session fails alone with that session', async () => {
    const { channel } = await makeChannel();
    FakeSocket.last.open();
    const mine = channel.request('UnwatchRequest', { session_id: 'a' });
    const other = channel.request('UnwatchRequest', { session_id: 'b' });
    channel.failSession('a', new Error('over'));
    await expect(mine).rejects.toThrow('over');
    FakeSocket.last.receive({ type: 'UnwatchResponse', id: idOf(FakeSocket.last, 1) });
    await other;
  });
});

describe('a greeting', () => {
  test('goes first; everything else waits for its answer', async () => {
    const { channel, told } = await makeChannel({ greets: true });
    channel.request('GetSessionRequest', {}).catch(() => {});
    const { last } = FakeSocket;
    last.open();
    channel.request('UnwatchRequest', { session_id: 'a' }).catch(() => {});
    expect([types(last), channel.state, told.states]).toEqual([['ResumeRequest'], 'connecting', []]);
    last.receive({ type: 'ResumeResponse', id: idOf(last) });
    expect(types(last)).toEqual(['ResumeRequest', 'GetSessionRequest', 'UnwatchRequest']);
    expect(told).toMatchObject({ states: ['open'], greeted: [{ type: 'ResumeResponse' }] });
    expect(vi.getTimerCount()).toBe(3);
  });

  test('and what is requested as soon as it is answered is sent once, behind what waited', async () => {
    const { channel, told } = await makeChannel({ greets: true });
    channel.request('GetSessionRequest', {}).catch(() => {});
    const { last } = FakeSocket;
    last.open();
    told.states.push = (state) => {
      if (state === 'open') channel.request('UnwatchRequest', { session_id: 'a' }).catch(() => {});
      return 0;
    };
    last.receive({ type: 'ResumeResponse', id: idOf(last) });
    expect(types(last)).toEqual(['ResumeRequest', 'GetSessionRequest', 'UnwatchRequest']);
  });

  test('is said again where the socket breaks before its answer', async () => {
    const { told } = await makeChannel({ greets: true });
    const { last: first } = FakeSocket;
    first.open();
    first.end(1006);
    const second = await reopen();
    expect(types(second)).toEqual(['ResumeRequest']);
    second.receive({ type: 'ResumeResponse', id: idOf(first) });
    expect(told.greeted).toEqual([]);
    second.receive({ type: 'ResumeResponse', id: idOf(second) });
    expect(told.greeted).toHaveLength(1);
  });

  test('without an answer for 10 s gives the socket up', async () => {
    await makeChannel({ greets: true });
    const { last } = FakeSocket;
    last.open();
    await vi.advanceTimersByTimeAsync(9_999);
    expect(last.wasCut).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    expect(last.wasCut).toBe(true);
    expect(types(await reopen(20_000))).toEqual(['ResumeRequest']);
  });

  test('that is refused for now is said again on another socket, not before the gateway wants', async () => {
    const { told } = await makeChannel({ greets: true });
    const { last } = FakeSocket;
    last.open();
    last.receive({ type: 'Error', id: idOf(last), code: 'STORAGE_ERROR', message: 'down', retryable: true, retry_after_ms: 5_000 });
    expect(last.wasCut).toBe(true);
    await vi.advanceTimersByTimeAsync(4_999);
    expect(FakeSocket.all).toHaveLength(1);
    expect(types(await reopen())).toEqual(['ResumeRequest']);
    expect(told.greeted).toEqual([]);
  });

  test('that is refused for good lets the others go', async () => {
    const { channel, told } = await makeChannel({ greets: true });
    channel.request('GetSessionRequest', {}).catch(() => {});
    const { last } = FakeSocket;
    last.open();
    last.receive({ type: 'Error', id: idOf(last), code: 'RESUME_INVALID', message: 'no', retryable: false });
    expect(told.greeted).toMatchObject([{ code: 'RESUME_INVALID' }]);
    expect(types(last)).toEqual(['ResumeRequest', 'GetSessionRequest']);
  });
});

describe('a break right after a row of failures', () => {
  /** Whether the next socket is made at once when this one, the first after six failures, breaks. */
  async function isQuick(greets: boolean, answer: (channel: RequestChannel, socket: FakeSocket) => void): Promise<boolean> {
    const random = vi.spyOn(Math, 'random').mockReturnValue(1);
    onTestFinished(() => random.mockRestore());
    const { channel } = await makeChannel({ greets });
    for (let i = 0; i < 6; i++) {
      FakeSocket.last.end(1006);
      await vi.advanceTimersByTimeAsync(20_000);
    }
    const { last } = FakeSocket;
    last.open();
    answer(channel, last);
    if (!last.wasCut) last.end(1006);
    await turn();
    return FakeSocket.last !== last;
  }

  test('is a break of its own where the greeting was answered, or a request', async () => {
    expect(await isQuick(true, (_, socket) => socket.receive({ type: 'ResumeResponse', id: idOf(socket) }))).toBe(true);
    const asks = (channel: RequestChannel, socket: FakeSocket) => {
      void channel.request('GetSessionRequest', {});
      socket.receive({ type: 'GetSessionResponse', id: idOf(socket) });
    };
    expect(await isQuick(false, asks)).toBe(true);
  });

  test('is one more failure where nothing was answered, or the greeting was refused for now', async () => {
    expect(await isQuick(true, () => {})).toBe(false);
    expect(await isQuick(false, (_, socket) => socket.receive({ type: 'Welcome' }))).toBe(false);
    const refuses = (socket: FakeSocket) => socket.receive({ type: 'Error', id: idOf(socket), code: 'STORAGE_ERROR', retryable: true });
    expect(await isQuick(true, (_, socket) => refuses(socket))).toBe(false);
  });
});

test('a channel that is closed leaves no timer, whatever it waits for', async () => {
  const { channel } = await makeChannel({ greets: true });
  const failed = expect(channel.request('GetSessionRequest', {})).rejects.toMatchObject({ name: 'ConnectionClosed', code: 1000 });
  FakeSocket.last.open();
  const closed = channel.close();
  FakeSocket.last.end(1000);
  await Promise.all([closed, failed]);
  expect(vi.getTimerCount()).toBe(0);
  expect(channel.send({ type: 'ServiceLeft' })).toBe(false);
});
