import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { StorageError } from '../../src/errors.ts';
import type { StoreProvider } from '../../src/sessions/ports.ts';
import { memoryStore } from '../../src/store/memory.ts';
import { registerStoreProvider } from '../../src/store/open.ts';
import { connectService, type Frame, TestClient } from '../support/client.ts';
import { settled } from '../support/clock.ts';
import { startGateway } from '../support/gateway.ts';
import { rest } from '../support/http-service.ts';
import { TcpProxy } from '../support/proxy.ts';
import { comeBack, eventsAt, resumable, seqsAt } from '../support/resume.ts';

const takenOver = { code: 4409, reason: 'taken over' };
const portOf = (url: string) => Number(new URL(url).port);
/** From one number to another, both included. */
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);
/** What every Error says of itself, without the id of the request. */
const saidOf = ({ id: _, ...error }: Frame) => error;

describe('after a break', () => {
  test('the client gets what it missed, in order, then ResumeComplete, then what is new', async () => {
    const { made, client, breaks, back, say, holds } = await resumable();
    expect(made).toMatchObject({ resume_window_s: 60, resume_token: expect.stringMatching(/^[\w-]{32}$/) });
    await say('heard');
    const { seq: last } = await client.next('MessageAdded');
    await breaks();
    for (const content of ['one', 'two', 'three']) await say(content);

    const { client: fresh, answer } = await back(last);
    expect(answer).toMatchObject({
      type: 'ResumeResponse',
      session_id: made.session_id,
      recovered: true,
      from_seq: last + 1,
      to_seq: last + 3,
      snapshot: { session_id: made.session_id, status: 'Ready', link: 'attached', seq: last + 3, owner_id: 'ada', shares: {} },
    });
    expect(answer).not.toHaveProperty('access_token');
    expect(await fresh.next('ResumeComplete')).toEqual({ type: 'ResumeComplete', session_id: made.session_id, seq: last + 3 });
    await say('new');
    await fresh.next((frame) => frame.content === 'new');
    expect(fresh.types()).toEqual(['ResumeResponse', 'MessageAdded', 'MessageAdded', 'MessageAdded', 'ResumeComplete', 'MessageAdded']);
    expect(eventsAt(fresh).map(({ content }) => content)).toEqual(['one', 'two', 'three', 'new']);
    expect(seqsAt(fresh)).toEqual(range(last + 1, last + 4));
    expect(holds().live_sessions).toBe(1);
  });

  test.each([
    ['none of the events, it gets all', 0],
    ['every event, it gets none', 3],
  ])('of a client that has %s', async (_, last) => {
    const { made, breaks, back } = await resumable();
    expect(made.seq).toBe(3);
    await breaks();
    const { client, answer } = await back(last);
    expect(answer).toMatchObject({ recovered: true, from_seq: last + 1, to_seq: 3 });
    expect(await client.next('ResumeComplete')).toMatchObject({ seq: 3 });
    await client.caughtUp();
    expect(seqsAt(client)).toEqual(range(last + 1, 3));
    expect(client.types().indexOf('ResumeComplete')).toBe(client.types().length - 2);
  });

  test('and another, and another, each event has come once', async () => {
    const { made, client: first, breaks, back, say } = await resumable();
    const sockets = [first];
    let last: number = made.seq;
    for (const round of [1, 2, 3, 4]) {
      await say(`before break ${round}`);
      await sockets.at(-1)?.next('MessageAdded');
      last += 1;
      await breaks(sockets.at(-1));
      await say(`away ${round}`);
      const { client, answer } = await back(last);
      expect(answer).toMatchObject({ recovered: true, from_seq: last + 1, to_seq: last + 1 });
      await client.next('ResumeComplete');
      await client.next('MessageAdded');
      last += 1;
      sockets.push(client);
    }
    expect(sockets.flatMap(seqsAt)).toEqual(range(made.seq + 1, made.seq + 8));
  });

  test('the entry of live sessions is gone at once, and the record says until when it waits', async () => {
    const { client, read, made, url, clock, holds } = await resumable();
    expect(await read()).toMatchObject({ link: 'attached' });
    expect(await read()).not.toHaveProperty('resume_deadline');
    client.ws.terminate();
    await expect.poll(() => holds()).toMatchObject({ live_sessions: 0, sockets: 0 });
    await settled();
    const resume_deadline = new Date(clock.now() + 60_000).toISOString();
    const away = { status: 'Ready', link: 'away', resume_deadline };
    expect(await read()).toMatchObject(away);
    const other = await TestClient.connect(url);
    expect(await other.ask({ type: 'GetSessionRequest', session_id: made.session_id })).toMatchObject(away);
    expect((await other.ask({ type: 'ListSessionsRequest' })).items).toMatchObject([away]);
  });

  test('the socket that has come back is the owner s, as the one before', async () => {
    const { made, breaks, back, url } = await resumable({ visibility: 'private' });
    const { session_id: hers } = await (await TestClient.connect(url)).ask({
      type: 'NewSessionRequest',
      user_identity: 'ada',
      room: false,
    });
    await breaks();
    const { client } = await back(made.seq);
    expect(await client.ask({ type: 'GetSessionRequest' })).toMatchObject({ session_id: made.session_id, shares: {} });
    expect(await client.ask({ type: 'GetSessionRequest', session_id: hers })).toMatchObject({ session_id: hers });
    expect(await client.ask({ type: 'EndSessionRequest' })).toMatchObject({ type: 'EndSessionResponse' });
    expect(await client.next('SessionEnded')).toMatchObject({ reason: 'client_ended' });
  });

  test('a socket that watched the session gets each event once', async () => {
    const { url, made, breaks, say } = await resumable({ visibility: 'public' });
    await breaks();
    const client = await TestClient.connect(url);
    const { session_id, resume_token } = made;
    const { seq } = await client.ask({ type: 'WatchRequest', session_id });
    await client.ask({ type: 'ResumeRequest', session_id, resume_token, last_seq: seq });
    await client.next('ResumeComplete');
    await say('new');
    await client.next((frame) => frame.content === 'new');
    await client.caughtUp();
    expect(seqsAt(client).filter((each) => each > seq)).toEqual([seq + 1]);
  });

  test('what was watched is not, until it is asked for again', async () => {
    const { url, path, made, breaks, back, client } = await resumable();
    const { body } = await rest(`${url}/api/v1/sessions`, 'POST', { user_identity: 'ada', room: false });
    await client.ask({ type: 'WatchRequest', session_id: body.session_id });
    await breaks();
    const { client: fresh } = await back(made.seq);
    await rest(`${path.replace(made.session_id, body.session_id)}`, 'DELETE');
    await fresh.caughtUp();
    expect(eventsAt(fresh)).toEqual([]);
  });
});

