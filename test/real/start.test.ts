import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as after } from 'node:timers/promises';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import packageJson from '../../package.json' with { type: 'json' };
import { connectService, TestClient } from '../support/client.ts';
import { freePort, sharedLiveKit } from '../support/livekit.ts';
import { describeWith, parts } from '../support/parts.ts';
import { Child, cleanEnv, restUrl, root, startBuiltGateway } from '../support/process.ts';

const long = { timeout: 300_000 };

// what is stale is built before the clocks of the tests run
beforeAll(() => void execFileSync(process.execPath, ['scripts/prepare.mjs'], { cwd: root }));

const npmStart = (env: Record<string, string> = {}) => new Child('npm', ['start'], { env: cleanEnv({ SERVER_PORT: '0', ...env }) });
const nowhere = async () => ({ LIVEKIT_MODE: 'on_join', LIVEKIT_SERVER_URL: `ws://127.0.0.1:${await freePort()}` });
const main = (args: string[], env: Record<string, string> = {}) =>
  new Child(process.execPath, ['dist/src/main.js', ...args], { env: cleanEnv({ LIVEKIT_MODE: 'on_join', ...env }) });

describe('npm start', () => {
  test('says where it listens, and the line to paste opens a session', long, async () => {
    const gateway = npmStart(await nowhere());
    const url = await restUrl(gateway);
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    expect(await gateway.line(/^Socket:/)).toBe(`Socket:   ${url.replace('http', 'ws')}/ws`);
    expect(gateway.lines).toContainEqual(expect.stringMatching(/^LiveKit: .*as configured \(rooms are created on join\)$/));
    const [program, socket, paste] = (await gateway.line(/^Try:/)).match(/websocat|ws:\S+|{.*}/g) ?? [];
    expect([program, socket]).toEqual(['websocat', `${url.replace('http', 'ws')}/ws`]);

    const client = await TestClient.connect(url);
    client.send(paste ?? '');
    expect(await client.next('NewSessionResponse')).toMatchObject({ id: '1', status: 'Ready', access_token: expect.any(String) });
  });

  test('a SIGTERM to npm ends sessions, sockets and gateway in order, with code 0', long, async () => {
    const gateway = npmStart(await nowhere());
    const client = await TestClient.connect(await restUrl(gateway));
    expect(await client.ask({ type: 'NewSessionRequest', user_identity: 'ada' })).toMatchObject({ status: 'Ready' });

    gateway.kill('SIGTERM');
    expect(await client.closed).toEqual({ code: 4452, reason: 'draining' });
    expect(await gateway.exited).toEqual({ code: 0, signal: null });
    expect(client.types().filter((type) => type === 'GoAway' || type === 'SessionEnded')).toEqual(['GoAway', 'SessionEnded']);
    expect(await client.next('SessionEnded')).toMatchObject({ reason: 'shutdown', by: 'gateway' });
  });
});

describeWith(parts.livekit)('npm start with a LiveKit of its own', () => {
  test('starts it on loopback, makes rooms there and stops it', long, async ({ skip }) => {
    // the usual port is held, so that the server neither takes it nor one that is there is used
    const holder = createServer((socket) => socket.destroy()).listen(7880, '127.0.0.1');
    const held = await once(holder, 'listening').then(
      () => true,
      () => false,
    );
    onTestFinished(() => void holder.close());

    const gateway = npmStart({ LIVEKIT_SERVER_BIN: parts.livekit.path ?? '' });
    const url = await restUrl(gateway);
    const said = gateway.lines.find((line) => line.startsWith('LiveKit:'));
    skip(!held && said?.includes('found at') === true, 'another LiveKit with the dev keys runs on this machine');
    expect(said).toMatch(/^LiveKit: started .* at ws:\/\/localhost:\d+$/);
    const { ready, livekit } = await (await fetch(`${url}/ready`)).json();
    expect({ ready, livekit }).toEqual({
      ready: true,
      livekit: { mode: 'create', url: said?.split(' at ')[1], reachable: true, webhooks: 'none seen yet' },
    });
    expect(livekit.url).not.toContain('7880');
    const client = await TestClient.connect(url);
    expect(await client.ask({ type: 'NewSessionRequest', user_identity: 'ada' })).toMatchObject({
      status: 'Ready',
      livekit_url: livekit.url,
    });

    const server = livekit.url.replace('ws', 'http');
    expect((await fetch(server)).status).toBe(200);
    gateway.kill('SIGTERM');
    expect(await gateway.exited).toEqual({ code: 0, signal: null });
    await expect(fetch(server)).rejects.toThrow('fetch failed');
  });
});

