import WebSocket from 'ws';
import type { SocketClass } from '../../src/client/socket.ts';
import type { Wire, WireFrame } from './history.ts';

const isChange = (type: string) => /^(AddMessage|UpdateSession|ExtendSession|ShareSession|UnshareSession)/.test(type);

/** A socket class that notes what goes over each of its sockets, in `wires`. */
export function tapped(wires: Wire[]): SocketClass {
  class Tapped extends WebSocket {
    readonly #wire: Wire = { sent: [], came: [] };
    #asked = 0;

    constructor(url: string) {
      super(url);
      wires.push(this.#wire);
      this.on('message', (data) => {
        const frame = noted(String(data), this.#asked);
        if (frame) this.#wire.came.push(frame);
      });
    }

    override send(text: string): void {
      const { type, id, last_seq } = JSON.parse(text);
      if (type === 'ResumeRequest') this.#asked = last_seq;
      else if (isChange(type)) this.#wire.sent.push({ id, text });
      super.send(text);
    }
  }
  return Tapped as unknown as SocketClass;
}

/** What a checker looks at in a frame; undefined: nothing. `asked`: the place that the resume on this socket named. */
export function noted(text: string, asked: number): WireFrame | undefined {
  const { type, id, seq, ts, from_seq, recovered } = JSON.parse(text);
  if (type === 'NewSessionResponse') return { what: 'opened', seq };
  if (type === 'ResumeResponse') return { what: 'resumed', from: from_seq, recovered, asked };
  if (type === 'ResumeComplete') return { what: 'complete', seq };
  if (id === undefined && typeof seq === 'number' && typeof ts === 'string') return { what: 'event', seq };
  return typeof id === 'string' && (isChange(type) || type === 'Error') ? { what: 'answer', id, text } : undefined;
}
