import { Agent, request } from 'node:http';
import { connect } from 'node:net';
import { expect, onTestFinished, test, vi } from 'vitest';
import { TestClient } from '../support/client.ts';
import { settled } from '../support/clock.ts';
import { startGateway } from '../support/gateway.ts';
import { rest } from '../support/http-service.ts';

const range = (count: number) => Array.from({ length: count }, (_, i) => i);

/** A gateway with a session of about 10 kB. */
async function open(answer_bytes_per_second: number) {
  const gateway = await startGateway({ limits: { answer_bytes_per_second } });
  const api = `${gateway.url}/api/v1/sessions`;
  const metadata = Object.fromEntries(Array.from({ length: 10 }, (_, i) => [`k${i}`, 'v'.repeat(1_000)]));
  const { session_id } = (await rest(api, 'POST', { user_identity: 'ada', room: false, visibility: 'public', metadata })).body;
  return { ...gateway, api, session_id: session_id as string };
}

test('a socket that asks for more than its budget waits until it is back; others do not, and events come as ever', async () => {
  const { url, clock, api, session_id } = await open(25_000);
  const reader = await TestClient.connect(url);
  const own = await reader.ask({ type: 'NewSessionRequest', user_identity: 'bob', room: false });
  for (let i = 1; i <= 7; i++) reader.send({ type: 'GetSessionRequest', id: `${i}`, session_id });
  const other = await TestClient.connect(url);
  await reader.next((frame) => frame.id === '3');
  await other.caughtUp();
  await settled();
  expect(reader.all.filter(({ type }) => type === 'GetSessionResponse')).toHaveLength(3);

  await rest(`${api}/${own.session_id}`, 'PATCH', { context_updates: { step: 1 } });
  await reader.next('SessionUpdated');

  await clock.advance(1_000);
  await reader.next((frame) => frame.id === '5');
  await clock.advance(2_000);
  await reader.next((frame) => frame.id === '7');
  expect(reader.all.filter(({ type }) => type === 'GetSessionResponse').map(({ id }) => id)).toEqual(['1', '2', '3', '4', '5', '6', '7']);
  expect(reader.types()).not.toContain('Error');
});

test('what a resume brings again is paid for by who resumes', async () => {
  const { url, clock } = await open(25_000);
  const client = await TestClient.connect(url);
  const { session_id, resume_token, seq } = await client.ask({
    type: 'NewSessionRequest',
    user_identity: 'bob',
    room: false,
    resume_window_s: 60,
  });
  for (let i = 0; i < 3; i++) await client.ask({ type: 'AddMessageRequest', role: 'user', content: 'x'.repeat(10_000) });
  await clock.advance(2_000);
  const next = await TestClient.connect(url);
  await next.ask({ type: 'ResumeRequest', session_id, resume_token, last_seq: seq });
  await next.next('ResumeComplete');
  next.send({ type: 'Ping', id: 'later' });
  await settled(100);
  expect(next.frames.find(({ id }) => id === 'later')).toBeUndefined();
  await clock.advance(2_000);
  await next.next((frame) => frame.id === 'later');
});

/** Asks over the one connection of an agent. */
const get = (agent: Agent, url: string) =>
  new Promise<{ status: number | undefined; retryAfter: string | undefined; body: Record<string, unknown> }>((done, fail) => {
    request(url, { agent }, (response) => {
      let text = '';
      response.on('data', (data) => (text += data));
      response.on('end', () => done({ status: response.statusCode, retryAfter: response.headers['retry-after'], body: JSON.parse(text) }));
    })
      .on('error', fail)
      .end();
  });

test('a connection that asks for more than its budget over REST gets 429 until it is back; others do not', async () => {
  const { clock, api, session_id } = await open(25_000);
  const agents = [1, 2].map(() => new Agent({ keepAlive: true, maxSockets: 1 }));
  onTestFinished(() => agents.forEach((agent) => void agent.destroy()));
  const [agent, other] = agents as [Agent, Agent];
  const url = `${api}/${session_id}`;
  for (let i = 0; i < 3; i++) expect(await get(agent, url)).toMatchObject({ status: 200 });
  const refused = await get(agent, url);
  expect(refused).toMatchObject({
    status: 429,
    retryAfter: '1',
    body: { code: 'RATE_LIMITED', error: 'TooManyRequests', retryable: true },
  });
  expect(refused.body.retry_after_ms).toBeGreaterThan(0);
  expect(await get(other, url)).toMatchObject({ status: 200 });
  clock.setBack(3_600_000);
  expect((await get(agent, url)).body.retry_after_ms).toBeLessThanOrEqual(2_000);
  await clock.advance(2_000);
  expect(await get(agent, url)).toMatchObject({ status: 200 });
});

test('requests that are sent without waiting for answers are handled one after the other, and each is paid for', async () => {
  const { url, api, session_id } = await open(25_000);
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  onTestFinished(() => void socket.destroy());
  let text = '';
  socket.on('data', (data) => (text += data));
  socket.write(`GET ${new URL(api).pathname}/${session_id} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`.repeat(20));
  const statuses = () => [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status);
  await expect.poll(() => statuses().length).toBe(20);
  expect(statuses()).toEqual([...Array(3).fill('200'), ...Array(17).fill('429')]);
});

test('who asks for much has turns of its own, and who asks for little does not wait for them', async () => {
  const { url, session_id } = await open(1_000_000);
  const greedy = await Promise.all(range(20).map(() => TestClient.connect(url)));
  const modest = await TestClient.connect(url);
  await modest.caughtUp();
  const order: string[] = [];
  for (const { ws } of greedy) ws.on('message', () => order.push('greedy'));
  modest.ws.on('message', () => order.push('modest'));
  // whatever is done takes long
  let now = performance.now();
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => (now += 3));
  onTestFinished(() => clock.mockRestore());
  for (const client of greedy) for (const id of range(5)) client.send({ type: 'GetSessionRequest', id: `${id}`, session_id });
  for (const id of range(10)) modest.send({ type: 'Ping', id: `${id}` });
  await Promise.all([...greedy.map((client) => client.next((frame) => frame.id === '4')), modest.next((frame) => frame.id === '9')]);
  expect(order.lastIndexOf('modest')).toBeLessThan(order.length / 2);
});

test('large frames that many sockets send at once are not all handled before a small one is answered', async () => {
  const { url } = await startGateway();
  const senders = await Promise.all(range(30).map(() => TestClient.connect(url)));
  const other = await TestClient.connect(url);
  await other.caughtUp();
  const answered: string[] = [];
  for (const [i, sender] of [...senders, other].entries())
    sender.ws.on('message', () => answered.push(sender === other ? 'small' : `${i}`));
  // the most values that a frame may have: handling one takes some milliseconds
  const values = Array.from({ length: 9_000 }, () => '[]').join(',');
  const answers = senders.map((sender) => sender.next('Error'));
  for (const sender of senders) sender.send(`{"type":"UpdateSessionRequest","context_updates":{"k":[${values}]}}`);
  other.send({ type: 'Ping', id: 'small' });
  await other.next((frame) => frame.id === 'small');
  await Promise.all(answers);
  expect(answered).toHaveLength(31);
  expect(answered.indexOf('small')).toBeLessThan(20);
});
