import { expect, onTestFinished, test } from 'vitest';
import { connect } from '../../src/client/client.ts';
import type { ConnectionState } from '../../src/client/reconnecting-socket.ts';
import { RequestChannel } from '../../src/client/request-channel.ts';
import { serverElsewhere } from '../support/stand-still.ts';

/** How long an answer may take here. */
const limitMs = 200;

/** A gateway of few words, which takes each step only when it may. */
const program = `
const { createServer } = require('node:http');
const { WebSocketServer } = require('ws');
const sockets = new WebSocketServer({ noServer: true });
listen(createServer().on('upgrade', (request, socket, head) => {
  step();
  sockets.handleUpgrade(request, socket, head, (peer) => peer.on('message', (data) => {
    const { type, id } = JSON.parse(data);
    const say = (frame) => { step(); peer.send(JSON.stringify(frame)); };
    if (type !== 'NewSessionRequest') return say({ type: 'Answer', id });
    say({ type: 'NewSessionResponse', id, session_id: 's', room_name: 'r', status: 'WaitingForServices', seq: 0 });
    say({ type: 'SessionReady', session_id: 's', seq: 1, ts: 'now', room_name: 'r', access_token: 't', livekit_url: 'ws://x' });
  }));
}));
`;

/** It runs while this process stands still. */
async function gatewayElsewhere() {
  const { port, ...server } = await serverElsewhere(program);
  return { url: `ws://127.0.0.1:${port}/ws`, ...server };
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

test('a first answer that came while this side stood still has not timed out', async () => {
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

test('a session that became ready while this side stood still is ready', async () => {
  const { url, allow, takesMeanwhile } = await gatewayElsewhere();
  const client = connect(url);
  onTestFinished(() => client.close());
  allow(2);
  const session = await client.newSession({ user_identity: 'ada', resume_window_s: 0 });
  const ready = session.ready({ timeoutMs: limitMs });
  await takesMeanwhile(3);
  expect(await ready).toMatchObject({ access_token: 't' });
});
