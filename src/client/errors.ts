import type { ErrorCode } from '../../protocol/errors.ts';
import { inWords } from '../../protocol/failures.ts';
import type { SessionEnd } from './follower.ts';

/** The gateway refused a request. */
export class RequestFailed extends Error {
  override readonly name = 'RequestFailed';
  /** One of the contract's error codes, or one that a newer gateway has. */
  readonly code: ErrorCode | (string & {});
  /** Sending the same again later can help. */
  readonly retryable: boolean;
  /** Not before this; absent: the gateway does not know. */
  readonly retryAfterMs: number | undefined;
  /** More, by code: issues, session_id, reason, missing, error_id. */
  readonly details: Readonly<Record<string, unknown>>;

  /** @param body what the gateway's Error says */
  constructor(body: Record<string, unknown>) {
    super(`${body.code}: ${body.message}`);
    this.code = String(body.code);
    this.retryable = body.retryable === true;
    this.retryAfterMs = typeof body.retry_after_ms === 'number' ? body.retry_after_ms : undefined;
    this.details = (body.details ?? {}) as Record<string, unknown>;
  }
}

/** No answer came in time. The gateway may have done it all the same. */
export class RequestTimeout extends Error {
  override readonly name = 'RequestTimeout';
}

/** The connection ended for good before the answer came. */
export class ConnectionClosed extends Error {
  override readonly name = 'ConnectionClosed';
  /** As the socket ended; 1000 where this side closed it. */
  readonly code: number;

  constructor(code: number, reason: string) {
    super(`the connection is closed: ${code} ${reason}`.trimEnd());
    this.code = code;
  }
}

/** The session is over. */
export class SessionOver extends Error {
  override readonly name = 'SessionOver';
  /** Why, as `session.ended` says it. */
  readonly reason: SessionEnd['reason'];

  /** Required services that did not serve then, and why. */
  readonly failures: NonNullable<SessionEnd['failures']>;

  constructor({ reason, failures = [] }: SessionEnd) {
    super(`the session is over: ${reason}${failures.length > 0 ? `, not ready: ${inWords(failures)}` : ''}`);
    this.reason = reason;
    this.failures = failures;
  }
}

/** As many requests wait for the connection as may. */
export class QueueFull extends Error {
  override readonly name = 'QueueFull';
}
