import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';
import { mint } from '../../src/auth/mint.ts';
import { TestClient } from '../support/client.ts';
import { startGateway } from '../support/gateway.ts';
import { describeWith, parts } from '../support/parts.ts';
import { Child } from '../support/process.ts';
import { TcpProxy } from '../support/proxy.ts';

describeWith(parts.python)('the service in Python', () => {
  async function start() {
    const gateway = await startGateway();
    const proxy = await TcpProxy.before(Number(new URL(gateway.url).port));
    const service = new Child(parts.python.path ?? '', ['scripts/demo/service.py', `ws://127.0.0.1:${proxy.port}/ws`, 'asr']);
    await service.line('registered as asr');
    const client = await TestClient.connect(gateway.url);
    const open = async () => (await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: ['asr'] })).session_id;
    return { gateway, proxy, service, client, open };
  }

  test('makes a session ready, reports progress, and leaves at the end', async () => {
    const { gateway, client, open, service } = await start();
    const session_id = await open();
    expect(await client.next('ServiceProgress')).toMatchObject({ service_id: 'asr', phase: 'joining', percent: 10 });
    await client.next('SessionReady');
    await service.line(`ready in ${session_id}`);
    await client.ask({ type: 'EndSessionRequest' });
    // the clock stands still: were it not to say that it left, the session would wait for it
    expect(await client.next('SessionEnded')).toMatchObject({ reason: 'client_ended' });
    expect(gateway.holds()).toMatchObject({ live_sessions: 0, waiting: 0 });
  });

  test.each([[1011], [1013], [4503]])('comes again after %i, which asks to back off', async (code) => {
    const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
    await once(server, 'listening');
    onTestFinished(() => server.close());
    const service = new Child(parts.python.path ?? '', [
      'scripts/demo/service.py',
      `ws://127.0.0.1:${(server.address() as AddressInfo).port}`,
    ]);
    const [first] = await once(server, 'connection');
    first.close(code);
    const [second] = await once(server, 'connection');
    expect(second).not.toBe(first);
    service.kill('SIGKILL');
    await service.exited;
  });

  test('serves on after its socket broke', async () => {
    const { proxy, client, open, service, gateway } = await start();
    await open();
    await client.next('SessionReady');
    const before = service.lines.length;
    proxy.cut();
    await service.line('registered as asr', before);
    await gateway.clock.advance(10_000);
    expect(await client.ask({ type: 'GetSessionRequest' })).toMatchObject({ health: 'ok', ready_services: ['asr'] });
    expect(client.types()).not.toContain('SessionDegraded');
    await client.ask({ type: 'EndSessionRequest' });
    await client.next('SessionEnded');
  });

  test('comes back within the 5 s in which its sessions wait for it, however often it tries in vain', async () => {
    const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
    await once(server, 'listening');
    onTestFinished(() => server.close());
    const { port } = server.address() as AddressInfo;
    // each wait is told and at an end at once, on a clock that goes by it: the longest it could be
    const program = `
import asyncio, sys, types
sys.path.insert(0, "scripts/demo")
import service
now = 0
def longest(least, most):
    global now
    now += most
    print("waits", most, flush=True)
    return 0
service.random = types.SimpleNamespace(uniform=longest)
service.time = types.SimpleNamespace(monotonic=lambda: now)
asyncio.run(service.main(*sys.argv[1:]))`;
    const waits = async (serves: boolean) => {
      const service = new Child(parts.python.path ?? '', ['-B', '-c', program, `ws://127.0.0.1:${port}`]);
      const [socket] = await once(server, 'connection');
      const ready = new Promise<void>((said) => socket.on('message', (text: Buffer) => String(text).includes('"ServiceReady"') && said()));
      await once(socket, 'message');
      socket.send(JSON.stringify({ type: 'RegisterServiceResponse', id: 'register', keep: [], release: [] }));
      if (serves) {
        socket.send(JSON.stringify({ type: 'JoinRoomRequest', session_id: 's', assignment_id: 'a' }));
        await ready;
      } else await service.line('registered as asr');
      server.on('connection', (next: WebSocket) => next.terminate());
      socket.terminate();
      await service.line('waits 20');
      server.removeAllListeners('connection');
      service.kill('SIGKILL');
      await service.exited;
      return service.lines.filter((line) => line.startsWith('waits')).map((line) => Number(line.slice(6)));
    };
    expect((await waits(true)).slice(0, 7)).toEqual([0.5, 1, 1, 1, 1, 1, 20]);
    expect((await waits(false)).slice(0, 7)).toEqual([0.5, 1, 2, 4, 8, 16, 20]);
  });

  test('says again that it is ready where the answer was lost with the socket', async () => {
    const { proxy, client, open, service } = await start();
    const before = service.lines.length;
    proxy.rule = (_, text) => {
      if (!text.includes('ServiceReadyResponse')) return 'pass';
      proxy.rule = () => 'pass';
      return 'cut';
    };
    const session_id = await open();
    await client.next('SessionReady');
    await service.line('registered as asr', before);
    await service.line(`ready in ${session_id}`);
  });

  test('leaves every session when it is stopped', async () => {
    const { client, open, service } = await start();
    await open();
    await client.next('SessionReady');
    service.kill('SIGTERM');
    // the clock stands still: a socket that ends without a word would only make it suspect
    expect(await client.next('SessionDegraded')).toMatchObject({ missing: ['asr'] });
    expect(await service.exited).toEqual({ code: 0, signal: null });
  });

  describe('with a token in its environment', () => {
    const key = { id: 'app', secret: 'a-key-of-at-least-32-characters!', kinds: ['service'] };

    /** A gateway that requires one, and the service with the one that it is given, or with none. */
    async function start(ttlS?: number) {
      const gateway = await startGateway({ auth: { mode: 'required', keys: [key] } });
      const wish = { keyId: key.id, secret: key.secret, identity: 'asr', kind: 'service', now: gateway.clock.now() } as const;
      const run = (GATEWAY_TOKEN?: string, path = '/ws') =>
        new Child(parts.python.path ?? '', ['scripts/demo/service.py', `${gateway.url.replace(/^http/, 'ws')}${path}`], {
          env: { ...process.env, ...(GATEWAY_TOKEN !== undefined && { GATEWAY_TOKEN }) },
        });
      return { gateway, run, token: ttlS === undefined ? undefined : await mint({ ...wish, ttlS }) };
    }
    const ended = { code: 1, signal: null };

    test('registers, and ends as the token does, which it never prints', async () => {
      const { gateway, run, token = '' } = await start(5);
      const service = run(token);
      await service.line('registered as asr');
      await gateway.clock.advance(6_000);
      expect(await service.exited).toEqual(ended);
      expect(service.lines.at(-1)).toBe('closed with 4460: GATEWAY_TOKEN has expired');
      expect(service.lines.join()).not.toContain(token);
    });

    test.each([
      ['a wrong one', 'secret-1', '/ws', 'refused with 401: GATEWAY_TOKEN is not valid, or has expired'],
      ['none', undefined, '/ws', 'refused: UNAUTHENTICATED, send IdentifyRequest with a token first'],
      ['one that is no token', 'secret 1', '/ws', 'GATEWAY_TOKEN has characters that no token has'],
      ['a wrong path', undefined, '/elsewhere', 'refused with 404: there is no gateway at this URL; its path is usually /ws'],
    ])('ends at once with %s, and says why', async (_, token, path, why) => {
      const { run } = await start();
      const service = run(token, path);
      expect(await service.exited).toEqual(ended);
      expect(service.lines.at(-1)).toBe(why);
      expect(service.lines.join()).not.toMatch(/secret.1/);
    });

    test.each([
      [4401, 'GATEWAY_TOKEN is not valid'],
      [4409, 'reconnecting cannot help'],
    ])('stops at %i', async (code, why) => {
      const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
      await once(server, 'listening');
      onTestFinished(() => server.close());
      server.on('connection', (socket) => socket.close(code));
      const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
      const service = new Child(parts.python.path ?? '', ['scripts/demo/service.py', url]);
      expect(await service.exited).toEqual(ended);
      expect(service.lines.at(-1)).toBe(`closed with ${code}: ${why}`);
    });
  });

  test('ends where another instance holds its id', async () => {
    const { gateway } = await start();
    const second = new Child(parts.python.path ?? '', ['scripts/demo/service.py', `${gateway.url.replace(/^http/, 'ws')}/ws`, 'asr']);
    await second.line('SERVICE_ID_EXISTS');
    expect(await second.exited).toMatchObject({ code: 1 });
  });
});