describe('the old socket half open', () => {
  test('gets 4409, and the session goes on at the newer one', async () => {
    const { url, made, client: old, back, say, read, holds } = await resumable();
    const { client, answer } = await back(made.seq);
    expect(answer).toMatchObject({ recovered: true });
    expect(await old.closed).toEqual(takenOver);
    await say('here');
    await client.next('MessageAdded');
    expect(old.types()).toEqual(['NewSessionResponse']);
    expect(await read()).toMatchObject({ link: 'attached', status: 'Ready' });
    expect(holds()).toMatchObject({ live_sessions: 1 });
    expect(await (await TestClient.connect(url)).ask({ type: 'GetSessionRequest', session_id: made.session_id })).toMatchObject({
      link: 'attached',
    });
  });

  test('whose bytes arrive nowhere is left behind anyway', async () => {
    const { url, clock, read, holds } = await startStage();
    const proxy = await TcpProxy.before(portOf(url));
    const old = await TestClient.connect(`http://127.0.0.1:${proxy.port}`);
    const made = await old.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: [], resume_window_s: 60 });
    proxy.rule = () => 'hold';
    const { client, answer } = await comeBack(url, made, made.seq);
    expect(answer).toMatchObject({ type: 'ResumeResponse', recovered: true });
    // the gateway waits for nobody to answer its close
    await clock.advance(40_000);
    expect(await read(made.session_id)).toMatchObject({ link: 'attached', status: 'Ready' });
    expect(await client.ask({ type: 'GetSessionRequest' })).toMatchObject({ session_id: made.session_id });
    proxy.rule = () => 'pass';
    proxy.release();
    expect(await old.closed).toEqual(takenOver);
    await expect.poll(() => holds()).toMatchObject({ sockets: 1, live_sessions: 1 });
    expect(await read(made.session_id)).toMatchObject({ link: 'attached' });
  });

  test('whose bytes vanish both ways is found out 35 s after the last, while nobody closes anything', async () => {
    const { url, clock, read } = await startStage();
    const proxy = await TcpProxy.before(portOf(url));
    const old = await TestClient.connect(`http://127.0.0.1:${proxy.port}`);
    const made = await old.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: [], resume_window_s: 60 });
    proxy.holdsEnds = true;
    proxy.rule = () => 'hold';
    await clock.advance(34_000);
    expect(await read(made.session_id)).toMatchObject({ link: 'attached' });
    await clock.advance(2_000);
    await expect.poll(() => read(made.session_id)).toMatchObject({ link: 'away', status: 'Ready' });
    expect(old.ws.readyState).toBe(old.ws.OPEN);
    expect((await comeBack(url, made, made.seq)).answer).toMatchObject({ recovered: true });
  });

  test('is found out: pinged after 25 s of silence, cut after 35, and the session is away', async () => {
    const { url, clock, read } = await startStage();
    const old = await TestClient.connect(url, [], { autoPong: false });
    const made = await old.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: [], resume_window_s: 60 });
    const pinged = once(old.ws, 'ping');
    await clock.advance(34_000);
    await pinged;
    expect(await read(made.session_id)).toMatchObject({ link: 'attached' });
    await clock.advance(2_000);
    expect((await old.closed).code).toBe(1006);
    expect(await read(made.session_id)).toMatchObject({ link: 'away', status: 'Ready' });
    expect((await comeBack(url, made, made.seq)).answer).toMatchObject({ recovered: true });
  });
});

describe('a resume that comes late, over a socket that its client has given up', () => {
  test('takes nothing from the newer socket', async () => {
    const { url, made, breaks, say, read, holds } = await resumable();
    await breaks();
    const late = await TestClient.connect(url);
    const { client } = await comeBack(url, made, made.seq);
    const { session_id, resume_token } = made;
    late.send({ type: 'ResumeRequest', session_id, resume_token, last_seq: made.seq });
    expect(await late.closed).toEqual(takenOver);
    await say('here');
    await client.next('MessageAdded');
    expect(await client.ask({ type: 'GetSessionRequest' })).toMatchObject({ session_id, link: 'attached' });
    expect(late.all).toEqual([]);
    expect([await read(), holds()]).toMatchObject([{ link: 'attached' }, { live_sessions: 1 }]);
  });

  test('is taken where the newer socket has broken as well', async () => {
    const { url, made, breaks } = await resumable();
    const late = await TestClient.connect(url);
    const { client } = await comeBack(url, made, made.seq);
    await breaks(client);
    const { session_id, resume_token } = made;
    expect(await late.ask({ type: 'ResumeRequest', session_id, resume_token, last_seq: made.seq })).toMatchObject({ recovered: true });
  });

  test('and a creation that comes late leaves the newer socket its session and its token', async () => {
    const { url, read } = await startStage();
    const wish = { type: 'NewSessionRequest', user_identity: 'ada', room: false, resume_window_s: 60, idempotency_key: 'k' };
    const late = await TestClient.connect(url);
    const client = await TestClient.connect(url);
    const made = await client.ask(wish);
    late.send(wish);
    expect(await late.closed).toEqual(takenOver);
    expect(await client.ask({ type: 'GetSessionRequest' })).toMatchObject({ link: 'attached' });
    client.ws.terminate();
    await expect.poll(() => read(made.session_id)).toMatchObject({ link: 'away' });
    expect((await comeBack(url, made, made.seq)).answer).toMatchObject({ recovered: true });
  });

  test('and one that comes late while its client is away leaves it the token, too, and goes on', async () => {
    const { url, read } = await startStage();
    const wish = { type: 'NewSessionRequest', user_identity: 'ada', room: false, resume_window_s: 60, idempotency_key: 'k' };
    const late = await TestClient.connect(url);
    const client = await TestClient.connect(url);
    const made = await client.ask(wish);
    client.ws.terminate();
    await expect.poll(() => read(made.session_id)).toMatchObject({ link: 'away' });
    expect(await late.ask(wish)).toMatchObject({
      type: 'Error',
      code: 'ILLEGAL_STATE',
      message: "a newer socket of this session's client held it and may return",
      details: { session_id: made.session_id },
    });
    expect(await read(made.session_id)).toMatchObject({ link: 'away' });
    expect((await comeBack(url, made, made.seq)).answer).toMatchObject({ recovered: true });
    // it holds nothing, and is as good as new
    expect(await late.ask({ ...wish, idempotency_key: 'another' })).toMatchObject({ type: 'NewSessionResponse', replayed: false });
  });
});

