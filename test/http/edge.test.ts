import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { startGateway } from '../support/gateway.ts';
import { keptLog } from '../support/log.ts';
import { head, raw, rawBytes, webSocket } from '../support/raw.ts';
import { standStill } from '../support/stand-still.ts';

const h2c = { Connection: 'Upgrade, HTTP2-Settings', Upgrade: 'h2c', 'HTTP2-Settings': 'AAMAAABkAAQAoAAAAAIAAAAA' };
const wish = JSON.stringify({ user_identity: 'ada', required_services: [], room: true });
const post = { 'Content-Type': 'application/json', 'Content-Length': String(wish.length) };

const shape = (code: string) => ({
  error: expect.any(String),
  code,
  message: expect.any(String),
  timestamp: expect.stringMatching(/^2030-/),
  retryable: expect.any(Boolean),
});
const parsed = ({ body, ...rest }: { status: number; headers: Record<string, string>; body: string }) => ({
  ...rest,
  body: JSON.parse(body),
});

describe('an upgrade that is not to a WebSocket is ignored', () => {
  test('and the request answered, with its body', async () => {
    const { url } = await startGateway();
    const [health, created] = await raw(
      url,
      head('GET /health', h2c) + head('POST /api/v1/sessions', { ...post, ...h2c, Connection: 'Upgrade, HTTP2-Settings, close' }) + wish,
    );
    expect(health).toMatchObject({ status: 200, body: expect.stringContaining('healthy') });
    expect(created).toMatchObject({ status: 201, body: expect.stringContaining('access_token') });
  });

  test('with a body in chunks, and everything that comes after it on the connection', async () => {
    const { url } = await startGateway();
    const chunked = { ...h2c, 'Content-Type': 'application/json', 'Transfer-Encoding': 'chunked' };
    const answers = await raw(
      url,
      head('GET /api/v1/stats', { Connection: 'keep-alive' }) +
        head('POST /api/v1/sessions', chunked) +
        `${wish.length.toString(16)}\r\n${wish}\r\n0\r\n\r\n` +
        head('GET /health', h2c) +
        head('GET /nowhere', h2c) +
        head('GET /ready'),
    );
    expect(answers.map(({ status }) => status)).toEqual([200, 201, 200, 404, 200]);
  });

  test('a connection that offered one before becomes a WebSocket', async () => {
    const { url, holds } = await startGateway();
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    onTestFinished(() => void socket.destroy());
    socket.write(head('GET /health', h2c) + head('GET /ws', webSocket));
    let came = '';
    for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
      came += String(chunk);
      if (came.includes('101 Switching Protocols')) break;
    }
    expect(came).toMatch(/^HTTP\/1\.1 200 [\s\S]*HTTP\/1\.1 101 /);
    expect(holds().sockets).toBe(1);
  });

  test('one of HTTP/1.0 to a WebSocket as well', async () => {
    const { url } = await startGateway();
    const [answer] = await raw(url, head('GET /ws HTTP/1.0', webSocket));
    expect(answer).toMatchObject({ status: 426, headers: { upgrade: 'websocket' } });
  });
});

