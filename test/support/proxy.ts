import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

/** Lies between a client and a server on loopback, and does to their bytes what a bad moment would. */
export class TcpProxy {
  readonly port: number;
  /** Where new connections lead. */
  target: number;
  /** Looks at what the client sends, or at what the server answers. 'cut' ends both connections instead of passing it on; 'hold' keeps it back, and what follows it. */
  rule: (from: 'client' | 'server', text: string) => 'pass' | 'cut' | 'hold' = () => 'pass';
  /** Whether the end of a side that is held is kept from the other as well, for good. */
  holdsEnds = false;
  readonly #held: (() => void)[] = [];
  readonly #sockets: Set<Socket>;

  constructor(port: number, target: number, sockets: Set<Socket>) {
    this.port = port;
    this.target = target;
    this.#sockets = sockets;
  }

  static async before(target: number): Promise<TcpProxy> {
    const sockets = new Set<Socket>();
    const server = createServer((client) => {
      const upstream = connect(proxy.target, '127.0.0.1');
      const cut = () => {
        client.destroy();
        upstream.destroy();
      };
      for (const [from, source, sink] of [['client', client, upstream] as const, ['server', upstream, client] as const]) {
        sockets.add(source);
        let isHeld = false;
        source.on('error', cut);
        source.on('close', () => {
          if (!isHeld || !proxy.holdsEnds) cut();
        });
        source.on('data', (data) => {
          const what = proxy.rule(from, data.toString());
          if (what === 'cut') cut();
          else if (what === 'pass' && !isHeld) sink.write(data);
          else {
            isHeld = true;
            proxy.#held.push(() => {
              isHeld = false;
              sink.write(data);
            });
          }
        });
      }
    }).listen(0, '127.0.0.1');
    onTestFinished(() => {
      proxy.cut();
      server.close();
    });
    await once(server, 'listening');
    const proxy = new TcpProxy((server.address() as AddressInfo).port, target, sockets);
    return proxy;
  }

  /** Ends every connection as a broken network would. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  get holds(): boolean {
    return this.#held.length > 0;
  }

  /** Passes on what was held back. */
  release(): void {
    for (const send of this.#held.splice(0)) send();
  }
}
