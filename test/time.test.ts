import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { afterRunning, inTurns } from '../src/time.ts';
import { settled } from './support/clock.ts';
import { standStill } from './support/stand-still.ts';

test('time in which the event loop stood still does not count', async () => {
  let isOver = false;
  onTestFinished(
    afterRunning(1_000, () => {
      isOver = true;
    }),
  );
  standStill(1_100);
  // in each turn no more than a tenth of it passes
  await settled(5);
  expect(isOver).toBe(false);
});

test('what came while the event loop stood still is heard before a time is over', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const client = connect(typeof address === 'object' ? (address?.port ?? 0) : 0, '127.0.0.1');
  const [[peer]] = (await Promise.all([once(server, 'connection'), once(client, 'connect')])) as [[Socket], unknown];
  onTestFinished(() => {
    client.destroy();
    server.close();
  });
  const order: string[] = [];
  const both = new Promise<void>((done) => {
    const add = (what: string) => order.push(what) === 2 && done();
    peer.on('data', () => add('heard'));
    afterRunning(100, () => add('over'));
    client.write('here');
    standStill(200);
  });
  await both;
  expect(order).toEqual(['heard', 'over']);
});

test('what is done to many leaves turns of the event loop in between', async () => {
  let turns = 0;
  const turn = () => {
    turns += 1;
    pending = setImmediate(turn);
  };
  let pending = setImmediate(turn);
  onTestFinished(() => clearImmediate(pending));
  const done: number[] = [];
  await inTurns(
    Array.from({ length: 1_000 }, (_, i) => i),
    (i) => done.push(i),
  );
  expect(done).toHaveLength(1_000);
  expect(turns).toBeGreaterThanOrEqual(10);
});