describe('before an upgrade to a WebSocket', () => {
  test('what was asked on the same connection is answered, in order', async () => {
    const { url, rooms } = await startGateway();
    rooms.holdCreate();
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    onTestFinished(() => void socket.destroy());
    const slow = head('POST /api/v1/sessions', { ...post, Connection: 'keep-alive' }) + wish;
    socket.write(slow + head('GET /health', { Connection: 'keep-alive' }) + head('GET /ws', webSocket));
    let came = '';
    socket.on('data', (chunk) => {
      came += String(chunk);
    });
    await expect.poll(async () => (await (await fetch(`${url}/api/v1/sessions`)).json()).items.length).toBe(1);
    expect(came).toBe('');
    rooms.letCreate();
    await expect.poll(() => came).toContain('101 Switching');
    expect([...came.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status)).toEqual(['201', '200', '101']);
  });

  test('a connection that an answer ended stays ended', async () => {
    const { url, holds } = await startGateway();
    const answers = await raw(url, head('GET /health') + head('GET /ws', webSocket));
    expect(answers.map(({ status }) => status)).toEqual([200]);
    expect(holds().sockets).toBe(0);
  });

  test.each([
    ['a length', { 'Content-Length': '2' }, '{}'],
    ['chunks', { 'Transfer-Encoding': 'chunked' }, '2\r\n{}\r\n0\r\n\r\n'],
  ])('a body of %s is refused', async (_, headers, body) => {
    const { url } = await startGateway();
    const [answer] = await raw(url, head('GET /ws', { ...webSocket, ...headers }) + body);
    expect(answer).toMatchObject({ status: 400, body: 'an upgrade must not have a body\n' });
  });

  test.each(['8', '14', ''])('version "%s" is refused, and the answer names the right one', async (version) => {
    const { url } = await startGateway();
    const [answer] = await raw(url, head('GET /ws', { ...webSocket, 'Sec-WebSocket-Version': version }));
    expect(answer).toMatchObject({ status: 426, headers: { 'sec-websocket-version': '13', upgrade: 'websocket' } });
  });

  test('a key that is none is refused in plain text', async () => {
    const { url } = await startGateway();
    const [answer] = await raw(url, head('GET /ws', { ...webSocket, 'Sec-WebSocket-Key': 'short' }));
    expect(answer).toMatchObject({ status: 400, headers: { 'content-type': 'text/plain; charset=utf-8' } });
  });
});

describe('GET /ws', () => {
  test.each(['/ws', '/ws/', '/ws?x=1'])('%s without an upgrade is told what is missing', async (path) => {
    const { url } = await startGateway();
    const [answer] = await raw(url, head(`GET ${path}`, { Connection: 'keep-alive' }) + head(`DELETE ${path}`));
    expect(answer).toMatchObject({ status: 426, headers: { upgrade: 'websocket' }, body: expect.stringContaining('proxy') });
    expect(JSON.parse(answer?.body ?? '')).toEqual(shape('UPGRADE_REQUIRED'));
  });

  test('with a slash at its end, and an offer of several protocols, is a WebSocket', async () => {
    const { url, holds } = await startGateway();
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    onTestFinished(() => void socket.destroy());
    socket.write(head('GET http://localhost/ws/', { ...webSocket, Upgrade: 'h2c, WebSocket' }));
    const [chunk] = await once(socket, 'data');
    expect(String(chunk)).toMatch(/^HTTP\/1\.1 101 /);
    expect(holds().sockets).toBe(1);
  });
});

