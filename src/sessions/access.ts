import { type AccessName, type AccessRow, access, type Kind, type Scope, type Standing } from '../../protocol/access.ts';
import { GatewayError } from '../errors.ts';
import { assignments, type Session } from './record.ts';

/** Who calls, as far as it decides what they may do. */
export interface Caller {
  kind: Kind;
  /** Of an operator. */
  scopes?: ReadonlySet<Scope> | undefined;
  /** The user who calls, or whom the call names, or whose session its socket holds. */
  user?: string | undefined;
  /** Whose credential it is; absent where nothing authenticates. */
  subject?: string | undefined;
  /** Its own identity where it has a credential; a session that it opens remembers it. */
  opener?: string | undefined;
  /** Where nothing authenticates: the session the caller's socket holds. */
  sessionId?: string | undefined;
  /** Where nothing authenticates: the registration the caller's socket speaks for, and its node: each node counts its own. */
  service?: { incarnation: number; node_id: string } | undefined;
}

export function standing(session: Session, caller: Caller): Standing {
  if (caller.kind === 'operator') return 'operator';
  if (session.session_id === caller.sessionId) return 'owner';
  if (caller.user !== undefined && caller.user === session.owner_id) return 'owner';
  if (serves(session, caller)) return 'service';
  const share =
    caller.user !== undefined && session.visibility !== 'private' && Object.hasOwn(session.shares, caller.user)
      ? session.shares[caller.user]
      : undefined;
  if (share) return share;
  return session.visibility === 'public' ? 'public' : 'stranger';
}

function serves(session: Session, { kind, subject, service }: Caller): boolean {
  if (service) return assignments(session).some((a) => a.incarnation === service.incarnation && a.node_id === service.node_id);
  return kind === 'service' && subject !== undefined && assignments(session).some((a) => a.subject === subject);
}

/** Whether a caller may ask for that at all, whatever it is about. */
export function mayAsk({ kind, scopes }: Pick<Caller, 'kind' | 'scopes'>, name: AccessName): boolean {
  const { by }: AccessRow = access[name];
  if (!by) return true;
  if (kind !== 'operator') return by[kind] === true;
  return by.operator === true || (by.operator !== undefined && scopes?.has(by.operator) === true);
}

/** @throws GatewayError FORBIDDEN it may not, whatever it is about */
export function checkAsks(caller: Caller, name: AccessName): void {
  if (!mayAsk(caller, name)) throw mayNotAsk(name);
}

/** The refusal of whoever may not ask for any of these, by its kind and scopes alone. */
export function mayNotAsk(names: AccessName | readonly AccessName[]): GatewayError {
  const who = new Set([names].flat().flatMap((name) => Object.entries((access[name] as AccessRow).by ?? {}).map(inWords)));
  return new GatewayError('FORBIDDEN', `only ${[...who].join(', or ')} may ask for this`);
}

const inWords = ([kind, by]: [string, Scope | true]) =>
  kind === 'operator' ? `an operator${by === true ? '' : ` with the scope ${by}`}` : `a ${kind}`;

/**
 * Lets a caller do something with a session, or refuses.
 * @throws GatewayError SESSION_NOT_FOUND what they may not read does not exist for them; FORBIDDEN they may read it, but not do that
 */
export function authorize(session: Session, caller: Caller, name: AccessName): void {
  checkAsks(caller, name);
  const { standings }: AccessRow = access[name];
  const standsAs = standing(session, caller);
  if (!standings || standsAs === 'operator') return;
  if (standsAs === 'stranger') throw new GatewayError('SESSION_NOT_FOUND', `Session not found: ${session.session_id}`);
  if (standings.includes(standsAs)) return;
  throw new GatewayError(
    'FORBIDDEN',
    standings.length === 1 ? 'only the owner of the session may do that' : 'this session may be read, but not changed',
  );
}
