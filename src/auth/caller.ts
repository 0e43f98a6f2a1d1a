import { GatewayError } from '../errors.ts';
import type { Caller } from '../sessions/access.ts';
import type { Principal } from './principal.ts';

/** What a call says of itself. */
export type Claims = Pick<Caller, 'user' | 'sessionId' | 'service'>;

/** @throws GatewayError FORBIDDEN its principal's services have other ids */
export function checkServiceId({ servicePrefix = '' }: Principal, service_id: string): void {
  if (!service_id.startsWith(servicePrefix)) throw new GatewayError('FORBIDDEN', `service_id: must start with ${servicePrefix}`);
}

/**
 * As whom a call is made. Rights come from the principal alone; what a call claims takes rights away: who names a user, holds a session or
 * speaks for a service acts as that.
 * @throws GatewayError FORBIDDEN it names a user, and its principal speaks for another
 */
export function callerOf(principal: Principal, { user, sessionId, service }: Claims): Caller {
  if (principal.user !== undefined && user !== undefined && user !== principal.user)
    throw new GatewayError('FORBIDDEN', 'user_identity: is not the authenticated user');
  const claimsNothing = user === undefined && sessionId === undefined && service === undefined;
  return { operator: claimsNothing && principal.rights.includes('operator'), user: user ?? principal.user, sessionId, service };
}
