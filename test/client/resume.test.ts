import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { rest } from '../support/http-service.ts';
import { connected, connectionIs, contents, next, seqsOf, withSession } from './open.ts';

const range = (n: number) => Array.from({ length: n }, (_, i) => i);

/** Waits between tries are short, so that nobody waits for them. */
beforeEach(() => {
  const random = vi.spyOn(Math, 'random').mockReturnValue(0.02);
  onTestFinished(() => random.mockRestore());
});

describe('after a break', () => {
  test('in which nothing happened the session goes on', async () => {
    const { session, proxy, events, heard, gateway } = await withSession();
    const before = session.seq;
    const resumed = next(session, 'resumed');
    proxy.cut();
    expect(await resumed).toMatchObject({ recovered: true, snapshot: { session_id: session.id, status: 'Ready' } });
    await connectionIs(session, 'open');
    expect([session.seq, session.status]).toEqual([before, 'Ready']);
    await session.say('user', 'hello');
    await heard('hello');
    expect(contents(events)).toEqual(['hello']);
    expect(gateway.holds()).toMatchObject({ live_sessions: 1 });
  });

  test('every event comes once and in order, also those of the time without a connection', async () => {
    const { session, proxy, events, heard, hear } = await withSession();
    await hear('before');
    await heard('before');
    proxy.rule = () => 'cut';
    proxy.cut();
    await connectionIs(session, 'waiting');
    for (const i of range(70)) await hear(`${i}`);
    proxy.rule = () => 'pass';
    await connectionIs(session, 'open');
    await session.say('user', 'after');
    await heard('after');
    expect(contents(events)).toEqual(['before', ...range(70).map(String), 'after']);
    expect(seqsOf(events)).toEqual(range(events.length).map((i) => session.opened.seq + 1 + i));
  });

  test('and another one at once the session goes on', async () => {
    const { session, proxy, events, heard, hear } = await withSession();
    for (const i of range(3)) {
      const resumed = next(session, 'resumed');
      proxy.cut();
      expect(await resumed).toMatchObject({ recovered: true });
      await connectionIs(session, 'open');
      await hear(`${i}`);
    }
    await session.say('user', 'end');
    await heard('end');
    expect(contents(events)).toEqual(['0', '1', '2', 'end']);
  });

  test('the answer to the resume may be lost as well', async () => {
    const { session, proxy, events, heard, hear } = await withSession();
    let lost = 0;
    proxy.rule = (from, text) => {
      if (from !== 'server' || !text.includes('"ResumeResponse"') || lost === 2) return 'pass';
      lost += 1;
      return 'cut';
    };
    proxy.cut();
    await connectionIs(session, 'waiting');
    await hear('meanwhile');
    await connectionIs(session, 'open');
    expect(lost).toBe(2);
    await session.say('user', 'after');
    await heard('after');
    expect(contents(events)).toEqual(['meanwhile', 'after']);
  });

  test('a command whose answer was lost has had one effect, and gets its answer', async () => {
    const { session, proxy, events, heard } = await withSession();
    let isLost = false;
    proxy.rule = (from, text) => {
      if (from !== 'server' || !text.includes('"UpdateSessionResponse"') || isLost) return 'pass';
      isLost = true;
      return 'cut';
    };
    const { version: before } = await session.get();
    const { version } = await session.update({ context_updates: { turn: 1 } });
    expect([isLost, version]).toEqual([true, before + 1]);
    await session.say('user', 'after');
    await heard('after');
    expect(events.filter(({ type }) => type === 'SessionUpdated')).toMatchObject([{ version }]);
  });

  test('a message whose answer was lost was said once', async () => {
    const { session, proxy } = await withSession();
    let isLost = false;
    proxy.rule = (from, text) => {
      if (from !== 'server' || !text.includes('"AddMessageResponse"') || isLost) return 'pass';
      isLost = true;
      return 'cut';
    };
    const { message_id } = await session.say('user', 'hello');
    expect(isLost).toBe(true);
    expect((await session.messages()).items).toMatchObject([{ message_id, content: 'hello' }]);
  });

  test('a message to a session that the client does not hold was said once, too', async () => {
    const { session, proxy, join } = await withSession({ visibility: 'public' });
    const other = join();
    let isLost = false;
    proxy.rule = (from, text) => {
      if (from !== 'server' || !text.includes('"AddMessageResponse"') || isLost) return 'pass';
      isLost = true;
      return 'cut';
    };
    const answer = await other.request('AddMessageRequest', { session_id: session.id, role: 'user', content: 'hello' });
    expect([isLost, answer.duplicate]).toEqual([true, true]);
    expect((await session.messages()).items).toMatchObject([{ message_id: answer.message_id, content: 'hello' }]);
    const own = { session_id: session.id, role: 'user', content: 'hello', message_id: 'm1' };
    expect(await other.request('AddMessageRequest', own)).toMatchObject({ message_id: 'm1' });
  });

  test('a session whose answer was lost was opened once, also by a plain request', async () => {
    const { client, proxy, gateway } = await connected();
    let isLost = false;
    proxy.rule = (from, text) => {
      if (from !== 'server' || !text.includes('"NewSessionResponse"') || isLost) return 'pass';
      isLost = true;
      return 'cut';
    };
    const { session_id, replayed } = await client.request('NewSessionRequest', { user_identity: 'ada', resume_window_s: 60 });
    expect([isLost, replayed]).toEqual([true, true]);
    expect((await rest(`${gateway.url}/api/v1/sessions`)).body.items).toMatchObject([{ session_id }]);
  });

  test('commands that never arrived are carried out, in their order, before those of the break', async () => {
    const { session, proxy, events, heard } = await withSession();
    proxy.rule = () => 'cut';
    const said = [session.say('user', 'a'), session.say('user', 'b')];
    await connectionIs(session, 'waiting');
    said.push(session.say('user', 'c'));
    proxy.rule = () => 'pass';
    await Promise.all(said);
    expect((await session.messages()).items.map(({ content }) => content)).toEqual(['a', 'b', 'c']);
    await heard('c');
    expect(contents(events)).toEqual(['a', 'b', 'c']);
  });

  test('that lasted for more events than are kept the session begins anew from its snapshot', async () => {
    const { session, proxy, events, heard, path } = await withSession();
    const [resumed, before] = [next(session, 'resumed'), events.length];
    proxy.rule = () => 'cut';
    proxy.cut();
    for (const turn of range(513)) await rest(path, 'PATCH', { context_updates: { turn } });
    proxy.rule = () => 'pass';
    const { recovered, snapshot } = await resumed;
    expect([recovered, snapshot.context]).toEqual([false, { turn: 512 }]);
    await connectionIs(session, 'open');
    expect(session.seq).toBe(snapshot.seq);
    expect(events).toHaveLength(before);
    expect(await session.ready()).toMatchObject({ room_name: `room-${session.id}`, access_token: expect.any(String) });
    await session.say('user', 'after');
    await heard('after');
    expect(seqsOf(events.slice(before))).toEqual([snapshot.seq + 1]);
  });

  test('in which it ended the session says why', async () => {
    const { session, proxy, events, path } = await withSession();
    proxy.rule = () => 'cut';
    proxy.cut();
    await connectionIs(session, 'waiting');
    await rest(`${path}/terminate`, 'POST');
    proxy.rule = () => 'pass';
    expect(await session.ended).toMatchObject({ reason: 'client_ended', by: 'client' });
    expect(events.at(-1)).toMatchObject({ type: 'SessionEnded' });
  });

  test('that lasted too long the session is over, and so is what waited for it', async () => {
    const { session, proxy, gateway, client } = await withSession({ resume_window_s: 20 });
    proxy.rule = () => 'cut';
    proxy.cut();
    await connectionIs(session, 'waiting');
    const said = expect(session.say('user', 'too late')).rejects.toMatchObject({ name: 'SessionOver', reason: 'resume_expired' });
    await gateway.clock.advance(40_000);
    proxy.rule = () => 'pass';
    expect(await session.ended).toEqual({ reason: 'resume_expired' });
    await said;
    await expect(session.ready()).rejects.toMatchObject({ reason: 'resume_expired' });
    const second = await client.newSession({ user_identity: 'ada' });
    expect(second.id).not.toBe(session.id);
  });

  test('in which another client took the session it is over here', async () => {
    const { session, proxy, gateway, join } = await withSession({ idempotency_key: 'one' });
    proxy.rule = () => 'cut';
    proxy.cut();
    await connectionIs(session, 'waiting');
    proxy.rule = () => 'pass';
    const isHeld = vi.spyOn(Math, 'random').mockReturnValue(1);
    const second = await join().newSession({ user_identity: 'ada', idempotency_key: 'one' });
    expect(second.id).toBe(session.id);
    isHeld.mockReturnValue(0.02);
    expect(await session.ended).toEqual({ reason: 'resume_invalid' });
    expect(gateway.holds()).toMatchObject({ live_sessions: 1 });
    await second.say('user', 'still here');
  });

  test('a session without a window is over at once, and the next can be opened', async () => {
    const { session, proxy, client, gateway } = await withSession({ resume_window_s: 0 });
    proxy.rule = () => 'cut';
    const said = expect(session.say('user', 'lost')).rejects.toMatchObject({ name: 'SessionOver', reason: 'client_gone' });
    expect(await session.ended).toEqual({ reason: 'client_gone', by: 'client' });
    await said;
    proxy.rule = () => 'pass';
    const second = await client.newSession({ user_identity: 'ada' });
    await second.ready();
    expect(gateway.holds()).toMatchObject({ live_sessions: 1 });
  });
});

