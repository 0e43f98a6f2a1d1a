import { expect, test } from 'vitest';
import { startGateway } from '../support/gateway.ts';
import { keptLog } from '../support/log.ts';
import { head, raw, webSocket } from '../support/raw.ts';

async function behind(trusted_proxies: string[]) {
  const { log, lines, said } = keptLog();
  const { url } = await startGateway({ server: { port: 0, trusted_proxies }, auth: { mode: 'none' } }, log);
  /** The address that the log names for a request with these headers, and for an upgrade. */
  const seenAs = async (headers: Record<string, string | string[]>) => {
    await raw(url, head('GET /nowhere', headers));
    await raw(url, head('GET /nowhere', { ...headers, ...webSocket }));
    const [call, socket] = [said('request refused').at(-1), said('socket refused').at(-1)];
    expect(socket?.remoteAddress).toBe(call?.remoteAddress);
    return call?.remoteAddress;
  };
  return { url, seenAs, warnings: () => lines.filter(({ level }) => level === 'warn') };
}

test.each<[string, Record<string, string | string[]>, string]>([
  ['the proxy itself, where it says nothing', {}, '127.0.0.1'],
  ['the client', { 'X-Forwarded-For': '203.0.113.7' }, '203.0.113.7'],
  ['the client, with its port', { 'X-Forwarded-For': '203.0.113.7:50123' }, '203.0.113.7'],
  ['the client over IPv6', { 'X-Forwarded-For': '2001:db8::1' }, '2001:db8::1'],
  ['the client over IPv6, with its port', { 'X-Forwarded-For': '[2001:db8::1]:50123' }, '2001:db8::1'],
  ['the client whose IPv4 address is written as IPv6', { 'X-Forwarded-For': '::ffff:203.0.113.7' }, '203.0.113.7'],
  ['the one that the proxy added, not what the client said', { 'X-Forwarded-For': '198.51.100.1, 203.0.113.7' }, '203.0.113.7'],
  ['the one that the proxy added, behind noise of the client', { 'X-Forwarded-For': '", for=, 203.0.113.7' }, '203.0.113.7'],
  ['the one in a header of its own', { 'X-Forwarded-For': ['198.51.100.1', '203.0.113.7'] }, '203.0.113.7'],
  ['the first who is no trusted proxy', { 'X-Forwarded-For': '198.51.100.1, 203.0.113.7, 10.1.2.3, 10.0.0.1' }, '203.0.113.7'],
  ['the outermost, where all are trusted', { 'X-Forwarded-For': '10.1.2.3, 10.0.0.1' }, '10.1.2.3'],
  ['the client of a Forwarded', { Forwarded: 'for=203.0.113.7;proto=https' }, '203.0.113.7'],
  ['the client of a Forwarded over IPv6', { Forwarded: 'proto=http; For="[2001:db8::1]:50123"' }, '2001:db8::1'],
  ['the last untrusted one of a Forwarded', { Forwarded: 'for="x, for=203.0.113.7, for=10.0.0.1' }, '203.0.113.7'],
  ['the client of both headers', { Forwarded: 'for=203.0.113.7', 'X-Forwarded-For': '203.0.113.7' }, '203.0.113.7'],
])('a request through a trusted proxy comes from %s', async (_, headers, address) => {
  const { seenAs, warnings } = await behind(['127.0.0.1', '10.0.0.0/8']);
  expect(await seenAs(headers)).toBe(address);
  expect(warnings()).toEqual([]);
});

test.each<[string, Record<string, string>]>([
  ['no address', { 'X-Forwarded-For': 'unknown' }],
  ['nothing', { 'X-Forwarded-For': '' }],
  ['an obfuscated name', { Forwarded: 'for=_hidden' }],
  ['no for', { Forwarded: 'proto=https' }],
  ['noise that ends with a comma', { 'X-Forwarded-For': '203.0.113.7,' }],
  ['another client in the other header', { Forwarded: 'for=203.0.113.7', 'X-Forwarded-For': '203.0.113.8' }],
])('the proxy itself counts where it names %s, which is warned of once', async (_, headers) => {
  const { seenAs, warnings } = await behind(['127.0.0.1']);
  expect([await seenAs(headers), await seenAs(headers)]).toEqual(['127.0.0.1', '127.0.0.1']);
  expect(warnings()).toMatchObject([{ proxy: '127.0.0.1', msg: expect.stringContaining('trusted proxy') }]);
});

test.each([[[]], [['192.0.2.1', '10.0.0.0/8', '::1']]])(
  'with the proxies %j a peer that is none of them says nothing of its client',
  async (proxies) => {
    const { seenAs, warnings } = await behind(proxies);
    expect(await seenAs({ 'X-Forwarded-For': '203.0.113.7', Forwarded: 'for=203.0.113.8' })).toBe('127.0.0.1');
    expect(warnings()).toEqual([]);
  },
);

test.each([
  ['https', 'https', 200, 'max-age=31536000'],
  ['https', 'http', 403, 'max-age=31536000'],
  ['http', 'http', 200, undefined],
  ['http', 'https', 403, undefined],
  ['gopher, https', 'https', 200, 'max-age=31536000'],
  ['', 'https', 200, undefined],
])('a trusted proxy that was asked over "%s" has pages of %s as its own: %i', async (protocol, own, status, hsts) => {
  const { url } = await behind(['127.0.0.1']);
  const headers = { Host: 'gateway.internal', Origin: `${own}://gateway.internal`, 'X-Forwarded-Proto': protocol };
  const [answer] = await raw(url, head('GET /api/v1/stats', headers));
  expect([answer?.status, answer?.headers['strict-transport-security']]).toEqual([status, hsts]);
});

test('what a proxy that is not trusted says of its protocol keeps nobody out, and binds no browser', async () => {
  const { url } = await behind([]);
  const headers = { Host: 'gateway.internal', Origin: 'http://gateway.internal', 'X-Forwarded-Proto': 'https' };
  const [answer] = await raw(url, head('GET /openapi.json', headers));
  expect(answer?.status).toBe(200);
  expect(answer?.headers).not.toHaveProperty('strict-transport-security');
  expect(JSON.parse(answer?.body ?? '').servers).toMatchObject([{ url: 'https://gateway.internal' }]);
});
