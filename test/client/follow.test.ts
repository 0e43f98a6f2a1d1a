import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { Backoff } from '../../src/client/backoff.ts';
import { type ClientOptions, connect, type SessionEvents } from '../../src/client/client.ts';
import { FakeSocket, fakeNetwork, waitsBetween } from './fake-socket.ts';

const session_id = 's1';
const turn = () => vi.advanceTimersByTimeAsync(1);
const event = (seq: number, type = 'SessionUpdated', more: object = {}) => ({ type, seq, ts: '2030-01-01T00:00:00Z', session_id, ...more });

/** A client whose gateway says what the test says, and its session at seq 2. */
async function opened(more: object = {}, fields: object = {}, options: ClientOptions = {}) {
  fakeNetwork();
  const client = connect('ws://gateway', { WebSocket: FakeSocket, ...options });
  const asked = client.newSession({ user_identity: 'ada', ...fields });
  await turn();
  const { last } = FakeSocket;
  last.open();
  last.receive({
    type: 'NewSessionResponse',
    id: last.sent[0]?.id,
    session_id,
    status: 'WaitingForServices',
    seq: 2,
    room_name: 'r',
    resume_token: 'rt',
    ...more,
  });
  const session = await asked;
  const told: SessionEvents['event'][] = [];
  session.on('event', (one) => told.push(one));
  return { client, session, told, socket: last };
}

/** The next socket is there, and has asked for the session. */
async function reopened() {
  const { length } = FakeSocket.all;
  while (FakeSocket.all.length === length) await vi.advanceTimersToNextTimerAsync();
  const { last } = FakeSocket;
  last.open();
  return last;
}
const snapshot = { session_id, status: 'Ready', seq: 9, room_name: 'r', livekit_url: 'ws://lk' };

describe('the client of a gateway that is not as it should be', () => {
  test('drops an event that it had, and takes the session up again where one is missing', async () => {
    const { told, socket, session } = await opened();
    await turn();
    for (const seq of [3, 3, 1, 4]) socket.receive(event(seq));
    expect(told.map(({ seq }) => seq)).toEqual([3, 4]);
    socket.receive(event(6));
    expect([told.length, session.seq, socket.wasCut]).toEqual([2, 4, true]);
    const next = await reopened();
    expect(next.sent).toMatchObject([{ type: 'ResumeRequest', session_id, resume_token: 'rt', last_seq: 4 }]);
    next.receive({ type: 'ResumeResponse', id: next.sent[0]?.id, session_id, recovered: true, snapshot, from_seq: 5, to_seq: 6 });
    for (const seq of [5, 6]) next.receive(event(seq));
    next.receive({ type: 'ResumeComplete', session_id, seq: 6 });
    expect(told.map(({ seq }) => seq)).toEqual([3, 4, 5, 6]);
    expect(next.wasCut).toBe(false);
  });

  test('takes the session up again where the end of what was missed is missing', async () => {
    const { socket } = await opened();
    socket.end(1006);
    const next = await reopened();
    next.receive({ type: 'ResumeResponse', id: next.sent[0]?.id, session_id, recovered: true, snapshot, from_seq: 3, to_seq: 4 });
    next.receive(event(3));
    next.receive({ type: 'ResumeComplete', session_id, seq: 4 });
    expect(next.wasCut).toBe(true);
    expect((await reopened()).sent).toMatchObject([{ type: 'ResumeRequest', last_seq: 3 }]);
  });

  test('counts events of a type that it does not know, and ignores everything else', async () => {
    const { told, socket, session } = await opened();
    await turn();
    socket.receive({ type: 'FromLater', session_id, seq: 17 });
    socket.receive({ type: 'FromLaterResponse', id: 'nobody', session_id, seq: 17, ts: 'x' });
    socket.receive('no json');
    socket.receive({ type: 'ServiceProgress', session_id: 'other' });
    socket.receive(event(3, 'FromLater'));
    socket.receive(event(4));
    expect(told.map(({ type }) => type)).toEqual(['FromLater', 'SessionUpdated']);
    expect([session.seq, socket.wasCut]).toEqual([4, false]);
  });
});

