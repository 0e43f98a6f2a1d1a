/** One kind of refusal: its HTTP status, the word that stands in `error`, and whether sending the same again later can help. */
export interface ErrorKind {
  status: number;
  error: string;
  retryable: boolean;
}

/** Every error the gateway answers with, by its wire `code`. */
export const errors = {
  /** The frame or body is not JSON, is nested deeper than 16, or has more than 10,000 values. On a socket the gateway then closes. */
  INVALID_JSON: { status: 400, error: 'InvalidRequest', retryable: false },
  /** JSON, but not an object with a string `type`: on a socket the gateway then closes. Over HTTP: not a valid request. */
  INVALID_REQUEST: { status: 400, error: 'InvalidRequest', retryable: false },
  /** No message of this type exists. On a socket the gateway then closes. */
  UNKNOWN_TYPE: { status: 400, error: 'InvalidRequest', retryable: false },
  /** A known message with wrong fields; `details.issues` lists `{path, message}`. */
  VALIDATION_FAILED: { status: 400, error: 'InvalidRequest', retryable: false },
  /** `workspace_dir` lies inside the allowed roots, but is not an existing directory. */
  WORKSPACE_NOT_FOUND: { status: 400, error: 'InvalidRequest', retryable: false },
  /** `workspace_dir` lies outside the allowed roots, whether it exists or not. */
  WORKSPACE_FORBIDDEN: { status: 400, error: 'InvalidRequest', retryable: false },
  /** Another live instance holds this service id. */
  SERVICE_ID_EXISTS: { status: 400, error: 'InvalidRequest', retryable: false },
  /** The body is larger than the limit. */
  PAYLOAD_TOO_LARGE: { status: 413, error: 'InvalidRequest', retryable: false },
  /** The body is not application/json, or is compressed. */
  UNSUPPORTED_MEDIA_TYPE: { status: 415, error: 'InvalidRequest', retryable: false },
  /** A credential is required, and is missing, wrong or expired; or a webhook is not signed rightly. */
  UNAUTHENTICATED: { status: 401, error: 'Unauthorized', retryable: false },
  /** The caller lacks permission. */
  FORBIDDEN: { status: 403, error: 'Forbidden', retryable: false },
  /** No such session exists for this caller. */
  SESSION_NOT_FOUND: { status: 404, error: 'SessionNotFound', retryable: false },
  /** No service of this id is registered. */
  SERVICE_NOT_FOUND: { status: 404, error: 'NotFound', retryable: false },
  /** This service has no such assignment in the session. */
  ASSIGNMENT_NOT_FOUND: { status: 404, error: 'NotFound', retryable: false },
  /** No route for this path. */
  NOT_FOUND: { status: 404, error: 'NotFound', retryable: false },
  /** This path supports other methods, which `Allow` lists (HTTP only). */
  METHOD_NOT_ALLOWED: { status: 405, error: 'MethodNotAllowed', retryable: false },
  /** The request did not arrive in time (HTTP only). */
  REQUEST_TIMEOUT: { status: 408, error: 'Timeout', retryable: true },
  /** The services were not all ready in time; `details.missing` lists those that were not. */
  MICROSERVICE_JOIN_TIMEOUT: { status: 408, error: 'Timeout', retryable: true },
  /** A required service was never registered; `details.missing` lists those. */
  REGISTRATION_TIMEOUT: { status: 408, error: 'Timeout', retryable: true },
  /** This socket already holds a session. */
  SESSION_ALREADY_EXISTS: { status: 409, error: 'Conflict', retryable: false },
  /** Another live session has this room name. */
  ROOM_NAME_IN_USE: { status: 409, error: 'Conflict', retryable: true },
  /** The idempotency key belongs to a live session that was requested with another body. */
  IDEMPOTENCY_CONFLICT: { status: 409, error: 'Conflict', retryable: false },
  /** Not possible in the session's current state. */
  ILLEGAL_STATE: { status: 409, error: 'Conflict', retryable: false },
  /** Too many concurrent updates of the session. */
  VERSION_CONFLICT: { status: 409, error: 'Conflict', retryable: true },
  /** There is no such session, it cannot be resumed, or the token is not its newest: one answer for all. */
  RESUME_INVALID: { status: 410, error: 'Gone', retryable: false },
  /** The session waited for its client until its resume window was over, and ended. */
  RESUME_EXPIRED: { status: 410, error: 'Gone', retryable: false },
  /** The session has another version than `If-Match` names (HTTP only). */
  PRECONDITION_FAILED: { status: 412, error: 'PreconditionFailed', retryable: false },
  /** `Expect` asks for something other than 100-continue (HTTP only). */
  EXPECTATION_FAILED: { status: 417, error: 'ExpectationFailed', retryable: false },
  /** /ws was requested without a WebSocket upgrade (HTTP only). */
  UPGRADE_REQUIRED: { status: 426, error: 'UpgradeRequired', retryable: false },
  /** The request's header is larger than 16 KiB (HTTP only). */
  HEADERS_TOO_LARGE: { status: 431, error: 'HeadersTooLarge', retryable: false },
  /** Frames came faster than the limit; over REST: more bytes of answers were requested than the limit. */
  RATE_LIMITED: { status: 429, error: 'TooManyRequests', retryable: true },
  /** LiveKit is unreachable, or refused the request: then the error itself says `retryable: false`. */
  LIVEKIT_ERROR: { status: 502, error: 'LiveKitError', retryable: true },
  /** The storage does not answer, or not in time. Whether a change took effect is then unknown: send it again with the same id. */
  STORAGE_ERROR: { status: 503, error: 'StorageError', retryable: true },
  /** The gateway is starting, or cannot reach whoever vouches for this credential. */
  UNAVAILABLE: { status: 503, error: 'Unavailable', retryable: true },
  /** The gateway's limit of registered services is reached. A registered service may always register again. */
  TOO_MANY_SERVICES: { status: 503, error: 'Unavailable', retryable: true },
  /** The gateway is shutting down. */
  DRAINING: { status: 503, error: 'Unavailable', retryable: true },
  /** A fault in the gateway; `details.error_id` identifies its line in the log. */
  INTERNAL: { status: 500, error: 'InternalError', retryable: true },
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof errors;
