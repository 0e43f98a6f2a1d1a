import { answer } from '../../../protocol/requests.ts';
import { callerOf } from '../../auth/caller.ts';
import { GatewayError } from '../../errors.ts';
import type { Openings } from '../../sessions/open.ts';
import { hashOfToken, newResumeToken } from '../../sessions/resume.ts';
import type { Connection } from '../connection.ts';
import { type Handlers, later } from '../dispatch.ts';
import { OpenedSession, type OwnParts, ResumedSession } from '../own-session.ts';
import { WatchedSession } from '../watched-session.ts';
import { commandOf, idFor } from './peer.ts';

export interface SessionHandlerParts extends OwnParts {
  openings: Openings;
}

/** Sessions as a whole: how they start, come to a socket, are followed, continue and end. */
export function sessionHandlers(parts: SessionHandlerParts) {
  const { openings, operations, holders, callerAt } = parts;

  return {
    async NewSessionRequest(request, peer): Promise<typeof later> {
      const { id, user_identity, resume_window_s } = request;
      // a storage that was emptied does not hold the socket forever
      if (peer.sessionId !== undefined && !(await parts.store.loadSession(peer.sessionId))) holders.release(peer);
      if (peer.sessionId !== undefined) throw new GatewayError('SESSION_ALREADY_EXISTS', 'Session already exists on this socket');
      const caller = callerOf(peer.principal, { user: user_identity });
      const resumeToken = resume_window_s === 0 ? undefined : newResumeToken();
      const follow = (sessionId: string, replayed: boolean) =>
        peer.follow(new OpenedSession(peer, sessionId, parts, { id, replayed, resumeToken }));
      // the holder and what follows the session before the record: the socket's end finds it, and no commit is missed
      const expect = (sessionId: string) => {
        holders.expect(sessionId, peer, caller.user);
        follow(sessionId, false).expect();
      };
      const token_hash = resumeToken === undefined ? '' : hashOfToken(resumeToken);
      try {
        const holder = { connection_id: peer.id, token_hash };
        const { session, replayed } = await openings.open(request, { caller, holder, token_policy: 'on_ready' }, expect);
        const { session_id } = session;
        const isHeld = replayed ? await holders.attach(session_id, peer, caller.user, token_hash) : holders.confirm(session_id, peer);
        if (!isHeld) return later;
        parts.log.debug({ session_id, connection_id: peer.id, replayed }, 'session opened on socket');
        if (replayed) follow(session_id, true).start();
        return later;
      } catch (error) {
        holders.release(peer);
        throw error;
      }
    },

    async ResumeRequest({ id, session_id, resume_token, last_seq }, peer): Promise<typeof later> {
      if (peer.sessionId !== undefined && peer.sessionId !== session_id) {
        throw new GatewayError('SESSION_ALREADY_EXISTS', 'this socket holds another session');
      }
      openings.refuseWhileDraining();
      if (!(await holders.resume(session_id, peer, resume_token))) return later;
      parts.log.info({ session_id, connection_id: peer.id, last_seq }, 'session resumed on socket');
      peer.follow(new ResumedSession(peer, session_id, parts, id, last_seq)).start();
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
      if (session_id === peer.sessionId)
        throw new GatewayError('ILLEGAL_STATE', 'this socket holds the session and already receives its events');
      await operations.find(session_id, callerAt(peer));
      if (peer.closed) return later;
      peer.watch(session_id, () => new WatchedSession(peer, session_id, parts, id));
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
