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

  bind(sessionId: string, connection: Connection, owner: string | undefined): void {
    this.#bySession.set(sessionId, connection);
    connection.sessionId = sessionId;
    connection.owner = owner;
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