/** A gateway without a session. */
async function startStage(config: Parameters<typeof startGateway>[0] = {}) {
  const gateway = await startGateway(config);
  const read = async (id: string) => (await rest(`${gateway.url}/api/v1/sessions/${id}`)).body;
  return { ...gateway, read };
}

test('a resume answer that is lost is asked for again, and nothing is missed', async () => {
  const { url, made, breaks, say, read } = await resumable();
  await breaks();
  await say('one');
  const proxy = await TcpProxy.before(portOf(url));
  proxy.rule = (from, text) => (from === 'server' && text.includes('ResumeResponse') ? 'cut' : 'pass');
  const lost = comeBack(`http://127.0.0.1:${proxy.port}`, made, made.seq);
  await expect(lost).rejects.toThrow('closed 1006');
  await say('two');
  const { client, answer } = await comeBack(url, made, made.seq);
  expect(answer).toMatchObject({ recovered: true, from_seq: made.seq + 1, to_seq: made.seq + 2 });
  await client.next('ResumeComplete');
  expect(eventsAt(client).map(({ content }) => content)).toEqual(['one', 'two']);
  expect(await read()).toMatchObject({ link: 'attached' });
});

describe('a gap that cannot be filled', () => {
  const said = { type: 'ResumeResponse', recovered: false, snapshot: { status: 'Ready' }, access_token: 'client-token-of-ada' };

  test('is said: of more than 512 events none is sent, but the state and a token', async () => {
    const { made, breaks, back, say } = await resumable();
    await breaks();
    for (let i = 0; i < 520; i += 40) await Promise.all(range(1, 40).map((n) => say(`${i + n}`)));
    const to_seq = made.seq + 520;
    const { client, answer } = await back(made.seq);
    expect(answer).toMatchObject({ ...said, from_seq: to_seq + 1, to_seq, snapshot: { status: 'Ready', seq: to_seq, messages: 520 } });
    expect(await client.next('ResumeComplete')).toMatchObject({ seq: to_seq });
    await say('new');
    expect(await client.next('MessageAdded')).toMatchObject({ seq: to_seq + 1, content: 'new' });
    expect(client.types()).toEqual(['ResumeResponse', 'ResumeComplete', 'MessageAdded']);
    // the last 512 are no gap
    await breaks(client);
    const { client: again, answer: whole } = await back(to_seq + 1 - 512);
    expect(whole).toMatchObject({ recovered: true });
    await again.next('ResumeComplete');
    expect(seqsAt(again)).toEqual(range(to_seq + 2 - 512, to_seq + 1));
  });

  test('is said as well to a client that is ahead of the log', async () => {
    const { made, breaks, back, say } = await resumable();
    await breaks();
    await say('one');
    const { client, answer } = await back(made.seq + 2);
    expect(answer).toMatchObject({ ...said, from_seq: made.seq + 2, to_seq: made.seq + 1 });
    await client.next('ResumeComplete');
    expect(eventsAt(client)).toEqual([]);
  });

  test('of a session that is not ready has no token', async () => {
    const { breaks, back } = await resumable({ required_services: ['asr'] });
    await breaks();
    const { answer } = await back(1_000);
    expect(answer).toMatchObject({ recovered: false, snapshot: { status: 'WaitingForServices', pending_services: ['asr'] } });
    expect(answer).not.toHaveProperty('access_token');
  });
});

