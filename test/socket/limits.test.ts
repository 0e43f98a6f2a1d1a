import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { expect, onTestFinished, test, vi } from 'vitest';
import { connectService, TestClient } from '../support/client.ts';
import { settled } from '../support/clock.ts';
import { startGateway } from '../support/gateway.ts';
import { rest } from '../support/http-service.ts';
import { keptLog } from '../support/log.ts';
import { head } from '../support/raw.ts';

test('a frame over the limit ends the socket with 1009, a binary one with 1003', async () => {
  const { url } = await startGateway({ limits: { frame_bytes: 1_024 } });
  const big = await TestClient.connect(url);
  big.send({ type: 'Ping', pad: 'x'.repeat(1_024) });
  expect((await big.closed).code).toBe(1009);
  const binary = await TestClient.connect(url);
  binary.ws.send(Buffer.from('{"type":"Ping"}'));
  expect(await binary.closed).toEqual({ code: 1003, reason: 'text frames only' });
});

test('twenty refused frames in a row close the socket, an accepted one between them starts the count anew', async () => {
  const { url } = await startGateway();
  const client = await TestClient.connect(url);
  for (let i = 0; i < 19; i++) client.send({ type: 'NewSessionRequest' });
  await client.caughtUp();
  for (let i = 0; i < 20; i++) client.send({ type: 'NewSessionRequest' });
  expect(await client.closed).toEqual({ code: 4413, reason: 'too many refused frames' });
  expect(client.all.filter((frame) => frame.type === 'Error')).toHaveLength(39);
});

test('guesses of a resume token are counted though accepted requests stand between them', async () => {
  const { url } = await startGateway();
  const client = await TestClient.connect(url);
  for (let i = 0; i < 20; i++) {
    client.send({ type: 'ResumeRequest', session_id: 'a', resume_token: `${i}`, last_seq: 0 });
    client.send({ type: 'Ping' });
  }
  expect(await client.closed).toEqual({ code: 4413, reason: 'too many refused frames' });
  expect(client.all.filter(({ code }) => code === 'RESUME_INVALID')).toHaveLength(20);
});

test('a flood is answered by RATE_LIMITED, then 4529', async () => {
  const { url } = await startGateway({ limits: { messages_per_second: 10, message_burst: 20 } });
  const client = await TestClient.connect(url);
  for (let i = 0; i < 21; i++) client.send({ type: 'Ping' });
  expect(await client.next('Error')).toMatchObject({ code: 'RATE_LIMITED', retryable: true, retry_after_ms: 100 });
  expect(await client.closed).toEqual({ code: 4529, reason: 'rate limited' });
});

test('the rate is given back as time goes by', async () => {
  const { url, clock } = await startGateway({ limits: { messages_per_second: 10, message_burst: 20 } });
  const client = await TestClient.connect(url);
  for (let second = 0; second < 10; second++) {
    for (let i = 0; i < 10; i++) await client.caughtUp();
    await clock.advance(1_000);
  }
  expect(client.types()).not.toContain('Error');
});

test('a socket without an accepted frame in the first five minutes is closed, Ping counts', async () => {
  const { url, clock } = await startGateway();
  const silent = await TestClient.connect(url);
  const refused = await TestClient.connect(url);
  const pinging = await TestClient.connect(url);
  await refused.ask({ type: 'NewSessionRequest' });
  await pinging.caughtUp();
  await clock.advance(299_000);
  expect(silent.ws.readyState).toBe(silent.ws.OPEN);
  await clock.advance(2_000);
  expect(await silent.closed).toEqual({ code: 4508, reason: 'handshake timeout' });
  expect(await refused.closed).toEqual({ code: 4508, reason: 'handshake timeout' });
  await pinging.caughtUp();
});

test('a silent peer is pinged, and cut when it does not answer: a client after 25 s, a service after 10 s', async () => {
  const { url, clock, holds } = await startGateway();
  const pings: string[] = [];
  const client = await TestClient.connect(url, [], { autoPong: false });
  const service = await TestClient.connect(url, [], { autoPong: false });
  const healthy = await TestClient.connect(url);
  client.ws.on('ping', () => pings.push('client'));
  service.ws.on('ping', () => pings.push('service'));
  await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: [] });
  await service.ask({ type: 'RegisterServiceRequest', service_id: 'asr' });
  await healthy.caughtUp();
  await clock.advance(11_000);
  await expect.poll(() => pings).toEqual(['service']);
  await clock.advance(10_000);
  expect((await service.closed).code).toBe(1006);
  expect(holds().sockets).toBe(2);
  await clock.advance(5_000);
  await expect.poll(() => pings).toEqual(['service', 'client']);
  await clock.advance(10_000);
  expect((await client.closed).code).toBe(1006);
  await clock.advance(60_000);
  await healthy.caughtUp();
});

test('time in which the gateway stood still counts against nobody: not who has to answer a ping, not who has yet to speak', async () => {
  const { url, clock } = await startGateway();
  const silent = await TestClient.connect(url);
  const client = await TestClient.connect(url, [], { autoPong: false });
  await client.caughtUp();
  const pinged = new Promise((done) => client.ws.once('ping', done));
  await clock.advance(26_000);
  await pinged;
  await clock.standStill(3_600_000);
  client.ws.pong();
  await client.caughtUp();
  await silent.caughtUp();
});

test('frames of one socket are answered in order, also behind a slow one', async () => {
  const { url } = await startGateway();
  const client = await TestClient.connect(url);
  for (let i = 0; i < 100; i++) {
    // a workspace is looked up on disk, a Ping is answered at once
    if (i % 3 === 0) client.send({ type: 'NewSessionRequest', id: `${i}`, workspace_dir: '/nowhere' });
    else client.send({ type: 'Ping', id: `${i}` });
  }
  await client.next((frame) => frame.id === '99');
  expect(client.all.map((frame) => frame.id)).toEqual(Array.from({ length: 100 }, (_, i) => `${i}`));
});

