import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { build } from 'esbuild';
import { type Browser, chromium, type Page } from 'playwright-core';
import { beforeAll, expect, onTestFinished, test } from 'vitest';
import type { connect, Session } from '../../src/client/client.ts';
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
});
