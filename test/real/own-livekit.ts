import { randomBytes } from 'node:crypto';
import { RoomServiceClient } from 'livekit-server-sdk';
import { expect, onTestFinished } from 'vitest';
import type { Clock } from '../../src/clock.ts';
import { systemClock } from '../../src/clock.ts';
import { startGateway } from '../../src/gateway.ts';
import { LiveKitRooms } from '../../src/rooms/livekit.ts';
import { testConfig } from '../support/gateway.ts';
import { freePort, type LiveKitKey } from '../support/livekit.ts';
import { quietLog } from '../support/log.ts';
import { parts } from '../support/parts.ts';
import { Child } from '../support/process.ts';

/** Time that only a test moves, under timers that run: nothing becomes due by itself, and what is due is found in half a second. */
export class HandClock implements Clock {
  readonly every: Clock['every'] = (ms, run) => systemClock.every(ms, run);
  #now = Date.now();

  now(): number {
    return this.#now;
  }

  pass(ms: number): void {
    this.#now += ms;
  }
}

/** A LiveKit server whose address and keys are known before it runs. It ends with the test. */
export async function ownLiveKit() {
  const port = await freePort();
  const [apiKey, apiSecret] = [`key-${randomBytes(4).toString('hex')}`, randomBytes(24).toString('hex')];
  const url = `ws://127.0.0.1:${port}`;
  const client = new RoomServiceClient(url, apiKey, apiSecret, { requestTimeout: 2, failover: false });
  let child: Child | undefined;
  return {
    url,
    apiKey,
    apiSecret,
    client,
    names: async () => (await client.listRooms()).map(({ name }) => name),
    /** Starts it, or starts it again: on its port, with its keys, without a room. `webhook`: who is told of everything. */
    async start(webhook?: string): Promise<void> {
      const config = {
        port,
        bind_addresses: ['127.0.0.1'],
        rtc: {
          tcp_port: 0,
          udp_port: await freePort(),
          node_ip: '127.0.0.1',
          use_external_ip: false,
          enable_loopback_candidate: true,
          ips: { includes: ['127.0.0.1/32'] },
        },
        keys: { [apiKey]: apiSecret },
        logging: { level: 'error' },
        ...(webhook !== undefined && { webhook: { api_key: apiKey, urls: [webhook] } }),
      };
      child = new Child(parts.livekit.path ?? '', ['--config-body', JSON.stringify(config)]);
      onTestFinished(() => child?.kill('SIGKILL'));
      await expect.poll(() => client.listRooms(['-']), { interval: 50 }).toEqual([]);
    },
    /** Ends it as a power cut would. */
    async kill(): Promise<void> {
      child?.kill('SIGKILL');
      expect((await child?.exited)?.signal).toBe('SIGKILL');
    },
  };
}

/** Rooms on a real server, of which a test sees how often they were looked at and deleted. */
class CountedRooms extends LiveKitRooms {
  looks = 0;
  /** Deletions that failed. */
  inVain = 0;
  deleted = 0;

  override async participants(name: string) {
    try {
      return await super.participants(name);
    } finally {
      this.looks++;
    }
  }

  override async remove(name: string): Promise<void> {
    try {
      await super.remove(name);
      this.deleted++;
    } catch (error) {
      this.inVain++;
      throw error;
    }
  }
}

/** A gateway with rooms on a real server, in the given time, on a free port. Closed with the test; `close` may be repeated. */
export async function startGatewayIn(clock: Clock, livekit: LiveKitKey, name = 'this-test') {
  const { url, apiKey, apiSecret } = livekit;
  const names = { serverUrl: 'its address', apiKey: 'its key', apiSecret: 'its secret' };
  const key = { serverUrl: url, mode: 'create' as const, apiKey, apiSecret };
  const log = quietLog();
  const rooms = new CountedRooms({ ...key, names, gatewayName: name }, clock, log);
  const config = testConfig({ gateway: { name } });
  const gateway = await startGateway({ config, livekit: key, log, clock, rooms });
  let closed: Promise<void> | undefined;
  const close = () => {
    closed ??= gateway.close();
    return closed;
  };
  onTestFinished(close);
  return { ...gateway, close, rooms };
}
