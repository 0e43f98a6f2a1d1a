// Takes an upgrade, reads whatever comes and does nothing with it: what a flood costs the machine alone.
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { serve } from '../rpc.ts';
import { serverAnswers } from './stats.ts';

const accepted = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n';

serve({
  ...serverAnswers,
  async start() {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', () => {
        socket.write(accepted);
        socket.resume();
      });
    });
    server.listen({ host: '127.0.0.1', port: 0, backlog: 4_096 });
    await once(server, 'listening');
    return { port: (server.address() as AddressInfo).port };
  },
});
