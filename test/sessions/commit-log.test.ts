import { expect, test } from 'vitest';
import { connectService, TestClient } from '../support/client.ts';
import { startGateway } from '../support/gateway.ts';
import { keptLog } from '../support/log.ts';

test('a session has a line when it is created, ready and over, and nothing is a warning', async () => {
  const { log, lines } = keptLog();
  const { url, close, clock } = await startGateway({}, log);
  const asr = await connectService(url, 'asr', { auto: false });
  const client = await TestClient.connect(url);
  client.send({ type: 'NewSessionRequest', id: '1', user_identity: 'ada', required_services: ['asr'] });
  const { assignment_id, session_id } = await asr.next('JoinRoomRequest');
  asr.send({ type: 'JoinRoomResponse', assignment_id, accepted: true });
  await asr.caughtUp();
  await clock.advance(2_000);
  asr.send({ type: 'ServiceReady', assignment_id });
  await client.next('SessionReady');
  const stopped = close();
  await asr.next('LeaveRoomRequest');
  asr.send({ type: 'ServiceLeft', assignment_id, clean: true });
  await stopped;
  const short = session_id.slice(0, 8);
  expect(lines.map(({ level, msg }) => `${level}: ${msg}`)).toEqual([
    'info: service registered',
    'info: session created',
    `info: session ${short} ready in 2000 ms (room 0, asr 2000)`,
    `info: session ${short} ended: shutdown`,
    'info: service disconnected',
  ]);
  expect(lines[2]).toMatchObject({ session_id, total_ms: 2_000, room_ms: 0, services: { asr: 2_000 } });
  expect(lines[3]).toMatchObject({ session_id, reason: 'shutdown', by: 'gateway', lived_ms: 2_000 });
});

test('a session without services says when it is ready as well', async () => {
  const { log, lines } = keptLog();
  const { url } = await startGateway({}, log);
  const client = await TestClient.connect(url);
  const { session_id } = await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: [] });
  expect(lines.map(({ msg }) => msg)).toEqual(['session created', `session ${session_id.slice(0, 8)} ready in 0 ms (room 0)`]);
});
