import { expect, test } from 'vitest';
import { TestClient } from '../support/client.ts';
import { startGateway } from '../support/gateway.ts';
import { rest } from '../support/http-service.ts';
import { describeWith, parts } from '../support/parts.ts';
import { startRedis } from '../support/redis.ts';

describeWith(parts.redis)('a gateway whose storage does not answer', () => {
  test('says so within its time limit, keeps its sockets, and goes on when the storage is back', async () => {
    const redis = await startRedis();
    const { url, clock } = await startGateway({ storage: { url: redis.url, timeout_s: 0.5 } });
    const client = await TestClient.connect(url);
    const made = await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', room: false });
    expect(made).toMatchObject({ type: 'NewSessionResponse', status: 'Active' });
    const messages = `${url}/api/v1/sessions/${made.session_id}/messages`;

    redis.freeze();
    expect(await rest(messages, 'POST', { role: 'user', content: 'lost?', message_id: 'm1' })).toMatchObject({
      status: 503,
      body: { error: 'StorageError', code: 'STORAGE_ERROR', retryable: true },
    });
    expect(await client.ask({ type: 'GetSessionRequest' })).toMatchObject({ type: 'Error', code: 'STORAGE_ERROR', retryable: true });
    expect(await rest(`${url}/ready`)).toMatchObject({ status: 503, body: { ready: false, storage: { type: 'redis', reachable: false } } });

    redis.thaw();
    await expect.poll(async () => (await rest(`${url}/ready`)).status).toBe(200);
    // whether the first one took effect or not: sent again with its id it is there once
    await expect.poll(async () => (await rest(messages, 'POST', { role: 'user', content: 'lost?', message_id: 'm1' })).status).toBe(201);
    expect((await rest(messages)).body).toMatchObject({ items: [{ message_id: 'm1', content: 'lost?' }] });
    // the socket was never closed, and is told what it missed
    await clock.advance(2_000);
    expect(await client.next('MessageAdded')).toMatchObject({ message_id: 'm1' });
    expect(await client.ask({ type: 'GetSessionRequest' })).toMatchObject({ status: 'Active', messages: 1 });
  });

  test('starts without it, and serves once it is there', async () => {
    const redis = await startRedis();
    await redis.kill();
    const { url } = await startGateway({ storage: { url: redis.url, timeout_s: 0.5 } });
    const body = { user_identity: 'ada', room: false };
    expect(await rest(`${url}/api/v1/sessions`, 'POST', body)).toMatchObject({ status: 503, body: { code: 'STORAGE_ERROR' } });
    await redis.restart();
    await expect.poll(async () => (await rest(`${url}/api/v1/sessions`, 'POST', body)).status).toBe(201);
  });
});
