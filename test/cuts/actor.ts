import { setTimeout as pause } from 'node:timers/promises';
import { type Client, connect, RequestTimeout, type Session } from '../../src/client/client.ts';
import type { ChaosProxy } from '../support/chaos.ts';
import { TestClient } from '../support/client.ts';
import type { Random } from '../support/random.ts';
import type { Answer, ClientHistory, Command, Wish } from './history.ts';
import { noted, tapped } from './tap.ts';

/** Longer than any wait in a run: a command without an answer by then has none. */
const answerWithinMs = 150_000;
/** The gateway remembers 256, and no more than 32 KiB of outcomes. */
const saidAgain = 64;

/** As short as a run needs them; what they mean does not change. */
export const quick = { heartbeatMs: 300, answerMs: 400, reconnect: { firstMs: 8, mostMs: 60 } };

interface ActorParts {
  name: string;
  proxy: ChaosProxy;
  random: Random;
  /** What the session is asked for with. */
  wish: object;
}

/** A client that does one thing after the other in its session, several at a time, and notes all of it. */
export class Actor {
  readonly history: ClientHistory;
  readonly proxy: ChaosProxy;
  readonly client: Client;
  session!: Session;
  readonly #parts: ActorParts;
  readonly #open = new Set<Promise<void>>();
  #count = 0;

  constructor(parts: ActorParts) {
    this.#parts = parts;
    this.proxy = parts.proxy;
    this.history = { name: parts.name, openedSeq: 0, commands: [], delivered: [], gaps: [], wires: [] };
    this.client = connect(`http://127.0.0.1:${parts.proxy.port}`, { ...quick, WebSocket: tapped(this.history.wires) });
  }

  get isOpen(): boolean {
    return this.session !== undefined;
  }

  /** Where it stands, for a run that stands still. */
  get described(): string {
    const { history, client, session } = this;
    return `${history.name} ${client.state}, ${history.wires.length} sockets, event ${session?.seq}, ${this.#open.size} of ${history.commands.length} commands open`;
  }

  async open(): Promise<void> {
    const { name, wish } = this.#parts;
    const { history } = this;
    const session = await this.client.newSession({ user_identity: name, resume_window_s: 600, ...wish }, { timeoutMs: answerWithinMs });
    history.openedSeq = session.opened.seq;
    session.on('event', (event) => history.delivered.push(event));
    session.on('resumed', ({ recovered, snapshot }) => {
      if (!recovered) history.gaps.push({ from: (history.delivered.at(-1)?.seq ?? history.openedSeq) + 1, to: snapshot.seq });
    });
    this.session = session;
  }

  /** Goes on until `isEnough`; then every command has its answer, or will have none. */
  async act(isEnough: () => boolean): Promise<void> {
    const { random } = this.#parts;
    const atOnce = random.int(1, 6);
    while (!isEnough()) {
      if (this.#open.size >= atOnce) await Promise.race(this.#open);
      else {
        this.#issue();
        if (random.chance(0.7)) await pause(random.int(1, 80));
      }
    }
    await Promise.all(this.#open);
  }

  /** Takes the session over by hand, and says the latest commands once more, as they were: nothing may come of it but the same answers. */
  async sayAgain(url: string): Promise<void> {
    const { session, history } = this;
    const socket = await TestClient.connect(url);
    const { resume_token } = session.opened;
    const asked = session.seq;
    await socket.ask({ type: 'ResumeRequest', session_id: session.id, resume_token, last_seq: asked });
    const sent = [...new Map(history.wires.flatMap((wire) => wire.sent).map(({ id, text }) => [id, text]))].slice(-saidAgain);
    for (const [, text] of sent) await socket.ask(JSON.parse(text));
    await socket.caughtUp();
    const came = socket.all.flatMap((frame) => noted(JSON.stringify(frame), asked) ?? []);
    history.wires.push({ sent: sent.map(([id, text]) => ({ id, text })), came });
    for (const frame of socket.all) if (frame.id === undefined && frame.ts !== undefined) history.delivered.push(frame as never);
  }

  #issue(): void {
    const command: Command = { wish: this.#next() };
    this.history.commands.push(command);
    const settled = this.#send(command.wish).then(
      (answer) => {
        command.answer = answer;
      },
      (error: Error) => {
        if (!(error instanceof RequestTimeout)) command.error = `${error.name} ${error.message}`;
      },
    );
    this.#open.add(settled);
    void settled.then(() => this.#open.delete(settled));
  }

  #next(): Wish {
    const { random, name } = this.#parts;
    const n = ++this.#count;
    const content = `${name}:${n} ${'x'.repeat(random.int(0, 150))}`;
    const user = random.pick(['bob', 'eve', 'joe']);
    const kind = random.next();
    if (kind < 0.3) return { do: 'say', content };
    if (kind < 0.45) return { do: 'say', content, message_id: `${name}-${n}` };
    if (kind < 0.7) return { do: 'set', key: `k${n % 50}`, value: n };
    if (kind < 0.76) return { do: 'extend', ttl_hours: random.int(1, 48) };
    if (kind < 0.85) return { do: 'share', user, role: random.pick(['viewer', 'participant']) };
    return kind < 0.92 ? { do: 'unshare', user } : { do: 'read' };
  }

  #send(wish: Wish): Promise<Answer> {
    const { session, client } = this;
    const within = { timeoutMs: answerWithinMs };
    switch (wish.do) {
      case 'say': {
        const { content, message_id } = wish;
        if (message_id !== undefined) return session.addMessage({ role: 'user', content, message_id }, within);
        // without an id of its own only the gateway's memory knows it again
        return client.request('AddMessageRequest', { session_id: session.id, role: 'user', content }, within);
      }
      case 'set':
        return session.update({ context_updates: { [wish.key]: wish.value, chain: wish.value } }, within);
      case 'extend':
        return session.extend({ ttl_hours: wish.ttl_hours }, within);
      case 'share':
        return session.share({ target_user_id: wish.user, role: wish.role }, within);
      case 'unshare':
        return session.unshare({ target_user_id: wish.user }, within);
      case 'read':
        return session.get(within);
    }
  }
}
