import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { expect, onTestFinished, test } from 'vitest';
import { connect } from '../../src/client/client.ts';
import type { ConnectionState } from '../../src/client/reconnecting-socket.ts';
import { RequestChannel } from '../../src/client/request-channel.ts';
import { settled } from '../support/clock.ts';

/** How long an answer may take here. */
const limitMs = 200;
/** One long turn: longer than any wait may last, as in a process that was stopped. */
const standStill = () => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_000);

/** A gateway of few words, which takes each step only when it may. The first number counts the steps it came to, the second those allowed. */
const program = `
const { createServer } = require('node:http');
const { parentPort, workerData: steps } = require('node:worker_threads');
const { WebSocketServer } = require('ws');
const step = () => {
  const mine = Atomics.add(steps, 0, 1) + 1;
  for (;;) {
    const allowed = Atomics.load(steps, 1);
    if (allowed >= mine) return;
    Atomics.wait(steps, 1, allowed, 10_000);
  }
};
const sockets = new WebSocketServer({ noServer: true });
const server = createServer().on('upgrade', (request, socket, head) => {
  step();
  sockets.handleUpgrade(request, socket, head, (peer) => peer.on('message', (data) => {
    const { type, id } = JSON.parse(data);
    const say = (frame) => { step(); peer.send(JSON.stringify(frame)); };
    if (type !== 'NewSessionRequest') return say({ type: 'Answer', id });
    say({ type: 'NewSessionResponse', id, session_id: 's', room_name: 'r', status: 'WaitingForServices', seq: 0 });
    say({ type: 'SessionReady', session_id: 's', seq: 1, ts: 'now', room_name: 'r', access_token: 't', livekit_url: 'ws://x' });
  }));
}).listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port));
`;

/** It runs while this process stands still. */
async function gatewayElsewhere() {
  const steps = new Int32Array(new SharedArrayBuffer(8));
  const worker = new Worker(program, { eval: true, workerData: steps });
  onTestFinished(() => void worker.terminate());
  const [port] = await once(worker, 'message');
  const allow = (count: number) => {
    Atomics.store(steps, 1, count);
    Atomics.notify(steps, 1);
  };
  return {
    url: `ws://127.0.0.1:${port}/ws`,
    allow,
    /** When it has come to its n-th step it takes it, and this process does not see it for too long. */
    async takesMeanwhile(step: number): Promise<void> {
      while (Atomics.load(steps, 0) < step) await settled(1);
      allow(step);
      standStill();
    },
  };
}

async function channelTo(url: string, { greets = false, heartbeatMs = 60_000 } = {}) {
  const states: ConnectionState[] = [];
  const channel = new RequestChannel(
    url,
    {
      greeting: () => (greets ? { type: 'ResumeRequest' } : undefined),
      greeted() {},
      frame() {},
      changed: (state) => states.push(state),
      closed() {},
    },
    { answerMs: limitMs, heartbeatMs },
  );
  onTestFinished(() => channel.close());
  return { channel, states };
}

/** When it is answered, whatever the wait before it led to has shown. */
const isAnswered = (channel: RequestChannel) => channel.request('GetSessionRequest', {}, { timeoutMs: 10_000 });

test('an upgrade that came while this side stood still is no failed attempt', async () => {
  const { url, allow, takesMeanwhile } = await gatewayElsewhere();
  const { channel, states } = await channelTo(url);
  await takesMeanwhile(1);
  allow(9);
  await isAnswered(channel);
  expect(states).toEqual(['open']);
});

test('so for the first answer on a connection', async () => {
  const { url, allow, takesMeanwhile } = await gatewayElsewhere();
  const { channel, states } = await channelTo(url, { greets: true });
  allow(1);
  await takesMeanwhile(2);
  allow(9);
  await isAnswered(channel);
  expect(states).toEqual(['open']);
});

test('a heartbeat whose answer came while this side stood still is answered', async () => {
  const { url, allow, takesMeanwhile } = await gatewayElsewhere();
  const { channel, states } = await channelTo(url, { heartbeatMs: 50 });
  allow(1);
  await takesMeanwhile(2);
  allow(99);
  await isAnswered(channel);
  expect(states).toEqual(['open']);
});

test('a request whose answer came while this side stood still has not timed out', async () => {
  const { url, allow, takesMeanwhile } = await gatewayElsewhere();
  const { channel } = await channelTo(url);
  allow(1);
  const answer = channel.request('GetSessionRequest', {}, { timeoutMs: limitMs });
  await takesMeanwhile(2);
  await answer;
});

test('so for a session that became ready', async () => {
  const { url, allow, takesMeanwhile } = await gatewayElsewhere();
  const client = connect(url);
  onTestFinished(() => client.close());
  allow(2);
  const session = await client.newSession({ user_identity: 'ada', resume_window_s: 0 });
  const ready = session.ready({ timeoutMs: limitMs });
  await takesMeanwhile(3);
  expect(await ready).toMatchObject({ access_token: 't' });
});