describe('events right behind the answer', () => {
  test('wait for the handlers of the one who asked', async () => {
    fakeNetwork();
    const client = connect('ws://gateway', { WebSocket: FakeSocket });
    const asked = client.newSession({ user_identity: 'ada' });
    await turn();
    const { last } = FakeSocket;
    last.open();
    last.receive({ type: 'NewSessionResponse', id: last.sent[0]?.id, session_id, status: 'WaitingForServices', seq: 2, room_name: 'r' });
    last.receive(event(3, 'SessionReady', { room_name: 'r', livekit_url: 'ws://lk', access_token: 't' }));
    const session = await asked;
    const told: string[] = [];
    session.on('SessionReady', ({ seq }) => told.push(`ready ${seq}`));
    session.on('connection', (state) => told.push(state));
    last.end(1006);
    expect([told, session.seq]).toEqual([[], 3]);
    await turn();
    expect(told.slice(0, 2)).toEqual(['ready 3', 'waiting']);
  });
});

describe('a session that begins anew', () => {
  test('can be joined with what came with it', async () => {
    const { session, socket } = await opened();
    const ready = session.ready();
    socket.end(1006);
    const next = await reopened();
    const resume = { type: 'ResumeResponse', id: next.sent[0]?.id, session_id, recovered: false, snapshot, from_seq: 10, to_seq: 9 };
    next.receive({ ...resume, access_token: 'fresh' });
    expect(await ready).toEqual({ room_name: 'r', livekit_url: 'ws://lk', access_token: 'fresh' });
    expect([session.seq, session.status]).toEqual([9, 'Ready']);
  });

  test('and has ended meanwhile is over', async () => {
    const { session, socket } = await opened();
    socket.end(1006);
    const next = await reopened();
    const ended = { ...snapshot, status: 'Terminated', end_reason: 'ttl' };
    next.receive({ type: 'ResumeResponse', id: next.sent[0]?.id, session_id, recovered: false, snapshot: ended, from_seq: 10, to_seq: 9 });
    expect(await session.ended).toEqual({ reason: 'ttl' });
    next.end(1006);
    expect((await reopened()).sent).toEqual([]);
  });
});

describe('what happens at the same time', () => {
  test('a session that ended is not asked for again', async () => {
    const { session, socket } = await opened();
    socket.receive(event(3, 'SessionEnded', { reason: 'ttl', by: 'gateway', duration_s: 9 }));
    expect(await session.ended).toEqual({ reason: 'ttl', by: 'gateway', duration_s: 9 });
    socket.end(1006);
    expect((await reopened()).sent).toEqual([]);
  });

  test('a token that came with the end lets nobody in', async () => {
    const { session, socket } = await opened({ status: 'Ready', livekit_url: 'ws://lk', access_token: 't' });
    const refreshed = session.refreshToken();
    socket.receive({ type: 'RefreshTokenResponse', id: socket.sent[1]?.id, livekit_url: 'ws://lk', access_token: 'late' });
    socket.receive(event(3, 'SessionEnded', { reason: 'ttl', by: 'gateway', duration_s: 9 }));
    await refreshed;
    await expect(session.ready()).rejects.toMatchObject({ name: 'SessionOver', reason: 'ttl' });
  });

  test('a client that is closed while its session is taken up stays closed', async () => {
    const { client, session, socket } = await opened();
    await turn();
    session.on('resumed', () => void client.close());
    socket.end(1006);
    const next = await reopened();
    next.receive({ type: 'ResumeResponse', id: next.sent[0]?.id, session_id, recovered: true, snapshot, from_seq: 3, to_seq: 2 });
    expect(client.state).toBe('closed');
  });
});