const upgrade = head('GET /ws', {
  Connection: 'Upgrade',
  Upgrade: 'websocket',
  'Sec-WebSocket-Version': '13',
  'Sec-WebSocket-Key': Buffer.alloc(16).toString('base64'),
});

/** What an upgrade is answered with. The socket says nothing more. */
async function answerTo(url: string): Promise<{ status: number; text: string }> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  onTestFinished(() => void socket.destroy());
  socket.write(upgrade);
  const [chunk] = (await once(socket, 'data')) as [Buffer];
  return { status: Number(chunk.toString('latin1', 9, 12)), text: chunk.toString('latin1') };
}

/** A socket that has spoken and then reads nothing more. */
async function stalledReader(url: string): Promise<Socket> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  onTestFinished(() => void socket.destroy());
  await once(socket, 'connect');
  socket.write(upgrade);
  await once(socket, 'readable');
  return socket;
}

/** One masked text frame; the mask is zero. */
function textFrame(text: string): Buffer {
  const body = Buffer.from(text);
  const head =
    body.length < 126 ? Buffer.from([0x81, 0x80 | body.length]) : Buffer.from([0x81, 0xfe, body.length >> 8, body.length & 0xff]);
  return Buffer.concat([head, Buffer.alloc(4), body]);
}

test('a reader that asks and never reads is not read from after a while, then closed as too slow', async () => {
  const { url, clock, holds } = await startGateway({
    limits: { buffered_bytes: 16_384, messages_per_second: 1_000_000, message_burst: 1_000_000, answer_bytes_per_second: 1_000_000_000 },
  });
  const socket = await stalledReader(url);
  const frame = textFrame(JSON.stringify({ type: 'NewSessionRequest', id: 'x'.repeat(65) }));
  let stuck = false;
  // each question is answered by an error of its own size; the kernel's buffers fill, then ours, then the gateway stops reading
  for (let i = 0; i < 20_000 && !stuck; i++) {
    const question = i % 15 === 0 ? textFrame('{"type":"Ping"}') : frame;
    if (!socket.write(question)) stuck = !(await Promise.race([once(socket, 'drain').then(() => true), settled(5_000).then(() => false)]));
  }
  // a burst is worked off a few milliseconds a turn
  await settled(5_000);
  await clock.advance(12_000);
  expect(holds().sockets).toBe(1);
  // the close frame cannot be delivered either: the socket is cut
  await expect.poll(() => holds().sockets).toBe(0);
});

test('who does not read a large answer gets no other one, and is closed as too slow, however much might wait for it', async () => {
  const { url, clock, holds } = await startGateway({
    limits: { buffered_bytes: 1_000_000_000, message_burst: 1_000_000, answer_bytes_per_second: 1_000_000_000 },
  });
  const api = `${url}/api/v1/sessions`;
  const { session_id } = (await rest(api, 'POST', { user_identity: 'ada', room: false, visibility: 'public' })).body;
  await rest(`${api}/${session_id}`, 'PATCH', { context_updates: { a: 'x'.repeat(9_000), b: 'x'.repeat(9_000) } });
  const socket = await stalledReader(url);
  const frame = textFrame(JSON.stringify({ type: 'GetSessionRequest', session_id }));
  // ten times what the kernel's buffers take of the answers
  for (let i = 0; i < 3_000; i++) socket.write(frame);
  await settled(5_000);
  await clock.advance(12_000);
  await expect.poll(() => holds().sockets).toBe(0);
});

test('more sockets than allowed are closed with 4503', async () => {
  const { url } = await startGateway({ server: { port: 0, max_connections: 1 } });
  await connectService(url, 'asr');
  const second = await TestClient.connect(url);
  expect(await second.closed).toEqual({ code: 4503, reason: 'overloaded' });
});

test('beyond 256 that are being closed with 4503 a socket gets 503 with Retry-After', async () => {
  const { log, said } = keptLog('warn');
  const { url, holds } = await startGateway({ server: { port: 0, max_connections: 1 } }, log);
  await connectService(url, 'asr');
  // nobody answers the close frame, and the time until they are cut stands still
  vi.useFakeTimers({ toFake: ['setTimeout'] });
  try {
    const answers = await Promise.all(Array.from({ length: 260 }, () => answerTo(url)));
    const refused = answers.filter(({ status }) => status === 503);
    expect([answers.filter(({ status }) => status === 101).length, refused.length]).toEqual([256, 4]);
    for (const { text } of refused) expect(text).toMatch(/retry-after: [1-5]\r\n/);
    expect(holds().sockets).toBe(1);
    expect(said('socket closed: server.max_connections reached')).toHaveLength(10);
  } finally {
    vi.useRealTimers();
  }
});

test('sockets come no faster than limits.upgrades_per_second', async () => {
  const { url, clock } = await startGateway({ limits: { upgrades_per_second: 5 } });
  const statuses = async (count: number) => {
    const found: number[] = [];
    for (let i = 0; i < count; i++) found.push((await answerTo(url)).status);
    return found;
  };
  expect(await statuses(7)).toEqual([101, 101, 101, 101, 101, 503, 503]);
  await clock.advance(400);
  expect(await statuses(3)).toEqual([101, 101, 503]);
  await clock.advance(1_000);
  expect(await statuses(6)).toEqual([101, 101, 101, 101, 101, 503]);
  clock.setBack(3_600_000);
  expect(await statuses(1)).toEqual([503]);
  await clock.advance(1_000);
  expect(await statuses(1)).toEqual([101]);
});
