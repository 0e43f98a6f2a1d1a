import { describe, expect, test } from 'vitest';
import { type Frame, TestClient } from '../support/client.ts';
import { rest } from '../support/http-service.ts';
import { freePort } from '../support/livekit.ts';
import { describeWith, parts } from '../support/parts.ts';
import { sharedPostgres } from '../support/postgres.ts';
import { startBuiltGateway } from '../support/process.ts';
import { startRedis } from '../support/redis.ts';
import { comeBack, eventsAt, seqsAt } from '../support/resume.ts';

const clientCount = 10;
const enoughAnswers = 300;
const wish = { type: 'NewSessionRequest', room: false, resume_window_s: 120 };

/** A client that says one thing after the other, keeps every event, and knows what was never answered. */
class Speaker {
  readonly made: Frame;
  readonly events: Frame[] = [];
  readonly answered = new Map<string, Frame>();
  socket: TestClient;
  /** Sent, and not answered: it is sent again. */
  open: { type: string; id: string; role: string; content: string } | undefined;
  #spoken = 0;

  constructor(made: Frame, socket: TestClient) {
    this.made = made;
    this.socket = socket;
  }

  get lastSeq(): number {
    return this.events.at(-1)?.seq ?? this.made.seq;
  }

  /** Speaks until its socket breaks, or `enough`. */
  async speak(enough: () => boolean): Promise<void> {
    while (!enough()) {
      this.open ??= { type: 'AddMessageRequest', id: `m${++this.#spoken}`, role: 'user', content: `words ${this.#spoken}` };
      try {
        this.answered.set(this.open.id, await this.socket.ask(this.open));
      } catch {
        return;
      }
      this.open = undefined;
    }
  }

  /** What came on a socket that is over, or is to be looked at. */
  take(): void {
    for (const event of eventsAt(this.socket)) if (event.seq > this.lastSeq) this.events.push(event);
  }

  async comeBack(url: string): Promise<void> {
    this.take();
    const before = this.lastSeq;
    const { client, answer } = await comeBack(url, this.made, before);
    expect(answer).toMatchObject({ type: 'ResumeResponse', recovered: true, from_seq: before + 1 });
    expect(await client.next('ResumeComplete')).toMatchObject({ seq: answer.to_seq });
    this.socket = client;
  }
}

/** Kills the gateway while clients speak; started again, each client resumes and goes on as if nothing had been. */
async function outlives(storage: string): Promise<void> {
  const env = { STORAGE_URL: storage, SERVER_PORT: String(await freePort()) };
  let gateway = await startBuiltGateway(env);
  const speakers = await Promise.all(
    Array.from({ length: clientCount }, async (_, i) => {
      const socket = await TestClient.connect(gateway.url);
      return new Speaker(await socket.ask({ ...wish, user_identity: `user-${i}` }), socket);
    }),
  );
  const answers = () => speakers.reduce((sum, { answered }) => sum + answered.size, 0);
  const speaking = Promise.all(speakers.map((speaker) => speaker.speak(() => false)));
  await expect.poll(answers).toBeGreaterThan(enoughAnswers);
  gateway.kill('SIGKILL');
  await gateway.exited;
  await speaking;
  expect(speakers.filter(({ open }) => open !== undefined)).toHaveLength(clientCount);

  gateway = await startBuiltGateway(env);
  for (const speaker of speakers) await speaker.comeBack(gateway.url);
  await Promise.all(speakers.map((speaker) => speaker.speak(() => answers() > 2 * enoughAnswers)));
  for (const speaker of speakers) {
    await speaker.socket.caughtUp();
    speaker.take();
    const { events, answered, made } = speaker;
    // every event once, in order
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_, i) => made.seq + 1 + i));
    // everything that was said once, whether its first answer came or not
    expect(events.map(({ content }) => content)).toEqual(events.map((_, i) => `words ${i + 1}`));
    expect(events).toHaveLength(answered.size);
    for (const { type, duplicate } of answered.values())
      expect({ type, duplicate }).toEqual({ type: 'AddMessageResponse', duplicate: false });
  }
  await gateway.stop();
}

/** Two nodes: a client moves between them, and comes back to the one that lives when the other is killed. */
async function moves(storage: string): Promise<void> {
  const env = { STORAGE_URL: storage };
  const [a, b] = await Promise.all([startBuiltGateway(env), startBuiltGateway(env)]);
  const open = async (user_identity: string) => {
    const socket = await TestClient.connect(a.url);
    return { socket, made: await socket.ask({ ...wish, user_identity }) };
  };
  const read = async (id: string) => (await rest(`${b.url}/api/v1/sessions/${id}`)).body;
  const say = (url: string, { session_id }: Frame, content: string) =>
    rest(`${url}/api/v1/sessions/${session_id}/messages`, 'POST', { role: 'user', content });

  // both live: the newer socket has it, there and back
  const ada = await open('ada');
  await say(b.url, ada.made, 'missed');
  const atB = await comeBack(b.url, ada.made, ada.made.seq);
  expect(atB.answer).toMatchObject({ recovered: true, to_seq: ada.made.seq + 1 });
  expect(await ada.socket.closed).toEqual({ code: 4409, reason: 'taken over' });
  const atA = await comeBack(a.url, ada.made, ada.made.seq);
  expect(await atB.client.closed).toEqual({ code: 4409, reason: 'taken over' });
  await say(b.url, ada.made, 'new');
  await atA.client.next((frame) => frame.content === 'new');
  expect(seqsAt(atA.client)).toEqual([ada.made.seq + 1, ada.made.seq + 2]);

  const [soon, late] = [await open('bob'), await open('cyd')];
  a.kill('SIGKILL');
  await a.exited;
  // its lease runs on: the token is enough
  const [ada2, bob] = [await comeBack(b.url, ada.made, ada.made.seq), await comeBack(b.url, soon.made, soon.made.seq)];
  for (const { answer } of [ada2, bob]) expect(answer).toMatchObject({ recovered: true, snapshot: { link: 'attached' } });
  await say(b.url, late.made, 'missed');
  await expect.poll(() => read(late.made.session_id), { timeout: 60_000, interval: 500 }).toMatchObject({ link: 'away' });
  expect(await read(soon.made.session_id)).toMatchObject({ link: 'attached' });
  const cyd = await comeBack(b.url, late.made, late.made.seq);
  expect(cyd.answer).toMatchObject({ recovered: true });
  expect(await cyd.client.next('MessageAdded')).toMatchObject({ content: 'missed' });
  await b.stop();
}

describeWith(parts.redis)('on Redis', () => {
  test('clients of a gateway that is killed and started again go on as if nothing had been', async () => {
    await outlives((await startRedis({ durable: true })).url);
  });

  test('clients move between nodes, and away from one that is killed', async () => {
    await moves((await startRedis()).url);
  });
});

describe('on PostgreSQL', () => {
  const postgres = sharedPostgres();

  test('clients of a gateway that is killed and started again go on as if nothing had been', async () => {
    await outlives(postgres().url);
  });

  test('clients move between nodes, and away from one that is killed', async () => {
    await moves(postgres().url);
  });
});