describe('a resume attempt that is refused', () => {
  /** Everything an attempt may not change. */
  async function untouched() {
    const stage = await resumable();
    const { url, client, made } = stage;
    const service = await connectService(url, 'asr');
    const { session_id: none } = await (await TestClient.connect(url)).ask({
      type: 'NewSessionRequest',
      user_identity: 'bob',
      room: false,
    });
    const { body: overRest } = await rest(`${url}/api/v1/sessions`, 'POST', { user_identity: 'bob', room: false, resume_window_s: 60 });
    const { session_id, resume_token } = made;
    const attempts: Record<string, { session_id: string; resume_token: string }> = {
      'a wrong token': { session_id, resume_token: 'x'.repeat(32) },
      'a token that is longer': { session_id, resume_token: `${resume_token}=` },
      'an unknown session': { session_id: 'nobody', resume_token },
      'a session without a window': { session_id: none, resume_token },
      'a session that gave no token': { session_id: overRest.session_id, resume_token: '' },
      'another session': { session_id: overRest.session_id, resume_token },
    };
    return { ...stage, client, service, attempts };
  }

  test('has one answer, whatever is wrong, and changes nothing', async () => {
    const { url, attempts, read, client, clock, service } = await untouched();
    const before = await read();
    const answers: Frame[] = [];
    for (const attempt of Object.values(attempts)) {
      const other = await TestClient.connect(url);
      answers.push(await other.ask({ type: 'ResumeRequest', last_seq: 0, ...attempt, resume_token: attempt.resume_token || 'none' }));
      expect(await other.ask({ type: 'Ping' })).toMatchObject({ type: 'Pong' });
    }
    expect(saidOf(answers[0] as Frame)).toEqual({
      type: 'Error',
      error: 'Gone',
      code: 'RESUME_INVALID',
      message: 'No session can be resumed with this token',
      timestamp: new Date(clock.now()).toISOString(),
      retryable: false,
    });
    expect(new Set(answers.map((answer) => JSON.stringify(saidOf(answer)))).size).toBe(1);
    expect(await read()).toEqual(before);
    // the old socket is there, and it alone
    expect(await client.ask({ type: 'GetSessionRequest' })).toMatchObject({ link: 'attached' });
    expect(service.types()).toEqual(['RegisterServiceResponse']);
  });

  test('leaves the window of a session that is away as it is', async () => {
    const { url, attempts, read, clock, breaks } = await untouched();
    await breaks();
    const before = await read();
    await clock.advance(30_000);
    for (const attempt of Object.values(attempts)) {
      const other = await TestClient.connect(url);
      await other.ask({ type: 'ResumeRequest', last_seq: 0, ...attempt, resume_token: attempt.resume_token || 'none' });
    }
    expect(await read()).toEqual(before);
    await clock.advance(29_000);
    expect(await read()).toEqual(before);
    await clock.advance(2_000);
    expect(await read()).toMatchObject({ end_reason: 'resume_expired' });
  });

  test('twenty times in a row closes the socket', async () => {
    const { url, made } = await resumable();
    const client = await TestClient.connect(url);
    const wrong = { type: 'ResumeRequest', session_id: made.session_id, resume_token: 'wrong', last_seq: 0 };
    for (let i = 0; i < 19; i++) expect(await client.ask(wrong)).toMatchObject({ code: 'RESUME_INVALID' });
    client.send(wrong);
    expect(await client.closed).toEqual({ code: 4413, reason: 'too many refused frames' });
  });

  test('gives the socket no role, and one of a service may not ask at all', async () => {
    const { url, made } = await resumable();
    const socket = await TestClient.connect(url);
    const { session_id, resume_token } = made;
    await socket.ask({ type: 'ResumeRequest', session_id, resume_token: 'wrong', last_seq: 0 });
    expect(await socket.ask({ type: 'RegisterServiceRequest', service_id: 'asr' })).toMatchObject({ type: 'RegisterServiceResponse' });
    expect(await socket.ask({ type: 'ResumeRequest', session_id, resume_token, last_seq: 0 })).toMatchObject({ code: 'FORBIDDEN' });
  });

  test('on a socket that holds another session leaves both where they are', async () => {
    const { url, made, client, read } = await resumable();
    const other = await TestClient.connect(url);
    const { session_id } = await other.ask({ type: 'NewSessionRequest', user_identity: 'bob', room: false });
    const { version } = await read();
    const asked = { type: 'ResumeRequest', session_id: made.session_id, resume_token: made.resume_token, last_seq: 0 };
    expect(await other.ask(asked)).toMatchObject({ code: 'SESSION_ALREADY_EXISTS', session_id });
    expect(await read()).toMatchObject({ version });
    expect(await client.ask({ type: 'GetSessionRequest' })).toMatchObject({ session_id: made.session_id });
    expect(await other.ask({ type: 'GetSessionRequest' })).toMatchObject({ session_id });
    // its own over, it may have the other
    await other.ask({ type: 'EndSessionRequest' });
    await other.next('SessionEnded');
    expect(await other.ask(asked)).toMatchObject({ recovered: true });
    expect(await client.closed).toEqual(takenOver);
  });
});

describe('the window', () => {
  test('ends the session with resume_expired: its services leave, its room goes, and its token is answered so', async () => {
    const { url, rooms, clock, read, holds } = await startStage();
    const asr = await connectService(url, 'asr');
    const client = await TestClient.connect(url);
    const made = await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: ['asr'], resume_window_s: 60 });
    await client.next('SessionReady');
    rooms.join(made.room_name, 'asr', 'agent');
    rooms.join(made.room_name, 'ada');
    await clock.advance(3_000);
    await client.next('SessionActive');
    const watcher = await TestClient.connect(url);
    await watcher.ask({ type: 'WatchRequest', session_id: made.session_id });
    client.ws.terminate();
    await expect.poll(async () => (await read(made.session_id)).link).toBe('away');
    await clock.advance(59_000);
    expect(await read(made.session_id)).toMatchObject({ status: 'Active', link: 'away' });
    expect(asr.types()).not.toContain('LeaveRoomRequest');
    await clock.advance(2_000);
    expect(await asr.next('LeaveRoomRequest')).toMatchObject({ reason: 'resume_expired' });
    expect(await watcher.next('SessionEnded')).toMatchObject({ reason: 'resume_expired', by: 'gateway' });
    const ended = await read(made.session_id);
    expect(ended).toMatchObject({ status: 'Terminated', end_reason: 'resume_expired', link: 'none' });
    expect(ended).not.toHaveProperty('resume_deadline');
    expect(rooms.open.size).toBe(0);
    expect(holds()).toMatchObject({ live_sessions: 0, watched_rooms: 0, waiting: 0 });

    const late = await comeBack(url, made, made.seq);
    expect(late.answer).toMatchObject({ type: 'Error', code: 'RESUME_EXPIRED', error: 'Gone', retryable: false });
    expect((await comeBack(url, { ...made, resume_token: 'wrong' }, 0)).answer).toMatchObject({ code: 'RESUME_INVALID' });
    // the socket is free for a new one
    expect(await late.client.ask({ type: 'NewSessionRequest', user_identity: 'ada', room: false })).toMatchObject({ status: 'Active' });
  });

  test('is over with the resume, and begins anew with the next break', async () => {
    const { made, breaks, back, clock, read } = await resumable();
    await breaks();
    await clock.advance(50_000);
    const { client } = await back(made.seq);
    await clock.advance(120_000);
    expect(await read()).toMatchObject({ status: 'Ready', link: 'attached' });
    await breaks(client);
    await clock.advance(50_000);
    expect(await read()).toMatchObject({ status: 'Ready', link: 'away' });
    await clock.advance(11_000);
    expect(await read()).toMatchObject({ end_reason: 'resume_expired' });
  });

  test('of 0, which is the default, means that the session ends with its socket', async () => {
    const { url, read } = await startStage();
    for (const wish of [{}, { resume_window_s: 0 }]) {
      const client = await TestClient.connect(url);
      const made = await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: [], ...wish });
      expect(made).toMatchObject({ resume_window_s: 0 });
      expect(made).not.toHaveProperty('resume_token');
      client.ws.terminate();
      await expect.poll(() => read(made.session_id)).toMatchObject({ status: 'Terminated', end_reason: 'client_gone' });
      expect((await comeBack(url, { ...made, resume_token: 'any' }, 0)).answer).toMatchObject({ code: 'RESUME_INVALID' });
    }
  });
});