describe('a request that is not one gets an answer in the one shape', () => {
  test.each([
    ['noise', 'hello\r\n\r\n', 400, 'INVALID_REQUEST'],
    ['no Host', 'GET /health HTTP/1.1\r\n\r\n', 400, 'INVALID_REQUEST'],
    ['two Hosts', head('GET /health', { Host: ['localhost', 'localhost'] }), 400, 'INVALID_REQUEST'],
    ['two Hosts, and an upgrade', head('GET /ws', { ...webSocket, Host: ['localhost', 'evil.example'] }), 400, 'INVALID_REQUEST'],
    ['a Host with a path', head('GET /health', { Host: 'localhost/x' }), 400, 'INVALID_REQUEST'],
    ['a target that is not UTF-8', head('GET /api/v1/sessions/%ff'), 400, 'INVALID_REQUEST'],
    ['a query that is not UTF-8', head('GET /api/v1/sessions?user_identity=J%FCrgen'), 400, 'INVALID_REQUEST'],
    ['a target that is not encoded', Buffer.from(head('GET /api/v1/sessions?user_identity=Jürgen')), 400, 'INVALID_REQUEST'],
    ['a backslash', head('GET /api\\v1'), 400, 'INVALID_REQUEST'],
    ['a GET with a body', `${head('GET /api/v1/sessions', { 'Content-Length': '2' })}{}`, 400, 'INVALID_REQUEST'],
    ['another expectation', head('GET /health', { Expect: 'tea' }), 417, 'EXPECTATION_FAILED'],
    ['a header of 20 KB', head('GET /health', { 'X-Long': 'x'.repeat(20_000) }), 431, 'HEADERS_TOO_LARGE'],
    [
      'chunks that are none',
      `${head('POST /api/v1/sessions', { ...post, 'Content-Length': [], 'Transfer-Encoding': 'chunked' })}zz\r\n`,
      400,
      'INVALID_REQUEST',
    ],
    ['CONNECT', head('CONNECT example.org:443'), 405, 'METHOD_NOT_ALLOWED'],
  ])('%s', async (_, sent, status, code) => {
    const { url } = await startGateway();
    const [answer] = (await raw(url, sent)).map(parsed);
    expect(answer).toMatchObject({
      status,
      headers: { connection: 'close', 'content-type': 'application/json' },
      body: shape(code),
    });
  });

  test('a header that does not end, after 5 s', async () => {
    const { url } = await startGateway();
    const [answer] = (await raw(url, 'GET /health HTTP/1.1\r\nHost: localhost\r\n')).map(parsed);
    expect(answer).toMatchObject({ status: 408, headers: { connection: 'close' }, body: shape('REQUEST_TIMEOUT') });
  });

  test('a header that ended while the loop stood still is answered as any other', async () => {
    const { url } = await startGateway();
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    onTestFinished(() => void socket.destroy());
    socket.write('GET /health HTTP/1.1\r\nHost: localhost\r\n');
    await raw(url, head('GET /health'));
    socket.write('Connection: close\r\n\r\n');
    // in the kernel it is, and Node looks for requests that take too long before it reads
    standStill(6_000);
    let came = '';
    for await (const chunk of socket) came += String(chunk);
    expect(came).toMatch(/^HTTP\/1\.1 200 /);
  });

  test.each([
    ['another Transfer-Encoding', head('POST /api/v1/sessions', { 'Transfer-Encoding': 'gzip, chunked' })],
    ['another version of HTTP', head('GET /health HTTP/2.0')],
  ])('%s', async (_, sent) => {
    const { url } = await startGateway();
    const [answer] = (await raw(url, sent)).map(parsed);
    expect(answer).toMatchObject({ status: 400, body: shape('INVALID_REQUEST') });
  });

  test('a body that breaks off is no fault of the gateway', async () => {
    const { log, lines, said } = keptLog();
    const { url } = await startGateway({}, log);
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    socket.write(head('POST /api/v1/sessions', { ...post, 'Content-Length': '100', Expect: '100-continue' }));
    await once(socket, 'data');
    socket.write('{"user');
    await raw(url, head('GET /health'));
    socket.destroy();
    await expect.poll(() => said('request refused').map(({ message }) => message)).toContain('the body is incomplete');
    expect(lines.filter(({ level }) => level === 'error')).toEqual([]);
  });

  test('and what came before it on the connection is answered first', async () => {
    const { url, rooms } = await startGateway();
    rooms.holdCreate();
    const came = rawBytes(url, `${head('POST /api/v1/sessions', { ...post, Connection: 'keep-alive' })}${wish}hello\r\n\r\n`);
    await expect.poll(async () => (await (await fetch(`${url}/api/v1/sessions`)).json()).items.length).toBe(1);
    rooms.letCreate();
    expect([...String(await came).matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status)).toEqual(['201', '400']);
  });
});

describe('whoever waits to be asked for a body', () => {
  const waits = { ...post, Connection: 'keep-alive', Expect: '100-continue' };
  test.each([
    ['a foreign host', head('POST /api/v1/sessions', { ...waits, Host: 'evil.example' }), 403],
    ['a foreign origin', head('POST /api/v1/sessions', { ...waits, Origin: 'http://evil.example' }), 403],
    ['a foreign host at the webhook', head('POST /livekit/webhook', { ...waits, Host: 'evil.example' }), 403],
    ['too large a body', head('POST /api/v1/sessions', { ...waits, 'Content-Length': '65537' }), 413],
    ['a path that is none', head('POST /nowhere', waits), 404],
    ['two hosts', head('POST /api/v1/sessions', { ...waits, Host: ['localhost', 'evil.example'] }), 400],
  ])('is refused first, and the connection ends: %s', async (_, sent, status) => {
    const { url } = await startGateway();
    const [answer, ...more] = await raw(url, sent);
    expect(answer).toMatchObject({ status, headers: { connection: 'close' } });
    expect(more).toEqual([]);
  });

  test('is asked once its request may be answered, and the connection is kept', async () => {
    const { url } = await startGateway();
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    onTestFinished(() => void socket.destroy());
    let came = '';
    socket.on('data', (data) => {
      came += data;
    });
    for (let i = 1; i <= 2; i++) {
      socket.write(head('POST /api/v1/sessions', waits));
      await expect.poll(() => came.match(/HTTP\/1.1 100 /g)).toHaveLength(i);
      socket.write(wish);
      await expect.poll(() => came.match(/HTTP\/1.1 201 /g)).toHaveLength(i);
    }
  });
});

