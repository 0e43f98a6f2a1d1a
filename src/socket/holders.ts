import type { Logger } from 'pino';
import { Close } from '../../protocol/close.ts';
import type { Notice } from '../../protocol/notices.ts';
import { mayResume } from '../auth/caller.ts';
import { GatewayError, StorageError } from '../errors.ts';
import type { Sessions } from '../sessions/commits.ts';
import type { Commit } from '../sessions/ports.ts';
import { isEnded, type Session } from '../sessions/record.ts';
import { checkResume, resumeInvalid } from '../sessions/resume.ts';
import type { Connection } from './connection.ts';

interface HoldersParts {
  sessions: Sessions;
  log: Logger;
  nodeId: string;
}

/**
 * Decides which socket holds which session. The record of a session names the socket that holds it, or held it last, with its node and link; those
 * of this node's sockets that hold one are kept here. Of two sockets of a node the one opened later is its client's newer one: what comes on the
 * older one was given up, and stayed on its way.
 *
 *     the record names                     a socket that asks for it               the socket here that holds it
 *     nobody: it is to be created          holds it already: `expect`, `confirm`   -
 *     an older socket, or another node's   takes it: `attach`, `resume`            is closed as taken over, also by `givesWay`
 *     a newer socket, attached             is late: closed as taken over           keeps it
 *     a newer socket, away                 `resume` takes it, `attach` refuses     -
 *     this socket, attached                holds it                                keeps it
 *     this socket, away                    takes it again                          is attached again: another node considered this one dead
 *     nobody: it has ended                 is sent its end                         is sent its end, and is free
 *
 * A storage may report two commits of this node in the other order: the socket with the later version holds the session. A socket that ends while
 * it is given one holds nothing, and the session hears of it anyway.
 */
export class Holders {
  readonly #parts: HoldersParts;
  /** By session. An entry goes with its socket, or before, with its session. */
  readonly #bySession = new Map<string, Connection>();

  constructor(parts: HoldersParts) {
    this.#parts = parts;
    parts.sessions.onCommit((commit) => this.#onCommit(commit));
  }

  get size(): number {
    return this.#bySession.size;
  }

  has(sessionId: string): boolean {
    return this.#bySession.has(sessionId);
  }

  /** Sends what may be lost to the socket that holds the session. */
  send(sessionId: string, notice: Notice): void {
    const connection = this.#bySession.get(sessionId);
    if (connection?.writable) connection.send(notice);
  }

  /** Gives a socket a session that is about to be created: whatever happens until then, the socket's end finds it. */
  expect(sessionId: string, connection: Connection, owner: string | undefined): void {
    this.#bind(sessionId, connection, owner, 0);
  }

  /** The session that a socket expects has been created. @returns false: the socket has ended meanwhile */
  confirm(sessionId: string, connection: Connection): boolean {
    return !this.#hasEnded(sessionId, connection);
  }

  /**
   * Gives a session that was there before to a socket that asked for it again.
   * @param tokenHash of the only resume token that counts from now on
   * @returns whether the socket holds it, or is to be sent its end; if not, it is closed
   * @throws GatewayError ILLEGAL_STATE a newer socket held it last, and has the token to come back with: this one may ask again
   */
  async attach(sessionId: string, connection: Connection, owner: string | undefined, tokenHash: string): Promise<boolean> {
    const session = await this.#take(sessionId, connection, (session) =>
      this.#isOutrun(session, connection) ? undefined : { token_hash: tokenHash },
    ).catch((error) => {
      // it has ended meanwhile
      if (error instanceof GatewayError && error.code === 'ILLEGAL_STATE') return undefined;
      throw error;
    });
    if (session && isAnothers(session, connection) && session.link !== 'attached') {
      throw new GatewayError('ILLEGAL_STATE', "a newer socket of this session's client held it and may return", {
        details: { session_id: sessionId },
      });
    }
    return this.#settle(sessionId, connection, owner, session);
  }

