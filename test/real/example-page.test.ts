import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { chromium } from 'playwright-core';
import { build, type Rollup } from 'vite';
import { expect, onTestFinished, test } from 'vitest';
import { startGateway } from '../support/gateway.ts';
import { HttpService, rest } from '../support/http-service.ts';
import { sharedLiveKit, startGatewayOn } from '../support/livekit.ts';
import { describeWith, type Part, parts } from '../support/parts.ts';
import { Child } from '../support/process.ts';
import { rtc } from './rtc.ts';

const long = { timeout: 300_000 };
const soon = { timeout: 90_000, interval: 50 };

/** Where the documents say that the gateway is. */
const written = 'localhost:8080';

describeWith(parts.livekit, parts.chromium)("the web API's JavaScript example as written", () => {
  const livekit = sharedLiveKit();

  /** The page, served on a port of its own. @returns its URL */
  async function servePage(): Promise<string> {
    const root = join(import.meta.dirname, 'page/example');
    // kept as text, which no formatter touches
    const example = await readFile(join(root, 'example.txt'), 'utf8');
    const transformIndexHtml = { order: 'pre' as const, handler: (html: string) => html.replace('/* example.txt */', () => example) };
    const { output } = (await build({
      root,
      configFile: false,
      logLevel: 'error',
      plugins: [{ name: 'example', transformIndexHtml }],
      build: { write: false, target: 'esnext' },
    })) as Rollup.RollupOutput;
    const files = new Map(output.map((file) => [`/${file.fileName}`, file.type === 'asset' ? file.source : file.code]));
    const server = createServer(({ url = '/' }, response) => {
      const path = url === '/' ? '/index.html' : url;
      response.writeHead(files.has(path) ? 200 : 404, { 'content-type': path.endsWith('.js') ? 'text/javascript' : 'text/html' });
      response.end(files.get(path));
    });
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    const address = server.address();
    return `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}/`;
  }

  /** A service as the document means it: asked over HTTP, in the room by LiveKit's SDK, ready by REST. Answers data with data. */
  async function startAsr(gateway: string) {
    const http = await HttpService.start();
    const registered = await http.register(gateway, { service_id: 'asr-service-1', metadata: { type: 'ASR', language: 'zh-CN' } });
    expect(registered).toEqual({
      status: 201,
      body: { success: true, service_id: 'asr-service-1', message: 'Microservice registered successfully' },
    });
    const room = new rtc.Room();
    onTestFinished(() => room.disconnect());
    const heard: string[] = [];
    const media: string[] = [];
    room.on(rtc.RoomEvent.DataReceived, (data) => {
      const text = new TextDecoder().decode(data);
      heard.push(text);
      void room.localParticipant?.publishData(new TextEncoder().encode(`听到: ${text}`), { reliable: true });
    });
    room.on(rtc.RoomEvent.TrackSubscribed, (track, _, from) =>
      media.push(`${track.kind === rtc.TrackKind.KIND_AUDIO ? 'audio' : 'video'} of ${from.identity}`),
    );
    const joined = http.next('/join').then(async ({ body }) => {
      await room.connect(body.livekit_url, body.access_token, { autoSubscribe: true, dynacast: false });
      return body as { session_id: string; assignment_id: string };
    });
    const ready = (session: string) => rest(`${gateway}/api/v1/sessions/${session}/ready`, 'POST', { service_id: 'asr-service-1' });
    return { http, heard, media, joined, ready };
  }

  test('runs in a page of another origin, against a service behind HTTP', long, async () => {
    const gateway = await startGatewayOn(livekit());
    const asr = await startAsr(gateway.url);
    const browser = await chromium.launch({
      executablePath: parts.chromium.path ?? '',
      chromiumSandbox: false,
      args: [
        '--use-fake-device-for-media-stream',
        '--use-fake-ui-for-media-stream',
        // the example's own URL reaches this gateway
        `--host-resolver-rules=MAP ${written} ${new URL(gateway.url).host}`,
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
        '--disable-dev-shm-usage',
        '--no-first-run',
      ],
    });
    onTestFinished(() => browser.close());
    const page = await browser.newPage();
    const lines: string[] = [];
    page.on('console', (message) => lines.push(message.text()));
    page.on('pageerror', (error) => lines.push(String(error)));
    // the example says its one sentence as soon as it has joined: the service must be there by then, or nobody hears it
    await page.exposeFunction('serviceJoined', () => asr.joined);
    await page.addInitScript(() => {
      const fetch = window.fetch.bind(window);
      window.fetch = async (...request) => {
        const response = await fetch(...request);
        if (response.url.endsWith('/create-session')) await (window as unknown as { serviceJoined(): unknown }).serviceJoined();
        return response;
      };
    });
    const answered = page.waitForResponse(`http://${written}/api/v1/create-session`);
    const url = await servePage();
    await page.goto(url);

    const created = await answered;
    expect(created.status()).toBe(201);
    expect(await created.headerValue('access-control-allow-origin')).toBe(new URL(url).origin);
    const { session_id, assignment_id } = await asr.joined;
    expect(await created.json()).toMatchObject({ session_id, room_name: `room-${session_id}`, livekit_url: livekit().url });
    expect(await asr.ready(session_id)).toEqual({
      status: 200,
      body: { success: true, session_id, service_id: 'asr-service-1', all_ready: true },
    });

    const session = async () => (await rest(`${gateway.url}/api/v1/sessions/${session_id}`)).body;
    await expect.poll(session, soon).toMatchObject({ status: 'Active', user_identity: 'user123', ready_services: ['asr-service-1'] });
    await expect.poll(() => asr.heard, soon).toEqual(['Hello, 微服务!']);
    await expect.poll(() => [...asr.media].sort(), soon).toEqual(['audio of user123', 'video of user123']);
    await expect.poll(() => lines, soon).toContain('收到来自 asr-service-1 的消息: 听到: Hello, 微服务!');
    expect(lines).toContain(`已连接到房间: room-${session_id}`);
    expect(lines.filter((line) => /error/i.test(line))).toEqual([]);

    expect(await rest(`${gateway.url}/api/v1/sessions/${session_id}/terminate`, 'POST')).toMatchObject({ status: 200 });
    await expect.poll(() => lines, soon).toContain('已断开连接');
    expect((await asr.http.next('/leave')).body).toMatchObject({ assignment_id, reason: 'client_ended' });
    await expect.poll(session, soon).toMatchObject({ status: 'Terminated', end_reason: 'client_ended' });
    expect(await livekit().client.listRooms()).toEqual([]);
    expect(gateway.holds()).toEqual({ sockets: 0, live_sessions: 0, watched_rooms: 0, waiting: 0 });
  });
});

