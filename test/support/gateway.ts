import { onTestFinished } from 'vitest';
import { configSchema } from '../../src/config.ts';
import { type GatewayParts, startGateway as start } from '../../src/gateway.ts';
import { liveKitSecret } from './canary.ts';
import { ManualClock } from './clock.ts';
import { quietLog } from './log.ts';
import { FakeRooms } from './rooms.ts';

type Sections = Record<string, Record<string, unknown>>;

/** Every section with its defaults, and what the test sets; a free port. */
export function testConfig(overrides: Sections = {}) {
  const sections = Object.keys(configSchema.shape);
  return configSchema.parse(
    Object.fromEntries(sections.map((name) => [name, { ...(name === 'server' && { port: 0, drain_s: 2 }), ...overrides[name] }])),
  );
}

type MoreParts = Partial<Pick<GatewayParts, 'config'>> & Pick<GatewayParts, 'authenticate' | 'onClosed' | 'readConfig' | 'transports'>;

/** A gateway on a free port with rooms in memory and time that stands still. Closed with the test. `log` defaults to one that nobody reads. */
export async function startGateway(overrides: Sections = {}, log = quietLog(), more: MoreParts = {}) {
  const clock = new ManualClock();
  const rooms = new FakeRooms(() => clock.now());
  const gateway = await start({
    config: testConfig(overrides),
    livekit: { apiKey: 'test', apiSecret: liveKitSecret, mode: 'create', serverUrl: rooms.url },
    log,
    clock,
    rooms,
    ...more,
  });
  let closed: Promise<void> | undefined;
  const close = () => {
    closed ??= gateway.close();
    return closed;
  };
  onTestFinished(close);
  return { ...gateway, close, clock, rooms };
}
