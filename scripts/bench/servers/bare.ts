// The limit of this stack: `ws`, JSON.parse, JSON.stringify, node:crypto, and nothing else.
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { type RawData, type WebSocket, WebSocketServer } from 'ws';
import { serve } from '../rpc.ts';
import { closed, handle } from './answers.ts';
import type { Peer } from './records.ts';
import { serverAnswers } from './stats.ts';

const watchers = new Map<string, BarePeer[]>();

class BarePeer implements Peer {
  session: Peer['session'];
  readonly #ws: WebSocket;

  constructor(ws: WebSocket) {
    this.#ws = ws;
  }

  send(frame: object): void {
    this.#ws.send(JSON.stringify(frame));
  }

  watch(sessionId: string): void {
    const peers = watchers.get(sessionId);
    if (peers) peers.push(this);
    else watchers.set(sessionId, [this]);
  }

  /** Written out once for all. */
  publish(sessionId: string, frame: object): void {
    const text = JSON.stringify(frame);
    for (const peer of watchers.get(sessionId) ?? []) peer.#ws.send(text);
  }
}

// one of each for all sockets, and a peer only for those that say something: the least an idle socket can cost
type Socket = WebSocket & { peer?: BarePeer };

function onMessage(this: Socket, data: RawData): void {
  this.peer ??= new BarePeer(this);
  const { peer } = this;
  handle(peer, JSON.parse(String(data)), (frame) => peer.send(frame));
}

function onClose(this: Socket): void {
  if (this.peer) closed(this.peer);
}

const ignore = () => {};

serve({
  ...serverAnswers,
  async start() {
    const wss = new WebSocketServer({ host: '127.0.0.1', port: 0, backlog: 4_096, clientTracking: false });
    wss.on('connection', (ws) => ws.on('message', onMessage).on('close', onClose).on('error', ignore));
    await once(wss, 'listening');
    return { port: (wss.address() as AddressInfo).port };
  },
});
