import { randomBytes } from 'node:crypto';
import type { Session } from './record.ts';

/** A commit on its way to the storage. */
export interface Write {
  readonly session_id: string;
  readonly version: number;
  readonly commit_id: string;
  /** Those that go on when it is over. */
  waiting: (() => void)[] | undefined;
}

/** The commits of this node: their ids, and which of them are being written. */
export class OwnCommits {
  /** Short, so that an id is one string and not a pair that is joined when it is read. */
  #prefix = newPrefix();
  #count = 0;
  /** By session; mostly one, which needs no set. */
  readonly #writing = new Map<string, Write | Set<Write>>();

  nextId(): string {
    this.#count += 1;
    return `${this.#prefix}${this.#count.toString(36)}`;
  }

  /** Whether the watchers of this node get the commit, or got it: nobody here has to read what it wrote. undefined: it is not known whose it is. */
  isOwn(commit_id: string | undefined): boolean {
    return commit_id?.startsWith(this.#prefix) === true;
  }

  isWriting({ session_id, commit_id }: Pick<Session, 'session_id' | 'commit_id'>): boolean {
    const writes = this.#writing.get(session_id);
    if (writes instanceof Set) return [...writes].some((write) => write.commit_id === commit_id);
    return writes?.commit_id === commit_id;
  }

  /** One of them may be there, or come yet, though its write failed: from here on a signal of it counts as one of another node. */
  forget(): void {
    this.#prefix = newPrefix();
  }

  /** A commit is being written. Whoever calls it calls `end`. */
  begin({ session_id, version, commit_id }: Session): Write {
    const write: Write = { session_id, version, commit_id, waiting: undefined };
    const others = this.#writing.get(session_id);
    if (!others) this.#writing.set(session_id, write);
    else if (others instanceof Set) others.add(write);
    else this.#writing.set(session_id, new Set([others, write]));
    return write;
  }

  /**
   * A storage may answer in another order than it wrote, while those who watch a session hear in the order of its versions.
   * @returns what a commit that is written waits for; undefined: nothing
   */
  earlier({ session_id, version }: Write): Promise<unknown> | undefined {
    const writes = this.#writing.get(session_id);
    if (!(writes instanceof Set)) return undefined;
    const earlier = [...writes].filter((other) => other.version < version);
    return earlier.length === 0 ? undefined : Promise.all(earlier.map(whenOver));
  }

  end(write: Write): void {
    const { session_id, waiting } = write;
    const writes = this.#writing.get(session_id);
    if (writes instanceof Set) writes.delete(write);
    if (writes === write || (writes instanceof Set && writes.size === 0)) this.#writing.delete(session_id);
    if (waiting) for (const goOn of waiting) goOn();
  }
}

const newPrefix = () => randomBytes(5).toString('base64url');

const whenOver = (write: Write) =>
  new Promise<void>((done) => {
    write.waiting ??= [];
    write.waiting.push(done);
  });
