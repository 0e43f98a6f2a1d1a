import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { ChaosProxy, type Cut, type Plan, Tally } from '../support/chaos.ts';
import { PlaceReader } from '../support/place.ts';
import { Random } from '../support/random.ts';

/** What came to one end of a connection, and how that ended. */
function seenAt(socket: Socket) {
  const seen = { text: '', end: undefined as string | undefined };
  socket.on('data', (data) => {
    seen.text += data;
  });
  socket.once('end', () => {
    seen.end ??= 'fin';
  });
  socket.once('error', () => {
    seen.end ??= 'reset';
  });
  return seen;
}

/** A connection through a proxy with this plan, both ends. */
async function joined(plan: Plan) {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const tally = new Tally();
  const target = () => (server.address() as AddressInfo).port;
  const proxy = await ChaosProxy.start({ target, plan: () => plan, tally });
  const client = connect(proxy.port, '127.0.0.1');
  const [upstream] = (await once(server, 'connection')) as [Socket];
  onTestFinished(() => {
    client.destroy();
    proxy.close();
    server.close();
  });
  return { client, upstream, tally, atClient: seenAt(client), atServer: seenAt(upstream) };
}

const cutAt = (cut: Cut): Plan => ({ cut });

test.each(['reset', 'fin'] as const)('a connection is cut by %s after the bytes it was to forward', async (how) => {
  const { client, atClient, atServer, tally } = await joined(cutAt({ from: 'client', after: 7, how }));
  client.write('hello, world');
  await expect.poll(() => atClient.end).toBe(how);
  // where bytes came before it some systems show a reset as an end
  await expect.poll(() => atServer.end).toMatch(how === 'fin' ? /^fin$/ : /^(fin|reset)$/);
  expect(atServer.text).toBe('hello, ');
  expect(tally).toMatchObject({ cuts: 1, kinds: { [how]: 1, 'in the upgrade': 1 } });
});

test('a half-open connection forwards nothing from the silent side, and not its end, until its time is over', async () => {
  const { client, upstream, atClient, atServer, tally } = await joined(
    cutAt({ from: 'client', after: 2, how: 'half-open', silent: ['client'], ms: 200, late: false }),
  );
  client.write('hello');
  await expect.poll(() => atServer.text).toBe('he');
  upstream.write('answer');
  await expect.poll(() => atClient.text).toBe('answer');
  client.end();
  expect(atServer.end).toBe(undefined);
  await expect.poll(() => atServer.end).toBe('reset');
  expect(atServer.text).toBe('he');
  expect(tally).toMatchObject({ cuts: 1, kinds: { 'half-open from the client': 1 } });
});

test('what a half-open connection held back may come late, when its sender has gone', async () => {
  const { client, atServer, tally } = await joined(
    cutAt({ from: 'client', after: 2, how: 'half-open', silent: ['client', 'server'], ms: 200, late: true }),
  );
  client.write('hello');
  await expect.poll(() => atServer.text).toBe('he');
  client.destroy();
  await expect.poll(() => atServer).toEqual({ text: 'hello', end: 'fin' });
  expect(tally.kinds).toMatchObject({ 'held back, then late': 1, 'given up by the client': 1 });
});

test('pieces and delays leave the bytes as they were, in order', async () => {
  const random = new Random(7);
  const { client, atServer, tally } = await joined({
    cut: undefined,
    sliceBytes: () => random.int(1, 9),
    delayMs: () => random.int(0, 1),
  });
  const text = Array.from({ length: 500 }, (_, i) => i).join(' ');
  client.end(text);
  await expect.poll(() => atServer).toEqual({ text, end: 'fin' });
  expect(tally).toMatchObject({ cuts: 0, kinds: { sliced: 1, delayed: 1 } });
});

test('the place of a byte is known in the upgrade, between frames, in a head and in a payload', () => {
  const reader = new PlaceReader();
  const places = [...Buffer.concat([Buffer.from('GET\r\n\r\n'), Buffer.from([0x81, 0x82, 1, 2, 3, 4, 5, 6, 0x81, 0x7e, 0, 1, 9])])].map(
    (byte) => {
      reader.read(Buffer.from([byte]));
      return reader.place;
    },
  );
  const times = <T>(n: number, what: T) => Array<T>(n).fill(what);
  expect(places).toEqual([
    ...times(6, 'in the upgrade'),
    'between frames',
    ...times(5, 'in a frame head'),
    ...times(2, 'in a payload'),
    'between frames',
    ...times(3, 'in a frame head'),
    'in a payload',
    'between frames',
  ]);
});

test('the same seed gives the same numbers', () => {
  const [one, other] = [new Random(5), new Random(5)];
  const numbers = Array.from({ length: 100 }, () => one.int(0, 9));
  expect(Array.from({ length: 100 }, () => other.int(0, 9))).toEqual(numbers);
  expect(new Set(numbers).size).toBe(10);
});
