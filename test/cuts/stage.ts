import { onTestFinished } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { startGateway } from '../../src/gateway.ts';
import type { StoreProvider } from '../../src/sessions/ports.ts';
import { memoryStore } from '../../src/store/memory.ts';
import { registerStoreProvider } from '../../src/store/open.ts';
import { liveKitSecret } from '../support/canary.ts';
import { testConfig } from '../support/gateway.ts';
import { quietLog } from '../support/log.ts';
import { FakeRooms } from '../support/rooms.ts';

let stages = 0;

/** Signs of life are asked for as often as they can be. */
export const heartbeat = { client_s: 1, service_s: 1, timeout_s: 1 };

/** A gateway in real time with rooms in memory, and its storage. `spoil`: what is put between them. Closed with the test. */
export async function startStage(spoil: (store: StoreProvider) => StoreProvider = (store) => store) {
  const store = memoryStore();
  const name = `stage${++stages}`;
  registerStoreProvider(name, async () => ({ ...spoil(store), shared: true }));
  const rooms = new FakeRooms(() => systemClock.now());
  const gateway = await startGateway({
    config: testConfig({ storage: { url: `${name}:` }, heartbeat, server: { port: 0, drain_s: 0 } }),
    livekit: { apiKey: 'test', apiSecret: liveKitSecret, mode: 'create', serverUrl: rooms.url },
    log: quietLog(),
    rooms,
  });
  onTestFinished(() => gateway.close());
  return { ...gateway, store, rooms };
}
