import { afterReading } from './deadline.ts';

export interface Wait<A> {
  /** The request's own id, which is echoed in its answer. */
  id: string;
  /** The frame as it is sent, the first time and again. */
  text: string;
  /** What the request is about: `failAll` can end only these. */
  group?: string | undefined;
  /** Counted from the call. */
  timeoutMs: number;
  /** Called with the answer before the promise settles: what comes behind the answer finds its work done. Must not throw. */
  onAnswer?: ((answer: A) => void) | undefined;
  /** Called only when the time is over. */
  onTimeout(): Error;
}

interface Waiting<A> extends Wait<A> {
  sent: boolean;
  resolve(answer: A): void;
  reject(error: Error): void;
  cancel(): void;
}

/** Requests that have no answer yet. Each one settles exactly once: answer, refusal, timeout, or `failAll`. */
export class Pending<A> {
  readonly #waiting = new Map<string, Waiting<A>>();

  /** Keeps a request until it settles. It counts as not sent. */
  wait(wait: Wait<A>): Promise<A> {
    return new Promise((resolve, reject) => {
      const cancel = afterReading(wait.timeoutMs, () => this.fail(wait.id, wait.onTimeout()));
      this.#waiting.set(wait.id, { ...wait, sent: false, resolve, reject, cancel });
    });
  }

  /** False where nobody waits for it: it came too late, or twice. */
  settle(id: string, answer: A): boolean {
    const waiting = this.#take(id);
    waiting?.onAnswer?.(answer);
    waiting?.resolve(answer);
    return waiting !== undefined;
  }

  /** As `settle`, with an error in the answer's place. */
  fail(id: string, error: Error): boolean {
    const waiting = this.#take(id);
    waiting?.reject(error);
    return waiting !== undefined;
  }

  /** Ends every wait, or only those of a group. */
  failAll(error: Error, group?: string): void {
    for (const [id, waiting] of this.#waiting) if (group === undefined || waiting.group === group) this.fail(id, error);
  }

  /** Sends everything that has no answer, in the order of the calls, each as it was; `send` returns whether it went out. */
  sendAll(send: (text: string) => boolean): void {
    for (const waiting of this.#waiting.values()) waiting.sent = send(waiting.text) || waiting.sent;
  }

  /** Sends one for the first time. */
  send(id: string, send: (text: string) => boolean): void {
    const waiting = this.#waiting.get(id);
    if (waiting) waiting.sent = send(waiting.text);
  }

  /** How many were never sent. */
  get unsent(): number {
    return [...this.#waiting.values()].filter(({ sent }) => !sent).length;
  }

  #take(id: string): Waiting<A> | undefined {
    const waiting = this.#waiting.get(id);
    waiting?.cancel();
    this.#waiting.delete(id);
    return waiting;
  }
}