describe('while the client is away the session goes on', () => {
  test('from Creating: the room is created, and exists when it returns with its key', async () => {
    const { url, rooms, clock, read, holds } = await startStage();
    rooms.holdCreate();
    const wish = { type: 'NewSessionRequest', user_identity: 'ada', required_services: [], resume_window_s: 60, idempotency_key: 'k' };
    const first = await TestClient.connect(url);
    first.send(wish);
    await first.caughtUp();
    const [{ session_id }] = (await rest(`${url}/api/v1/sessions`)).body.items;
    first.ws.terminate();
    await expect.poll(() => read(session_id)).toMatchObject({ status: 'Creating', link: 'away' });
    expect(holds().live_sessions).toBe(0);
    rooms.letCreate();
    await clock.advance(1_000);
    expect(await read(session_id)).toMatchObject({ status: 'Ready', link: 'away' });
    const second = await TestClient.connect(url);
    const made = await second.ask(wish);
    expect(made).toMatchObject({ session_id, replayed: true, status: 'Ready', access_token: 'client-token-of-ada', resume_window_s: 60 });
    expect(await read(session_id)).toMatchObject({ link: 'attached' });
    second.ws.terminate();
    await expect.poll(() => read(session_id)).toMatchObject({ link: 'away' });
    const { client, answer } = await comeBack(url, made, 0);
    expect(answer).toMatchObject({ recovered: true });
    await client.next('ResumeComplete');
    expect(seqsAt(client)).toEqual([1, 2, 3]);
  });

  test('from WaitingForServices to Ready: SessionReady comes with a token of its own, and to a watcher without', async () => {
    const { url, made, breaks, back } = await resumable({ required_services: ['asr'], visibility: 'public' });
    expect(made).toMatchObject({ status: 'WaitingForServices' });
    const bob = await TestClient.connect(url);
    await bob.ask({ type: 'NewSessionRequest', user_identity: 'bob', room: false });
    await bob.ask({ type: 'WatchRequest', session_id: made.session_id });
    await breaks();
    await connectService(url, 'asr');
    await bob.next('SessionReady');
    for (const round of [1, 2]) {
      const { client, answer } = await back(made.seq);
      expect(answer, `${round}`).toMatchObject({ recovered: true, snapshot: { status: 'Ready', ready_services: ['asr'] } });
      expect(await client.next('SessionReady')).toMatchObject({ access_token: 'client-token-of-ada', room_name: made.room_name });
      await client.next('ResumeComplete');
      await breaks(client);
    }
    expect(JSON.stringify(bob.all)).not.toContain('client-token');
    expect(JSON.stringify(bob.all)).not.toContain(made.resume_token);
    expect(JSON.stringify(bob.all)).not.toContain('resume_token');
  });

  test('from Ready to Active, and the user in the room is not put out', async () => {
    const { made, breaks, back, rooms, clock, read } = await resumable();
    await breaks();
    rooms.join(made.room_name, 'ada');
    await clock.advance(3_000);
    expect(await read()).toMatchObject({ status: 'Active', link: 'away' });
    const { client } = await back(made.seq);
    expect(await client.next('SessionActive')).toMatchObject({ participant: { identity: 'ada' } });
    await client.next('ResumeComplete');
    expect(rooms.open.get(made.room_name)?.has('ada')).toBe(true);
    await breaks(client);
    await clock.advance(59_000);
    expect(await read()).toMatchObject({ status: 'Active', link: 'away', participants: [{ identity: 'ada' }] });
  });

  test('a user who leaves the room with the socket has the window and ten seconds to come back', async () => {
    const { made, client, breaks, back, rooms, clock, read } = await resumable();
    rooms.join(made.room_name, 'ada');
    await clock.advance(3_000);
    await client.next('SessionActive');
    rooms.leave(made.room_name, 'ada');
    await breaks();
    await clock.advance(55_000);
    expect(await read()).toMatchObject({ status: 'Ready', link: 'away' });
    const { client: fresh } = await back(0);
    await fresh.next('ResumeComplete');
    await clock.advance(9_000);
    expect(await read()).toMatchObject({ status: 'Ready', link: 'attached' });
    rooms.join(made.room_name, 'ada');
    await clock.advance(3_000);
    expect(await read()).toMatchObject({ status: 'Active' });
    rooms.leave(made.room_name, 'ada');
    await clock.advance(105_000);
    expect(await read()).toMatchObject({ end_reason: 'client_gone' });
  });

  test.each([
    ['ended', '/terminate', 'POST', 'client_ended'],
    ['deleted', '', 'DELETE', 'owner_deleted'],
  ] as const)(
    'one that is %s meanwhile tells the rest of its log through SessionEnded, and the socket is free',
    async (_, suffix, method, reason) => {
      const { made, path, breaks, back, say, clock, holds } = await resumable();
      await breaks();
      await say('before the end');
      await rest(`${path}${suffix}`, method);
      await clock.advance(1_000);
      const { client, answer } = await back(made.seq);
      expect(answer).toMatchObject({
        recovered: true,
        to_seq: made.seq + 4,
        snapshot: { status: 'Terminated', link: 'none', end_reason: reason },
      });
      await client.next('ResumeComplete');
      const types = ['MessageAdded', 'SessionStatusChanged', 'SessionStatusChanged', 'SessionEnded'];
      expect(client.types()).toEqual(['ResumeResponse', ...types, 'ResumeComplete']);
      expect(eventsAt(client)[0]).toMatchObject({ content: reason === 'owner_deleted' ? '' : 'before the end' });
      expect(await client.next('SessionEnded')).toMatchObject({ reason });
      expect(holds().live_sessions).toBe(0);
      expect(await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', room: false })).toMatchObject({ status: 'Active' });
      // and to one that has it all
      const { client: other, answer: nothing } = await back(made.seq + 4);
      expect(nothing).toMatchObject({ recovered: true, from_seq: made.seq + 5, to_seq: made.seq + 4 });
      expect(await other.next('ResumeComplete')).toMatchObject({ seq: made.seq + 4 });
      expect(await other.ask({ type: 'NewSessionRequest', user_identity: 'ada', room: false })).toMatchObject({ status: 'Active' });
      // and to one for which there is a gap
      const { client: third, answer: gap } = await back(1_000);
      expect(gap).toMatchObject({ recovered: false, snapshot: { status: 'Terminated', end_reason: reason } });
      await third.next('ResumeComplete');
      expect(await third.ask({ type: 'NewSessionRequest', user_identity: 'ada', room: false })).toMatchObject({ status: 'Active' });
    },
  );

  test.each([
    ['half open', false],
    ['broken', true],
  ])('one that is ending, its old socket %s, is sent to the newer one until SessionEnded', async (_, isBroken) => {
    const { url, clock, read } = await startStage();
    // it never leaves: the end takes its three seconds
    const asr = await connectService(url, 'asr', { auto: false });
    const old = await TestClient.connect(url);
    const made = await old.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: ['asr'], resume_window_s: 60 });
    const { assignment_id } = await asr.next('JoinRoomRequest');
    asr.send({ type: 'ServiceReady', assignment_id });
    await old.next('SessionReady');
    if (isBroken) {
      old.ws.terminate();
      await expect.poll(() => read(made.session_id)).toMatchObject({ link: 'away' });
    }
    await rest(`${url}/api/v1/sessions/${made.session_id}/terminate`, 'POST');
    const { client, answer } = await comeBack(url, made, made.seq);
    expect(answer).toMatchObject({ recovered: true, snapshot: { status: 'Terminating' } });
    await client.next('ResumeComplete');
    if (!isBroken) expect(await old.closed).toEqual(takenOver);
    await clock.advance(4_000);
    expect(await client.next('SessionEnded')).toMatchObject({ reason: 'client_ended' });
    expect(await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', room: false })).toMatchObject({ status: 'Active' });
  });
});

