import { answer } from '../../../protocol/requests.ts';
import type { Caller } from '../../sessions/access.ts';
import type { Operations } from '../../sessions/operations.ts';
import type { Connection } from '../connection.ts';
import type { Handlers } from '../dispatch.ts';
import { commandOf, idFor } from './peer.ts';

export interface ContentHandlerParts {
  operations: Operations;
  callerAt(peer: Connection): Caller;
}

/** What users keep with a session, and whom they share it with. */
export function contentHandlers({ operations, callerAt }: ContentHandlerParts) {
  return {
    async UpdateSessionRequest(request, peer) {
      const { type: _, id: __, session_id, ...wish } = request;
      const id = idFor(session_id, peer);
      return answer('UpdateSessionResponse', await operations.update(id, callerAt(peer), wish, commandOf(request, id, peer)));
    },

    async AddMessageRequest(request, peer) {
      const id = idFor(request.session_id, peer);
      return answer('AddMessageResponse', await operations.addMessage(id, callerAt(peer), request, commandOf(request, id, peer)));
    },

    async GetMessagesRequest({ session_id, limit, after }, peer) {
      return answer('GetMessagesResponse', await operations.messages(idFor(session_id, peer), callerAt(peer), { limit, after }));
    },

    async ShareSessionRequest(request, peer) {
      const { session_id, target_user_id, role } = request;
      const id = idFor(session_id, peer);
      const command = commandOf(request, id, peer);
      return answer('ShareSessionResponse', await operations.share(id, callerAt(peer), target_user_id, role, command));
    },

    async UnshareSessionRequest(request, peer) {
      const id = idFor(request.session_id, peer);
      const command = commandOf(request, id, peer);
      return answer('UnshareSessionResponse', await operations.unshare(id, callerAt(peer), request.target_user_id, command));
    },
  } satisfies Partial<Handlers<Connection>>;
}
