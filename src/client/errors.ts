import type { ErrorCode } from '../../protocol/errors.ts';
import { inWords } from '../../protocol/failures.ts';
import type { EndCause, SessionEnd } from './session-end.ts';

/** The gateway refused a request. */
export class RequestFailed extends Error {
  override readonly name = 'RequestFailed';
  /** One of the contract's error codes, or one that a newer gateway has. */
  readonly code: ErrorCode | (string & {});
  /** The same request may succeed later. */
  readonly retryable: boolean;
  /** Do not retry earlier than this; undefined: not specified. */
  readonly retryAfterMs: number | undefined;
  /** Depends on the code: issues, session_id, reason, missing, error_id. */
  readonly details: Readonly<Record<string, unknown>>;

  /** @param body the fields of the gateway's Error frame */
  constructor(body: Record<string, unknown>) {
    super(`${body.code}: ${body.message}`);
    this.code = String(body.code);
    this.retryable = body.retryable === true;
    this.retryAfterMs = typeof body.retry_after_ms === 'number' ? body.retry_after_ms : undefined;
    this.details = (body.details ?? {}) as Record<string, unknown>;
  }
}

/** No answer came in time. The gateway may have carried out the request anyway. */
export class RequestTimeout extends Error {
  override readonly name = 'RequestTimeout';
}

/** The connection was closed for good before the answer came. */
export class ConnectionClosed extends Error {
  override readonly name = 'ConnectionClosed';
  /** The socket's close code; 1000 if this side closed it. */
  readonly code: number;

  constructor(code: number, reason: string) {
    super(`the connection is closed: ${code} ${reason}`.trimEnd());
    this.code = code;
  }
}

/** The session is over. */
export class SessionOver extends Error {
  override readonly name = 'SessionOver';
  /** Why, as in `session.ended`. */
  readonly reason: EndCause;
  /** Required services that were not serving at the end, and why. */
  readonly failures: NonNullable<SessionEnd['failures']>;

  constructor({ reason, failures = [] }: SessionEnd) {
    super(`the session is over: ${reason}${failures.length > 0 ? `, not ready: ${inWords(failures)}` : ''}`);
    this.reason = reason;
    this.failures = failures;
  }
}

/** Too many requests wait for the connection already. */
export class QueueFull extends Error {
  override readonly name = 'QueueFull';
}

/** The token cannot be sent, or its function failed or gave none in time. Never has the token's text; `cause` is what the function threw. */
export class TokenError extends Error {
  override readonly name = 'TokenError';
}