describe('which end of a socket is no break', () => {
  test.each([
    ['with 1000', (client: TestClient) => client.ws.close(1000), 'client_ended'],
    ['without a code', (client: TestClient) => client.ws.close(), 'client_ended'],
  ])('a close %s ends the session at once', async (_, end, reason) => {
    const { client, made, read, back } = await resumable();
    end(client);
    await expect.poll(read).toMatchObject({ status: 'Terminated', end_reason: reason });
    // its client may still learn why
    expect((await back(made.seq)).answer).toMatchObject({ recovered: true, snapshot: { end_reason: reason } });
  });

  test.each([
    ['with 1001, as a page that is left', (client: TestClient) => client.ws.close(1001)],
    ['with a code of its own', (client: TestClient) => client.ws.close(4000)],
    ['by a frame that is too large', (client: TestClient) => client.send({ type: 'Ping', pad: 'x'.repeat(70_000) })],
    ['by a frame that is no JSON', (client: TestClient) => client.send('{')],
    ['by a binary frame', (client: TestClient) => client.ws.send(Buffer.from('{}'))],
    ['by a flood', (client: TestClient) => range(1, 1_100).forEach(() => void client.send({ type: 'Ping' }))],
  ])('one that ends %s leaves it away', async (_, end) => {
    const { client, made, read, back } = await resumable();
    end(client);
    await expect.poll(read).toMatchObject({ status: 'Ready', link: 'away' });
    expect((await back(made.seq)).answer).toMatchObject({ recovered: true });
  });

  test('a peer that answers the gateway s close with 1000 has not asked for the end', async () => {
    const { url, read } = await startStage();
    const { hostname, port } = new URL(url);
    const socket = connect(Number(port), hostname);
    onTestFinished(() => void socket.destroy());
    await once(socket, 'connect');
    socket.write(
      `GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${Buffer.alloc(16).toString('base64')}\r\n\r\n`,
    );
    let got = '';
    socket.on('data', (data) => {
      got += data.toString('latin1');
    });
    const says = (text: string) => {
      const body = Buffer.from(text);
      socket.write(Buffer.concat([Buffer.from([0x81, 0xfe, body.length >> 8, body.length & 0xff, 0, 0, 0, 0]), body]));
    };
    says(
      JSON.stringify({ type: 'NewSessionRequest', user_identity: 'ada', room: false, resume_window_s: 60, user_name: 'Ada'.repeat(20) }),
    );
    await expect.poll(() => got).toContain('resume_token');
    const session_id = /"session_id":"([^"]+)"/.exec(got)?.[1] ?? '';
    says(`{${' '.repeat(130)}`);
    await expect.poll(() => got).toContain('bad message');
    socket.write(Buffer.from([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]));
    await expect.poll(() => read(session_id)).toMatchObject({ status: 'Active', link: 'away' });
  });
});

