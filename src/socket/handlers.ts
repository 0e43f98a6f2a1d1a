import { answer } from '../../protocol/requests.ts';
import type { Authenticator } from '../auth/principal.ts';
import type { Clock } from '../clock.ts';
import { iso } from '../time.ts';
import type { Connection } from './connection.ts';
import type { Handlers } from './dispatch.ts';
import { type ContentHandlerParts, contentHandlers } from './handlers/content.ts';
import { identifyHandler } from './handlers/identify.ts';
import { callersAt } from './handlers/peer.ts';
import { type ServiceHandlerParts, serviceHandlers } from './handlers/services.ts';
import { type SessionHandlerParts, sessionHandlers } from './handlers/sessions.ts';

export type HandlerParts = Omit<SessionHandlerParts & ContentHandlerParts & ServiceHandlerParts, 'callerAt'> & {
  clock: Clock;
  nodeId: string;
  auth: Pick<Authenticator, 'identify'>;
};

/** The table of all requests. */
export function handlers(given: HandlerParts): Handlers<Connection> {
  const { clock, nodeId } = given;
  const parts = { ...given, callerAt: callersAt(nodeId) };
  return {
    Ping: ({ t }) => {
      const server_time = iso(clock.now());
      return answer('Pong', t === undefined ? { server_time } : { t, server_time });
    },
    ...identifyHandler(parts),
    ...sessionHandlers(parts),
    ...contentHandlers(parts),
    ...serviceHandlers(parts),
  };
}
