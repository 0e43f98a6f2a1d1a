import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { chromium } from 'playwright-core';
import { expect, onTestFinished, test } from 'vitest';
import { startGateway } from '../support/gateway.ts';
import { describeWith, parts } from '../support/parts.ts';

describeWith(parts.chromium)('a page of another origin that may call', () => {
  test('reads an answer, and neither shows it in a frame nor embeds it', { timeout: 300_000 }, async () => {
    const { url } = await startGateway();
    const server = createServer((_, response) => response.setHeader('content-type', 'text/html').end('<!doctype html>'));
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
    const browser = await chromium.launch({ executablePath: parts.chromium.path ?? '', chromiumSandbox: false });
    onTestFinished(async () => {
      await browser.close();
      server.close();
    });
    const page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);

    const status = await page.evaluate(async (at) => (await (await fetch(at)).json()).status, `${url}/health`);
    expect(status).toBe('healthy');

    const shown = await page.evaluate(
      (at) =>
        new Promise((done) => {
          const frame = Object.assign(document.createElement('iframe'), { src: at, onload: () => done('loaded') });
          document.body.append(frame);
        }),
      `${url}/health`,
    );
    // the browser's own error page loads instead
    expect([shown, page.frames()[1]?.url()]).toEqual(['loaded', 'chrome-error://chromewebdata/']);

    const blocked = page.waitForEvent('requestfailed');
    await page.evaluate((at) => document.body.append(Object.assign(new Image(), { src: at })), `${url}/health`);
    expect((await blocked).failure()?.errorText).toBe('net::ERR_BLOCKED_BY_RESPONSE.NotSameOrigin');
  });
});
