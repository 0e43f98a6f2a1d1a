import type { Logger } from 'pino';
import { Close } from '../../../protocol/close.ts';
import { answer } from '../../../protocol/requests.ts';
import { callerOf } from '../../auth/caller.ts';
import { GatewayError, StorageError } from '../../errors.ts';
import type { Caller } from '../../sessions/access.ts';
import type { Sessions } from '../../sessions/commits.ts';
import type { Openings } from '../../sessions/open.ts';
import type { Operations } from '../../sessions/operations.ts';
import type { Rooms, SessionStore } from '../../sessions/ports.ts';
import { isEnded, type Session } from '../../sessions/record.ts';
import { hashOfToken, newResumeToken } from '../../sessions/resume.ts';
import type { Connection } from '../connection.ts';
import type { CursorParts } from '../cursor.ts';
import { type Handlers, later } from '../dispatch.ts';
import type { Feeds } from '../feed.ts';
import type { LiveSessions } from '../live.ts';
import { OpenedSession, ResumedSession } from '../own-session.ts';
import { WatchedSession } from '../watched-session.ts';
import { commandOf, idFor } from './peer.ts';

export interface SessionHandlerParts {
  openings: Openings;
  operations: Operations;
  sessions: Sessions;
  store: SessionStore;
  feeds: Feeds;
  rooms: Rooms;
  live: LiveSessions;
  log: Logger;
  callerAt(peer: Connection): Caller;
}