  /**
   * Gives a session to the socket of a client that has come back. One that has ended for another reason than its absence is shown anyway: the
   * client learns why.
   * @returns whether the socket holds it, or is to be sent its end; if not, it is closed
   * @throws GatewayError RESUME_INVALID, RESUME_EXPIRED
   */
  async resume(sessionId: string, connection: Connection, resumeToken: string): Promise<boolean> {
    const session = await this.#take(sessionId, connection, (session) => {
      checkResume(session, resumeToken);
      if (!mayResume(session, connection.principal)) throw resumeInvalid();
      // one that is away can be had: its token is not used up by that
      const isLate = session.link === 'attached' && this.#isOutrun(session, connection);
      return isEnded(session) || isLate ? undefined : {};
    }).catch((error) => {
      throw error instanceof GatewayError && error.code === 'SESSION_NOT_FOUND' ? resumeInvalid() : error;
    });
    return this.#settle(sessionId, connection, session.owner_id, session);
  }

  /** Whether the record that a socket is sent names another one, which has taken the session: this one gives it up then. */
  givesWay(session: Session, connection: Connection): boolean {
    if (!isAnothers(session, connection)) return false;
    if (connection.sessionId === session.session_id) this.#takenOver(session.session_id);
    return true;
  }

  /** Frees a socket. @returns the session it held */
  release(connection: Connection): string | undefined {
    const { sessionId } = connection;
    connection.unfollow();
    connection.sessionId = undefined;
    connection.owner = undefined;
    if (sessionId !== undefined) this.#bySession.delete(sessionId);
    return sessionId;
  }

  /** Called when a socket has ended. @returns the session it held, and when that has heard of it */
  ended(connection: Connection): { sessionId: string; reported: Promise<void> } | undefined {
    const sessionId = this.release(connection);
    return sessionId === undefined ? undefined : { sessionId, reported: this.#reportEnd(sessionId, connection) };
  }

  /** Has a session name a socket, unless `decide` gives nothing. @returns the session as it is then */
  #take(sessionId: string, { id }: Connection, decide: (session: Session) => { token_hash?: string } | undefined): Promise<Session> {
    return this.#parts.sessions.change(sessionId, async (session) => {
      const given = decide(session);
      return given && { type: 'Attached', node_id: this.#parts.nodeId, connection_id: id, ...given };
    });
  }

  /** Whether a socket of this node that was opened later holds the session, or held it last. Ids of connections grow, but each node has its own. */
  #isOutrun({ node_id, connection_id }: Session, { id }: Connection): boolean {
    return node_id === this.#parts.nodeId && connection_id !== undefined && connection_id > id;
  }

  /** @param session as it was found; undefined: it has ended */
  #settle(sessionId: string, connection: Connection, owner: string | undefined, session: Session | undefined): boolean {
    if (session && isAnothers(session, connection)) {
      connection.close(Close.TakenOver);
      return false;
    }
    if (this.#hasEnded(sessionId, connection)) return false;
    return this.#bind(sessionId, connection, owner, session?.version ?? 0);
  }

  /** A socket that ended while it was given the session held nothing then, and nobody else says so. */
  #hasEnded(sessionId: string, connection: Connection): boolean {
    if (!connection.closed) return false;
    this.release(connection);
    void this.#reportEnd(sessionId, connection);
    return true;
  }

  #reportEnd(sessionId: string, { id, ended }: Connection): Promise<void> {
    return this.#parts.sessions.report(sessionId, { type: 'Detached', connection_id: id, how: ended ?? 'broken' });
  }

  /**
   * A socket that held it is closed, which does not end the session.
   * @param version of the record that gives it to this socket
   * @returns whether it holds it now; if not, it is closed
   */
  #bind(sessionId: string, connection: Connection, owner: string | undefined, version: number): boolean {
    const holder = this.#bySession.get(sessionId);
    if (holder && holder !== connection) {
      if (holder.heldSince > version) {
        connection.close(Close.TakenOver);
        return false;
      }
      this.#takenOver(sessionId);
    }
    if (connection.sessionId !== undefined && connection.sessionId !== sessionId) this.release(connection);
    this.#bySession.set(sessionId, connection);
    connection.sessionId = sessionId;
    connection.heldSince = version;
    connection.owner = owner;
    // what it watched comes to it as its own
    connection.unwatch(sessionId);
    return true;
  }

  #takenOver(sessionId: string): void {
    const holder = this.#bySession.get(sessionId);
    if (!holder) return;
    this.release(holder);
    holder.close(Close.TakenOver);
  }

  #onCommit({ before, session, remote }: Commit): void {
    if (!remote) return;
    const { session_id, node_id, link } = session;
    const { nodeId } = this.#parts;
    // a socket of another node holds it now
    if (before?.node_id === nodeId && node_id !== nodeId) this.#takenOver(session_id);
    // another node considered this one dead, and it lives, with the socket
    const holder = link === 'away' && node_id === nodeId ? this.#bySession.get(session_id) : undefined;
    if (holder) void this.#attachAgain(session_id, holder);
  }

  async #attachAgain(sessionId: string, holder: Connection): Promise<void> {
    try {
      await this.#take(sessionId, holder, ({ link, connection_id }) => (link === 'away' && connection_id === holder.id ? {} : undefined));
    } catch (err) {
      const level = err instanceof StorageError ? 'debug' : 'warn';
      this.#parts.log[level]({ err, session_id: sessionId }, 'could not re-attach session after node recovery');
    }
  }
}

/** Whether a record names another socket. One that has ended is nobody's: every socket that asked for it in time is sent how. */
const isAnothers = (session: Session, { id }: Connection) => !isEnded(session) && session.connection_id !== id;
