import type { Failure } from '../../protocol/failures.ts';
import type { EndReason } from '../../protocol/states.ts';

/**
 * The gateway's reason; or
 * `resume_invalid`: the gateway does not know the session, or another client has taken it since;
 * `taken_over`: another client holds the session now;
 * `connection_closed`: the connection was closed for good, see `code`;
 * and for a watch, which says nothing about the session itself,
 * `watch_stopped`: by `stop()`;
 * `watch_refused`: the gateway refused to resume it, as when the session is unknown or access was revoked.
 */
export type EndCause = EndReason | 'resume_invalid' | 'taken_over' | 'connection_closed' | 'watch_stopped' | 'watch_refused';

/** How a session ended, as far as this client knows. */
export interface SessionEnd {
  reason: EndCause;
  /** Who ended it; absent: unknown. */
  by?: 'client' | 'gateway';
  /** How long it existed, in seconds; absent: unknown. */
  duration_s?: number;
  /** Required services that were not serving at the end, and why; absent: none, or unknown. */
  failures?: Failure[] | undefined;
  /** The close code, if the connection ended. */
  code?: number;
}