describe('a connection that ends without a word', () => {
  test('is noticed, and the session taken from the old socket', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'], shouldAdvanceTime: true });
    onTestFinished(() => {
      vi.useRealTimers();
    });
    const { session, proxy, events, hear, gateway } = await withSession();
    const resumed = next(session, 'resumed');
    const held = new Set<string>();
    proxy.holdsEnds = true;
    proxy.rule = (from) => {
      held.add(from);
      return 'hold';
    };
    await hear('into the void');
    await vi.advanceTimersByTimeAsync(25_000);
    await vi.waitFor(() => expect([...held]).toEqual(['server', 'client']));
    proxy.rule = () => 'pass';
    await vi.advanceTimersByTimeAsync(10_000);
    expect(await resumed).toMatchObject({ recovered: true });
    await connectionIs(session, 'open');
    await session.get();
    expect(contents(events)).toEqual(['into the void']);
    expect(gateway.holds()).toMatchObject({ live_sessions: 1 });
  });
});

describe('a break before the session is there', () => {
  test.each([
    ['the request', 'client'],
    ['the answer', 'server'],
  ])('that loses %s opens one session anyway', async (_, loser) => {
    const { client, proxy, gateway } = await connected();
    await client.request('Ping', {});
    let isLost = false;
    proxy.rule = (from, text) => {
      if (isLost || from !== loser || (from === 'server' && !text.includes('"NewSessionResponse"'))) return 'pass';
      isLost = true;
      return 'cut';
    };
    const session = await client.newSession({ user_identity: 'ada' });
    await session.ready();
    expect(session.opened.replayed).toBe(loser === 'server');
    expect(gateway.holds()).toMatchObject({ live_sessions: 1 });
    expect((await client.request('ListSessionsRequest', {})).items).toHaveLength(1);
    expect(isLost).toBe(true);
  });
});
