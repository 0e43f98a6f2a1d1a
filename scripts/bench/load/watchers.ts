import { openSockets, type RawSocket } from './socket.ts';
import { ask, fieldOf, type Load, type Work } from './work.ts';

/** The next message waits at the server while one is delivered; more at once would let several share a write. */
const messagesAtOnce = 2;

/** One session's events to everybody who watches it; a unit is one event at one watcher. */
export const watchers: Work = async ({ port, dialect, size }) => {
  const [owner, ...sockets] = (await openSockets(size + 1, port, dialect)) as [RawSocket, ...RawSocket[]];
  const opened = await ask(owner, dialect.request({ type: 'NewSessionRequest', id: '1', user_identity: 'ada' }), 'NewSessionResponse');
  const session_id = fieldOf('session_id', Buffer.from(opened), 0);
  owner.onText = () => {};
  const watch = dialect.request({ type: 'WatchRequest', id: '1', session_id });
  const message = dialect.request({ type: 'AddMessageRequest', id: '1', role: 'user', content: 'Hello, how are you?' });

  let units = 0;
  let running = false;
  let under = 0;
  let quiet: (() => void) | undefined;
  const next = () => {
    under++;
    owner.send(message);
  };
  /** How many watchers have the nth event, by n. */
  const arrived = new Map<number, number>();
  const onEvent = (n: number) => {
    units++;
    const count = (arrived.get(n) ?? 0) + 1;
    if (count < size) return void arrived.set(n, count);
    arrived.delete(n);
    under--;
    if (running) next();
    else if (under === 0) quiet?.();
  };
  for (const socket of sockets) {
    await ask(socket, watch, 'WatchResponse');
    let n = 0;
    socket.onText = () => onEvent(n++);
  }
  return {
    get units() {
      return units;
    },
    run() {
      running = true;
      for (let i = 0; i < messagesAtOnce; i++) next();
    },
    async pause() {
      running = false;
      if (under > 0)
        await new Promise<void>((done) => {
          quiet = done;
        });
    },
  } satisfies Load;
};
