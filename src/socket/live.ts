import { Close } from '../../protocol/close.ts';
import type { Notice } from '../../protocol/notices.ts';
import type { Connection } from './connection.ts';

/** The sessions that this node's client sockets hold now. An entry goes with its socket, or before, with its session. */
export class LiveSessions {
  readonly #bySession = new Map<string, Connection>();

  get size(): number {
    return this.#bySession.size;
  }

  has(sessionId: string): boolean {
    return this.#bySession.has(sessionId);
  }

  /** The id of the socket that holds a session here. */
  holder(sessionId: string): string | undefined {
    return this.#bySession.get(sessionId)?.id;
  }

  /**
   * Gives a session to a socket. A socket that held it is closed as taken over, which does not end the session.
   * @param version of the record that says so; of two sockets the one with the later version holds it, whichever comes here first
   * @returns whether it holds it now
   */
  bind(sessionId: string, connection: Connection, owner: string | undefined, version = 0): boolean {
    const holder = this.#bySession.get(sessionId);
    if (holder && holder !== connection) {
      if (holder.heldSince > version) {
        connection.close(Close.TakenOver);
        return false;
      }
      this.release(holder);
      holder.close(Close.TakenOver);
    }
    if (connection.sessionId !== undefined && connection.sessionId !== sessionId) this.release(connection);
    this.#bySession.set(sessionId, connection);
    connection.sessionId = sessionId;
    connection.heldSince = version;
    connection.owner = owner;
    return true;
  }

  /** A socket of another node holds the session now: the one that held it here is closed, which does not end the session. */
  takenOver(sessionId: string): void {
    const holder = this.#bySession.get(sessionId);
    if (!holder) return;
    this.release(holder);
    holder.close(Close.TakenOver);
  }

  /** Sends what may be lost to the socket that holds the session. */
  tell(sessionId: string, notice: Notice): void {
    const connection = this.#bySession.get(sessionId);
    if (connection?.writable) connection.send(notice);
  }

  /** Frees the socket. @returns the session it held */
  release(connection: Connection): string | undefined {
    const { sessionId } = connection;
    connection.cursor?.stop();
    connection.cursor = undefined;
    connection.sessionId = undefined;
    connection.owner = undefined;
    if (sessionId !== undefined) this.#bySession.delete(sessionId);
    return sessionId;
  }
}
