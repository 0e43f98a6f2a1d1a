import { expect, test } from 'vitest';
import WebSocket from 'ws';
import { freePort } from './support/livekit.ts';
import { Child, cleanEnv, restUrl } from './support/process.ts';

/** Enough to load the gateway, and few enough to be used up by a test. */
const limit = 256;

/** The built gateway under that limit. */
async function startLimited() {
  const env = cleanEnv({ SERVER_PORT: '0', LIVEKIT_MODE: 'on_join', LIVEKIT_SERVER_URL: `ws://127.0.0.1:${await freePort()}` });
  const gateway = new Child('sh', ['-c', `ulimit -n ${limit} && exec "${process.execPath}" dist/src/main.js`], { env });
  return { gateway, url: `${(await restUrl(gateway)).replace('http', 'ws')}/ws` };
}

/** Resolves with whether it was opened. */
const dial = (url: string) => {
  const socket = new WebSocket(url);
  const opened = new Promise<boolean>((settle) => {
    socket.once('open', () => settle(true));
    socket.once('error', () => settle(false));
  });
  return { socket, opened };
};

test.skipIf(process.platform === 'win32')(
  'a gateway out of file descriptors says so once, and takes new sockets when some are free again',
  async () => {
    const { gateway, url } = await startLimited();
    const peers = Array.from({ length: limit }, () => dial(url));
    const opened = await Promise.all(peers.map((peer) => peer.opened));
    expect(opened).toContain(true);
    expect(opened).toContain(false);
    const line = await gateway.json('out of file descriptors');
    expect(line).toMatchObject({ level: 'error', code: 'EMFILE', ...(process.platform === 'linux' && { limit }) });
    expect(line.msg).toContain('ulimit -n');

    for (const { socket } of peers) socket.terminate();
    expect(await gateway.json('file descriptors are free again')).toMatchObject({ level: 'info' });
    const { socket, opened: isOpen } = dial(url);
    expect(await isOpen).toBe(true);
    socket.terminate();
    expect(gateway.lines.filter((said) => said.includes('out of file descriptors'))).toHaveLength(1);
  },
);