const curlPart: Part = {
  name: 'curl',
  path: (process.env.PATH ?? '')
    .split(delimiter)
    .map((folder) => join(folder, 'curl'))
    .find(existsSync),
  install: 'apt-get install curl',
};

describeWith(curlPart)("the documents' curl examples as written", () => {
  /** Runs one in a shell; its URL reaches this gateway. */
  async function run(gateway: { url: string }, example: string) {
    const folder = await mkdtemp(join(tmpdir(), 'curl-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const settings = [
      'silent',
      'noproxy = "*"',
      `connect-to = "${written}:${new URL(gateway.url).host}"`,
      'write-out = "\\n%{http_code}\\n"',
    ];
    await writeFile(join(folder, '.curlrc'), settings.join('\n'));
    const shell = new Child('sh', ['-c', example], { env: { ...process.env, CURL_HOME: folder } });
    expect(await shell.exited).toEqual({ code: 0, signal: null });
    const [body = '', status] = shell.lines;
    return { status: Number(status), body: JSON.parse(body) };
  }

  /** How the first document writes a request: its line, its header and its body. */
  const asCurl = (request: string) => {
    const [line = '', ...rest] = request.trim().split('\n');
    const [method, path] = line.split(' ');
    const [header, ...body] = rest;
    return `curl -X ${method} http://${written}${path}${header ? ` -H '${header}' -d '${body.join('\n').trim()}'` : ''}`;
  };

  const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
  const registered = { success: true, service_id: 'asr-service-1', message: 'Microservice registered successfully' };

  test('the web API: a service registers, and a session is opened though nobody answers there', long, async () => {
    const gateway = await startGateway();
    const register = `
curl -X POST http://localhost:8080/api/v1/microservices/register \\
  -H "Content-Type: application/json" \\
  -d '{
    "service_id": "asr-service-1",
    "endpoint": "http://localhost:8001",
    "metadata": {
      "type": "ASR",
      "language": "zh-CN"
    }
  }'`;
    expect(await run(gateway, register)).toEqual({ status: 201, body: registered });
    expect(await run(gateway, register.replace(':8001', ':8002'))).toMatchObject({
      status: 400,
      body: { error: 'InvalidRequest', message: expect.stringMatching(/^Service ID already exists\b/), timestamp: expect.any(String) },
    });

    const create = `
curl -X POST http://localhost:8080/api/v1/create-session \\
  -H "Content-Type: application/json" \\
  -d '{
    "user_identity": "user123",
    "user_name": "张三",
    "required_services": ["asr-service-1"]
  }'`;
    const { status, body } = await run(gateway, create);
    expect(status).toBe(201);
    expect(body).toMatchObject({
      session_id: expect.stringMatching(uuid),
      room_name: `room-${body.session_id}`,
      access_token: expect.any(String),
      livekit_url: gateway.rooms.url,
      status: 'WaitingForServices',
    });
  });

  const readme = {
    health: 'GET /health',
    register: `
POST /api/v1/microservices/register
Content-Type: application/json

{
  "service_id": "asr-service-1",
  "endpoint": "http://localhost:8001",
  "metadata": {
    "type": "ASR",
    "version": "1.0.0"
  }
}`,
    create: `
POST /api/v1/sessions
Content-Type: application/json

{
  "user_identity": "user123",
  "user_name": "John Doe",
  "room_name": "my-room",
  "metadata": {},
  "required_services": ["asr-service-1", "llm-service-1"]
}`,
    get: 'GET /api/v1/sessions/{session_id}',
    ready: `
POST /api/v1/sessions/{session_id}/ready
Content-Type: application/json

{
  "service_id": "asr-service-1"
}`,
  };

  test('the README: the gateway is healthy, a service registers, and a session waits for both until their time is over', long, async () => {
    const gateway = await startGateway();
    expect(await run(gateway, asCurl(readme.health))).toMatchObject({
      status: 200,
      body: { status: 'healthy', version: expect.any(String) },
    });
    expect(await run(gateway, asCurl(readme.register))).toEqual({ status: 201, body: registered });
    const waiting = run(gateway, asCurl(readme.create));
    const list = async () => (await rest(`${gateway.url}/api/v1/sessions`)).body.items;
    await expect.poll(list, soon).toMatchObject([{ status: 'WaitingForServices', room_name: 'my-room' }]);
    await gateway.clock.advance(30_000);
    expect(await waiting).toMatchObject({ status: 408, body: { error: 'Timeout', details: { reason: 'registration_timeout' } } });
  });

  test('the README: a session is answered when both services have said that they are ready', long, async () => {
    const gateway = await startGateway();
    const [asr, llm] = [await HttpService.start(), await HttpService.start()];
    for (const [service, service_id] of [[asr, 'asr-service-1'] as const, [llm, 'llm-service-1'] as const]) {
      expect((await service.register(gateway.url, { service_id })).status).toBe(201);
    }
    const waiting = run(gateway, asCurl(readme.create));
    const { session_id } = (await asr.next('/join')).body;
    await llm.next('/join');
    const as = (request: string) => asCurl(request).replace('{session_id}', session_id);
    const said = { success: true, session_id };
    expect(await run(gateway, as(readme.ready))).toEqual({ status: 200, body: { ...said, service_id: 'asr-service-1', all_ready: false } });
    expect(await run(gateway, as(readme.ready).replace('asr-', 'llm-'))).toEqual({
      status: 200,
      body: { ...said, service_id: 'llm-service-1', all_ready: true },
    });
    expect(await waiting).toMatchObject({
      status: 201,
      body: { session_id, room_name: 'my-room', status: 'Ready', access_token: expect.any(String) },
    });
    expect(await run(gateway, as(readme.get))).toMatchObject({ status: 200, body: { session_id, status: 'Ready', room_name: 'my-room' } });
  });
});