describe('a creation asked for again', () => {
  const keyed = { type: 'NewSessionRequest', user_identity: 'ada', required_services: [], resume_window_s: 60, idempotency_key: 'k' };

  test.each([
    ['while its socket is there', false],
    ['while it is away', true],
  ])('%s gives a fresh token, and the old one ends', async (_, isAway) => {
    const { url, read } = await startStage();
    const first = await TestClient.connect(url);
    const made = await first.ask(keyed);
    if (isAway) {
      first.ws.terminate();
      await expect.poll(() => read(made.session_id)).toMatchObject({ link: 'away' });
    }
    const second = await TestClient.connect(url);
    const again = await second.ask(keyed);
    expect(again).toMatchObject({ session_id: made.session_id, replayed: true, resume_token: expect.any(String) });
    expect(again.resume_token).not.toBe(made.resume_token);
    expect((await comeBack(url, made, made.seq)).answer).toMatchObject({ code: 'RESUME_INVALID' });
    expect(await second.ask({ type: 'GetSessionRequest' })).toMatchObject({ link: 'attached' });
    expect((await comeBack(url, again, made.seq)).answer).toMatchObject({ recovered: true });
    expect(await second.closed).toEqual(takenOver);
  });

  test('one that ends while it is asked for again is sent its end, and the socket is free', async () => {
    let afterNext: (() => Promise<unknown>) | undefined;
    registerStoreProvider('ending', async (): Promise<StoreProvider> => {
      const memory = memoryStore();
      return {
        ...memory,
        async loadSession(id) {
          const found = await memory.loadSession(id);
          const then = afterNext;
          afterNext = undefined;
          await then?.();
          return found;
        },
      };
    });
    const { url } = await startGateway({ storage: { url: 'ending:' } });
    const { session_id } = await (await TestClient.connect(url)).ask(keyed);
    const client = await TestClient.connect(url);
    // it is found alive by its key, and ends before the socket has it
    afterNext = () => rest(`${url}/api/v1/sessions/${session_id}/terminate`, 'POST');
    expect(await client.ask(keyed)).toMatchObject({ type: 'NewSessionResponse', session_id, replayed: true });
    expect(await client.next('SessionEnded')).toMatchObject({ session_id });
    expect(await client.ask({ ...keyed, idempotency_key: 'another' })).toMatchObject({ type: 'NewSessionResponse', replayed: false });
  });

  test('over REST it gives none, but on a socket then', async () => {
    const { url, read } = await startStage();
    const { type: _, idempotency_key, ...body } = keyed;
    const { body: made } = await rest(`${url}/api/v1/sessions`, 'POST', body, { headers: { 'idempotency-key': idempotency_key } });
    expect(made).toMatchObject({ resume_window_s: 60 });
    expect(made).not.toHaveProperty('resume_token');
    expect(await read(made.session_id)).toMatchObject({ link: 'none' });
    const client = await TestClient.connect(url);
    const again = await client.ask({ ...keyed, token_policy: undefined });
    expect(again).toMatchObject({ session_id: made.session_id, replayed: true, resume_token: expect.any(String) });
    client.ws.terminate();
    await expect.poll(() => read(made.session_id)).toMatchObject({ link: 'away' });
    expect((await comeBack(url, again, again.seq)).answer).toMatchObject({ recovered: true });
  });
});

describe('two sockets', () => {
  test('that resume at once: one holds the session, the other gets 4409', async () => {
    const { url, made, breaks, say, holds, read } = await resumable();
    await breaks();
    await say('missed');
    const sockets = await Promise.all(range(1, 5).map(() => TestClient.connect(url)));
    const { session_id, resume_token } = made;
    for (const socket of sockets) socket.send({ type: 'ResumeRequest', session_id, resume_token, last_seq: made.seq });
    await expect.poll(() => holds()).toMatchObject({ sockets: 1, live_sessions: 1 });
    const [winner] = sockets.filter(({ ws }) => ws.readyState === ws.OPEN);
    for (const socket of sockets) if (socket !== winner) expect(await socket.closed).toEqual(takenOver);
    expect(await winner?.ask({ type: 'GetSessionRequest' })).toMatchObject({ session_id, link: 'attached' });
    expect(winner?.types()).toEqual(['ResumeResponse', 'MessageAdded', 'ResumeComplete', 'GetSessionResponse']);
    expect(await read()).toMatchObject({ link: 'attached' });
  });

  test('whose answers of the storage come in the other order: the later commit holds it', async () => {
    let slow: Promise<void> | undefined;
    let letGo = () => {};
    registerStoreProvider('unordered', async (): Promise<StoreProvider> => {
      const memory = memoryStore();
      return {
        ...memory,
        async saveSession(...args) {
          const waits = slow;
          slow = undefined;
          await memory.saveSession(...args);
          await waits;
        },
      };
    });
    const { url, made, breaks, back, read, holds } = await resumable({}, { storage: { url: 'unordered:' } });
    await breaks();
    const { version } = await read();
    slow = new Promise((go) => {
      letGo = go;
    });
    const first = await TestClient.connect(url);
    const { session_id, resume_token } = made;
    first.send({ type: 'ResumeRequest', session_id, resume_token, last_seq: 0 });
    await expect.poll(read).toMatchObject({ version: version + 1, link: 'attached' });
    const coming = back(made.seq);
    await expect.poll(read).toMatchObject({ version: version + 2 });
    letGo();
    const { client: second } = await coming;
    expect(await first.closed).toEqual(takenOver);
    expect(await second.ask({ type: 'GetSessionRequest' })).toMatchObject({ link: 'attached' });
    expect(holds().live_sessions).toBe(1);
    await breaks(second);
  });

  test('that ask with one key at once: one session is created, and the later socket holds it and nothing else', async () => {
    let held: (() => void)[] | undefined = [];
    registerStoreProvider('hesitant', async (): Promise<StoreProvider> => {
      const memory = memoryStore();
      return {
        ...memory,
        async saveSession(...args) {
          if (held) await new Promise<void>((go) => held?.push(go));
          await memory.saveSession(...args);
        },
      };
    });
    const { url, holds } = await startGateway({ storage: { url: 'hesitant:' } });
    const [first, second] = [await TestClient.connect(url), await TestClient.connect(url)];
    const keyed = { type: 'NewSessionRequest', user_identity: 'ada', required_services: [], idempotency_key: 'k', resume_window_s: 60 };
    for (const socket of [first, second]) socket.send(keyed);
    await expect.poll(() => held?.length).toBe(2);
    const waiting = held;
    held = undefined;
    for (const go of waiting) go();
    const { session_id } = await second.next((frame) => frame.type === 'NewSessionResponse' && frame.replayed === true);
    expect(await first.closed).toEqual(takenOver);
    await expect.poll(() => holds()).toMatchObject({ sockets: 1, live_sessions: 1 });
    expect(await second.ask({ type: 'GetSessionRequest' })).toMatchObject({ session_id, link: 'attached' });
  });

  test('of which one holds the session already: its own resume answers on it and breaks nothing', async () => {
    const { made, client, say, read } = await resumable();
    await say('one');
    await client.next('MessageAdded');
    const { session_id, resume_token } = made;
    const answer = await client.ask({ type: 'ResumeRequest', session_id, resume_token, last_seq: made.seq });
    expect(answer).toMatchObject({ recovered: true, from_seq: made.seq + 1, to_seq: made.seq + 1 });
    await client.next('ResumeComplete');
    await say('two');
    await client.next((frame) => frame.content === 'two');
    expect(eventsAt(client).map(({ content }) => content)).toEqual(['one', 'one', 'two']);
    expect(await read()).toMatchObject({ link: 'attached' });
  });
});