/** Sessions as wholes: how they begin, come to a socket, are followed, go on and end. */
export function sessionHandlers(parts: SessionHandlerParts) {
  const { openings, operations, sessions, live, callerAt } = parts;

  /** The socket ended while it was given the session: nobody else will say so. */
  const endedMeanwhile = (sessionId: string, peer: Connection): boolean => {
    if (!peer.closed) return false;
    live.release(peer);
    void sessions.report(sessionId, { type: 'Detached', connection_id: peer.id, how: peer.ended ?? 'broken' });
    return true;
  };

  /**
   * Its client has a newer socket, which holds the session: this one gets nothing, and breaks nothing.
   * @throws GatewayError ILLEGAL_STATE that one held it last and is broken: nobody has taken this one's place, and it may ask again
   */
  const isLate = (session: Session | undefined, peer: Connection): boolean => {
    if (!session || isEnded(session) || session.connection_id === peer.id) return false;
    if (session.link !== 'attached') {
      const { session_id } = session;
      throw new GatewayError('ILLEGAL_STATE', "a newer socket of this session's client held it and may come back", {
        details: { session_id },
      });
    }
    peer.close(Close.TakenOver);
    return true;
  };

  /** Gives the socket a session that was there before; undefined: it has ended meanwhile. */
  const attach = async (sessionId: string, { id }: Connection, token_hash: string): Promise<Session | undefined> => {
    try {
      return await openings.attach(sessionId, id, token_hash);
    } catch (error) {
      if (error instanceof GatewayError) return undefined;
      throw error;
    }
  };

  const onBug = (err: unknown, peer: Connection) => {
    const fields = { err, connection_id: peer.id, session_id: peer.sessionId };
    // a storage that is down for a while costs no session
    if (err instanceof StorageError) {
      parts.log.debug(fields, 'events could not be read; they are read later');
      return peer.stall();
    }
    parts.log.error(fields, 'session could not be followed');
    peer.close(Close.Internal);
  };
  const cursors: CursorParts = { ...parts, onBug };

  return {
    async NewSessionRequest(request, peer): Promise<typeof later> {
      const { id, user_identity, resume_window_s } = request;
      // a storage that was emptied does not hold the socket for ever
      if (peer.sessionId !== undefined && !(await parts.store.loadSession(peer.sessionId))) live.release(peer);
      if (peer.sessionId !== undefined) throw new GatewayError('SESSION_ALREADY_EXISTS', 'Session already exists on this socket');
      const caller = callerOf(peer.principal, { user: user_identity });
      const resumeToken = resume_window_s === 0 ? undefined : newResumeToken();
      const follow = (sessionId: string, replayed: boolean) => {
        const cursor = new OpenedSession(peer, sessionId, cursors, { id, replayed, resumeToken });
        peer.cursor = cursor;
        return cursor;
      };
      // the live entry and what follows the session before the record: the socket's end finds it, and no commit is missed
      const expect = (sessionId: string) => {
        live.bind(sessionId, peer, caller.user);
        follow(sessionId, false).expect();
      };
      const token_hash = resumeToken === undefined ? '' : hashOfToken(resumeToken);
      let opened: Awaited<ReturnType<Openings['open']>>;
      let attached: Session | undefined;
      try {
        opened = await openings.open(request, { caller, holder: { connection_id: peer.id, token_hash }, token_policy: 'on_ready' }, expect);
        if (opened.replayed) attached = await attach(opened.session.session_id, peer, token_hash);
        if (isLate(attached, peer)) return later;
      } catch (error) {
        live.release(peer);
        throw error;
      }
      const sessionId = opened.session.session_id;
      if (endedMeanwhile(sessionId, peer)) return later;
      parts.log.debug({ session_id: sessionId, connection_id: peer.id, replayed: opened.replayed }, 'session opened on socket');
      if (!opened.replayed || !live.bind(sessionId, peer, caller.user, attached?.version)) return later;
      peer.unwatch(sessionId);
      follow(sessionId, true).start();
      return later;
    },

    async ResumeRequest({ id, session_id, resume_token, last_seq }, peer): Promise<typeof later> {
      if (peer.sessionId !== undefined && peer.sessionId !== session_id) {
        throw new GatewayError('SESSION_ALREADY_EXISTS', 'this socket holds another session');
      }
      const session = await openings.resume(session_id, resume_token, peer.id);
      if (isLate(session, peer)) return later;
      if (endedMeanwhile(session_id, peer)) return later;
      peer.cursor?.stop();
      if (!live.bind(session_id, peer, session.owner_id, session.version)) return later;
      peer.unwatch(session_id);
      parts.log.info({ session_id, connection_id: peer.id, last_seq }, 'session resumed on socket');
      peer.cursor = new ResumedSession(peer, session_id, cursors, id, last_seq).start();
      return later;
    },

    async GetSessionRequest({ session_id }, peer) {
      return answer('GetSessionResponse', await operations.get(idFor(session_id, peer), callerAt(peer)));
    },

    async ListSessionsRequest(request, peer) {
      return answer('ListSessionsResponse', await operations.list(callerAt(peer), request));
    },

    async ExtendSessionRequest(request, peer) {
      const id = idFor(request.session_id, peer);
      return answer('ExtendSessionResponse', await operations.extend(id, callerAt(peer), request.ttl_hours, commandOf(request, id, peer)));
    },

    async EndSessionRequest({ session_id }, peer) {
      const session = await operations.end(idFor(session_id, peer), callerAt(peer));
      return answer('EndSessionResponse', { session_id: session.session_id, status: session.status });
    },

    async DeleteSessionRequest({ session_id }, peer) {
      const session = await operations.delete(idFor(session_id, peer), callerAt(peer));
      return answer('DeleteSessionResponse', { session_id: session.session_id, status: session.status });
    },

    async WatchRequest({ session_id, id }, peer): Promise<typeof later> {
      if (session_id === peer.sessionId) throw new GatewayError('ILLEGAL_STATE', 'this socket holds the session and is told its events');
      await operations.find(session_id, callerAt(peer));
      if (peer.closed) return later;
      peer.watch(session_id, () => new WatchedSession(peer, session_id, cursors, id));
      return later;
    },

    UnwatchRequest({ session_id }, peer) {
      peer.unwatch(session_id);
      return answer('UnwatchResponse', { session_id });
    },

    async RefreshTokenRequest({ session_id }, peer) {
      return answer('RefreshTokenResponse', await operations.refreshToken(idFor(session_id, peer), callerAt(peer)));
    },
  } satisfies Partial<Handlers<Connection>>;
}
