import { z } from 'zod';
import { check } from '../protocol/check.ts';
import { type ErrorCode, errors } from '../protocol/errors.ts';
import { misspelt } from '../protocol/unknown-fields.ts';
import { iso, spreadMs } from './time.ts';

interface StorageFailure {
  refused?: boolean;
  slow?: boolean;
  notAdmitted?: boolean;
}

/** The storage did not answer in time, is out of reach, or refused. */
export class StorageError extends Error {
  /** It answered that it will not, so nothing took effect; else whether a write took effect is not known. */
  readonly refused: boolean;
  /** It answers, but not all of a read came in time: no sign of an outage. */
  readonly slow: boolean;
  /** There is no connection because the storage answered with a refusal: a user, a password or a name is wrong. */
  readonly notAdmitted: boolean;
  constructor(message: string, { refused = false, slow = false, notAdmitted = false, ...options }: ErrorOptions & StorageFailure = {}) {
    super(message, options);
    this.refused = refused;
    this.slow = slow;
    this.notAdmitted = notAdmitted;
  }
}

/** What a caller sees of a storage that failed; the reason is in the operator's log. */
export const storageFailed = ({ refused, slow }: StorageError) => {
  const message = slow
    ? 'The request takes too long in the storage; request less, or use a cursor instead of an offset'
    : refused
      ? 'The storage refuses requests at the moment'
      : 'The storage does not answer; whether a change took effect is unknown';
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

/** What a value holds. `where`: what it is part of. @throws GatewayError VALIDATION_FAILED it is not as the schema says */
export function checked<S extends z.ZodType>(schema: S, value: unknown, where: string): z.output<S> {
  const result = check(schema, value);
  if (result.success) return result.data;
  const more = schema instanceof z.ZodObject ? misspelt(value, new Set(Object.keys(schema.shape))) : '';
  throw new GatewayError('VALIDATION_FAILED', `${where}: ${result.line}${more}`, { details: { issues: result.issues } });
}
