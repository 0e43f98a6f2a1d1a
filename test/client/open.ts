import { onTestFinished } from 'vitest';
import { type Client, type ClientOptions, connect, type Fields, type Session, type SessionEvents } from '../../src/client/client.ts';
import { connectService } from '../support/client.ts';
import { startGateway } from '../support/gateway.ts';
import { rest } from '../support/http-service.ts';
import { TcpProxy } from '../support/proxy.ts';

/** A gateway with a service, and a client that reaches it through a proxy. Ended with the test. */
export async function connected(options: ClientOptions = {}, config: Parameters<typeof startGateway>[0] = {}) {
  const gateway = await startGateway(config);
  const service = await connectService(gateway.url, 'asr');
  const proxy = await TcpProxy.before(Number(new URL(gateway.url).port));
  const join = (more: ClientOptions = options): Client => {
    const client = connect(`http://127.0.0.1:${proxy.port}`, more);
    onTestFinished(() => client.close());
    return client;
  };
  return { gateway, service, proxy, join, client: join() };
}

/** The same with ada's session, which is ready; and every event of it since it was opened. */
export async function withSession(wish: Partial<Fields<'NewSessionRequest'>> = {}, options: ClientOptions = {}) {
  const parts = await connected(options);
  const session = await parts.client.newSession({ user_identity: 'ada', ...wish });
  const events: SessionEvents['event'][] = [];
  session.on('event', (event) => events.push(event));
  if (wish.room !== false) await session.ready();
  const path = `${parts.gateway.url}/api/v1/sessions/${session.id}`;
  /** Says something from elsewhere. */
  const hear = (content: string) => rest(`${path}/messages`, 'POST', { role: 'user', content });
  /** The client was told of it. */
  const heard = async (content: string) => {
    while (!contents(events).includes(content)) await next(session, 'MessageAdded');
  };
  return { ...parts, session, events, path, hear, heard };
}

/** The next one that the session tells. */
export const next = <K extends keyof SessionEvents>(
  session: Session,
  type: K,
  fits: (event: SessionEvents[K]) => boolean = () => true,
): Promise<SessionEvents[K]> =>
  new Promise((resolve) => {
    const off = session.on(type, (event) => {
      if (!fits(event)) return;
      off();
      resolve(event);
    });
  });

/** The connection is as wanted. */
export const connectionIs = (session: Session, state: SessionEvents['connection']) =>
  session.connection === state ? Promise.resolve(state) : next(session, 'connection', (connection) => connection === state);

export const seqsOf = (events: readonly { seq: number }[]) => events.map(({ seq }) => seq);
export const contents = (events: readonly SessionEvents['event'][]) =>
  events.flatMap((event) => (event.type === 'MessageAdded' ? [event.content] : []));
