import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { build } from 'esbuild';
import { type Browser, chromium, type Page } from 'playwright-core';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { mint } from '../../src/auth/mint.ts';
import type { Client, connect, Session } from '../../src/client/client.ts';
import { connectService } from '../support/client.ts';
import { startGateway } from '../support/gateway.ts';
import { rest } from '../support/http-service.ts';
import { describeWith, parts } from '../support/parts.ts';
import { TcpProxy } from '../support/proxy.ts';

const long = { timeout: 300_000 };
const flags = [
  // a name that is not this machine's: a page from there is no secure context
  '--host-resolver-rules=MAP example.test 127.0.0.1',
  '--disable-features=LocalNetworkAccessChecks,PrivateNetworkAccessForWorkers,BlockInsecurePrivateNetworkRequests',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-dev-shm-usage',
  '--no-first-run',
];

/** What the page has. */
declare const sdk: { connect: typeof connect };
declare global {
  interface Window {
    session: Session;
    told: string[];
    client: Client;
    /** Tokens, from the test. */
    token(): Promise<string>;
  }
}

describeWith(parts.chromium)('the client SDK in chromium', () => {
  let browser: Browser;
  let script: string;

  beforeAll(async () => {
    const entry = join(import.meta.dirname, '../../src/client/client.ts');
    const { outputFiles } = await build({
      entryPoints: [entry],
      bundle: true,
      minify: true,
      format: 'iife',
      globalName: 'sdk',
      external: ['ws'],
      write: false,
    });
    script = outputFiles[0]?.text ?? '';
    browser = await chromium.launch({ executablePath: parts.chromium.path ?? '', args: flags, chromiumSandbox: false });
    return () => browser.close();
  });

  /** A page with the SDK, from a server that is not this machine by name. */
  async function open(): Promise<Page> {
    const server = createServer(({ url }, response) => {
      response.setHeader('content-type', url === '/sdk.js' ? 'text/javascript' : 'text/html');
      response.end(url === '/sdk.js' ? script : '<!doctype html><title>SDK</title><script src="/sdk.js"></script>');
    }).listen(0, '127.0.0.1');
    await new Promise((listening) => server.once('listening', listening));
    const page = await browser.newPage();
    onTestFinished(async () => {
      await page.close();
      server.closeAllConnections();
      server.close();
    });
    await page.goto(`http://example.test:${(server.address() as AddressInfo).port}/`);
    return page;
  }

  test('has its session ready, and takes it up again after a break', long, async () => {
    const page = await open();
    const gateway = await startGateway({ server: { port: 0, drain_s: 2, allowed_origins: [new URL(page.url()).origin] } });
    await connectService(gateway.url, 'asr');
    const proxy = await TcpProxy.before(Number(new URL(gateway.url).port));

    const { id, join, isSecure } = await page.evaluate(async (url) => {
      window.session = await sdk.connect(url).newSession({ user_identity: 'ada', required_services: ['asr'] });
      window.told = [];
      const { session, told } = window;
      session.on('MessageAdded', ({ content }) => told.push(content));
      session.on('resumed', ({ recovered }) => told.push(`resumed ${recovered}`));
      return { id: session.id, join: await session.ready(), isSecure: window.isSecureContext };
    }, `http://127.0.0.1:${proxy.port}`);
    expect(isSecure).toBe(false);
    expect(join).toEqual({
      room_name: `room-${id}`,
      livekit_room: `room-${id}`,
      livekit_url: 'ws://livekit.test',
      access_token: 'client-token-of-ada',
    });

    proxy.rule = () => 'cut';
    proxy.cut();
    await page.waitForFunction(() => window.session.connection === 'waiting');
    await rest(`${gateway.url}/api/v1/sessions/${id}/messages`, 'POST', { role: 'user', content: 'meanwhile' });
    proxy.rule = () => 'pass';
    await page.evaluate(() => window.session.say('user', 'after'));
    await page.waitForFunction(() => window.told.includes('after'));
    expect(await page.evaluate(() => window.told)).toEqual(['resumed true', 'meanwhile', 'after']);

    expect(await page.evaluate(() => window.session.end())).toMatchObject({ reason: 'client_ended' });
    expect(gateway.holds()).toMatchObject({ live_sessions: 0 });
  });

  describe('with a token', () => {
    const key = { id: 'app', secret: 'a-key-of-at-least-32-characters!', kinds: ['user'] };

    /** A page, a gateway that requires a token, and what its function gives: each of these, then the last one again. */
    async function start(...lives: number[]) {
      const page = await open();
      const server = { port: 0, drain_s: 2, allowed_origins: [new URL(page.url()).origin] };
      const gateway = await startGateway({ server, auth: { mode: 'required', keys: [key] } });
      const asked = { times: 0 };
      await page.exposeFunction('token', () => {
        const ttlS = lives[Math.min(asked.times++, lives.length - 1)] ?? 0;
        return mint({ keyId: key.id, secret: key.secret, identity: 'ada', kind: 'user', now: gateway.clock.now(), ttlS });
      });
      return { page, gateway, asked };
    }

    /** Has a session in the page: what it joins with. The page notes what it sends, and each state after that. */
    const connectIn = (page: Page, url: string) =>
      page.evaluate(async (url) => {
        window.told = [];
        class Told extends WebSocket {
          override send(text: string) {
            window.told.push(JSON.parse(text).type);
            super.send(text);
          }
        }
        window.client = sdk.connect(url, { WebSocket: Told, token: () => window.token() });
        const session = await window.client.newSession({ user_identity: 'ada' });
        window.client.on('state', (state) => window.told.push(state));
        return session.ready();
      }, url);

    test('has its session, and goes on past the end of the token, on the same socket', long, async () => {
      const { page, gateway } = await start(15, 600);
      expect(await connectIn(page, gateway.url)).toMatchObject({ access_token: 'client-token-of-ada' });
      await gateway.clock.advance(2_000);
      await page.waitForFunction(() => window.told.includes('IdentifyRequest'));
      // is answered after it
      await page.evaluate(() => window.client.request('Ping', {}));
      await gateway.clock.advance(15_000);
      await page.evaluate(() => window.client.request('Ping', {}));
      expect(await page.evaluate(() => window.told)).toEqual(['NewSessionRequest', 'IdentifyRequest', 'Ping', 'Ping']);
    });

    test('that has expired connects with the next one', long, async () => {
      const { page, gateway, asked } = await start(0, 600);
      expect(await connectIn(page, gateway.url)).toMatchObject({ access_token: 'client-token-of-ada' });
      expect(asked.times).toBe(2);
    });

    test('that is wrong stops with 4401', long, async () => {
      const { page, gateway } = await start();
      const closed = await page.evaluate((url) => sdk.connect(url, { token: 'wrong' }).closed, gateway.url);
      expect(closed).toEqual({ code: 4401, reason: 'unauthenticated' });
    });
  });
});
