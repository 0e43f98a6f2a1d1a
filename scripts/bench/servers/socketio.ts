// socket.io as its documentation shows it: acknowledgements for answers, rooms for watchers, WebSocket transport.
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Server } from 'socket.io';
import { serve } from '../rpc.ts';
import { closed, type Frame, handle } from './answers.ts';
import type { Peer } from './records.ts';
import { serverAnswers } from './stats.ts';

serve({
  ...serverAnswers,
  async start() {
    const server = createServer();
    const io = new Server(server, { transports: ['websocket'], serveClient: false });
    const publish = (sessionId: string, frame: object) => void io.to(sessionId).emit('m', frame);
    io.on('connection', (socket) => {
      const peer: Peer = {
        session: undefined,
        send: (frame) => void socket.emit('m', frame),
        watch: (sessionId) => void socket.join(sessionId),
        publish,
      };
      socket.on('m', (frame: Frame, ack?: (answer: object) => void) => handle(peer, frame, ack ?? peer.send));
      socket.on('disconnect', () => closed(peer));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return { port: (server.address() as AddressInfo).port };
  },
});
