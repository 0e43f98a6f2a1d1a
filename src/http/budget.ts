import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Clock } from '../clock.ts';
import { GatewayError } from '../errors.ts';
import { drained, isMuch } from '../level.ts';
import type { Turn } from '../turn.ts';

/** What was answered on one connection. */
interface Used {
  level: number;
  /** As of then. */
  at: number;
  /** Bytes that had been written by then. */
  written: number;
  last: ServerResponse;
}

interface BudgetParts {
  turn: Turn;
  clock: Clock;
  answerBytesPerSecond: number;
}

/** What each connection may ask for over HTTP, in bytes of the answers: as much as a socket. */
export class Budget {
  readonly #parts: BudgetParts;
  readonly #used = new WeakMap<object, Used>();

  constructor(parts: BudgetParts) {
    this.#parts = parts;
  }

  /**
   * Waits until a request may be handled: those before it on its connection are answered, and a request for much gets its own turn.
   * @throws GatewayError RATE_LIMITED
   */
  async enter({ socket }: IncomingMessage, response: ServerResponse): Promise<void> {
    const { turn, clock, answerBytesPerSecond } = this.#parts;
    const used = this.#used.get(socket);
    if (!used) return void this.#used.set(socket, { level: 0, at: clock.now(), written: socket.bytesWritten, last: response });
    const { last } = used;
    used.last = response;
    // sent before that one was answered: what it costs is known when it is
    if (!last.writableFinished && !last.destroyed) await once(last, 'close').catch(() => {});
    const now = clock.now();
    const lastBytes = socket.bytesWritten - used.written;
    used.level = drained(used.level, now - used.at, answerBytesPerSecond) + lastBytes;
    used.at = now;
    used.written = socket.bytesWritten;
    if (used.level > answerBytesPerSecond) {
      const retryAfterMs = Math.ceil(((used.level - answerBytesPerSecond) * 1_000) / answerBytesPerSecond);
      throw new GatewayError('RATE_LIMITED', `more than ${answerBytesPerSecond} bytes of answers a second on this connection`, {
        retryAfterMs,
      });
    }
    if (!turn.hasRoom && isMuch(used.level, lastBytes, answerBytesPerSecond)) await turn.next();
  }
}
