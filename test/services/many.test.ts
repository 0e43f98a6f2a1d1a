import { describe, expect, test } from 'vitest';
import { maxServiceMetadataBytes } from '../../protocol/fields.ts';
import { connectService, type Frame, TestClient } from '../support/client.ts';
import { startGateway } from '../support/gateway.ts';
import { HttpService, rest } from '../support/http-service.ts';

const maxPageBytes = 524_288;

const register = (url: string, service_id: string, more: object = {}) =>
  rest(`${url}/api/v1/microservices/register`, 'POST', { service_id, endpoint: 'http://127.0.0.1:9', ...more });

const page = async (url: string, query = '') => (await rest(`${url}/api/v1/microservices${query}`)).body;

const idsOf = (items: Frame[]) => items.map(({ service_id }) => service_id as string);

/** Metadata that is as large as JSON as it is told to be. */
const metadataOf = (bytes: number): Record<string, string> => {
  const metadata: Record<string, string> = { type: 'ASR' };
  for (let key = 0; bytes > JSON.stringify(metadata).length; key++) {
    const left = bytes - JSON.stringify({ ...metadata, [`k${key}`]: '' }).length;
    metadata[`k${key}`] = 'x'.repeat(Math.max(0, Math.min(1_000, left < 1_020 ? left : 1_000)));
  }
  return metadata;
};

/** The whole list, page by page. */
async function walk(url: string, query: string, between: () => Promise<unknown> = async () => {}) {
  const pages: Frame[][] = [];
  for (let cursor = ''; ; ) {
    const { items, next_cursor } = await page(url, `?${query}${cursor && `&cursor=${cursor}`}`);
    pages.push(items);
    if (next_cursor === undefined) return pages;
    cursor = next_cursor;
    await between();
  }
}

describe('the list of services', () => {
  test('is one page where it is of an ordinary size', async () => {
    const { url } = await startGateway();
    const ids = Array.from({ length: 300 }, (_, i) => `asr-${i}`);
    for (const id of ids) await register(url, id, { metadata: { type: 'ASR', language: 'zh-CN', version: '1.2.3' } });
    const { items, ...more } = await page(url);
    expect(idsOf(items)).toEqual(ids);
    expect(more).toEqual({});
  });

  test('has pages that are bounded in bytes, and goes on by its cursor', async () => {
    const { url } = await startGateway();
    const ids = Array.from({ length: 80 }, (_, i) => `asr-${i}`);
    for (const id of ids) await register(url, id, { metadata: metadataOf(maxServiceMetadataBytes) });
    const pages = await walk(url, '');
    expect(pages.length).toBeGreaterThan(2);
    expect(pages.flatMap(idsOf)).toEqual(ids);
    for (const items of pages) expect(Buffer.byteLength(JSON.stringify(items))).toBeLessThanOrEqual(maxPageBytes);
    // all but the last are as full as they can be
    for (const items of pages.slice(0, -1)) expect(items.length).toBe(Math.floor(maxPageBytes / (maxServiceMetadataBytes + 300)));
  });

  test('shows each service once, in its place, also where it registers again or others go meanwhile', async () => {
    const { url } = await startGateway();
    const ids = Array.from({ length: 12 }, (_, i) => `${i % 2 ? 'tts' : 'asr'}-${i}`);
    for (const id of ids) await register(url, id, { metadata: { type: id.slice(0, 3).toUpperCase() } });
    const pages = await walk(url, 'type=ASR&limit=2', async () => {
      await register(url, 'asr-0', { metadata: { type: 'ASR' } });
      await register(url, 'asr-10', { metadata: { type: 'ASR' } });
      await rest(`${url}/api/v1/microservices/asr-4`, 'DELETE');
    });
    expect(pages.map(idsOf)).toEqual([['asr-0', 'asr-2'], ['asr-6', 'asr-8'], ['asr-10']]);
  });

  test.each(['nothing', 'MA', Buffer.from('x'.repeat(36)).toString('base64url')])('refuses the cursor %s', async (cursor) => {
    const { url } = await startGateway();
    const answer = await rest(`${url}/api/v1/microservices?cursor=${cursor}`);
    expect(answer).toMatchObject({ status: 400, body: { code: 'VALIDATION_FAILED', message: 'cursor: invalid' } });
  });
});

describe('a gateway with as many services as it takes', () => {
  test('refuses further ones for now, over REST and on a socket, and takes one when another has gone', async () => {
    const { url } = await startGateway({ limits: { services: 2 } });
    await register(url, 'asr');
    await connectService(url, 'tts');
    const refused = { code: 'TOO_MANY_SERVICES', error: 'Unavailable', retryable: true };
    expect(await register(url, 'llm')).toMatchObject({ status: 503, body: refused });
    const llm = await TestClient.connect(url);
    expect(await llm.ask({ type: 'RegisterServiceRequest', service_id: 'llm' })).toMatchObject({ type: 'Error', ...refused });
    await rest(`${url}/api/v1/microservices/asr`, 'DELETE');
    expect(await llm.ask({ type: 'RegisterServiceRequest', service_id: 'llm' })).toMatchObject({ type: 'RegisterServiceResponse' });
    expect(idsOf((await page(url)).items)).toEqual(['tts', 'llm']);
  });

  test('lets those that are registered register again', async () => {
    const { url } = await startGateway({ limits: { services: 2 } });
    const asr = await HttpService.start();
    await asr.register(url, { service_id: 'asr' });
    const tts = await connectService(url, 'tts', { instance_id: 'a' });
    expect(await asr.register(url, { service_id: 'asr', max_sessions: 3 })).toMatchObject({ status: 201 });
    tts.ws.terminate();
    await connectService(url, 'tts', { instance_id: 'a' });
    expect((await page(url)).items).toMatchObject([{ service_id: 'asr', max_sessions: 3 }, { service_id: 'tts' }]);
  });
});

test('the metadata of a service has at most 16 KiB as JSON', async () => {
  const { url } = await startGateway();
  const most = metadataOf(maxServiceMetadataBytes);
  expect(JSON.stringify(most)).toHaveLength(16_384);
  expect(await register(url, 'asr', { metadata: most })).toMatchObject({ status: 201 });
  const metadata = metadataOf(maxServiceMetadataBytes + 1);
  const refused = {
    code: 'VALIDATION_FAILED',
    details: { issues: [{ path: 'metadata', message: 'must have at most 16384 bytes as JSON' }] },
  };
  expect(await register(url, 'tts', { metadata })).toMatchObject({ status: 400, body: refused });
  const tts = await TestClient.connect(url);
  expect(await tts.ask({ type: 'RegisterServiceRequest', service_id: 'tts', metadata })).toMatchObject({ type: 'Error', ...refused });
});
