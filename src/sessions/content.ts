import type { ErrorCode } from '../../protocol/errors.ts';
import { type Metadata, maxMetadataBytes, maxMetadataKeys } from '../../protocol/fields.ts';
import type { ShareRole, Visibility } from '../../protocol/states.ts';
import type { Draft } from './draft.ts';
import type { Session } from './record.ts';

/** It is sent to each service together with the metadata, and both fit into one frame of 256 KiB. */
const maxContextBytes = 65_536;
const maxShares = 100;
/** The session's end is announced this long before. */
const announceMs = [60_000, 10_000];

/** A change to context, metadata, messages, sharing or lifetime. */
export type ContentInput =
  | {
      type: 'Update';
      context_updates?: Record<string, unknown> | undefined;
      metadata_updates?: Record<string, string | readonly string[] | null | undefined> | undefined;
      visibility?: Visibility | undefined;
      if_version?: number | undefined;
    }
  | { type: 'Extend'; ttl_ms: number }
  | { type: 'Message'; message_id: string; role: string; content: string; user_id?: string | undefined }
  | { type: 'Share'; user: string; role: ShareRole }
  | { type: 'Unshare'; user: string };

/** Why a change is refused. */
export interface Refusal {
  code: ErrorCode;
  message: string;
}

/** Applies a change; `false`: nothing is different. */
export const content: { [T in ContentInput['type']]: (d: Draft, input: Extract<ContentInput, { type: T }>) => Refusal | boolean } = {
  Update(d, { context_updates, metadata_updates, visibility, if_version }) {
    const { s } = d;
    // the draft counts the version this change would write
    if (if_version !== undefined && if_version !== s.version - 1) {
      return { code: 'VERSION_CONFLICT', message: `the session has version ${s.version - 1}, not ${if_version}` };
    }
    const changed: string[] = [];
    if (context_updates && Object.keys(context_updates).length > 0) {
      s.context = merged(s.context, context_updates);
      if (Buffer.byteLength(JSON.stringify(s.context)) > maxContextBytes) {
        return { code: 'VALIDATION_FAILED', message: `context_updates: the context would be larger than ${maxContextBytes} bytes` };
      }
      changed.push('context');
    }
    if (metadata_updates && Object.keys(metadata_updates).length > 0) {
      s.metadata = merged(s.metadata, metadata_updates) as Metadata;
      if (Object.keys(s.metadata).length > maxMetadataKeys) {
        return { code: 'VALIDATION_FAILED', message: `metadata_updates: the metadata would have more than ${maxMetadataKeys} keys` };
      }
      if (Buffer.byteLength(JSON.stringify(s.metadata)) > maxMetadataBytes) {
        return { code: 'VALIDATION_FAILED', message: `metadata_updates: the metadata would be larger than ${maxMetadataBytes} bytes` };
      }
      changed.push('metadata');
    }
    if (visibility !== undefined && visibility !== s.visibility) {
      s.visibility = visibility;
      // a later share must not let earlier users back in
      if (visibility === 'private') s.shares = {};
      changed.push('visibility');
    }
    if (changed.length === 0) return false;
    d.emit('SessionUpdated', { version: s.version, changed });
    return true;
  },

  Extend(d, { ttl_ms }) {
    const { s, now } = d;
    const { duration_limit } = s.metadata;
    const limit = duration_limit === undefined ? Number.POSITIVE_INFINITY : s.created_at + Number(duration_limit) * 1_000;
    s.expires_at = Math.min(now + ttl_ms, limit);
    s.expiry_reason = s.expires_at === limit ? 'duration_limit' : 'ttl';
    s.deadlines.expiry = s.expires_at;
    announceNext(d);
    d.emit('SessionUpdated', { version: s.version, changed: ['expires_at'] });
    return true;
  },

  Message(d, { message_id, role, content, user_id }) {
    d.s.messages += 1;
    d.emit('MessageAdded', { message_id, role, content, ...(user_id !== undefined && { user_id }) });
    return true;
  },

  Share(d, { user, role }) {
    const { s } = d;
    if (user === s.owner_id) return { code: 'VALIDATION_FAILED', message: 'target_user_id: the owner already has access' };
    if (s.visibility !== 'private' && Object.hasOwn(s.shares, user) && s.shares[user] === role) return false;
    s.shares = Object.fromEntries([...Object.entries(s.shares).filter(([other]) => other !== user), [user, role]]);
    if (Object.keys(s.shares).length > maxShares)
      return { code: 'VALIDATION_FAILED', message: `a session is shared with at most ${maxShares} users` };
    const opened = s.visibility === 'private';
    if (opened) s.visibility = 'shared';
    d.emit('SessionUpdated', { version: s.version, changed: opened ? ['shares', 'visibility'] : ['shares'] });
    return true;
  },

  Unshare(d, { user }) {
    const { s } = d;
    if (!Object.hasOwn(s.shares, user)) return false;
    s.shares = Object.fromEntries(Object.entries(s.shares).filter(([other]) => other !== user));
    d.emit('SessionUpdated', { version: s.version, changed: ['shares'] });
    return true;
  },
};

/** What an answer says of the session after the change. */
const outcomes = {
  Update: ({ version }) => ({ version }),
  Extend: ({ expires_at }) => ({ expires_at }),
  Message: (_, { message_id }) => ({ message_id }),
  Share: ({ visibility, shares }) => ({ visibility, shares }),
  Unshare: ({ visibility, shares }) => ({ visibility, shares }),
} satisfies { [T in ContentInput['type']]: (session: Session, input: Extract<ContentInput, { type: T }>) => Record<string, unknown> };
export type Outcome<T extends ContentInput['type']> = ReturnType<(typeof outcomes)[T]>;

export const outcomeOf = <T extends ContentInput['type']>(input: Extract<ContentInput, { type: T }>, session: Session) =>
  (outcomes[input.type] as (session: Session, input: ContentInput) => Outcome<T>)(session, input as ContentInput);

/** Sets when the session's end is announced next. */
export function announceNext({ s, now }: Pick<Draft, 's' | 'now'>): void {
  const { expiry } = s.deadlines;
  const next = expiry === undefined ? undefined : announceMs.map((before) => expiry - before).find((at) => at > now);
  if (next === undefined) s.deadlines.expiring = undefined;
  else s.deadlines.expiring = next;
}

// fromEntries, not assignment: a key may be __proto__
const merged = (old: object, updates: object) =>
  Object.fromEntries(
    [...new Map([...Object.entries(old), ...Object.entries(updates)])].filter(([, value]) => value !== null && value !== undefined),
  );
