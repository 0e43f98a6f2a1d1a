import { describe, expect, test } from 'vitest';
import { controls } from '../../protocol/controls.ts';
import { type ErrorCode, type ErrorKind, errors } from '../../protocol/errors.ts';
import { GatewayError } from '../../src/errors.ts';

const all = Object.entries(errors) as [ErrorCode, ErrorKind][];
const now = Date.UTC(2026, 0, 2, 3, 4, 5);

describe.each(all)('%s', (code, { status, error, retryable }) => {
  test('is a name in capitals', () => {
    expect(code).toMatch(/^[A-Z]+(_[A-Z]+)*$/);
  });

  test('has the status of a refused request', () => {
    expect(status).toBeGreaterThanOrEqual(400);
    expect(status).toBeLessThanOrEqual(599);
  });

  test('is on the wire what the table says', () => {
    const body = new GatewayError(code, 'why').body(now);
    expect(body).toEqual({ error, code, message: 'why', timestamp: '2026-01-02T03:04:05.000Z', retryable });
    expect(controls.Error.body.safeParse(body).success).toBe(true);
  });
});

test('codes with the same word in `error` have the same HTTP status, apart from a body that is not read at all', () => {
  const unread = new Set<ErrorCode>(['PAYLOAD_TOO_LARGE', 'UNSUPPORTED_MEDIA_TYPE']);
  const statuses = new Map<string, Set<number>>();
  for (const [code, { status, error }] of all) if (!unread.has(code)) statuses.set(error, (statuses.get(error) ?? new Set()).add(status));
  expect([...statuses].filter(([, { size }]) => size !== 1)).toEqual([]);
});

test('a request that is itself wrong is never worth repeating', () => {
  expect(all.filter(([, { status, retryable }]) => status < 408 && retryable)).toEqual([]);
});

test('a fault behind the request is worth repeating', () => {
  expect(all.filter(([, { status, retryable }]) => status >= 500 && !retryable)).toEqual([]);
});

test('details and the time to wait stand in the error where they are known', () => {
  const error = new GatewayError('ROOM_NAME_IN_USE', 'why', { retryAfterMs: 30_000, details: { session_id: 's' } });
  expect(error.body(now)).toMatchObject({ retry_after_ms: 30_000, details: { session_id: 's' } });
});
