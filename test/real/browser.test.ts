import { createServer } from 'node:http';
import { join } from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';
import { build, type Rollup } from 'vite';
import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { startService } from '../../scripts/demo/service.ts';
import { sharedLiveKit, startGatewayOn } from '../support/livekit.ts';
import { describeWith, parts } from '../support/parts.ts';
import type { PageApi } from './page/client.ts';
import { rtc } from './rtc.ts';

const long = { timeout: 300_000 };

/** What the page's functions are called on, in the browser. */
declare const api: PageApi;

const flags = [
  '--use-fake-device-for-media-stream',
  '--use-fake-ui-for-media-stream',
  // a name that is not this machine's, for a page that comes from elsewhere
  '--host-resolver-rules=MAP example.test 127.0.0.1',
  // such a page may otherwise be kept from loopback by the browser, before the gateway is asked
  '--disable-features=LocalNetworkAccessChecks,PrivateNetworkAccessForWorkers,BlockInsecurePrivateNetworkRequests',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-dev-shm-usage',
  '--no-first-run',
];

/** The page and its script, by URL path. */
async function buildPage(): Promise<Map<string, string | Uint8Array>> {
  const root = join(import.meta.dirname, 'page');
  const built = (await build({ root, configFile: false, logLevel: 'error', build: { write: false } })) as Rollup.RollupOutput;
  return new Map(built.output.map((file) => [`/${file.fileName}`, file.type === 'asset' ? file.source : file.code]));
}

describeWith(parts.livekit, parts.chromium)('a page in chromium', () => {
  const livekit = sharedLiveKit();
  let browser: Browser;
  let files: Map<string, string | Uint8Array>;

  beforeAll(async () => {
    files = await buildPage();
    browser = await chromium.launch({ executablePath: parts.chromium.path ?? '', args: flags, chromiumSandbox: false });
    return () => browser.close();
  });

  /** Opens the page, served on a port of its own. */
  async function open(host: string): Promise<Page> {
    const server = createServer(({ url = '/' }, response) => {
      const path = url === '/' ? '/index.html' : url;
      const body = files.get(path);
      response.writeHead(body === undefined ? 404 : 200, { 'content-type': path.endsWith('.js') ? 'text/javascript' : 'text/html' });
      response.end(body);
    });
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
    const address = server.address();
    const page = await browser.newPage();
    onTestFinished(async () => {
      await page.close();
      server.closeAllConnections();
      server.close();
    });
    await page.goto(`http://${host}:${typeof address === 'object' ? address?.port : ''}/`);
    return page;
  }

  test('has its session, talks with a service and is heard', long, async () => {
    const gateway = await startGatewayOn(livekit());
    let hear = (_identity: string) => {};
    const heardAudioOf = new Promise<string>((heard) => {
      hear = heard;
    });
    const work = (text: string) => text.toUpperCase();
    const service = { gateway: gateway.socket, id: 'asr', rtc, hears: 'to-asr', says: 'from-asr', work, onAudio: hear };
    onTestFinished((await startService(service)).close);

    const page = await open('127.0.0.1');
    const { reply, active } = await page.evaluate((url) => api.openSession(url, 'hello from a page'), gateway.socket);
    expect(reply).toBe('HELLO FROM A PAGE');
    expect(active).toMatchObject({ participant: { identity: 'ada' } });
    expect(await heardAudioOf).toBe('ada');

    expect(await page.evaluate(() => api.endSession())).toMatchObject({ reason: 'client_ended' });
    expect(await livekit().client.listRooms()).toEqual([]);
    expect(gateway.holds()).toMatchObject({ live_sessions: 0, watched_rooms: 0, waiting: 0 });
  });

  /** Opens a socket in the page: 'open', or the code it ended with. */
  const connect = (page: Page, url: string) =>
    page.evaluate(
      (url) =>
        new Promise<string>((done) => {
          const socket = new WebSocket(url);
          socket.onopen = () => done('open');
          socket.onclose = ({ code }) => done(`${code}`);
        }),
      url,
    );

  test('from a foreign origin is refused with 403, unless the origin is allowed', long, async () => {
    const page = await open('example.test');
    const closed = await startGatewayOn(livekit());
    const told = page.waitForEvent('console', (message) => message.text().includes(closed.socket));
    expect(await connect(page, closed.socket)).toBe('1006');
    expect((await told).text()).toContain('Unexpected response code: 403');
    expect(closed.holds().sockets).toBe(0);

    const { origin } = new URL(page.url());
    const allowing = await startGatewayOn(livekit(), { server: { port: 0, drain_s: 2, allowed_origins: [origin] } });
    expect(await connect(page, allowing.socket)).toBe('open');
  });
});
