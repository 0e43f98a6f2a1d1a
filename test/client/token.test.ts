import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { mint } from '../../src/auth/mint.ts';
import { ConnectionClosed, connect, TokenError } from '../../src/client/client.ts';
import { type ConnectionState, ReconnectingSocket, type ReconnectingSocketOptions } from '../../src/client/reconnecting-socket.ts';
import { serve } from '../../src/client/service.ts';
import { startGateway } from '../support/gateway.ts';
import { FakeSocket, fakeNetwork } from './fake-socket.ts';

const hello = { type: 'Hello' };
const expiring = { type: 'CredentialExpiring', expires_at: '2030-01-01T00:01:00.000Z' };
const turn = () => vi.advanceTimersByTimeAsync(1);

/** Offers as the gateway reads them. */
const offered = () => FakeSocket.all.map(({ protocols }) => protocols);
const withToken = (token: string) => ['session-gateway.v1', `bearer.${token}`];

/** A socket on a fake network; every delay is as long as its backoff may be. */
async function makeLink(token: ReconnectingSocketOptions['token']) {
  fakeNetwork();
  const random = vi.spyOn(Math, 'random').mockReturnValue(1);
  onTestFinished(() => random.mockRestore());
  const told = { states: [] as ConnectionState[], failed: [] as Error[], closed: [] as number[] };
  const link = new ReconnectingSocket(
    'ws://gateway/ws',
    {
      changed: (state) => told.states.push(state),
      frame: () => {},
      failed: (error) => told.failed.push(error),
      closed: (code) => told.closed.push(code),
    },
    { WebSocket: FakeSocket, token },
  );
  onTestFinished(() => void link.close());
  await turn();
  return { link, told };
}

/** Tokens t1, t2, ...; `asked` counts. */
function counted(answer: (n: number) => string | Promise<string> = (n) => `t${n}`) {
  const source = { asked: 0, token: () => answer(++source.asked) };
  return source;
}

const never = () => new Promise<string>(() => {});

describe('a token', () => {
  test.each([
    ['a string', 't1', ['t1', 't1']],
    ['what a function returns', counted().token, ['t1', 't2']],
    ['what its promise gives', counted(async (n) => `t${n}`).token, ['t1', 't2']],
  ])('is offered beside the subprotocol: %s', async (_, token, sent) => {
    await makeLink(token);
    FakeSocket.last.open();
    FakeSocket.last.receive(hello);
    FakeSocket.last.end(1006);
    await turn();
    expect(offered()).toEqual(sent.map(withToken));
  });

  test('that is not set offers nothing', async () => {
    await makeLink(undefined);
    expect(offered()).toEqual([[]]);
  });

  const bad = ['', 'a b', 'a,b', 'a"b', 'ä', 'a\n', 'a/b', 'x'.repeat(8_193)].map((token) => [token.slice(0, 9), token]);
  test.each(bad)('that cannot be sent is refused, and does not stand in the error: %j', async (_, token = '') => {
    for (const make of [() => connect('ws://gateway', { token }), () => serve('ws://gateway', { service_id: 'asr', token }, () => {})]) {
      const error = thrown(make);
      expect(error).toBeInstanceOf(TokenError);
      if (token !== '') expect(textOf(error)).not.toContain(token);
    }
    const { told, link } = await makeLink(() => token);
    expect(told.failed).toEqual([expect.any(TokenError)]);
    if (token !== '') expect(textOf(told.failed[0]) + link.reason).not.toContain(token);
    expect([link.state, FakeSocket.all.length]).toEqual(['waiting', 0]);
  });
});

