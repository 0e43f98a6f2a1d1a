import type { ErrorCode } from '../../protocol/errors.ts';
import type { Frame } from './link.ts';

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

  /** @param frame the gateway's Error */
  constructor(frame: Frame) {
    super(`${frame.code}: ${frame.message}`);
    this.code = String(frame.code);
    this.retryable = frame.retryable === true;
    this.retryAfterMs = typeof frame.retry_after_ms === 'number' ? frame.retry_after_ms : undefined;
    this.details = (frame.details ?? {}) as Record<string, unknown>;
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

/** As many requests wait for the connection as may. */
export class QueueFull extends Error {
  override readonly name = 'QueueFull';
}
