import { backoff } from './backoff.ts';
import { maxTimerMs } from './deadline.ts';
import { RequestFailed } from './errors.ts';
import { Follower } from './follower.ts';
import type { ConnectionState } from './reconnecting-socket.ts';
import type { RequestChannel, RequestOptions } from './request-channel.ts';
import type { SessionEnd } from './session-end.ts';
import { Watch } from './watch.ts';

/** The sessions that one client watches. The gateway's part of a watch ends with the socket, so each is requested again on the next. */
export class Watches {
  readonly #channel: RequestChannel;
  /** By session, until it or the watch is over. */
  readonly #watches = new Map<string, Promise<Watch>>();
  /** By session, until no event of it can arrive. */
  readonly #followers = new Map<string, Follower>();
  /** Those whose request is under way or waits for a retry. */
  readonly #resuming = new Set<Follower>();
  readonly #retries = new Map<Follower, ReturnType<typeof setTimeout>>();

  constructor(channel: RequestChannel) {
    this.#channel = channel;
  }

  has(sessionId: string): boolean {
    return this.#watches.has(sessionId);
  }

  /** The watch of this session; there is one at a time. */
  start(sessionId: string, options: RequestOptions): Promise<Watch> {
    const known = this.#watches.get(sessionId);
    if (known) return known;
    const watch = this.#start(sessionId, options);
    this.#watches.set(sessionId, watch);
    watch.catch(() => this.#forget(sessionId, watch));
    return watch;
  }

  followerOf(sessionId: unknown): Follower | undefined {
    return this.#followers.get(sessionId as string);
  }

  /** Forgets it if it has ended. */
  release(follower: Follower): void {
    if (!follower.end) return;
    clearTimeout(this.#retries.get(follower));
    this.#retries.delete(follower);
    this.#watches.delete(follower.id);
    if (this.#followers.get(follower.id) === follower) this.#followers.delete(follower.id);
  }

  changed(state: ConnectionState): void {
    for (const follower of this.#followers.values()) {
      if (follower.end) continue;
      follower.connectionIs(state);
      if (state === 'open') void this.#resume(follower, 0);
    }
  }

  closed(code: number): void {
    for (const follower of this.#followers.values()) {
      if (follower.end) continue;
      follower.connectionIs('closed');
      this.#finish(follower, { reason: 'connection_closed', code });
    }
  }

  async #start(session_id: string, options: RequestOptions): Promise<Watch> {
    let follower: Follower | undefined;
    const opened = await this.#channel.request(
      'WatchRequest',
      { session_id },
      {
        ...options,
        // its first events can follow immediately
        onAnswer: ({ seq, session }) => {
          follower = new Follower({ session_id, status: session.status, seq });
          this.#followers.set(session_id, follower);
          if (session.status === 'Terminated') follower.finishFrom(session);
          this.release(follower);
        },
      },
    );
    const followed = follower as unknown as Follower;
    return new Watch(followed, opened, () => this.#stop(followed));
  }

  /** Cannot reject. */
  async #resume(follower: Follower, failures: number): Promise<void> {
    // a request without an answer is sent again by the channel
    if (this.#resuming.has(follower)) return;
    this.#resuming.add(follower);
    clearTimeout(this.#retries.get(follower));
    try {
      await this.#channel.request(
        'WatchRequest',
        { session_id: follower.id },
        {
          timeoutMs: maxTimerMs,
          onAnswer: ({ seq, session: snapshot }) => {
            if (follower.end) return;
            follower.resume({ recovered: seq === follower.seq, snapshot }, seq);
            this.release(follower);
          },
        },
      );
    } catch (error) {
      // the channel closed, and `closed` ends it
      if (!(error instanceof RequestFailed) || follower.end) return;
      if (!error.retryable) return this.#finish(follower, { reason: 'watch_refused' });
      const delay = Math.max(backoff(failures), error.retryAfterMs ?? 0);
      const retry = () => this.#channel.state === 'open' && void this.#resume(follower, failures + 1);
      this.#retries.set(follower, setTimeout(retry, delay));
    } finally {
      this.#resuming.delete(follower);
    }
  }

  async #stop(follower: Follower): Promise<void> {
    if (follower.end) return;
    follower.finish({ reason: 'watch_stopped', by: 'client' });
    clearTimeout(this.#retries.get(follower));
    this.#watches.delete(follower.id);
    // events that arrive meanwhile are its own still, and ignored
    await this.#channel.request('UnwatchRequest', { session_id: follower.id }).catch(() => {});
    this.release(follower);
  }

  #finish(follower: Follower, end: SessionEnd): void {
    follower.finish(end);
    this.release(follower);
  }

  #forget(sessionId: string, watch: Promise<Watch>): void {
    if (this.#watches.get(sessionId) === watch) this.#watches.delete(sessionId);
  }
}
