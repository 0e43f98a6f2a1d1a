import type { Logger } from 'pino';
import type { Principal } from './principal.ts';

/** What an act is about, as far as its request says. */
interface Target {
  params?: { id?: unknown; target_user_id?: unknown } | undefined;
  body?: unknown;
  query?: { user_identity?: unknown } | undefined;
}

const named = ['session_id', 'service_id', 'target_user_id', 'user_identity', 'role'] as const;

/** Writes a line for each act of an operator that has a credential: who, what, about whom. Before it is carried out: one that fails is one too. */
export function audit(log: Logger, { kind, id, subject, grant }: Principal, act: string, { params, query, body }: Target): void {
  if (kind !== 'operator' || subject === undefined) return;
  const fields = typeof body === 'object' && body !== null ? (body as Record<string, unknown>) : {};
  const target: Record<string, unknown> = { ...params, ...(query?.user_identity !== undefined && { user_identity: query.user_identity }) };
  for (const name of named) if (fields[name] !== undefined) target[name] = fields[name];
  log.info({ audit: true, principal: id, credential: grant.name, act, target }, 'operator act');
}
