import { randomBytes } from 'node:crypto';

/** A commit on its way to the storage. */
interface Write {
  version: number;
  /** Those that go on when it is over. */
  waiting: (() => void)[] | undefined;
}

/** The commits of this node: their ids, and which of them are being written. */
export class OwnCommits {
  /** Short, so that an id is one string and not a pair that is joined when it is read. */
  #prefix = newPrefix();
  #count = 0;
  readonly #writing = new Set<string>();
  /** By session; mostly one, which needs no set. */
  readonly #bySession = new Map<string, Write | Set<Write>>();

  nextId(): string {
    this.#count += 1;
    return `${this.#prefix}${this.#count.toString(36)}`;
  }

  /** Whether the watchers of this node get the commit, or got it: nobody here has to read what it wrote. undefined: it is not known whose it is. */
  isOwn(commit_id: string | undefined): boolean {
    return commit_id?.startsWith(this.#prefix) === true;
  }

  isWriting(commit_id: string): boolean {
    return this.#writing.has(commit_id);
  }

  /** One of them may be there, or come yet, though its write failed: from here on a signal of it counts as one of another node. */
  forget(): void {
    this.#prefix = newPrefix();
  }

  /**
   * Saves a commit, then notifies. A storage may answer in another order than it wrote: who watches a session hears in the order of its versions.
   * @throws what `save` throws
   */
  async write(
    { session_id, version, commit_id }: { session_id: string; version: number; commit_id: string },
    save: () => Promise<void>,
    notify: () => void,
  ): Promise<void> {
    const write: Write = { version, waiting: undefined };
    this.#begin(session_id, write);
    this.#writing.add(commit_id);
    try {
      await save();
      const others = this.#bySession.get(session_id);
      if (others instanceof Set) for (const other of others) if (other.version < version) await whenOver(other);
      notify();
    } finally {
      this.#writing.delete(commit_id);
      this.#end(session_id, write);
      for (const goOn of write.waiting ?? []) goOn();
    }
  }

  #begin(session_id: string, write: Write): void {
    const others = this.#bySession.get(session_id);
    if (!others) this.#bySession.set(session_id, write);
    else if (others instanceof Set) others.add(write);
    else this.#bySession.set(session_id, new Set([others, write]));
  }

  #end(session_id: string, write: Write): void {
    const others = this.#bySession.get(session_id);
    if (others instanceof Set) others.delete(write);
    if (others === write || (others instanceof Set && others.size === 0)) this.#bySession.delete(session_id);
  }
}

const newPrefix = () => randomBytes(5).toString('base64url');

const whenOver = (write: Write) =>
  new Promise<void>((done) => {
    write.waiting ??= [];
    write.waiting.push(done);
  });