describe('with a storage that is slow or down', () => {
  /** A store whose calls fail or wait while a test says so. */
  function moody() {
    const mood: { down: boolean; readOnly: boolean; saving: Promise<void> | undefined } = {
      down: false,
      readOnly: false,
      saving: undefined,
    };
    registerStoreProvider('moody', async (): Promise<StoreProvider> => {
      const memory = memoryStore();
      const up = async () => {
        if (mood.down) throw new StorageError('down');
      };
      return {
        ...memory,
        saveSession: async (...args) => {
          await mood.saving;
          await up();
          if (mood.readOnly) throw new StorageError('read only');
          return memory.saveSession(...args);
        },
        loadSession: (id) => up().then(() => memory.loadSession(id)),
        eventsAfter: (...args) => up().then(() => memory.eventsAfter(...args)),
        due: (...args) => up().then(() => memory.due(...args)),
        ping: up,
      };
    });
    return { mood, config: { storage: { url: 'moody:' } } };
  }

  test('a resume is answered by STORAGE_ERROR, and changes nothing', async () => {
    const { mood, config } = moody();
    const { url, made, client, read, back, clock } = await resumable({}, config);
    const before = await read();
    mood.down = true;
    const { client: other, answer } = await back(made.seq);
    expect(answer).toMatchObject({ type: 'Error', code: 'STORAGE_ERROR', retryable: true });
    mood.down = false;
    expect(await read()).toEqual(before);
    expect(await client.ask({ type: 'GetSessionRequest' })).toMatchObject({ link: 'attached' });
    const { session_id, resume_token } = made;
    expect(await other.ask({ type: 'ResumeRequest', session_id, resume_token, last_seq: made.seq })).toMatchObject({ recovered: true });
    expect(await client.closed).toEqual(takenOver);
    // a break while it is down is known when it is back
    mood.down = true;
    other.ws.terminate();
    await other.closed;
    await clock.advance(5_000);
    mood.down = false;
    await clock.advance(2_000);
    expect(await read()).toMatchObject({ link: 'away' });
    expect((await comeBack(url, made, made.seq)).answer).toMatchObject({ recovered: true });
  });

  test('a creation that is asked for again gets STORAGE_ERROR too, and the socket is free', async () => {
    const { mood, config } = moody();
    const { url, holds } = await startStage(config);
    const keyed = { type: 'NewSessionRequest', user_identity: 'ada', room: false, resume_window_s: 60, idempotency_key: 'k' };
    const first = await TestClient.connect(url);
    const made = await first.ask(keyed);
    mood.down = true;
    const second = await TestClient.connect(url);
    expect(await second.ask(keyed)).toMatchObject({ code: 'STORAGE_ERROR' });
    mood.down = false;
    mood.readOnly = true;
    expect(await second.ask(keyed)).toMatchObject({ code: 'STORAGE_ERROR' });
    mood.readOnly = false;
    expect(await first.ask({ type: 'GetSessionRequest' })).toMatchObject({ link: 'attached' });
    expect(holds().live_sessions).toBe(1);
    expect(await second.ask(keyed)).toMatchObject({ session_id: made.session_id, replayed: true });
  });

  test.each([
    ['breaks', (client: TestClient) => client.ws.terminate(), { status: 'Ready', link: 'away' }],
    ['is closed with 1000', (client: TestClient) => client.ws.close(1000), { status: 'Terminated', end_reason: 'client_ended' }],
  ])('a socket that %s while its resume is in work holds nothing', async (_, end, then) => {
    const { mood, config } = moody();
    const { url, made, breaks, read, holds } = await resumable({}, config);
    await breaks();
    let letGo = () => {};
    mood.saving = new Promise((go) => {
      letGo = go;
    });
    const client = await TestClient.connect(url);
    const { session_id, resume_token } = made;
    client.send({ type: 'ResumeRequest', session_id, resume_token, last_seq: 0 });
    await settled();
    end(client);
    await expect.poll(() => holds().sockets).toBe(0);
    mood.saving = undefined;
    letGo();
    await expect.poll(read).toMatchObject(then);
    expect(holds().live_sessions).toBe(0);
  });
});
