import { expect, test } from 'vitest';
import { TestClient } from '../support/client.ts';
import { startGateway } from '../support/gateway.ts';
import { HttpService } from '../support/http-service.ts';

/** A session that waits for a service. */
async function waitFor(url: string, service_id: string): Promise<void> {
  const client = await TestClient.connect(url);
  await client.ask({ type: 'NewSessionRequest', user_identity: 'ada', required_services: [service_id] });
}

/** What comes first: what is awaited, or the end of the first call that `hanging` has left open. */
const first = (awaited: Promise<unknown>[], hanging: HttpService) =>
  Promise.race([Promise.all(awaited).then(() => 'all were asked'), hanging.hungUp().then(() => 'the gateway gave one up')]);

test('services that hang, and take every place there is, keep no other waiting', async () => {
  const { url } = await startGateway({ microservices: { max_calls: 2, max_calls_per_service: 3 } });
  const hanging = await HttpService.start({ '/join': 'hang' });
  await hanging.register(url, { service_id: 'bad' });
  for (let i = 0; i < 5; i++) await waitFor(url, 'bad');
  await hanging.next('/join');
  const good = [await HttpService.start(), await HttpService.start()];
  for (const [i, service] of good.entries()) {
    await service.register(url, { service_id: `good-${i}` });
    for (let sessions = 0; sessions < 3; sessions++) await waitFor(url, `good-${i}`);
  }
  const asked = good.flatMap((service) => [1, 2, 3].map(() => service.next('/join')));
  expect(await first(asked, hanging)).toBe('all were asked');
  expect(hanging.at('/join')).toHaveLength(3);
});

test('services that hang do not delay the probes of others', async () => {
  const { url, clock } = await startGateway();
  const hanging = await HttpService.start({ '/health': 'hang' });
  const good = await HttpService.start();
  await good.register(url, { service_id: 'first' });
  for (let i = 0; i < 45; i++) await hanging.register(url, { service_id: `bad-${i}` });
  await good.register(url, { service_id: 'last' });
  await clock.advance(10_000);
  await hanging.next('/health');
  await clock.advance(3_000);
  expect(await first([good.next('/health'), good.next('/health')], hanging)).toBe('all were asked');
  // nor those of the next round
  await clock.advance(10_000);
  expect(await first([good.next('/health'), good.next('/health')], hanging)).toBe('all were asked');
});
