import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import type { Clock } from '../clock.ts';
import { StorageError } from '../errors.ts';
import type { Wake } from '../sessions/ports.ts';

/** How often the channel proves itself and versions are compared: what a lost signal may cost. */
const lookMs = 5_000;
/** While signals do not arrive, every so many looks the listening connection is opened again. */
const renewEvery = 12;
/** Versions that are read at once. */
const batch = 500;

export interface SignalsParts {
  clock: Clock;
  log: Logger;
  /** Sends a signal to every node, this one included. @throws StorageError */
  send(payload: string): Promise<unknown>;
  /** The stored version of each of these sessions, 0 where there is no record. @throws StorageError */
  versions(ids: readonly string[]): Promise<readonly number[]>;
  /** Opens the listening connection again. */
  renew(reason: string): void;
  /** Why signals may not arrive though the storage works, and what to do about it. */
  hint: string;
}

/** What is sent with each commit. */
export const signalOf = (session_id: string, commit_id: string) => `${session_id} ${commit_id}`;

/** Those who wait for commits to one session. */
class Waiting extends Set<Wake> {
  /** As it was compared last. */
  version: number | undefined;
  /** They were woken by a signal since then. */
  signalled = false;
}

/**
 * Wakes those who wait for commits, by signals. A channel that is dead may look alive, so it proves itself: a signal of this node's own must
 * come back. Whether it does or not, stored versions are compared every few seconds: that bridges lost signals, and finds lost records.
 */
export class Signals {
  readonly #parts: SignalsParts;
  readonly #waiting = new Map<string, Waiting>();
  readonly #name = `/${randomUUID()}`;
  readonly #stop: () => void;
  /** Echoes sent; the last of them came back; the server has taken it. */
  #echoes = 0;
  #isBack = false;
  #isTaken = false;
  #deafness: string | undefined;
  #comparing = false;

  constructor(parts: SignalsParts) {
    this.#parts = parts;
    this.#stop = parts.clock.every(lookMs, () => this.#look());
  }

  subscribe(id: string, wake: Wake): void {
    const waiting = this.#waiting.get(id);
    if (waiting) waiting.add(wake);
    else this.#waiting.set(id, new Waiting([wake]));
  }

  unsubscribe(id: string, wake: Wake): void {
    const waiting = this.#waiting.get(id);
    if (waiting?.delete(wake) && waiting.size === 0) this.#waiting.delete(id);
  }

  /** A signal has come: of a commit, as `signalOf` writes it, or this node's own echo. */
  heard(payload: string): void {
    if (payload.startsWith(this.#name)) return this.#proved(payload);
    const end = payload.lastIndexOf(' ');
    // an older node sends the id alone
    const id = end < 0 ? payload : payload.slice(0, end);
    const commit_id = end < 0 ? undefined : payload.slice(end + 1);
    const waiting = this.#waiting.get(id);
    if (waiting) waiting.signalled = true;
    this.#wake(id, commit_id);
  }

  /** The listening connection is there, for the first time or again: what was signalled meanwhile is not known. */
  connected(): void {
    // to the deaf a connection says nothing, and comparing goes on
    if (this.#deafness === undefined) this.#wakeAll();
    void this.#prove();
  }

  /** Empty while signals arrive. */
  warnings(): string[] {
    return this.#deafness === undefined ? [] : [`changes by other nodes are noticed late: ${this.#deafness}`];
  }

  close(): void {
    this.#stop();
    this.#waiting.clear();
  }

  #look(): void {
    // taken, and a whole round later not back; while the storage does not answer nothing is said of the channel
    if (this.#isTaken && !this.#isBack) {
      if (this.#deafness === undefined || this.#echoes % renewEvery === 0) this.#parts.renew('signals do not arrive');
      this.#deaf(this.#parts.hint);
    }
    void this.#prove();
    void this.#compare();
  }

  /** Sends an echo. Cannot reject. */
  async #prove(): Promise<void> {
    const echo = ++this.#echoes;
    this.#isBack = this.#isTaken = false;
    try {
      await this.#parts.send(`${this.#name}/${echo}`);
      if (echo === this.#echoes) this.#isTaken = true;
    } catch (error) {
      if (error instanceof StorageError && error.refused) this.#deaf(error.message);
    }
  }

  #proved(payload: string): void {
    if (payload !== `${this.#name}/${this.#echoes}`) return;
    this.#isBack = true;
    if (this.#deafness === undefined) return;
    this.#deafness = undefined;
    this.#parts.log.info('changes by other nodes are signalled again');
  }

  #deaf(reason: string): void {
    if (this.#deafness !== undefined) return;
    this.#deafness = reason;
    this.#parts.log.warn({ reason }, 'changes by other nodes are not signalled: they are noticed within seconds, by comparing versions');
    // nobody knows what was missed until now
    this.#wakeAll();
  }

  /** Wakes those whose session changed without a signal, or is gone. Cannot reject. */
  async #compare(): Promise<void> {
    if (this.#comparing) return;
    this.#comparing = true;
    try {
      const ids = [...this.#waiting.keys()];
      for (let first = 0; first < ids.length; first += batch) {
        const some = ids.slice(first, first + batch);
        for (const [i, version] of (await this.#parts.versions(some)).entries()) this.#compared(some[i] ?? '', version);
      }
    } catch (err) {
      this.#parts.log.debug({ err }, 'could not compare versions');
    } finally {
      this.#comparing = false;
    }
  }

  #compared(id: string, version: number): void {
    const waiting = this.#waiting.get(id);
    if (!waiting) return;
    if (version === 0) this.#wake(id);
    // there may have been another commit after the one that was signalled: the next comparison shows it
    else if (waiting.signalled) waiting.signalled = false;
    // at the first comparison as well: a signal may have been lost since they subscribed
    else if (version !== waiting.version) {
      waiting.version = version;
      this.#wake(id);
    }
  }

  #wakeAll(): void {
    for (const id of [...this.#waiting.keys()]) this.#wake(id);
  }

  #wake(id: string, commit_id?: string): void {
    // a copy: one that is woken may subscribe again
    for (const wake of [...(this.#waiting.get(id) ?? [])]) wake(id, commit_id);
  }
}
