import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { systemClock } from '../src/clock.ts';
import { standStill } from './support/stand-still.ts';

async function socketPair(): Promise<[here: Socket, there: Socket]> {
  const server = createServer().listen(0, '127.0.0.1');
  onTestFinished(() => void server.close());
  await once(server, 'listening');
  const here = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const [there] = (await once(server, 'connection')) as [Socket];
  onTestFinished(() => void here.destroy());
  return [here, there];
}

test('a timer that is late because the loop stood still runs after what came meanwhile has been read', async () => {
  const [here, there] = await socketPair();
  const seen: string[] = [];
  there.on('data', (data) => seen.push(String(data)));
  const stop = systemClock.every(20, () => seen.push('timer'));
  onTestFinished(stop);
  // behind a poll: the next phase of the loop is that of the timers
  await new Promise((turn) => setImmediate(turn));
  seen.length = 0;
  here.write('pong');
  standStill();
  await expect.poll(() => seen.includes('timer')).toBe(true);
  expect(seen[0]).toBe('pong');
});

describe('in time that is set', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());
  const jump = (ms: number) => vi.setSystemTime(Date.now() + ms);

  test('a timer that is late runs once, and then as before', () => {
    let runs = 0;
    const stop = systemClock.every(1_000, () => runs++);
    vi.advanceTimersByTime(1_000);
    expect(runs).toBe(1);
    jump(8_000);
    vi.advanceTimersByTime(1_000);
    expect(runs).toBe(1);
    vi.advanceTimersByTime(999);
    expect(runs).toBe(2);
    vi.advanceTimersByTime(1_001);
    expect(runs).toBe(4);
    stop();
    expect(vi.getTimerCount()).toBe(0);
  });

  test('a timer that is late again and again runs each time', () => {
    let runs = 0;
    onTestFinished(systemClock.every(20, () => runs++));
    for (let i = 0; i < 10; i++) {
      jump(1_000);
      vi.advanceTimersByTime(20);
      vi.advanceTimersByTime(200);
    }
    expect(runs).toBeGreaterThanOrEqual(10);
  });

  test('a clock that is set back makes nothing late', () => {
    let runs = 0;
    onTestFinished(systemClock.every(1_000, () => runs++));
    jump(-3_600_000);
    vi.advanceTimersByTime(3_000);
    expect(runs).toBe(3);
  });

  test('a timer that is stopped while it is late does not run', () => {
    let runs = 0;
    const stop = systemClock.every(20, () => runs++);
    jump(1_000);
    vi.advanceTimersByTime(20);
    stop();
    vi.advanceTimersByTime(10_000);
    expect(runs).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
  });
});
