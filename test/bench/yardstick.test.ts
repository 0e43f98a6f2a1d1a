import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { WebSocketServer } from 'ws';
import { closed, handle } from '../../scripts/bench/servers/answers.ts';
import type { Peer } from '../../scripts/bench/servers/records.ts';
import { startGateway } from '../../src/gateway.ts';
import { makeLog } from '../../src/log/log.ts';
import { type Frame, TestClient } from '../support/client.ts';
import { testConfig } from '../support/gateway.ts';

/** A gateway with rooms made on join, whose tokens are real. */
async function gatewayUrl(): Promise<string> {
  const gateway = await startGateway({
    config: testConfig(),
    livekit: { apiKey: 'test', apiSecret: 'a-secret-of-at-least-32-characters', mode: 'on_join', serverUrl: 'ws://127.0.0.1:1' },
    log: makeLog('silent'),
  });
  onTestFinished(() => gateway.close());
  return gateway.url;
}

async function yardstickUrl(): Promise<string> {
  const wss = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  const watchers: Peer[] = [];
  wss.on('connection', (ws) => {
    const peer: Peer = {
      session: undefined,
      send: (frame) => ws.send(JSON.stringify(frame)),
      watch: () => void watchers.push(peer),
      publish: (_, frame) => {
        for (const watcher of watchers) watcher.send(frame);
      },
    };
    ws.on('message', (data) => handle(peer, JSON.parse(String(data)), peer.send));
    ws.on('close', () => closed(peer));
  });
  await once(wss, 'listening');
  onTestFinished(() => void wss.close());
  return `http://127.0.0.1:${(wss.address() as AddressInfo).port}`;
}

/** What the bench's loads say, once. @returns everything each socket was told */
async function talk(url: string): Promise<Frame[][]> {
  const [asr, client, watcher] = (await Promise.all([1, 2, 3].map(() => TestClient.connect(url)))) as [TestClient, TestClient, TestClient];
  await asr.ask({ type: 'RegisterServiceRequest', service_id: 'asr' });
  await client.ask({ type: 'Ping', t: 1 });
  const { session_id } = await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: ['asr'] });
  const { assignment_id } = await asr.next('JoinRoomRequest');
  asr.send({ type: 'JoinRoomResponse', assignment_id, accepted: true });
  asr.send({ type: 'ServiceReady', assignment_id });
  await client.next('SessionReady');
  await watcher.ask({ type: 'WatchRequest', session_id });
  await client.ask({ type: 'AddMessageRequest', role: 'user', content: 'Hello' });
  await watcher.next('MessageAdded');
  watcher.send({ type: 'UnwatchRequest', session_id });
  await client.ask({ type: 'EndSessionRequest' });
  await asr.next('LeaveRoomRequest');
  asr.send({ type: 'ServiceLeft', assignment_id, clean: true });
  await client.next('SessionEnded');
  const short = await TestClient.connect(url);
  await short.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: [] });
  // what a watcher is told of the end is no part of any load
  return [asr.all, client.all, watcher.all.filter(({ type }) => /^(Watch|MessageAdded)/.test(type)), short.all];
}

const types = (frames: Frame[]) => frames.map(({ type }) => type).sort();

const claimsOf = (token: string): Record<string, unknown> => JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());

test('the yardstick sends each socket the frames of the gateway, with no field less', async () => {
  const [ours, theirs] = await Promise.all([gatewayUrl().then(talk), yardstickUrl().then(talk)]);
  expect(theirs.map(types)).toEqual(ours.map(types));
  for (const [socket, frames] of ours.entries()) {
    for (const { type, ...fields } of frames) {
      const like = theirs[socket]?.filter((frame) => frame.type === type) ?? [];
      const names = Object.keys(fields);
      expect(
        like.some((frame) => names.every((name) => frame[name] !== undefined)),
        `${type} has ${names}`,
      ).toBe(true);
    }
  }
});

test('its tokens claim what those of the gateway claim', async () => {
  const [ours, theirs] = await Promise.all([gatewayUrl().then(talk), yardstickUrl().then(talk)]);
  const tokens = (frames: Frame[][]) => frames.flat().filter((frame) => frame.access_token);
  expect(types(tokens(theirs))).toEqual(types(tokens(ours)));
  const claims = (frames: Frame[][]) =>
    tokens(frames).map(({ type, access_token }) => {
      const { video, ...rest } = claimsOf(access_token);
      return [type, Object.keys(rest).sort(), { ...(video as object), room: '' }];
    });
  expect(claims(theirs).sort()).toEqual(claims(ours).sort());
});