describe('as RFC 9110 and 9112 say', () => {
  test('a target in absolute form is that path, and its host the one that counts', async () => {
    const { url } = await startGateway();
    const [health, other] = await raw(
      url,
      head('GET http://LOCALHOST:1/api/v1/stats', { Host: 'evil.example', Connection: 'keep-alive' }) +
        head('GET http://evil.example/api/v1/stats'),
    );
    expect([health?.status, other?.status]).toEqual([200, 403]);
  });

  test.each(['LOCALHOST', 'Localhost.:8080', 'localhost:', '127.0.0.1:1', '[::1]:8080'])('Host: %s is this machine', async (host) => {
    const { url } = await startGateway();
    expect((await raw(url, head('GET /api/v1/stats', { Host: host })))[0]?.status).toBe(200);
  });

  test('HTTP/1.0 without a Host is served', async () => {
    const { url } = await startGateway();
    expect((await raw(url, 'GET /api/v1/stats HTTP/1.0\r\n\r\n'))[0]?.status).toBe(200);
  });

  test.each([
    ['/api/v1/sessions', 'GET, POST, HEAD, OPTIONS'],
    ['/api/v1/sessions/x', 'GET, PATCH, DELETE, HEAD, OPTIONS'],
    ['/api/v1/create-session', 'POST, OPTIONS'],
    ['/livekit/webhook', 'POST, OPTIONS'],
    ['/openapi.json', 'GET, HEAD, OPTIONS'],
    ['/ws', 'GET, HEAD, OPTIONS'],
    ['*', 'GET, POST, PATCH, DELETE, HEAD, OPTIONS'],
  ])('OPTIONS %s says what it takes', async (path, allow) => {
    const { url } = await startGateway();
    expect((await raw(url, head(`OPTIONS ${path}`)))[0]).toMatchObject({ status: 204, headers: { allow } });
  });

  test.each(['PUT /api/v1/sessions', 'TRACE /health', 'DELETE /openapi.json', 'PUT /ws', 'POST /ws'])(
    '%s is 405 with what is allowed',
    async (line) => {
      const { url } = await startGateway();
      const [answer] = (
        await raw(url, head(line, line.endsWith('/ws') ? webSocket : {}).replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'))
      ).map(parsed);
      expect(answer).toMatchObject({
        status: 405,
        headers: { allow: expect.stringContaining('OPTIONS') },
        body: shape('METHOD_NOT_ALLOWED'),
      });
    },
  );

  test('HEAD is GET without the body', async () => {
    const { url } = await startGateway();
    for (const path of ['/health', '/ready', '/api/v1/sessions', '/openapi.json', '/ws', '/nowhere']) {
      const [get, asked] = await Promise.all([fetch(`${url}${path}`), fetch(`${url}${path}`, { method: 'HEAD' })]);
      expect([path, asked.status, await asked.text()]).toEqual([path, get.status, '']);
    }
  });

  test('an idle connection is kept for 75 s, or as long as is set', async () => {
    const keep = async (server: object) => {
      const { url } = await startGateway({ server: { port: 0, ...server } });
      return (await fetch(`${url}/health`)).headers.get('keep-alive');
    };
    expect(await keep({})).toBe('timeout=75');
    expect(await keep({ keep_alive_s: 7 })).toBe('timeout=7');
  });
});
