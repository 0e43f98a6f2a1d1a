/** Times that both sides of the wire count on. PROTOCOL.md states them as well. */

/**
 * How long services are given to leave when their session ends. Long enough for what a service has to finish, a last sentence or a file; short
 * enough that a service which died holds up nobody's next session for long.
 */
export const leaveMs = 3_000;

/**
 * How long a service that serves sessions may be gone before they go on without it. The service library reconnects within 1 or 2 s, and
 * LiveKit's resume takes as long: this leaves room for one failed attempt.
 */
export const serviceGraceMs = 5_000;

/** How long a session may last where neither its request nor the configuration says: more than any call, so that it only ends what was forgotten. */
export const defaultTtlHours = 24;
