import { describe, expect, test } from 'vitest';
import { rest } from '../support/http-service.ts';
import { freePort } from '../support/livekit.ts';
import { describeWith, parts } from '../support/parts.ts';
import { sharedPostgres } from '../support/postgres.ts';
import { startBuiltGateway } from '../support/process.ts';
import { startRedis } from '../support/redis.ts';

const sessionCount = 20;
const writers = 8;
const enoughMessages = 400;

/** What the gateway has acknowledged. */
interface Acknowledged {
  sessions: Map<string, { user: string; context: Record<string, unknown> }>;
  /** By session: message id to content. */
  messages: Map<string, Map<string, string>>;
}

const body = (answer: { body: unknown }) => answer.body as Record<string, string>;

/** Adds messages and contexts until `until` says so; what has no answer counts as not acknowledged. */
async function load(url: () => string, known: Acknowledged, until: () => boolean): Promise<void> {
  let count = 0;
  const one = async (writer: number) => {
    while (!until()) {
      const n = ++count;
      const [id, session] = [...known.sessions][n % known.sessions.size] ?? [];
      if (!id || !session) throw new Error('no session');
      const message_id = `m-${writer}-${n}-${Math.random()}`;
      const path = `${url()}/api/v1/sessions/${id}`;
      const added = await rest(`${path}/messages?user_identity=${session.user}`, 'POST', {
        message_id,
        role: 'user',
        content: `words ${n}`,
      }).catch(() => undefined);
      if (added?.status === 201) known.messages.get(id)?.set(message_id, `words ${n}`);
      if (n % 10 !== 0) continue;
      const key = `k${writer}-${n}`;
      const updated = await rest(`${path}?user_identity=${session.user}`, 'PATCH', { context_updates: { [key]: n } }).catch(
        () => undefined,
      );
      if (updated?.status === 200) session.context[key] = n;
    }
  };
  await Promise.all(Array.from({ length: writers }, (_, writer) => one(writer)));
}

/** Kills the gateway in the middle of the load, starts it again, and compares what it has with what it acknowledged. */
async function losesNothing(storage: string): Promise<void> {
  const env = { STORAGE_URL: storage, SERVER_PORT: String(await freePort()), LIMITS_MESSAGES_PER_SECOND: '100000' };
  let gateway = await startBuiltGateway(env);
  const known: Acknowledged = { sessions: new Map(), messages: new Map() };
  for (let i = 0; i < sessionCount; i++) {
    const user = `user-${i}`;
    const made = await rest(`${gateway.url}/api/v1/sessions`, 'POST', { user_identity: user, room: false, metadata: { tags: ['kept'] } });
    expect(made.status).toBe(201);
    known.sessions.set(body(made).session_id ?? '', { user, context: {} });
    known.messages.set(body(made).session_id ?? '', new Map());
  }
  const acknowledged = () => [...known.messages.values()].reduce((sum, messages) => sum + messages.size, 0);

  let killed = false;
  const loading = load(
    () => gateway.url,
    known,
    () => killed,
  );
  await expect.poll(acknowledged).toBeGreaterThan(enoughMessages);
  gateway.kill('SIGKILL');
  await gateway.exited;
  killed = true;
  await loading;

  gateway = await startBuiltGateway(env);
  for (const [id, { user, context }] of known.sessions) {
    const session = await rest(`${gateway.url}/api/v1/sessions/${id}?user_identity=${user}`);
    expect(session).toMatchObject({ status: 200, body: { status: 'Active', owner_id: user, metadata: { tags: ['kept'] } } });
    expect((session.body as { context: object }).context).toMatchObject(context);
    const found = new Map<string, string>();
    for (let after = 0; ; ) {
      const page = (await rest(`${gateway.url}/api/v1/sessions/${id}/messages?user_identity=${user}&limit=200&after=${after}`)).body as {
        items: { message_id: string; content: string }[];
        next_after?: number;
      };
      for (const { message_id, content } of page.items) {
        expect(found.has(message_id)).toBe(false);
        found.set(message_id, content);
      }
      if (page.next_after === undefined) break;
      after = page.next_after;
    }
    for (const [message_id, content] of known.messages.get(id) ?? []) expect(found.get(message_id)).toBe(content);
  }
  // it goes on where it was
  const again = load(
    () => gateway.url,
    known,
    () => acknowledged() > 2 * enoughMessages,
  );
  await again;
  await gateway.stop();
}

describeWith(parts.redis)('a gateway on Redis, killed under load', () => {
  test('has every record and message it acknowledged when it is back', async () => {
    await losesNothing((await startRedis({ durable: true })).url);
  });
});

describe('a gateway on PostgreSQL, killed under load', () => {
  const postgres = sharedPostgres();

  test('has every record and message it acknowledged when it is back', async () => {
    await losesNothing(postgres().url);
  });
});
