import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Logger } from 'pino';
import { askedFor } from '../auth/admission.ts';
import { earlyErrorListener, refuseUpgrade } from '../edge/raw.ts';

/** Answers a GET that asks for a WebSocket: with one, or with why not. */
export type Upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

/** What is opened where. Each path is also served with a slash at its end: some programs add one. */
export class Upgrades {
  readonly #byPath = new Map<string, Upgrade>();
  readonly #log: Logger;
  readonly #nothingHere: string;
  readonly #onError: (err: Error) => void;

  constructor(table: Readonly<Record<`/${string}`, Upgrade>>, log: Logger) {
    this.#log = log;
    this.#onError = earlyErrorListener(log);
    for (const [path, upgrade] of Object.entries(table)) this.#byPath.set(path, upgrade).set(`${path}/`, upgrade);
    this.#nothingHere = `sockets are served at ${Object.keys(table).join(' and ')}`;
  }

  /** Every path where sockets are opened. */
  get paths(): readonly string[] {
    return [...this.#byPath.keys()];
  }

  /** Hands a request to what its path opens. */
  readonly take: Upgrade = (request, socket, head) => {
    const upgrade = this.#byPath.get(request.url?.split('?')[0] ?? '');
    if (upgrade) return upgrade(request, socket, head);
    socket.on('error', this.#onError);
    const message = this.#nothingHere;
    this.#log.info({ ...askedFor(request), status: 404, message }, 'socket refused');
    refuseUpgrade(socket, 404, message);
  };
}
