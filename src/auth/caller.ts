import type { AccessName } from '../../protocol/access.ts';
import { GatewayError } from '../errors.ts';
import { type Caller, mayAsk } from '../sessions/access.ts';
import type { Session } from '../sessions/record.ts';
import type { Principal } from './principal.ts';

/** What a call says of itself. */
export type Claims = Pick<Caller, 'user' | 'sessionId' | 'service'>;

/**
 * @throws GatewayError FORBIDDEN its principal's services have other ids, or may not say that they are of this type: selectors find them by it
 */
export function checkService({ grant: { servicePrefix, serviceTypes } }: Principal, service_id: string, type?: string): void {
  if (servicePrefix !== undefined && !service_id.startsWith(servicePrefix))
    throw new GatewayError('FORBIDDEN', `service_id: must start with ${servicePrefix}`);
  if (type === undefined) return;
  if (serviceTypes) {
    if (serviceTypes.includes(type)) return;
    throw new GatewayError('FORBIDDEN', `metadata.type: must be one of ${serviceTypes.join(', ')}`);
  }
  if (servicePrefix !== undefined && !type.startsWith(servicePrefix))
    throw new GatewayError('FORBIDDEN', `metadata.type: must start with ${servicePrefix}`);
}

/**
 * As whom a call is made. Rights come from the principal alone. Where nothing authenticates, what a call claims takes rights away: who names a
 * user, holds a session or speaks for a service acts as that.
 * @throws GatewayError FORBIDDEN it names a user, and its principal may not speak for that one
 */
export function callerOf(principal: Principal, { user, sessionId, service }: Claims): Caller {
  const { kind, subject, id } = principal;
  if (kind === 'anybody') {
    if (user === undefined && sessionId === undefined && service === undefined) return { kind: 'operator', scopes: principal.grant.scopes };
    return { kind: service ? 'service' : 'user', user, sessionId, service };
  }
  const opener = subject === undefined ? undefined : openerOf(kind, id, subject);
  if (kind === 'operator') {
    const { scopes } = principal.grant;
    if (user === undefined) return { kind, scopes, subject, opener };
    if (!scopes.has('act_as')) throw new GatewayError('FORBIDDEN', 'user_identity: to act as a user takes the scope act_as');
    return { kind: 'user', user, subject, opener };
  }
  if (principal.user !== undefined && user !== undefined && user !== principal.user)
    throw new GatewayError('FORBIDDEN', 'user_identity: is not the authenticated user');
  // where a peer only claims to be that, it has what its socket holds
  const claims = subject === undefined ? { sessionId, service } : {};
  return { kind, user: principal.user, subject, opener, ...claims };
}

/** Of a user's devices each has opened its own sessions; of the programs with one key all have. */
const openerOf = (kind: string, id: string, subject: string) => (kind === 'device' ? `device:${id}` : subject);

/** Whether somebody may come back to a session with its token: its user, or whoever opened it. */
export function mayResume(
  { owner_id, opened_by }: Pick<Session, 'owner_id' | 'opened_by'>,
  { kind, id, user, subject }: Principal,
): boolean {
  if (kind === 'anybody' || subject === undefined) return user === undefined || user === owner_id;
  return openerOf(kind, id, subject) === opened_by || (kind === 'user' && user === owner_id);
}

/** Whether somebody may ask for one of these, as itself or as a user that it may act as. */
export function mayCall({ kind, grant }: Principal, names: AccessName | readonly AccessName[]): boolean {
  if (kind === 'anybody') return true;
  const { scopes } = grant;
  const may = (name: AccessName) =>
    mayAsk({ kind, scopes }, name) || (kind === 'operator' && scopes.has('act_as') && mayAsk({ kind: 'user' }, name));
  return typeof names === 'string' ? may(names) : names.some(may);
}
