import { expect, test } from 'vitest';
import { TestClient } from '../support/client.ts';
import { startGateway } from '../support/gateway.ts';

/** Sends one message in so many fragments; those after the first are empty. */
function sendInFragments(client: TestClient, text: string, fragments: number): void {
  if (fragments === 1) return client.ws.send(text);
  client.ws.send(text, { fin: false });
  for (let i = 2; i < fragments; i++) client.ws.send('', { fin: false });
  client.ws.send('');
}

const few = { frames_per_second: 50, messages_per_second: 10, message_burst: 20 };

test('pongs that nobody asked for are frames like any other', async () => {
  const { url } = await startGateway({ limits: few });
  const client = await TestClient.connect(url);
  for (let i = 0; i < 50; i++) client.ws.pong();
  await client.caughtUp().catch(() => {});
  expect(client.all).toMatchObject([{ type: 'Error', code: 'RATE_LIMITED', message: 'more than 50 frames a second', retryable: true }]);
  expect(await client.closed).toEqual({ code: 4529, reason: 'rate limited' });
});

test('pings are frames like any other', async () => {
  const { url } = await startGateway({ limits: few });
  const client = await TestClient.connect(url);
  for (let i = 0; i < 51; i++) client.ws.ping();
  expect(await client.closed).toEqual({ code: 4529, reason: 'rate limited' });
});

test('fragments are frames like any other, empty ones too', async () => {
  const { url } = await startGateway({ limits: few });
  const client = await TestClient.connect(url);
  for (let i = 0; i < 6; i++) sendInFragments(client, '{"type":"Ping"}', 9);
  expect(await client.closed).toEqual({ code: 4529, reason: 'rate limited' });
  expect(client.types().at(-1)).toBe('Error');
});

test('bytes are counted before they have come', async () => {
  const { url } = await startGateway({ limits: { bytes_per_second: 20_000, frame_bytes: 10_000 } });
  const client = await TestClient.connect(url);
  for (let i = 0; i < 3; i++) client.send({ type: 'Ping', pad: 'x'.repeat(9_000) });
  expect(await client.next('Error')).toMatchObject({ code: 'RATE_LIMITED', message: 'more than 20000 bytes a second' });
  expect(await client.closed).toEqual({ code: 4529, reason: 'rate limited' });
});

test('a message may come in 64 fragments; with one more the socket is closed with 4413', async () => {
  const { url } = await startGateway();
  const client = await TestClient.connect(url);
  sendInFragments(client, '{"type":"Ping","id":"1"}', 64);
  expect(await client.next('Pong')).toEqual(expect.objectContaining({ id: '1' }));
  sendInFragments(client, '{"type":"Ping"}', 65);
  expect(await client.closed).toEqual({ code: 4413, reason: 'too many fragments' });
});

test('frames and bytes are given back as time goes by', async () => {
  const { url, clock } = await startGateway({ limits: { ...few, bytes_per_second: 5_000, frame_bytes: 2_000 } });
  const client = await TestClient.connect(url);
  for (let second = 0; second < 5; second++) {
    for (let i = 0; i < 44; i++) client.ws.pong();
    await client.ask({ type: 'Ping', pad: 'x'.repeat(1_900) });
    await client.ask({ type: 'Ping', pad: 'x'.repeat(1_900) });
    await clock.advance(1_000);
  }
  expect(client.types()).not.toContain('Error');
});

test('of a hundred pings at once the last is answered, and the socket stays open', async () => {
  const { url } = await startGateway();
  const client = await TestClient.connect(url);
  const pongs: string[] = [];
  client.ws.on('pong', (payload) => pongs.push(String(payload)));
  const { _socket: socket } = client.ws as unknown as { _socket: { cork(): void; uncork(): void } };
  socket.cork();
  for (let i = 1; i <= 100; i++) client.ws.ping(`${i}`);
  socket.uncork();
  await client.caughtUp();
  await expect.poll(() => pongs.at(-1)).toBe('100');
});

test('a ping counts as a heartbeat', async () => {
  const { url, clock } = await startGateway();
  const client = await TestClient.connect(url, [], { autoPong: false });
  let pings = 0;
  client.ws.on('ping', () => pings++);
  for (let i = 0; i < 5; i++) {
    await client.caughtUp();
    await clock.advance(20_000);
    client.ws.ping();
    await expect.poll(() => client.ws.readyState).toBe(client.ws.OPEN);
    await new Promise((pong) => client.ws.once('pong', pong));
    await clock.advance(20_000);
  }
  expect(pings).toBe(0);
});

test('where many are closed for floods at once, most are held first: they do not come back at once', async () => {
  const { url, clock } = await startGateway({ limits: few });
  const healthy = await TestClient.connect(url);
  const flooders = await Promise.all(Array.from({ length: 40 }, () => TestClient.connect(url)));
  /** Those that got a close frame. */
  const closed = () => flooders.filter(({ ws }) => ws.readyState !== ws.OPEN).length;
  for (const flooder of flooders) for (let i = 0; i < 80; i++) flooder.ws.pong();
  await Promise.all(flooders.map((flooder) => flooder.next('Error')));
  await healthy.caughtUp();
  await expect.poll(closed).toBe(16);
  // those that are held get nothing more, and are told why in the end
  for (const flooder of flooders) flooder.ws.send('{"type":"Ping"}', () => {});
  await healthy.caughtUp();
  expect(closed()).toBe(16);
  await clock.advance(5_000);
  for (const flooder of flooders) expect(await flooder.closed).toEqual({ code: 4529, reason: 'rate limited' });
  expect(flooders.flatMap((flooder) => flooder.types())).not.toContain('Pong');
});

test('whoever sends too many messages is held as well, where many do', async () => {
  const { url, clock } = await startGateway({ limits: few });
  const flooders = await Promise.all(Array.from({ length: 20 }, () => TestClient.connect(url)));
  for (const flooder of flooders) for (let i = 0; i < 40; i++) flooder.ws.send('{"type":"Ping"}', () => {});
  await Promise.all(flooders.map((flooder) => flooder.next('Error')));
  await expect.poll(() => flooders.filter(({ ws }) => ws.readyState === ws.OPEN).length).toBe(4);
  await clock.advance(5_000);
  for (const flooder of flooders) expect(await flooder.closed).toEqual({ code: 4529, reason: 'rate limited' });
});