test('a session is waited for 15 s', async () => {
  fakeNetwork();
  const late = vi.fn();
  connect('ws://gateway', { WebSocket: FakeSocket }).newSession({ user_identity: 'ada' }).catch(late);
  await vi.advanceTimersByTimeAsync(14_999);
  expect(late).not.toHaveBeenCalled();
  await vi.advanceTimersByTimeAsync(1);
  expect(late.mock.calls[0]?.[0]).toMatchObject({ name: 'RequestTimeout' });
});

test.each([
  [{}, 75_000],
  [{ join_timeout_s: 5 }, 20_000],
])('ready waits 15 s longer than the services have: %j', async (fields, ms) => {
  const { session } = await opened({}, fields);
  const late = vi.fn();
  session.ready().catch(late);
  await vi.advanceTimersByTimeAsync(ms - 1);
  expect(late).not.toHaveBeenCalled();
  await vi.advanceTimersByTimeAsync(1);
  expect(late.mock.calls[0]?.[0]).toMatchObject({ name: 'RequestTimeout' });
});

test.each([[4400], [1009]])('a session whose connection ended for good with %i is over', async (code) => {
  const { session, socket } = await opened();
  const said = expect(session.say('user', 'hello')).rejects.toMatchObject({ name: 'SessionOver', reason: 'connection_closed' });
  socket.end(code);
  expect(await session.ended).toEqual({ reason: 'connection_closed', code });
  await said;
});

test('a session asked for with nothing else has a key of its own and is kept for 60 s; what is given stays', async () => {
  const { socket } = await opened();
  expect(socket.sent[0]).toMatchObject({ idempotency_key: expect.stringMatching(/^[0-9a-f]{32}$/), resume_window_s: 60 });
  const other = await opened({}, { idempotency_key: 'mine', resume_window_s: 0 });
  expect(other.socket.sent[0]).toMatchObject({ idempotency_key: 'mine', resume_window_s: 0 });
});

test('a client that is closed in whatever it waits for leaves no timer', async () => {
  const { client, session, socket } = await opened();
  const waits = [session.ready(), session.say('user', 'hello'), session.end(), client.newSession({ user_identity: 'bob' })];
  const over = Promise.allSettled(waits);
  const closed = client.close();
  socket.end(1000);
  await closed;
  expect((await over).map(({ status }) => status)).toEqual(['rejected', 'rejected', 'fulfilled', 'rejected']);
  await turn();
  expect(vi.getTimerCount()).toBe(0);
});

describe('a session that waits for its client', () => {
  const waitsOf = async (fields: object, reconnect?: Backoff) => {
    const random = vi.spyOn(Math, 'random').mockReturnValue(1);
    onTestFinished(() => random.mockRestore());
    const { socket, session } = await opened(fields, fields, { reconnect });
    socket.end(1006);
    return { session, waits: await waitsBetween(14) };
  };
  const sum = (waits: number[]) => waits.reduce((all, wait) => all + wait, 0);

  test('is asked for at least every tenth of its window, and of what has passed once that is more', async () => {
    const { waits, session } = await waitsOf({});
    expect(waits.slice(0, 12)).toEqual([0, 1_000, 2_000, 4_000, ...Array(8).fill(6_000)]);
    expect(sum(waits.slice(0, 13))).toBeGreaterThan(60_000);
    expect(waits[13]).toBeCloseTo(sum(waits.slice(0, 13)) / 10, -1);
    // how long ago the gateway saw the break is not known here
    expect(session.connection).toBe('waiting');
  });

  test('is not asked for more often than the first wait allows', async () => {
    const { waits } = await waitsOf({}, { firstMs: 8_000, mostMs: 60_000 });
    expect(waits.slice(0, 8)).toEqual([0, ...Array(7).fill(8_000)]);
    const short = await waitsOf({ resume_window_s: 2 });
    expect(short.waits.slice(0, 8)).toEqual([0, ...Array(7).fill(500)]);
  });

  test('is not asked for more often than the gateway wants', async () => {
    const { socket } = await opened();
    socket.receive({ type: 'Error', code: 'RATE_LIMITED', message: 'slower', retry_after_ms: 7_000 });
    socket.end(4529);
    expect(await waitsBetween(1)).toEqual([7_000]);
  });

  test('is in no hurry once it is over', async () => {
    const random = vi.spyOn(Math, 'random').mockReturnValue(1);
    onTestFinished(() => random.mockRestore());
    const { socket } = await opened();
    socket.receive(event(3, 'SessionEnded', { reason: 'client_ended', by: 'client' }));
    socket.end(1006);
    expect(await waitsBetween(6)).toEqual([0, 1_000, 2_000, 4_000, 8_000, 16_000]);
  });
});

