import type { LogEvent } from '../../protocol/events.ts';
import type { StoreProvider } from '../../src/sessions/ports.ts';
import type { Truth } from './history.ts';

const lookMs = 200;
const page = 200;

/** Reads a session's log in the storage as it grows, so that it has all of it although the storage keeps the end only. */
export class Witness {
  readonly log: LogEvent[] = [];
  readonly #store: StoreProvider;
  readonly #id: string;
  readonly #timer: NodeJS.Timeout;
  #reading: Promise<void> = Promise.resolve();

  constructor(store: StoreProvider, id: string) {
    this.#store = store;
    this.#id = id;
    this.#timer = setInterval(() => void this.read().catch(() => {}), lookMs);
  }

  /** Reads to the end of the log. @throws Error some of it is no longer kept */
  read(): Promise<void> {
    this.#reading = this.#reading.then(
      () => this.#read(),
      () => this.#read(),
    );
    return this.#reading;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async truth(): Promise<Truth> {
    await this.read();
    const session = await this.#store.loadSession(this.#id);
    if (!session) throw new Error(`the storage has no session ${this.#id}`);
    const messages: Truth['messages'] = [];
    for (let after = 0; ; ) {
      const found = await this.#store.messagesAfter(this.#id, after, page);
      messages.push(...found.map(({ message_id, seq, content }) => ({ message_id, seq, content })));
      if (found.length < page) break;
      after = found.at(-1)?.seq ?? after;
    }
    const { context, shares, visibility, expires_at } = session;
    return { log: this.log, messages, context, shares: { ...shares }, visibility, expires_at };
  }

  async #read(): Promise<void> {
    for (;;) {
      const found = await this.#store.eventsAfter(this.#id, this.log.at(-1)?.seq ?? 0, page);
      if (!found) throw new Error('the log grew faster than it was read');
      if (found.length === 0) return;
      // as a client gets it: what is undefined is not there
      this.log.push(...(JSON.parse(JSON.stringify(found)) as LogEvent[]));
    }
  }
}