describe('npm run demo', () => {
  const demo = (env: Record<string, string>) => new Child('npm', ['run', 'demo'], { env: cleanEnv(env) });

  test('without LiveKit shows a session, says what is left out, and ends', long, async () => {
    const shown = demo(await nowhere());
    expect(await shown.exited).toEqual({ code: 0, signal: null });
    const text = shown.lines.join('\n');
    expect(text).toContain('this part is left out');
    expect(text).toMatch(/session: WaitingForServices -> Ready\n(.*\n)*.*the session ended \(client_ended\)/);
  });

  describeWith(parts.livekit)('with LiveKit', () => {
    const livekit = sharedLiveKit();

    test('passes what the client says through every service, and leaves no room', long, async () => {
      const { url, apiKey, apiSecret, client } = livekit();
      const shown = demo({ LIVEKIT_SERVER_URL: url, LIVEKIT_API_KEY: apiKey, LIVEKIT_API_SECRET: apiSecret });
      expect(await shown.exited).toEqual({ code: 0, signal: null });
      const text = shown.lines.join('\n');
      expect(text).toMatch(/client +hears "♪ Nice to meet you! You said: Hello, I am Ada ♪"/);
      expect(text).toMatch(/session: Ready -> Active\n(.*\n)*.*the session ended \(client_ended\)/);
      expect(await client.listRooms()).toEqual([]);
    });
  });
});