describe('a watch', () => {
  /** One that has started at seq 4, after its connection broke: the request for it on the next socket. */
  async function resuming() {
    fakeNetwork();
    const client = connect('ws://gateway', { WebSocket: FakeSocket });
    const asked = client.watch(session_id);
    await turn();
    const { last: first } = FakeSocket;
    first.open();
    first.receive({ type: 'WatchResponse', id: first.sent[0]?.id, session_id, seq: 4, session: { ...snapshot, seq: 4 } });
    const watch = await asked;
    first.end(1006);
    const socket = await reopened();
    return { client, watch, socket };
  }

  test('that is refused on the next socket for a while is asked for again', async () => {
    const { watch, socket } = await resuming();
    const refusal = { type: 'Error', code: 'STORAGE_ERROR', message: 'down', retryable: true, retry_after_ms: 2_000 };
    socket.receive({ ...refusal, id: socket.sent[0]?.id });
    await vi.advanceTimersByTimeAsync(1_999);
    expect(socket.sent.map(({ type }) => type)).toEqual(['WatchRequest']);
    await vi.advanceTimersByTimeAsync(1);
    expect(socket.sent.map(({ type }) => type)).toEqual(['WatchRequest', 'WatchRequest']);
    const resumed: boolean[] = [];
    watch.on('resumed', ({ recovered }) => resumed.push(recovered));
    socket.receive({ type: 'WatchResponse', id: socket.sent[1]?.id, session_id, seq: 4, session: { ...snapshot, seq: 4 } });
    socket.receive(event(5));
    expect([resumed, watch.seq]).toEqual([[true], 5]);
  });

  test('that is refused for good is over, and the client leaves no timer', async () => {
    const { client, watch, socket } = await resuming();
    socket.receive({ type: 'Error', id: socket.sent[0]?.id, code: 'SESSION_NOT_FOUND', message: 'unknown', retryable: false });
    expect(await watch.ended).toEqual({ reason: 'watch_refused' });
    void client.close();
    socket.end(1000);
    await turn();
    expect(vi.getTimerCount()).toBe(0);
  });

  test('is asked for once, however often the socket breaks before the answer', async () => {
    const { socket } = await resuming();
    socket.end(1006);
    const again = await reopened();
    expect(again.sent).toMatchObject([{ type: 'WatchRequest', id: socket.sent[0]?.id }]);
  });

  test('whose answer came after its timeout is taken back', async () => {
    fakeNetwork();
    const client = connect('ws://gateway', { WebSocket: FakeSocket });
    const late = vi.fn();
    client.watch(session_id, { timeoutMs: 1_000 }).catch(late);
    await turn();
    const { last } = FakeSocket;
    last.open();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(late.mock.calls[0]?.[0]).toMatchObject({ name: 'RequestTimeout' });
    last.receive({ type: 'WatchResponse', id: last.sent[0]?.id, session_id, seq: 4, session: snapshot });
    expect(last.sent.at(-1)).toMatchObject({ type: 'UnwatchRequest', session_id });
  });
});
