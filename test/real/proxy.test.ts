import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { loadConfig } from '../../src/config-load.ts';
import { startGateway } from '../support/gateway.ts';
import { freePort } from '../support/livekit.ts';
import { keptLog } from '../support/log.ts';
import { describeWith, parts } from '../support/parts.ts';
import { Child, root } from '../support/process.ts';

const host = 'gateway.example.com';
const fileOf = (name: string) => readFileSync(join(root, 'scripts/proxy', name), 'utf8');

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), 'proxy-'));
  onTestFinished(() => rmSync(made, { recursive: true }));
  return made;
}

/** The file as it stands, but for the address it listens on and the gateway's. */
const moved = (text: string, port: number, gateway: string) =>
  text
    .replace('listen 80;', `listen 127.0.0.1:${port};`)
    .replace('bind :80', `bind 127.0.0.1:${port}`)
    .replace('127.0.0.1:8080', new URL(gateway).host);

const proxies = {
  nginx(gateway: string, port: number) {
    const dir = folder();
    writeFileSync(join(dir, 'site.conf'), moved(fileOf('nginx.conf'), port, gateway));
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${dir}/${name};`).join(' ');
    const main = `${process.getuid?.() === 0 ? 'user root; ' : ''}worker_processes 1; daemon off; pid ${dir}/pid; error_log stderr warn;
events {} http { access_log off; ${temporary} include ${dir}/site.conf; }`;
    writeFileSync(join(dir, 'nginx.conf'), main);
    return new Child(parts.nginx.path ?? '', ['-p', dir, '-c', join(dir, 'nginx.conf'), '-e', 'stderr']);
  },
  haproxy(gateway: string, port: number) {
    const dir = folder();
    writeFileSync(join(dir, 'haproxy.cfg'), moved(fileOf('haproxy.cfg'), port, gateway));
    return new Child(parts.haproxy.path ?? '', ['-db', '-f', join(dir, 'haproxy.cfg')]);
  },
};

/** Asks by the name that users know. */
const ask = (port: number, method: string, path: string, body?: object, more: Record<string, string> = {}, localAddress = '127.0.0.1') =>
  new Promise<{ status: number | undefined; body: Record<string, unknown> }>((done, fail) => {
    const headers = { host, 'content-type': 'application/json', ...more };
    const asked = request({ host: '127.0.0.1', port, method, path, headers, localAddress }, (response) => {
      let text = '';
      response.on('data', (data) => {
        text += data;
      });
      response.on('end', () => done({ status: response.statusCode, body: text.startsWith('{') ? JSON.parse(text) : { text } }));
    });
    asked.on('error', fail);
    asked.end(body && JSON.stringify(body));
  });

describe.each(['nginx', 'haproxy'] as const)('behind %s', (name) => {
  describeWith(parts[name])('with the file that is in scripts/proxy', () => {
    async function start(overrides: Parameters<typeof startGateway>[0]) {
      const { log, said } = keptLog();
      const gateway = await startGateway(overrides, log);
      const port = await freePort();
      proxies[name](gateway.url, port);
      await vi.waitFor(() => ask(port, 'GET', '/health'));
      return { gateway, port, said };
    }

    test('sockets and calls pass, by the public name and for its own pages', async () => {
      const { gateway, port } = await start({ auth: { mode: 'none' }, server: { port: 0, allowed_hosts: [host] } });
      const socket = new WebSocket(`ws://127.0.0.1:${port}/ws`, { headers: { host }, origin: `http://${host}` });
      const heard = new Promise<string>((done, fail) => socket.once('message', (data) => done(String(data))).once('error', fail));
      socket.once('open', () => socket.send('{"type":"NewSessionRequest","id":"1","user_identity":"ada","required_services":[]}'));
      expect(JSON.parse(await heard)).toMatchObject({ type: 'NewSessionResponse', id: '1', status: 'Ready' });
      const created = await ask(port, 'POST', '/api/v1/sessions', { user_identity: 'bob', required_services: [] });
      expect(created.status).toBe(201);
      expect(await ask(port, 'GET', `/api/v1/sessions/${created.body.session_id}`)).toMatchObject({ status: 200 });
      expect(gateway.holds().sockets).toBe(1);
      const closed = new Promise((done) => socket.once('close', (code) => done(code)));
      void gateway.close();
      expect(await closed).toBe(4452);
    });

    test('whose address is trusted, the client is who connects to it, whatever it says of itself', async () => {
      const { port, said } = await start({
        auth: { mode: 'none' },
        server: { port: 0, allowed_hosts: [host], trusted_proxies: ['127.0.0.1'] },
      });
      const forged = { 'x-forwarded-for': '198.51.100.1', forwarded: 'for=198.51.100.2', 'x-forwarded-proto': 'https' };
      // another address of this machine, which is no proxy
      await ask(port, 'GET', '/nowhere', undefined, forged, '127.0.0.2');
      expect(said('request refused')).toMatchObject([{ remoteAddress: '127.0.0.2' }]);
      const own = await ask(port, 'GET', '/api/v1/stats', undefined, { ...forged, origin: `https://${host}` });
      expect(own.status).toBe(403);
    });

    test('a gateway whose operator did not set AUTH_MODE is not opened to the world', async () => {
      const { port } = await start({ server: { port: 0, allowed_hosts: [host] } });
      expect(await ask(port, 'GET', '/api/v1/sessions')).toMatchObject({
        status: 403,
        body: { code: 'FORBIDDEN', message: expect.stringContaining('AUTH_MODE') },
      });
    });
  });

  test('its times fit the defaults of the gateway', () => {
    const { server, heartbeat } = loadConfig({});
    const text = fileOf(name === 'nginx' ? 'nginx.conf' : 'haproxy.cfg');
    const secondsOf = (setting: string) => Number(new RegExp(`^ *(?:default-server check )?${setting} (\\d+)s`, 'm').exec(text)?.[1]);
    const names =
      name === 'nginx'
        ? { wait: 'proxy_read_timeout', idle: 'proxy_read_timeout', keep: 'keepalive_timeout' }
        : { wait: 'timeout server', idle: 'timeout tunnel', keep: 'pool-purge-delay' };
    expect(secondsOf(names.wait)).toBeGreaterThan(server.max_wait_s);
    expect(secondsOf(names.idle)).toBeGreaterThan(heartbeat.client_s + heartbeat.timeout_s);
    expect(secondsOf(names.keep)).toBeLessThan(server.keep_alive_s);
  });
});
