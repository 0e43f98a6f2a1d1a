import type { z } from 'zod';
import { check } from '../../protocol/check.ts';
import { type ErrorCode, errors } from '../../protocol/errors.ts';
import type { StorageError } from './ports.ts';
import { iso, spreadMs } from './time.ts';

/** What a caller sees of a storage that failed; the reason is in the operator's log. */
export const storageFailed = ({ refused, slow }: StorageError) => {
  const message = slow
    ? 'The request takes the storage too long; ask for less, or with a cursor instead of an offset'
    : refused
      ? 'The storage refuses requests at the moment'
      : 'The storage does not answer; whether a change took effect is not known';
  return new GatewayError('STORAGE_ERROR', message, { retryAfterMs: spreadMs(1_000) });
};

/** The one way to refuse: everything else that is thrown becomes INTERNAL at the edge. */
export class GatewayError extends Error {
  readonly code: ErrorCode;
  readonly details: Record<string, unknown> | undefined;
  readonly retryAfterMs: number | undefined;
  /** Whether sending the same again later can help. */
  readonly retryable: boolean;
  constructor(
    code: ErrorCode,
    message: string,
    more: { details?: Record<string, unknown>; retryAfterMs?: number; retryable?: false } = {},
  ) {
    super(message);
    this.code = code;
    this.retryable = more.retryable ?? errors[code].retryable;
    this.details = more.details;
    this.retryAfterMs = more.retryAfterMs;
  }

  get status(): number {
    return errors[this.code].status;
  }

  /** The fields every error has on the wire. `now`: epoch ms. */
  body(now: number) {
    return {
      error: errors[this.code].error,
      code: this.code,
      message: this.message,
      timestamp: iso(now),
      retryable: this.retryable,
      ...(this.retryAfterMs !== undefined && { retry_after_ms: this.retryAfterMs }),
      ...(this.details && { details: this.details }),
    };
  }
}

/** LiveKit would throw one of them out. */
export const namedLikeService = () => new GatewayError('VALIDATION_FAILED', 'a user may not be named like a service of the session');

/** @param isExact LiveKit's room has the name itself, which rests after its session */
export const roomNameInUse = (isExact: boolean) =>
  isExact
    ? new GatewayError('ROOM_NAME_IN_USE', 'Another session has this room name, or had it within the last 30 s', { retryAfterMs: 30_000 })
    : new GatewayError('ROOM_NAME_IN_USE', 'Another live session has this room name');

/** What a value holds. `where`: what it is part of. @throws GatewayError VALIDATION_FAILED it is not as the schema says */
export function checked<S extends z.ZodType>(schema: S, value: unknown, where: string): z.output<S> {
  const result = check(schema, value);
  if (result.success) return result.data;
  throw new GatewayError('VALIDATION_FAILED', `${where}: ${result.line}`, { details: { issues: result.issues } });
}