describe('a close of a socket whose token is', () => {
  test.each([
    ['a string', 4401, 0],
    ['a string', 4460, 0],
    ['a function', 4401, 1],
  ])('%s with %i stops after %i more attempts', async (kind, code, more) => {
    const { told, link } = await makeLink(kind === 'a string' ? 't' : () => 't');
    for (let n = 0; n <= more; n++) {
      expect(told.closed).toEqual([]);
      FakeSocket.last.open();
      FakeSocket.last.end(code);
      await turn();
    }
    expect([link.state, told.closed, FakeSocket.all.length]).toEqual(['closed', [code], more + 1]);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('a function with 4401 goes on as long as something came in between', async () => {
    const { told, link } = await makeLink(() => 't');
    for (let n = 0; n < 4; n++) {
      FakeSocket.last.open();
      FakeSocket.last.receive(hello);
      FakeSocket.last.end(4401);
      await vi.advanceTimersByTimeAsync(20_000);
    }
    expect(told.closed).toEqual([]);
    // a break is no answer
    for (const code of [1006, 4401]) {
      FakeSocket.last.open();
      FakeSocket.last.end(code);
      await vi.advanceTimersByTimeAsync(20_000);
    }
    expect([link.state, told.closed]).toEqual(['closed', [4401]]);
  });

  test('a function with 4460 comes back at once with a new one, and waits where that repeats', async () => {
    const source = counted();
    await makeLink(source.token);
    FakeSocket.last.open();
    FakeSocket.last.end(4460);
    await turn();
    expect(offered()).toEqual([withToken('t1'), withToken('t2')]);
    FakeSocket.last.open();
    FakeSocket.last.end(4460);
    await vi.advanceTimersByTimeAsync(499);
    expect(source.asked).toBe(2);
    await turn();
    expect(source.asked).toBe(3);
  });

  test.each([[4504], [4508]])('anything with %i backs off', async (code) => {
    const { link, told } = await makeLink('t');
    FakeSocket.last.open();
    FakeSocket.last.end(code);
    expect([link.state, told.closed]).toEqual(['waiting', []]);
    await vi.advanceTimersByTimeAsync(499);
    expect(FakeSocket.all).toHaveLength(1);
    await turn();
    expect(FakeSocket.all).toHaveLength(2);
  });
});

describe('a function that has no token before a connect', () => {
  const secret = new Error('secret-1');
  test.each([
    ['throws', 0, () => raise(secret), 'the token function failed'],
    ['rejects', 0, () => Promise.reject(secret), 'the token function failed'],
    ['never answers', 10_000, never, 'the token function gave nothing within 10000 ms'],
  ])('because it %s counts as a failed attempt, and says so without a secret', async (_, ms, fail, message) => {
    const source = counted((n) => (n < 3 ? fail() : `t${n}`));
    const { link, told } = await makeLink(source.token);
    await vi.advanceTimersByTimeAsync(ms);
    expect([link.state, link.reason]).toEqual(['waiting', message]);
    await vi.advanceTimersByTimeAsync(500 + ms);
    expect(source.asked).toBe(2);
    await vi.advanceTimersByTimeAsync(998);
    expect([source.asked, FakeSocket.all.length]).toEqual([2, 0]);
    await vi.advanceTimersByTimeAsync(2);
    expect(offered()).toEqual([withToken('t3')]);
    expect(told.failed.map((error) => `${error}`)).toEqual(Array(2).fill(`TokenError: ${message}`));
    expect(told.failed[0]?.cause).toBe(ms === 0 ? secret : undefined);
    FakeSocket.last.open();
    expect(link.reason).toBeUndefined();
  });

  test('is not waited for by a socket that is closed, and may fail later', async () => {
    let fail = (_error: Error) => {};
    const { link, told } = await makeLink(
      () =>
        new Promise((_, reject) => {
          fail = reject;
        }),
    );
    await link.close();
    await turn();
    expect(vi.getTimerCount()).toBe(0);
    fail(new Error('late'));
    await turn();
    expect(told).toMatchObject({ failed: [], closed: [1000] });
  });

  test('is not asked by a socket that is closed at once, nor where a handler closes it', async () => {
    fakeNetwork();
    const source = counted(() => Promise.reject(new Error('no')));
    const client = connect('ws://gateway', { WebSocket: FakeSocket, token: source.token });
    void client.close();
    await turn();
    expect(source.asked).toBe(0);
    const other = connect('ws://gateway', { WebSocket: FakeSocket, token: source.token });
    other.on('state', (state) => state === 'connecting' && void other.close());
    await vi.advanceTimersByTimeAsync(30_000);
    expect([source.asked, other.state, vi.getTimerCount()]).toEqual([1, 'closed', 0]);
  });

  test('is not waited for where it is closed as a bad one comes', async () => {
    const source = counted(() => '');
    fakeNetwork();
    const client = connect('ws://gateway', {
      WebSocket: FakeSocket,
      token: () => {
        // after the token has come, before it is looked at
        queueMicrotask(() => queueMicrotask(() => void client.close()));
        return source.token();
      },
    });
    const errors: Error[] = [];
    client.on('error', (error) => errors.push(error));
    await turn();
    expect([client.state, errors, vi.getTimerCount()]).toEqual(['closed', [], 0]);
  });

  test('is an error of a client and of a service, once for each attempt', async () => {
    fakeNetwork();
    const options = { WebSocket: FakeSocket, token: () => Promise.reject(new Error('no')), reconnect: { firstMs: 1, mostMs: 1 } };
    const client = connect('ws://gateway', options);
    const service = serve('ws://gateway', { service_id: 'asr', ...options }, () => {});
    const errors = { client: [] as Error[], service: [] as Error[] };
    const asked = client.request('Ping', {}, { timeoutMs: 50 });
    client.on('error', (error) => errors.client.push(error));
    service.on('error', (error) => errors.service.push(error));
    onTestFinished(() => {
      void client.close();
      void service.close();
    });
    const refused = expect(asked).rejects.toThrow('Ping: no answer within 50 ms; the connection is waiting: the token function failed');
    await vi.advanceTimersByTimeAsync(100);
    await refused;
    for (const all of [errors.client, errors.service]) {
      expect(all.length).toBeGreaterThan(3);
      expect(new Set(all.map(({ name }) => name))).toEqual(new Set(['TokenError']));
    }
  });
});

describe('a token that expires while its socket is open', () => {
  /** An open socket, whose first token is t1. */
  async function open(answer?: (n: number) => string | Promise<string>) {
    const source = counted(answer);
    const parts = await makeLink(source.token);
    const socket = FakeSocket.last;
    socket.open();
    socket.receive(hello);
    return { ...parts, source, socket };
  }

  test('is replaced on the same socket, also the next time', async () => {
    const { socket, link, told } = await open();
    for (const token of ['t2', 't3']) {
      socket.receive(expiring);
      await turn();
      expect(socket.sent.at(-1)).toEqual({ type: 'IdentifyRequest', id: expect.any(String), token });
      socket.receive({ type: 'IdentifyResponse', id: socket.sent.at(-1)?.id });
      await vi.advanceTimersByTimeAsync(10_000);
    }
    expect([link.state, told.failed, FakeSocket.all.length, socket.sent.length]).toEqual(['open', [], 1, 2]);
  });

  test('is not replaced without a pause where the new one expires as soon', async () => {
    const { socket, source } = await open();
    for (let n = 0; n < 9; n++) {
      socket.receive(expiring);
      await vi.advanceTimersByTimeAsync(1_000);
    }
    expect(source.asked).toBe(2);
  });

  test('lives until its end where the gateway refuses the new one, which is an error', async () => {
    const { socket, link, told } = await open();
    socket.receive(expiring);
    await turn();
    socket.receive({ type: 'Error', id: socket.sent[0]?.id, code: 'UNAUTHENTICATED', message: 'the credential is not valid' });
    expect(told.failed).toMatchObject([{ name: 'RequestFailed', code: 'UNAUTHENTICATED' }]);
    expect([link.state, textOf(told.failed[0]).includes('t2')]).toEqual(['open', false]);
  });

  test.each([
    ['fails', 0, (n: number) => (n === 2 ? Promise.reject(new Error('no')) : `t${n}`)],
    ['never answers', 10_000, (n: number) => (n === 2 ? never() : `t${n}`)],
  ])('keeps its socket where the function %s, and comes back with the next token', async (_, ms, answer) => {
    const { socket, link, told } = await open(answer);
    socket.receive(expiring);
    await vi.advanceTimersByTimeAsync(ms);
    expect([link.state, socket.sent, told.failed]).toEqual(['open', [], [expect.any(TokenError)]]);
    socket.end(4460);
    await turn();
    expect(offered().at(-1)).toEqual(withToken('t3'));
  });

  test('is asked for once where the socket ends meanwhile, and is sent on the next one alone', async () => {
    let give = (_token: string) => {};
    const { socket, source } = await open((n) => (n === 2 ? new Promise((gives) => (give = gives)) : `t${n}`));
    socket.receive(expiring);
    await turn();
    socket.end(4460);
    await turn();
    give('t2');
    await turn();
    expect([source.asked, offered()]).toEqual([2, [withToken('t1'), withToken('t2')]]);
    FakeSocket.last.open();
    await turn();
    expect(FakeSocket.all.map(({ sent }) => sent)).toEqual([[], []]);
  });

  test('whose function fails after the socket has ended is one error, and none where this side closed it', async () => {
    let fail = (_error: Error) => {};
    const ask = (n: number) => (n === 1 ? 't1' : new Promise<string>((_, fails) => (fail = fails)));
    const broken = await open(ask);
    broken.socket.receive(expiring);
    await turn();
    broken.socket.end(4460);
    await turn();
    fail(new Error('no'));
    await turn();
    expect(broken.told.failed).toHaveLength(1);
    const closed = await open(ask);
    closed.socket.receive(expiring);
    await turn();
    void closed.link.close();
    await turn();
    expect(closed.told.failed).toEqual([]);
  });

  test('leaves a socket with a string alone', async () => {
    await makeLink('t');
    FakeSocket.last.open();
    FakeSocket.last.receive(expiring);
    await turn();
    expect(FakeSocket.last.sent).toEqual([]);
  });
});

describe('at a gateway that requires a token', () => {
  const key = { id: 'app', secret: 'a-key-of-at-least-32-characters!', kinds: ['user', 'service'] };

  async function start() {
    const gateway = await startGateway({ auth: { mode: 'required', keys: [key] } });
    const token = (kind: 'user' | 'service', ttlS = 120) =>
      mint({ keyId: key.id, secret: key.secret, identity: 'ada', kind, now: gateway.clock.now(), ttlS });
    return { ...gateway, token };
  }

  test('a client and a service live past the end of their tokens, on the same sockets', async () => {
    const gateway = await start();
    const service = serve(gateway.url, { service_id: 'asr', token: () => gateway.token('service') }, () => {});
    const client = connect(gateway.url, { token: () => gateway.token('user') });
    onTestFinished(() => Promise.all([service.close(), client.close()]).then(() => {}));
    await service.registered;
    const session = await client.newSession({ user_identity: 'ada', required_services: ['asr'] });
    gateway.rooms.join((await session.ready()).livekit_room ?? '', 'ada');
    const states: string[] = [];
    const errors: Error[] = [];
    client.on('state', (state) => states.push(state));
    service.on('state', (state) => states.push(state));
    client.on('error', (error) => errors.push(error));
    service.on('error', (error) => errors.push(error));
    await gateway.clock.advance(150_000);
    expect(await session.get()).toMatchObject({ ready_services: ['asr'] });
    expect([states, errors, gateway.holds().sockets]).toEqual([[], [], 2]);
  });

  test('a string is over with 4401 where it is wrong, and with 4460 where it expires', async () => {
    const gateway = await start();
    const wrong = connect(gateway.url, { token: 'wrong' });
    await expect(wrong.request('Ping', {})).rejects.toMatchObject({ name: 'ConnectionClosed', code: 4401 });
    expect(await wrong.closed).toEqual({ code: 4401, reason: 'unauthenticated' });
    const short = connect(gateway.url, { token: await gateway.token('user', 30) });
    await short.request('Ping', {});
    await gateway.clock.advance(31_000);
    expect(await short.closed).toEqual({ code: 4460, reason: 'credential expired' });
    await expect(short.request('Ping', {})).rejects.toBeInstanceOf(ConnectionClosed);
    const service = serve(gateway.url, { service_id: 'asr', token: 'wrong' }, () => {});
    await expect(service.registered).rejects.toMatchObject({ name: 'ConnectionClosed', code: 4401 });
  });

  test('a function whose first token has expired comes back with the next, and keeps the request', async () => {
    const gateway = await start();
    const old = await gateway.token('user', 10);
    await gateway.clock.advance(20_000);
    const source = counted((n) => (n === 1 ? old : gateway.token('user')));
    const client = connect(gateway.url, { token: source.token });
    onTestFinished(() => client.close());
    expect(await client.request('Ping', {})).toMatchObject({ server_time: expect.any(String) });
    expect(source.asked).toBe(2);
  });
});

const raise = (error: Error): never => {
  throw error;
};

function thrown(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  return undefined;
}

/** All that a log could show of an error. */
const textOf = (error: unknown) => `${error} ${(error as Error).stack} ${JSON.stringify(error)}`;
