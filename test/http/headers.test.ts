import { expect, test } from 'vitest';
import { startGateway } from '../support/gateway.ts';
import { head, raw, webSocket } from '../support/raw.ts';

const safe = {
  'x-content-type-options': 'nosniff',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-store',
};
const json = { 'Content-Type': 'application/json' };
const page = { Origin: 'http://localhost:3000' };

test.each([
  ['a call', 200, head('GET /api/v1/sessions')],
  ['a call of HTTP/1.0', 200, head('GET /health HTTP/1.0')],
  ['a probe of a stranger', 200, head('GET /ready', { Host: 'evil.example' })],
  ['a page of another origin', 200, head('GET /api/v1/sessions', page)],
  ['a preflight', 204, head('OPTIONS /livekit/token', { ...page, 'Access-Control-Request-Method': 'POST' })],
  ['OPTIONS', 204, head('OPTIONS /api/v1/sessions')],
  ['HEAD', 200, head('HEAD /api/v1/sessions')],
  ['a document', 200, head('GET /openapi.json')],
  ['the other document', 200, head('GET /asyncapi.json')],
  ['a path where nothing is', 404, head('GET /nowhere')],
  ['a session that does not exist', 404, head('GET /api/v1/sessions/x')],
  ['a method that a path does not take', 405, head('PUT /api/v1/sessions')],
  ['a body that is not JSON', 400, `${head('POST /api/v1/sessions', { ...json, 'Content-Length': '1' })}{`],
  ['a webhook that nobody signed', 401, head('POST /livekit/webhook', { 'Content-Length': '0' })],
  ['a foreign host', 403, head('GET /api/v1/sessions', { Host: 'evil.example' })],
  ['a foreign origin', 403, head('GET /api/v1/sessions', { Origin: 'https://evil.example' })],
  ['a plain request where sockets are opened', 426, head('GET /ws')],
  ['an upgrade of another version', 426, head('GET /ws', { ...webSocket, 'Sec-WebSocket-Version': '8' })],
  ['an upgrade that ws refuses', 400, head('GET /ws', { ...webSocket, 'Sec-WebSocket-Key': 'short' })],
  ['an upgrade of a foreign origin', 403, head('GET /ws', { ...webSocket, Origin: 'https://evil.example' })],
  ['an upgrade where nothing is', 404, head('GET /nowhere', webSocket)],
  ['an upgrade with two Hosts', 400, head('GET /ws', { ...webSocket, Host: ['localhost', 'evil.example'] })],
  ['a request with two Hosts', 400, head('GET /health', { Host: ['localhost', 'evil.example'] })],
  ['noise', 400, 'hello\r\n\r\n'],
  ['a header of 20 KB', 431, head('GET /health', { 'X-Long': 'x'.repeat(20_000) })],
  ['another expectation', 417, head('GET /health', { Expect: 'tea' })],
  ['a body that is waited for', 415, `${head('POST /api/v1/sessions', { Expect: '100-continue', 'Content-Encoding': 'gzip' })}`],
  ['CONNECT', 405, head('CONNECT example.org:443')],
])('%s is answered %i with the headers for a browser', async (_, status, sent) => {
  const { url } = await startGateway();
  const [answer] = await raw(url, sent);
  expect(answer).toMatchObject({ status, headers: safe });
  expect(answer?.headers).not.toHaveProperty('strict-transport-security');
});