describe('the built gateway', () => {
  test.each([
    ['on_join', 200, true],
    ['create', 503, false],
  ])('says in /ready that rooms are created by %s, and what an absent LiveKit means then', async (mode, status, ready) => {
    const { url } = await startBuiltGateway({ LIVEKIT_MODE: mode });
    const answer = await fetch(`${url}/ready`);
    expect(answer.status).toBe(status);
    expect(await answer.json()).toMatchObject({ ready, livekit: { mode, reachable: false } });
  });

  test('writes nothing but log lines to standard output, and what a person looks for to standard error', async () => {
    const gateway = await startBuiltGateway();
    const service = await connectService(gateway.url, 'asr');
    gateway.kill('SIGTERM');
    expect(await service.closed).toEqual({ code: 4452, reason: 'draining' });
    await gateway.exited;
    const words = gateway.errors.map((line) => line.split(':')[0]);
    expect(words).toEqual(['LiveKit', 'Socket', 'REST', 'Try']);
    const lines = gateway.lines.filter((line) => !gateway.errors.includes(line)).map((line) => JSON.parse(line));
    const stop = lines.slice(lines.findIndex(({ signal }) => signal === 'SIGTERM'));
    expect(stop.map(({ level, msg }) => `${level}: ${msg}`)).toEqual([
      expect.stringMatching(/^info: shutting down/),
      'info: service disconnected',
      'info: stopped',
    ]);
  });

  test('goes on after SIGHUP where its output is no terminal: that is what nohup is for', async () => {
    const gateway = await startBuiltGateway();
    gateway.kill('SIGHUP');
    expect(await gateway.json('SIGHUP')).toMatchObject({ level: 'info', signal: 'SIGHUP' });
    expect((await fetch(`${gateway.url}/health`)).status).toBe(200);
  });

  describeWith(parts.python)('on a terminal', () => {
    /** Runs a program on a terminal that shows nothing until a line comes, and then says how the program ended. */
    const terminal = `import os, pty, subprocess, sys
screen, line = pty.openpty()
program = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=line, stderr=line, start_new_session=True)
print(program.pid, flush=True)
print("ended", program.wait(), flush=True)`;

    test('goes on while it stands still, as after Ctrl-S, and SIGHUP stops it', async () => {
      const port = await freePort();
      const env = cleanEnv({ ...(await nowhere()), SERVER_PORT: `${port}`, LOGGING_LEVEL: 'debug' });
      const shell = new Child(parts.python.path ?? '', ['-c', terminal, process.execPath, 'dist/src/main.js'], { env });
      const pid = Number(await shell.line(/^\d+$/));
      onTestFinished(async () => {
        if (!shell.lines.some((line) => line.startsWith('ended'))) process.kill(pid, 'SIGKILL');
      });
      const url = `http://127.0.0.1:${port}`;
      await expect
        .poll(
          () =>
            fetch(`${url}/health`).then(
              ({ ok }) => ok,
              () => false,
            ),
          { timeout: 90_000 },
        )
        .toBe(true);
      // more lines than a terminal takes unseen
      const headers = { 'content-type': 'application/json' };
      for (let i = 0; i < 200; i++) {
        const body = JSON.stringify({ user_identity: `user-${i}`, required_services: [] });
        expect((await fetch(`${url}/api/v1/sessions`, { method: 'POST', headers, body })).status).toBe(201);
      }
      process.kill(pid, 'SIGHUP');
      expect(await shell.line('ended')).toBe('ended 0');
    });
  });

  test('goes on when nobody reads its standard output and standard error from then on', async () => {
    const gateway = await startBuiltGateway();
    gateway.process.stdout?.destroy();
    gateway.process.stderr?.destroy();
    const client = await TestClient.connect(gateway.url);
    for (const n of [1, 2, 3]) expect(await client.ask({ type: 'RegisterServiceRequest', service_id: `s${n}` })).toBeDefined();
    gateway.kill('SIGTERM');
    expect(await client.closed).toEqual({ code: 4452, reason: 'draining' });
    expect(await gateway.exited).toEqual({ code: 0, signal: null });
  });

  /** A gateway whose stop takes three seconds: its session waits for a service that does not leave. */
  async function slowToStop() {
    const gateway = await startBuiltGateway();
    const service = await connectService(gateway.url, 'asr', { auto: false });
    const client = await TestClient.connect(gateway.url);
    client.send({ type: 'NewSessionRequest', user_identity: 'ada' });
    await service.next('JoinRoomRequest');
    return { gateway, client };
  }

  test('takes two signals at once for one', async () => {
    const { gateway, client } = await slowToStop();
    gateway.kill('SIGTERM');
    gateway.kill('SIGINT');
    expect(await client.next('SessionEnded')).toMatchObject({ reason: 'shutdown' });
    expect(await client.closed).toEqual({ code: 4452, reason: 'draining' });
    expect(await gateway.exited).toEqual({ code: 0, signal: null });
  });

  test('takes two signals for one where its event loop stood still for longer than a second between them', async () => {
    const block = `import { writeSync } from 'node:fs';
      const standStill = () => { writeSync(2, 'stands still\\n'); Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_500); };
      process.once('SIGTERM', () => setImmediate(standStill));`;
    const gateway = await startBuiltGateway({ NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(block)}` });
    const client = await TestClient.connect(gateway.url);
    await client.ask({ type: 'NewSessionRequest', user_identity: 'ada' });
    gateway.kill('SIGTERM');
    await gateway.line('stands still');
    gateway.kill('SIGINT');
    expect(await client.next('SessionEnded')).toMatchObject({ reason: 'shutdown' });
    expect(await client.closed).toEqual({ code: 4452, reason: 'draining' });
    expect(await gateway.exited).toEqual({ code: 0, signal: null });
  });

  test('exits at once on a second signal a second later', async () => {
    const { gateway, client } = await slowToStop();
    gateway.kill('SIGTERM');
    await client.next('GoAway');
    // what tells a second signal from the first one's echo is time
    await after(1_100);
    gateway.kill('SIGTERM');
    expect(await gateway.exited).toEqual({ code: 1, signal: null });
    expect((await client.closed).code).toBe(1006);
    expect(client.types()).not.toContain('SessionEnded');
  });

  test.each<[string, string[], Record<string, string>, RegExp]>([
    ['a wrong value in the environment', [], { SERVER_PORT: 'many' }, /SERVER_PORT \(server\.port\)/],
    ['a wrong value on the command line', ['--server-port', '70000'], {}, /--server-port \(server\.port\)/],
    ['an unknown mode', [], { LIVEKIT_MODE: 'sometimes' }, /LIVEKIT_MODE \(livekit\.mode\)/],
    ['an unknown authentication', [], { AUTH_MODE: 'magic' }, /AUTH_MODE \(auth\.mode\)/],
    ['an unknown flag', ['--server-prot', '1'], {}, /--server-prot.*Did you mean/],
    ['a root that does not exist', [], { SERVER_PORT: '0', WORKSPACE_ROOTS: '/does/not/exist' }, /workspace\.roots/],
  ])('%s ends it with code 78 and one line', async (_, args, env, line) => {
    const gateway = main(args, env);
    expect(await gateway.exited).toEqual({ code: 78, signal: null });
    expect(gateway.lines.filter(Boolean)).toEqual([expect.stringMatching(line)]);
    expect(gateway.errors[0]).toMatch(/^session-gateway: /);
  });

  test('a port that is taken ends it with code 78 and one line, before a LiveKit is started', async () => {
    const holder = createServer().listen(0, '127.0.0.1');
    await once(holder, 'listening');
    onTestFinished(() => void holder.close());
    const address = holder.address();
    const port = typeof address === 'object' ? address?.port : 0;
    const folder = mkdtempSync(join(tmpdir(), 'port-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const [livekit, asked] = [join(folder, 'livekit-server'), join(folder, 'asked')];
    writeFileSync(livekit, `#!/bin/sh\ntouch ${asked}\n`, { mode: 0o755 });
    const gateway = main([], { SERVER_PORT: `${port}`, LIVEKIT_SERVER_BIN: livekit, LIVEKIT_MODE: '' });
    expect(await gateway.exited).toEqual({ code: 78, signal: null });
    expect(gateway.lines).toEqual([
      `session-gateway: SERVER_PORT (server.port): cannot listen on 127.0.0.1:${port} (EADDRINUSE): the port is in use, perhaps by another gateway; stop that one, or choose another port`,
    ]);
    expect(existsSync(asked)).toBe(false);
  });

  // the address that stands for all of them is none to connect to, though some systems take it for loopback
  test.each([
    ['0.0.0.0', '127.0.0.1'],
    ['::', '[::1]'],
  ])('prints an address that works where it listens on %s', async (host, reached) => {
    const gateway = await startBuiltGateway({ SERVER_HOST: host });
    expect(new URL(gateway.url).hostname).toBe(reached);
    expect((await fetch(`${gateway.url}/health`)).status).toBe(200);
    const [socket = ''] = /ws:\S+/.exec(await gateway.line(/^Try:/)) ?? [];
    const client = await TestClient.connect(socket.replace(/^ws(.*)\/ws$/, 'http$1'));
    expect(await client.ask({ type: 'Ping' })).toMatchObject({ type: 'Pong' });
  });

  test('--version and --help say what it is and end it with 0', async () => {
    const version = main(['--version']);
    expect(await version.exited).toEqual({ code: 0, signal: null });
    expect(version.lines).toEqual([packageJson.version]);
    expect(await main(['--help']).exited).toEqual({ code: 0, signal: null });
    const help = main(['serve', '--help']);
    expect(await help.exited).toEqual({ code: 0, signal: null });
    const text = help.lines.join('\n');
    for (const word of ['--server-port', 'SERVER_PORT', '--livekit-api-secret', 'LIVEKIT_API_SECRET', 'RUST_LOG', '--workspace-roots'])
      expect(text).toContain(word);
  });
});
