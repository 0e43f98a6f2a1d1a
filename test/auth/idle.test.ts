import { expect, test } from 'vitest';
import { mint } from '../../src/auth/mint.ts';
import { TestClient } from '../support/client.ts';
import { startGateway } from '../support/gateway.ts';

const key = { id: 'app', secret: 'a-secret-of-the-application-for-tests', kinds: ['user'] };

async function idle() {
  const gateway = await startGateway({ auth: { mode: 'required', keys: [key] }, limits: { first_frame_s: 12 } });
  const { url, clock } = gateway;
  const token = await mint({ keyId: key.id, secret: key.secret, identity: 'ada', kind: 'user', now: clock.now(), ttlS: 3_600 });
  const socket = (autoPong = true) => TestClient.connect(url, [], { headers: { authorization: `Bearer ${token}` }, autoPong });
  return { clock, socket };
}

test('a socket with a credential may stay silent', async () => {
  const { clock, socket } = await idle();
  const silent = await socket();
  await clock.advance(13_000);
  await silent.caughtUp();
});

test('a client that answers no ping of the WebSocket is alive while it sends Ping', async () => {
  const { clock, socket } = await idle();
  const [deaf, gone] = [await socket(false), await socket(false)];
  for (const client of [deaf, gone]) await client.ask({ type: 'IdentifyRequest', heartbeat_s: 10 });
  for (let i = 0; i < 4; i++) {
    await clock.advance(8_000);
    await deaf.caughtUp();
  }
  expect(await gone.closed).toMatchObject({ code: 1006 });
  await deaf.caughtUp();
});
