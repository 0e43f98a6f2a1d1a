import { GatewayError } from '../errors.ts';
import { assignments, type Session } from './record.ts';

/** Who calls, as far as it decides what they may do. */
export interface Caller {
  /** Trusted with everything. */
  operator: boolean;
  /** The user who calls, or whom the call names, or whose session its socket holds. */
  user?: string | undefined;
  /** The session the caller's socket holds. */
  sessionId?: string | undefined;
  /** The registration the caller's socket speaks for, and its node: each node counts its own. */
  service?: { incarnation: number; node_id: string } | undefined;
}

/** What can be asked of a session: to see it, to say something or keep something in it, to decide over it. */
export type Action = 'read' | 'take part' | 'own';

/** A caller's standing towards a session. */
export type Standing = 'operator' | 'owner' | 'service' | 'participant' | 'viewer' | 'public' | 'stranger';

export function standing(session: Session, caller: Caller): Standing {
  if (caller.operator) return 'operator';
  if (session.session_id === caller.sessionId) return 'owner';
  if (caller.user !== undefined && caller.user === session.owner_id) return 'owner';
  const { service } = caller;
  if (service && assignments(session).some((a) => a.incarnation === service.incarnation && a.node_id === service.node_id)) return 'service';
  const share =
    caller.user !== undefined && session.visibility !== 'private' && Object.hasOwn(session.shares, caller.user)
      ? session.shares[caller.user]
      : undefined;
  if (share) return share;
  return session.visibility === 'public' ? 'public' : 'stranger';
}

const allowed: Record<Standing, readonly Action[]> = {
  operator: ['read', 'take part', 'own'],
  owner: ['read', 'take part', 'own'],
  service: ['read', 'take part'],
  participant: ['read', 'take part'],
  viewer: ['read'],
  public: ['read'],
  stranger: [],
};

/**
 * Lets a caller do something, or refuses.
 * @throws GatewayError SESSION_NOT_FOUND what they may not read does not exist for them; FORBIDDEN they may read it, but not do that
 */
export function authorize(session: Session, caller: Caller, action: Action): void {
  const may = allowed[standing(session, caller)];
  if (may.includes(action)) return;
  if (!may.includes('read')) throw new GatewayError('SESSION_NOT_FOUND', `Session not found: ${session.session_id}`);
  throw new GatewayError(
    'FORBIDDEN',
    action === 'own' ? 'only the owner of the session may do that' : 'this session may be read, but not changed',
  );
}
